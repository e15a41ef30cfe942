"""Bad inputs of the kinds that partners report, all on one day of a market written by hand.

Each channel and each lender has one fault of its own, so one run shows what each of them costs, and
that no other pays for it. Lists of orders hold every delivery, so they have a day of their own.
`make test` has each damage by itself (`tests/ingest`), and random ones up to the lead files
(`tests/independent`).
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.market import banyan

pytestmark = pytest.mark.prove

Row = dict[str, Any]

FIRST = date(2026, 1, 9)
DAY = date(2026, 1, 10)
ID_IN_PRICE = "110105198808082707"
SENTINEL = "9223372036854775807"
PEOPLE = 8
"""Leads of each channel with a fault."""

# ---- the market ----------------------------------------------------------------------------------


def resident_id(number: int) -> str:
    """Return a valid identity number of a person aged 30 to 45 (GB 11643-1999)."""
    born = date(1980, 1, 1) + timedelta(days=number * 37 % 5_400)
    digits = f"110105{born:%Y%m%d}{number % 1_000:03}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, digits, strict=True))
    return digits + "10X98765432"[total % 11]


def lead(number: int, day: date = DAY, **changes: Any) -> Row:
    """Return the row of a lead; each number is another person."""
    return {
        "lead_id": f"n{number:05}",
        "captured_at": f"{day}T10:00:00+08:00",
        "segment": "consumer",
        "campaign_id": "k1",
        "full_name": f"Applicant {number}",
        "id_type": "prc_resident_id",
        "id_number": resident_id(number),
        "phone": f"+86139{10_000_000 + number * 7_919 % 80_000_000}",
        "device_id": f"device-{number}",
        "region": "CN-GD",
        "employment": ("employed", "unemployed", "self_employed")[number % 3],
        "income_monthly": 12_000,
        "debt_monthly": 800,
        "bureau_score": 720,
        "housing": "own",
        "currency": "CNY",
        "term_months": 12,
        "purpose": "vehicle",
        "consent_scope": "all",
        "consent_at": f"{day}T09:00:00+08:00",
        "consent_version": "2026-01",
        "consent_withdrawn_at": "",
        "amount": 5_000,
    } | changes


def leads(first: int, count: int = PEOPLE, day: date = DAY, **changes: Any) -> list[Row]:
    return [lead(number, day, **changes) for number in range(first, first + count)]


def product(product_id: str, **changes: Any) -> Row:
    return {
        "product_id": product_id,
        "name": "Loan",
        "segment": "consumer",
        "currency": "CNY",
        "amount_min": 1_000,
        "amount_max": 200_000,
        "term_min_months": 1,
        "term_max_months": 36,
        "apr_min": 0.22,
        "apr_max": 0.24,
        "pd_min": 0,
        "pd_max": 0.5,
        "price_model": "cpl",
        "price": 50,
        "daily_quota": 20,
        "status": "active",
        "valid_from": "2015-01-01",
    } | changes


def rule(product_id: str, **changes: Any) -> Row:
    return {
        "product_id": product_id,
        "attribute": "employment",
        "op": "not_in",
        "value": "student|unemployed",
    } | changes


def csv_text(rows: list[Row], columns: Iterable[str] = ()) -> str:
    """Return rows as CSV; all columns of the first row, or `columns` in that order."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns) or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def json_text(rows: list[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# ---- faults: a source each, with the files that it sends -----------------------------------------

LOST_RULES: dict[str, str | bytes] = {
    "rule-op-spaced": csv_text([rule("p-rule-op-spaced", op="not in")]),
    "rule-op-other": csv_text([rule("p-rule-op-other", op="gte", attribute="income_monthly")]),
    "rule-attribute": csv_text([rule("p-rule-attribute", attribute="employement")]),
    "rule-value": csv_text([rule("p-rule-value", attribute="income_monthly", op="ge", value="3k")]),
    "rule-product": csv_text([rule("p-rule-prodcut")]),
    "rule-heading": csv_text([rule("p-rule-heading")]).replace(",op,", ",operator,"),
    "rule-utf-16": csv_text([rule("p-rule-utf-16")]).encode("utf-16"),
}
"""Lenders that take no unemployed people, and whose rule of the day can't be read."""

