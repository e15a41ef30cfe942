"""Seeded violations planted between matching and delivery: the gate stops each and names it."""

import csv
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations import policy
from expectations.contracts import load
from expectations.policy_types import ConsentTexts
from pipelines.core.database import connect
from pipelines.core.home.schema_version import REPLAY
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.deliveries import deliver, lead_file
from pipelines.deliveries.last_gate.gate import LastGate, Violation
from pipelines.deliveries.last_gate.landed_since import record_folder
from pipelines.deliveries.last_gate.outgoing_file import OutgoingFile
from tests.helpers.lake import at, sha
from tests.helpers.matched_day import DAY

NEXT = DAY + timedelta(days=1)
PLANTS = 100
Row = dict[str, Any]


@dataclass
class Outgoing:
    """A lead file that is about to leave, and the sources that a plant may change."""

    settings: Settings
    institution: str
    rows: list[Row]
    """Of the file."""
    schema: pa.Schema
    leads: dict[str, Row]
    """Match id -> the lead, in the lake."""
    random: Random
    undo: ExitStack
    as_of: date = DAY
    earlier: list[str] = field(default_factory=list)
    victim: Row = field(default_factory=dict)

    @property
    def lead(self) -> Row:
        """The lead of the victim."""
        return self.leads[self.victim["match_id"]]

    @property
    def name(self) -> str:
        return f"{self.lead['channel_id']}/{self.lead['lead_id']}"

    def edit(self, path: Path, change: Callable[[list[Row]], list[Row]], schema: pa.Schema) -> None:
        """Write a Parquet file of the home again, until the plant is undone."""
        before = path.read_bytes() if path.is_file() else None
        rows = pq.read_table(path, partitioning=None).to_pylist() if before else []
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(change(rows), schema), path)

        def restore() -> None:
            path.unlink()
            if before:
                path.write_bytes(before)
            else:
                path.parent.rmdir()

        self.undo.callback(restore)

    def edit_feed(
        self, feed: str, change: Callable[[list[Row]], list[Row]], day: date = DAY
    ) -> None:
        path = self.settings.day_folder(self.settings.lake / feed, day) / f"{feed}.parquet"
        self.edit(path, change, load(feed).lake_schema)

    def change_lead(self, **columns: Any) -> None:
        key = (self.lead["channel_id"], self.lead["lead_id"])
        self.edit_feed(
            "leads",
            lambda rows: [
                row | columns if (row["channel_id"], row["lead_id"]) == key else row for row in rows
            ],
        )

    def change_owner(self, feed: str, **columns: Any) -> None:
        self.edit_feed(
            feed,
            lambda rows: [
                row | columns if row["institution_id"] == self.institution else row for row in rows
            ],
        )

    def order(self, kind: str, institution: str | None = None, **columns: Any) -> Row:
        subject = {"phone": self.lead["phone_sha256"], "lead": self.name}[kind]
        return {
            "platform_id": "platform",
            "subject_type": kind,
            "subject": subject,
            "reason": "do_not_contact",
            "institution_id": institution,
            "effective_at": at("2026-11-20 09:00"),
            "landed_on": DAY,
        } | columns

    def land(self, feed: str, row: Row, name: str = "planted.csv") -> None:
        path = self.settings.landing / feed / str(self.lead["channel_id"]) / f"{DAY}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as text:
            writer = csv.DictWriter(text, list(row))
            writer.writeheader()
            writer.writerow(row)
        self.undo.callback(shutil.rmtree, self.settings.landing)


Plant = Callable[[Outgoing], None]


def withdraw(out: Outgoing) -> None:
    out.change_lead(consent_withdrawn_at=at("2026-11-20 20:00"))


def withdraw_a_minute_ago(out: Outgoing) -> None:
    withdrawn = {"consent_withdrawn_at": f"{DAY}T23:58:00+08:00"}
    out.land("leads", {"lead_id": out.lead["lead_id"], "consent_scope": "all"} | withdrawn)


def narrow_a_minute_ago(out: Outgoing) -> None:
    out.land("leads", {"lead_id": out.lead["lead_id"], "consent_scope": "bank-998|bank-999"})