PRICES: dict[str, Row] = {
    "price-cps-percent": {"price_model": "cps", "price": "1.58"},
    "price-cps-percent-small": {"price_model": "cps", "price": "0.94"},
    "price-cps-sign": {"price_model": "cps", "price": "1.58%"},
    "price-huge": {"price": "1e308"},
    "price-negative": {"price": "-5"},
    "price-identity": {"price": ID_IN_PRICE},
    "amount-identity": {"amount_max": ID_IN_PRICE},
    "apr-percent": {"apr_max": "24"},
    "quota-word": {"daily_quota": "as many as there are"},
    "quota-negative": {"daily_quota": "-1"},
    "quota-float": {"daily_quota": "1e300"},
}
"""Lenders whose terms are impossible: the product closes, and the price draws no lead."""

QUOTAS: dict[str, Row] = {
    "quota-int64": {"daily_quota": SENTINEL},
    "quota-beyond": {"daily_quota": "99999999999999999999"},
    "quota-int32": {"daily_quota": "2147483647"},
}
"""Lenders whose system writes its "no limit" as the quota: as many leads as there are."""

LENDERS = ("plain-1", "plain-2", "plain-3", *LOST_RULES, *PRICES, *QUOTAS)


def blank(rows: list[Row], filler: str) -> str:
    return csv_text(rows) + "\n".join([filler * (len(rows[0]) - 1)] * 40) + "\n"


def parquet(rows: list[Row], **columns: pa.Array) -> bytes:
    """Return rows as Parquet, with the named columns as another type."""
    table = pa.Table.from_pylist(rows)
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def channels() -> Iterator[tuple[str, str, str | bytes]]:
    """Yield (channel, file name, content) of every channel of the day."""
    yield "good", "leads.csv", csv_text(leads(0, 160))

    # rows without any value, as a spreadsheet's used range leaves them
    yield "blank-commas", "leads.csv", blank(leads(1_000), ",")
    yield "blank-quotes", "leads.csv", blank(leads(1_020), '"",').replace('"",\n', '"",""\n')
    yield "blank-spaces", "leads.csv", blank(leads(1_040), " ,")
    nothing = [dict.fromkeys(lead(0), None)] * 40
    yield "blank-nulls", "leads.jsonl", json_text(leads(1_060) + nothing)

    # ids that a spreadsheet or a float column made one
    for number, name in enumerate(("2.60110E+14", "1", "#REF!", "26-Jan")):
        same = leads(1_100 + 20 * number, lead_id=name)
        yield f"same-id-{number}", "leads.csv", csv_text(same)
    wide = leads(1_200)
    floats = pa.array([2.6011e18 + 512 * number for number in range(PEOPLE)])
    yield "float-id", "leads.parquet", parquet(wide, lead_id=floats)
    yield "float32-id", "leads.parquet", parquet(leads(1_220), lead_id=floats.cast("float32"))
    numbers = [row | {"lead_id": 2.6011e14 + 0.5} for row in leads(1_260)]
    yield "json-float-id", "leads.jsonl", json_text(numbers)

    # a withdrawal in another copy of the lead, with other differences too
    withdrawn = f"{DAY}T09:30:00+08:00"
    for number, change in enumerate(
        (
            {"campaign_id": "k0", "captured_at": f"{DAY}T16:00:00+08:00"},
            {"campaign_id": "k2", "captured_at": f"{DAY}T08:00:00+08:00"},
            {"amount": 900_000},
            {"currency": "RMB"},
        )
    ):
        rows = leads(1_300 + 20 * number)
        again = [row | change | {"consent_withdrawn_at": withdrawn} for row in rows]
        yield f"withdrawn-{number}", "leads-10h.csv", csv_text(rows)
        yield f"withdrawn-{number}", "leads-16h.jsonl", json_text(again)
    rows = leads(1_400)
    both = [r | {"consent_withdrawn_at": w} for r in rows for w in (withdrawn, "")]
    yield "withdrawn-one-file", "leads.csv", csv_text(both)

    # currencies that are none of ISO 4217
    for number, code in enumerate(("RMB", "CNH", "¥", "yuan", "XYZ")):
        yield f"currency-{number}", "leads.csv", csv_text(leads(1_500 + 20 * number, currency=code))

    # uploads that were cut: 5000 becomes 50
    yield "cut-number", "leads.csv", csv_text(leads(1_600))[:-3]
    yield (
        "cut-last-line",
        "leads.csv",
        csv_text([*leads(1_620), lead(1_640, amount=50)])[:-1],
    )
    yield "cut-jsonl", "leads.jsonl", json_text(leads(1_660))[:-9]
    yield "cut-parquet", "leads.parquet", parquet(leads(1_680))[:-2]

    # words for nothing in a column that counts how often a value comes
    for number, word in enumerate(("NULL", r"\N", "00000000-0000-0000-0000-000000000000", "None")):
        rows = leads(1_700 + 20 * number, device_id=word, campaign_id="nan", debt_monthly="NULL")
        yield f"null-{number}", "leads.csv", csv_text(rows)

    # phones as people write them
    written = (
        "{}",
        "0086 {}",
        "\u202a+86 {}\u202c",
        "\uff0886\uff09{}",
        "{} ext. 5",
        "tel {}",
        "{}#1",
    )
    rows = [
        row | {"phone": written[n % 7].format(f"139{n:04}5678")}
        for n, row in enumerate(leads(1_800, 14))
    ]
    yield "phone-forms", "leads.csv", csv_text(rows)
    yield (
        "phone-float",
        "leads.csv",
        csv_text([row | {"phone": f"1.39{n:04}E+10"} for n, row in enumerate(leads(1_820))]),
    )
    floating = pa.array([1.39e10 + number for number in range(PEOPLE)])
    yield "float-phone", "leads.parquet", parquet(leads(1_240), phone=floating)
    yield "phone-short", "leads.csv", csv_text(leads(1_840, phone="12345"))
    yield (
        "phone-landline",
        "leads.csv",
        csv_text([row | {"phone": f"(0755) 86{n:04}"} for n, row in enumerate(leads(1_860))]),
    )