def order_a_minute_ago(out: Outgoing) -> None:
    row = {"subject_type": "lead", "subject": out.name, "institution_id": "", "effective_at": ""}
    out.land("suppressions", row)


def send_an_unreadable_list(out: Outgoing) -> None:
    out.land("suppressions", {"person": "somebody"})


def withdraw_on_another_lead(out: Outgoing) -> None:
    again = out.lead | {
        "lead_id": "again",
        "consent_withdrawn_at": out.lead["consent_at"] + timedelta(hours=1),
    }
    out.edit_feed("leads", lambda rows: [*rows, again])


def suppress(kind: str, institution: str | None = None, **columns: Any) -> Plant:
    def plant(out: Outgoing) -> None:
        concerned = out.institution if institution == "own" else None
        row = out.order(kind, concerned, **columns)
        out.edit_feed("suppressions", lambda rows: [*rows, row])

    return plant


def erase_since_version_1(out: Outgoing) -> None:
    out.as_of, out.earlier = NEXT, [row["match_id"] for row in out.rows]
    row = out.order("phone", reason="erasure", effective_at=at("2026-11-21 10:00"))
    out.edit_feed("suppressions", lambda rows: [*rows, row], NEXT)


def end_admission(out: Outgoing) -> None:
    out.change_owner("institutions", admitted_to=DAY - timedelta(days=1))


def take_off_the_list(out: Outgoing) -> None:
    others = load("institutions").lake_schema
    out.as_of = NEXT
    path = out.settings.day_folder(out.settings.lake / "institutions", DAY)
    rows = pq.read_table(path / "institutions.parquet", partitioning=None).to_pylist()
    kept = [row | {"landed_on": NEXT} for row in rows if row["institution_id"] != out.institution]
    target = out.settings.day_folder(out.settings.lake / "institutions", NEXT)
    out.edit(target / "institutions.parquet", lambda _: kept, others)


def repeat(out: Outgoing) -> None:
    out.rows.append(dict(out.victim))


def give_two_leads_one_phone(out: Outgoing) -> None:
    others = [row for row in out.rows if out.leads[row["match_id"]] is not out.lead]
    out.change_lead(phone_sha256=out.leads[out.random.choice(others)["match_id"]]["phone_sha256"])


def swap_phones(out: Outgoing) -> None:
    other = next(row for row in out.rows if row["phone"] != out.victim["phone"])
    other["phone"], out.victim["phone"] = out.victim["phone"], other["phone"]


def add_column(name: str) -> Plant:
    def plant(out: Outgoing) -> None:
        out.schema = out.schema.append(pa.field(name, pa.string()))
        for row in out.rows:
            row[name] = "x"

    return plant


def add_unknown_row(out: Outgoing) -> None:
    out.rows.append(out.victim | {"match_id": f"{out.random.getrandbits(256):064x}"})


def move_to_other_product(out: Outgoing) -> None:
    out.victim["product_id"] = "loan-9999"


def change_products(**columns: Any) -> Plant:
    return lambda out: out.change_owner("products", **columns)


def change_fees(**columns: Any) -> Plant:
    def plant(out: Outgoing) -> None:
        out.change_owner("products", segment="consumer")  # of business no line is asked for
        out.change_owner("product_fees", **columns)

    return plant


def drop_fees(out: Outgoing) -> None:
    out.change_owner("products", segment="consumer")
    out.edit_feed(
        "product_fees",
        lambda rows: [row for row in rows if row["institution_id"] != out.institution],
    )


def charge_a_fixed_fee(out: Outgoing) -> None:
    fee = {"basis": "fixed", "value": 5e5, "when": "upfront", "is_contingent": False}
    out.edit_feed("product_fees", lambda rows: [*rows, *(row | fee for row in rows)])


def tighten_quota(out: Outgoing) -> None:
    product = out.victim["product_id"]
    count = sum(row["product_id"] == product for row in out.rows)
    out.change_owner("products", daily_quota=count - 1)