def write(home: Path, feed: str, source: str, day: date, name: str, content: str | bytes) -> Path:
    path = home / "landing" / feed / source / f"{day}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_market(home: Path) -> None:
    """Write the first date: every lender with its product, the rules, and leads of one channel."""
    admitted = [
        {
            "institution_id": name,
            "name": name,
            "kind": "bank",
            "admitted_from": "2015-01-01",
            "delivery": "folder",
            "format": "csv",
            "fields": "phone|employment|amount",
        }
        for name in LENDERS
    ]
    write(home, "institutions", "market", FIRST, "institutions.csv", csv_text(admitted))
    for name in LENDERS:
        catalogue = csv_text([product(f"p-{name}")])
        write(home, "products", name, FIRST, "products.csv", catalogue)
    for name in LOST_RULES:
        rules = csv_text([rule(f"p-{name}")])
        write(home, "product_rules", name, FIRST, "product_rules.csv", rules)
    write(home, "leads", "good", FIRST, "leads.csv", csv_text(leads(5_000, 60, FIRST)))


class Day:
    """What the day with every fault published, and what its commands printed."""

    def __init__(self, home: Path, output: str) -> None:
        self.home, self.output = home, output
        report = home / "reports" / f"date={DAY}" / "quality.json"
        self.findings = json.loads(report.read_text())["findings"]
        self.sent = self.query(f"select channel_id, lead_id, institution_id from '{self._sent}'")

    @property
    def _sent(self) -> str:
        return f"{self.home}/delivered/date={DAY}/*.parquet"

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect() as connection:
            return connection.sql(sql).fetchall()

    def lake(self, columns: str, channel: str) -> list[tuple]:
        table = f"'{self.home}/lake/leads/date={DAY}/leads.parquet'"
        return self.query(f"select {columns} from {table} where channel_id = '{channel}'")

    def quarantined(self, channel: str) -> set[str]:
        folder = f"'{self.home}/quarantine/leads/date={DAY}/*.parquet'"
        rows = self.query(f"select distinct rule from {folder} where source = '{channel}'")
        return {rule for (rule,) in rows}

    def about(self, source: str) -> set[str]:
        """Return the ids of the findings, other than for information, that name a source."""
        return {
            finding["id"]
            for finding in self.findings
            if finding["severity"] != "fit" and source in json.dumps(finding)
        }

    def sent_of(self, channel: str) -> set[str]:
        return {lead_id for sent_channel, lead_id, _ in self.sent if sent_channel == channel}

    def sent_to(self, lender: str) -> int:
        return sum(institution_id == lender for *_, institution_id in self.sent)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """The first date, without any fault, and the day with all of them."""
    home = tmp_path_factory.mktemp("faults")
    write_market(home)
    for channel, name, content in channels():
        write(home, "leads", channel, DAY, name, content)
    for lender, content in LOST_RULES.items():
        write(home, "product_rules", lender, DAY, "product_rules.csv", content)
    for lender, change in (PRICES | QUOTAS).items():
        catalogue = csv_text([product(f"p-{lender}", **change)])
        write(home, "products", lender, DAY, "products.csv", catalogue)
    process = banyan(home, "run", "--date", f"{FIRST}", "--to", f"{DAY}")
    assert process.returncode == 0, process.stderr
    return Day(home, process.stdout + process.stderr)