def tighten_budget(name: str) -> Plant:
    def plant(out: Outgoing) -> None:
        product = out.victim["product_id"]
        count = sum(row["product_id"] == product for row in out.rows)
        out.change_owner("products", price_model="cpl", price=10.0, **{name: 10.0 * count - 1})

    return plant


def raise_rate(out: Outgoing) -> None:
    out.victim["suggested_apr"] = 0.99


def lower_odds(out: Outgoing) -> None:
    path = out.settings.day_folder(out.settings.matches, DAY) / "matches.parquet"
    victim = out.victim["match_id"]
    out.edit(
        path,
        lambda rows: [
            row | {"p_approve": 0.01} if row["match_id"] == victim else row for row in rows
        ],
        pq.read_schema(path),
    )


VIOLATIONS: list[tuple[str, Plant]] = [
    ("consent_withdrawn", withdraw),
    ("consent_withdrawn", withdraw_a_minute_ago),
    ("consent_withdrawn", withdraw_on_another_lead),
    ("consent_narrowed", narrow_a_minute_ago),
    ("consent_does_not_cover_it", lambda out: out.change_lead(consent_scope=["bank-999"])),
    ("consent_does_not_cover_it", lambda out: out.change_lead(consent_scope=[])),
    ("consent_expired", lambda out: out.change_lead(consent_at=at("2025-11-19 12:00"))),
    ("consent_not_given_yet", lambda out: out.change_lead(consent_at=at("2026-11-21 00:00"))),
    ("suppressed", order_a_minute_ago),
    ("unreadable_since", send_an_unreadable_list),
    ("suppressed", suppress("phone")),
    ("suppressed", suppress("lead", "own")),
    ("erased", suppress("phone", reason="erasure")),
    ("erased_since_an_earlier_version", erase_since_version_1),
    ("not_admitted", end_admission),
    ("not_admitted", take_off_the_list),
    ("lead_twice", repeat),
    ("person_twice", give_two_leads_one_phone),
    ("columns_of_another_person", swap_phones),
    ("field_not_agreed", add_column("bureau_score")),
    ("protected_field", add_column("ethnicity")),
    ("unknown_match", add_unknown_row),
    ("unknown_match", move_to_other_product),
    ("product_closed", change_products(status="paused")),
    ("product_closed", change_products(valid_to=DAY - timedelta(days=1))),
    ("not_in_catalogue", change_products(product_id="loan-other")),
    ("product_above_price_cap", change_products(apr_min=0.3)),
    ("rate_above_cap", raise_rate),
    ("costs_not_stated", change_fees(is_contingent=False)),
    ("costs_not_stated", drop_fees),
    ("cost_above_price_cap", change_fees(value=0.03)),
    ("cost_above_price_cap", change_products(apr_max=0.25)),
    ("cost_above_price_cap", charge_a_fixed_fee),
    ("over_daily_quota", tighten_quota),
    ("over_daily_budget", tighten_budget("daily_budget")),
    ("over_monthly_budget", tighten_budget("monthly_budget")),
    ("over_monthly_quota", change_products(monthly_quota=0)),
    ("below_least_odds", lower_odds),
]