# ---- what the day shows --------------------------------------------------------------------------


def test_the_day_of_the_others_is_as_ever(day: Day):
    assert len(day.sent_of("good")) > 100
    assert all(day.sent_to(f"plain-{number}") == 20 for number in (1, 2, 3))
    assert f"{DAY} is fit, with remarks:" in day.output


def test_the_first_day_is_fit_without_a_remark(day: Day):
    assert f"{FIRST} is fit." in day.output
    quality = json.loads((day.home / f"reports/date={FIRST}/quality.json").read_text())
    assert {finding["severity"] for finding in quality["findings"]} == {"fit"}


@pytest.mark.parametrize("lender", LOST_RULES)
def test_a_lender_whose_rule_cannot_be_read_gets_nobody_and_is_named(day: Day, lender: str):
    assert day.sent_to(lender) == 0
    assert day.about(lender)


def test_the_rules_were_obeyed_on_the_day_before(day: Day):
    rows = day.query(
        f"""select institution_id, employment
        from '{day.home}/delivered/date={FIRST}/*.parquet'
        join '{day.home}/lake/leads/date={FIRST}/leads.parquet' using (channel_id, lead_id)
        where institution_id like 'rule-%'"""
    )
    assert {institution_id for institution_id, _ in rows} == set(LOST_RULES)
    assert "unemployed" not in {employment for _, employment in rows}


@pytest.mark.parametrize("lender", PRICES)
def test_impossible_terms_close_their_product_alone(day: Day, lender: str):
    assert day.sent_to(lender) == 0
    assert day.about(lender)


@pytest.mark.parametrize("lender", QUOTAS)
def test_no_limit_is_as_many_as_there_are(day: Day, lender: str):
    assert day.sent_to(lender) > 0


def test_a_number_that_slipped_into_a_price_is_in_no_message(day: Day):
    shown = [
        path
        for folder in ("reports", "logs", "outbox", "ledger", "lake", "matches", "pairs")
        for path in (day.home / folder).rglob("*")
        if path.is_file() and ID_IN_PRICE.encode() in path.read_bytes()
    ]
    assert shown == []
    assert ID_IN_PRICE not in day.output


@pytest.mark.parametrize("channel", ["blank-commas", "blank-quotes", "blank-spaces", "blank-nulls"])
def test_rows_without_any_value_cost_no_lead(day: Day, channel: str):
    assert len(day.lake("lead_id", channel)) == PEOPLE
    assert "file_rejected" not in day.about(channel)


@pytest.mark.parametrize("channel", [f"same-id-{number}" for number in range(4)])
def test_people_with_one_id_are_not_one_person(day: Day, channel: str):
    assert day.sent_of(channel) == set()
    assert day.lake("lead_id", channel) == []
    assert day.about(channel) & {"key_of_different_persons", "file_rejected"}


@pytest.mark.parametrize("channel", ["float-id", "float32-id", "json-float-id", "float-phone"])
def test_a_number_that_was_binary_is_no_text(day: Day, channel: str):
    assert day.lake("lead_id", channel) == []
    assert day.about(channel) & {"file_rejected"}


WITHDRAWN = [*(f"withdrawn-{number}" for number in range(4)), "withdrawn-one-file"]


@pytest.mark.parametrize("channel", WITHDRAWN)
def test_a_withdrawal_wins_over_every_other_copy(day: Day, channel: str):
    assert day.sent_of(channel) == set()
    table = f"'{day.home}/marts/date={DAY}/leads.parquet'"
    reasons = day.query(
        f"select exclusion_stage, count(*) from {table} where channel_id = '{channel}' group by 1"
    )
    assert reasons in ([("consent", PEOPLE)], [("suppressed", PEOPLE)])