@pytest.fixture(scope="module")
def delivered(matched_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home whose lead files were delivered once, as they should be."""
    home = tmp_path_factory.mktemp("gate") / "home"
    shutil.copytree(matched_home.home, home)
    settings = Settings(home=home, threads=1)
    (shard,) = deliver.plan_shards(settings, DAY)
    assert deliver.deliver(settings, DAY, shard)["held_back"] == 0
    return settings


@contextmanager
def outgoing(settings: Settings, seed: int) -> Iterator[Outgoing]:
    random = Random(seed)
    folder = settings.day_folder(settings.outbox, DAY)
    files = [path for path in sorted(folder.glob("*/leads.*")) if _count(path) >= 4]
    path = random.choice(files)
    matches = pq.read_table(settings.day_folder(settings.matches, DAY) / "matches.parquet")
    leads = pq.read_table(settings.day_folder(settings.lake / "leads", DAY) / "leads.parquet")
    by_name = {(row["channel_id"], row["lead_id"]): row for row in leads.to_pylist()}
    table = lead_file.read(path)
    with ExitStack() as undo:
        # a replay would find what a planted order of another test closed
        undo.callback(shutil.rmtree, record_folder(settings, DAY), ignore_errors=True)
        out = Outgoing(
            settings,
            path.parent.name,
            table.to_pylist(),
            table.schema,
            {row["match_id"]: by_name[row["channel_id"], row["lead_id"]]
             for row in matches.to_pylist()},
            random,
            undo,
        )  # fmt: skip
        out.victim = random.choice(out.rows)
        yield out


def _count(path: Path) -> int:
    return int(lead_file.read(path).num_rows)


def check(out: Outgoing, folder: Path) -> list[Violation]:
    name = f"leads.{'csv' if out.schema.field('rank').type == pa.string() else 'parquet'}"
    rows = [
        {key: str(value) if out.schema.field(key).type == pa.string() else value
         for key, value in row.items()}
        for row in out.rows
    ]  # fmt: skip
    lead_file.write(pa.Table.from_pylist(rows, out.schema), folder / name)
    with connect(out.settings) as connection:
        gate = LastGate.prepare(connection, out.settings, DAY, out.as_of, [out.institution])
        file = OutgoingFile(out.institution, folder / name, len(out.rows), out.earlier)
        return gate.check_outgoing([file])[out.institution]


def test_every_delivered_file_passes_again(delivered: Settings):
    files = sorted(delivered.day_folder(delivered.outbox, DAY).glob("*/leads.*"))
    assert len(files) >= 4
    with connect(delivered) as connection:
        gate = LastGate.prepare(
            connection, delivered, DAY, DAY, [path.parent.name for path in files]
        )
        outgoing = [OutgoingFile(path.parent.name, path, _count(path)) for path in files]
        assert gate.check_outgoing(outgoing) == {path.parent.name: [] for path in files}


def test_a_file_is_stopped_and_the_others_of_the_check_leave(delivered: Settings, tmp_path: Path):
    files = sorted(delivered.day_folder(delivered.outbox, DAY).glob("*/leads.csv"))
    outgoing = [OutgoingFile(path.parent.name, path, _count(path)) for path in files]
    torn, mixed_up, *others = outgoing
    (tmp_path / "leads.csv").write_bytes(torn.path.read_bytes()[:-9])
    outgoing[0] = replace(torn, path=tmp_path / "leads.csv")
    outgoing[1] = replace(mixed_up, path=others[0].path, rows=others[0].rows)
    with connect(delivered) as connection:
        gate = LastGate.prepare(
            connection, delivered, DAY, DAY, [path.parent.name for path in files]
        )
        found = gate.check_outgoing(outgoing)
    assert [str(each) for each in found.pop(torn.institution_id)] == [
        f"file not readable {torn.rows:,}"
    ]
    stopped = {each.kind: each.rows for each in found.pop(mixed_up.institution_id)}
    assert stopped["unknown_match"] == others[0].rows
    assert found == {file.institution_id: [] for file in others}


@pytest.mark.parametrize("plants", [len(VIOLATIONS), pytest.param(PLANTS, marks=pytest.mark.prove)])
def test_planted_violations_are_stopped_and_named(delivered: Settings, tmp_path: Path, plants: int):
    """Each kind, and each kind three times in various files."""
    missed = []
    for seed in range(plants):
        kind, plant = VIOLATIONS[seed % len(VIOLATIONS)]
        with outgoing(delivered, seed) as out:
            plant(out)
            found = {violation.kind for violation in check(out, tmp_path)}
        if kind not in found:
            missed.append((seed, kind, out.institution, sorted(found)))
    assert not missed


TEXT = "I agree that lenders contact me."
REGISTER = {
    "decided_on": "2026-11-01",
    "source": "test",
    "texts": [
        {"version": "1", "sha256": sha(TEXT), "from": "2026-01-01", "jurisdiction": "CN",
         "language": "en", "text": TEXT, "source": "test"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("unknown_version", "change", "kind"),
    [
        ("close", {"consent_text_sha256": sha("another text")}, "consent_text_contradicts"),
        ("close", {"consent_version": "9"}, "consent_text_unknown"),
        ("deliver", {"consent_version": "9", "consent_text_sha256": sha("any")}, None),
        ("close", {"consent_text_sha256": sha(TEXT).upper()}, None),
        ("close", {}, None),
    ],
)
def test_a_consent_text_that_contradicts_the_register_is_stopped(
    delivered: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unknown_version: str,
    change: Row,
    kind: str | None,
):
    register = ConsentTexts.model_validate(REGISTER | {"unknown_version": unknown_version})
    monkeypatch.setattr(policy, "consent_texts", lambda: register)
    with outgoing(delivered, 5) as out:
        if change:
            out.change_lead(**change)
        found = {violation.kind for violation in check(out, tmp_path)}
    assert found == ({kind} if kind else set())


@pytest.mark.parametrize("cell", ["=1+1", "@cmd", "-2+3", "+1+1"])
def test_a_formula_in_a_csv_is_stopped(delivered: Settings, tmp_path: Path, cell: str):
    folder = delivered.day_folder(delivered.outbox, DAY)
    name = next(path.parent.name for path in sorted(folder.glob("*/leads.csv")))
    with (folder / name / "leads.csv").open(newline="") as text:
        rows = list(csv.reader(text))
    rows[1][0] = cell
    with (tmp_path / "leads.csv").open("w", newline="") as text:
        csv.writer(text).writerows(rows)
    with connect(delivered) as connection:
        gate = LastGate.prepare(connection, delivered, DAY, DAY, [name])
        file = OutgoingFile(name, tmp_path / "leads.csv", len(rows) - 1)
        found = gate.check_outgoing([file])[name]
    assert {violation.kind for violation in found} == {"formula", "unknown_match"}


@pytest.mark.parametrize("stated", ["2", None])
def test_a_file_that_states_another_schema_version_is_stopped(
    delivered: Settings, tmp_path: Path, stated: str | None
):
    with outgoing(delivered, 6) as out:
        kind = out.schema.field("schema_version").type
        out.rows[0]["schema_version"] = pa.scalar(stated).cast(kind).as_py()
        found = check(out, tmp_path)
    assert [(violation.kind, violation.rows) for violation in found] == [
        ("schema_version_wrong", 1)
    ]


@pytest.mark.parametrize("content", [b"", b"not a lead file", b"PAR1", b'"match_id"\n"a'])
def test_a_file_that_is_none_is_stopped(delivered: Settings, tmp_path: Path, content: bytes):
    for name in ("leads.csv", "leads.parquet"):
        (tmp_path / name).write_bytes(content)
        with connect(delivered) as connection:
            gate = LastGate.prepare(connection, delivered, DAY, DAY, ["bank-000"])
            file = OutgoingFile("bank-000", tmp_path / name, 0)
            assert gate.check_outgoing([file])["bank-000"]


def test_orders_that_landed_since_are_left_out_and_a_replay_finds_them(
    delivered: Settings, tmp_path: Path
):
    home = tmp_path / "home"
    shutil.copytree(delivered.home, home)
    settings = Settings(home=home, threads=1)
    shutil.rmtree(settings.outbox)
    with outgoing(delivered, 7) as out:
        row = {"subject_type": "lead", "subject": out.name, "institution_id": "all"}
        path = settings.landing / "suppressions" / "dnc" / f"{DAY}" / "late.csv"
        path.parent.mkdir(parents=True)
        path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
        (shard,) = deliver.plan_shards(settings, DAY)
        deliver.deliver(settings, DAY, shard)
        manifest = read_manifest(settings.day_folder(settings.outbox, DAY) / out.institution)
        assert (manifest["state"], manifest["held_reasons"]) == ("delivered", {"suppressed": 1})
        before = sorted(path.read_bytes() for path in settings.outbox.rglob("leads*"))
        # a replay has no files but the recorded ones
        shutil.rmtree(settings.landing)
        shutil.rmtree(settings.outbox)
        (settings.ledger / REPLAY).write_text("{}")
        deliver.deliver(settings, DAY, shard)
    assert sorted(path.read_bytes() for path in settings.outbox.rglob("leads*")) == before