@pytest.mark.parametrize("channel", [f"currency-{number}" for number in range(5)])
def test_an_unknown_currency_is_named(day: Day, channel: str):
    assert day.sent_of(channel) == set()
    assert day.about(channel)


@pytest.mark.parametrize(
    ("channel", "loaded"),
    [
        ("cut-number", PEOPLE - 1),
        ("cut-last-line", PEOPLE),
        ("cut-jsonl", PEOPLE - 1),
        ("cut-parquet", 0),
    ],
)
def test_a_cut_upload_delivers_no_cut_value(day: Day, channel: str, loaded: int):
    amounts = day.lake("amount", channel)
    assert len(amounts) == loaded
    assert set(amounts) <= {(5_000,)}
    assert day.about(channel)


@pytest.mark.parametrize("channel", [f"null-{number}" for number in range(4)])
def test_words_for_nothing_are_no_common_device(day: Day, channel: str):
    assert (
        day.lake("device_id, campaign_id, debt_monthly", channel) == [(None, None, None)] * PEOPLE
    )
    table = f"'{day.home}/marts/date={DAY}/leads.parquet'"
    reasons = day.query(
        f"select distinct exclusion_stage from {table} where channel_id = '{channel}'"
    )
    assert reasons == [(None,)]
    assert "placeholders" in {each["id"] for each in day.findings if channel in json.dumps(each)}


@pytest.mark.parametrize("channel", ["phone-float", "phone-short", "phone-landline", "phone-forms"])
def test_a_channel_whose_phones_cannot_be_called_is_named(day: Day, channel: str):
    assert len(day.lake("lead_id", channel)) >= PEOPLE
    assert "phones_not_e164" in day.about(channel)


# ---- lists of orders -----------------------------------------------------------------------------


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def orders(subjects: Iterable[str], **changes: str) -> str:
    order = {
        "subject_type": "phone",
        "reason": "erasure",
        "institution_id": "",
        "effective_at": f"{FIRST}T00:00:00+08:00",
    } | changes
    return csv_text([{"subject": subject} | order for subject in subjects])


OBJECTING = [row["phone"] for row in leads(0, 12)]
Damage = Callable[[str], str | bytes]
LISTS: dict[str, Damage] = {
    "dnc-dates": lambda text: text.replace(f"{FIRST}T00:00:00+08:00", "09/01/2026 00:00"),
    "dnc-utf-16": lambda text: text.encode("utf-16"),
    "dnc-no-heading": lambda text: text.split("\n", 1)[1],
    "dnc-phones": lambda _: orders(OBJECTING),
    "dnc-prefix": lambda _: orders(f"sha256:{sha256(phone)}" for phone in OBJECTING),
    "dnc-md5": lambda _: orders(hashlib.md5(phone.encode()).hexdigest() for phone in OBJECTING),
    "dnc-cut": lambda text: text[: len(text) // 2],
}


def test_nobody_is_delivered_while_a_list_of_orders_cannot_be_read(tmp_path: Path):
    home = tmp_path
    write_market(home)
    assert banyan(home, "run", "--date", f"{FIRST}").returncode == 0
    write(home, "leads", "good", DAY, "leads.csv", csv_text(leads(0, 40)))
    readable = orders(sha256(phone).upper() for phone in OBJECTING)
    for source, damage in LISTS.items():
        write(home, "suppressions", source, DAY, "dnc.csv", damage(readable))
    process = banyan(home, "run", "--date", f"{DAY}")
    assert process.returncode == 1
    assert f"{DAY} is NOT FIT:" in process.stdout + process.stderr
    assert list((home / "outbox" / f"date={DAY}").rglob("leads*")) == []
    report = (home / "reports" / f"date={DAY}" / "quality.json").read_text()
    severe = [each for each in json.loads(report)["findings"] if each["severity"] == "not_fit"]
    assert [source for source in LISTS if source not in json.dumps(severe)] == []
    assert not any(phone in report for phone in OBJECTING)

    for source in LISTS:
        write(home, "suppressions", source, DAY, "dnc.csv", readable)
    process = banyan(home, "run", "--date", f"{DAY}")
    assert process.returncode == 0, process.stdout + process.stderr
    sent = " ".join(path.read_text() for path in (home / "outbox").rglob("leads*.csv"))
    assert not any(phone in sent for phone in OBJECTING)
    assert all(row["phone"] in sent for row in leads(20, 5))
