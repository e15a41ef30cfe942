"""What restricts and can't be read closes: restrictions, closing orders, the safer row of a key."""

import hashlib
import json
import os
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations.contracts import Contract
from pipelines.core.database import connect, create_known_view
from pipelines.core.publishing import read_manifest
from pipelines.core.restrictions import ORDERS_FEED
from pipelines.core.settings import Settings
from pipelines.deliveries.present_knowledge import load_holds
from pipelines.ingest import ingest_day
from tests.helpers.feeds import good, received
from tests.helpers.landing import DAY, csv_bytes, land, leads, path_of, row
from tests.ingest.published import counts, loaded, published, quarantined

NEXT = DAY + timedelta(days=1)
PHONE = "+8613800138000"
HASH = hashlib.sha256(PHONE.encode()).hexdigest()
WITHDRAWN = "2026-11-20T15:00:00+08:00"


def run(settings, *days):
    for day in days or (DAY,):
        ingest_day.ingest(settings, day)


def table(settings, name="restrictions", day=DAY):
    folder = Settings.day_folder(settings.lake / name, day)
    return pq.read_table(folder / f"{name}.parquet", partitioning=None).to_pylist()


def orders(settings, day=DAY):
    return [
        (order["subject_type"], order["subject"], order["institution_id"], order["reason"])
        for order in table(settings, ORDERS_FEED, day)
    ]


def closed(settings, day=DAY):
    return [
        (found["action"], found["institution_id"], found["product_id"])
        for found in table(settings, day=day)
    ]


def findings(settings, name="restrictions", day=DAY):
    stated = read_manifest(Settings.day_folder(settings.lake / name, day))["findings"]
    return {finding["id"]: finding["count"] for finding in stated}


def order(**changes):
    return row("suppressions", subject_type="phone", subject=HASH) | changes


def copy_of_lead(**changes):
    return row("leads", lead_id="L1", consent_withdrawn_at="") | changes


# K1: what can't be read


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"op": "gte"}, ("close_product", "bank_01", "p-1")),
        ({"op": "not in"}, ("close_product", "bank_01", "p-1")),
        ({"value": ""}, ("close_product", "bank_01", "p-1")),
        ({"attribute": "Age Years"}, ("close_product", "bank_01", "p-1")),
        ({"product_id": ""}, ("close_institution", "bank_01", None)),
        ({"product_id": "p 1"}, ("close_institution", "bank_01", None)),
    ],
)
def test_an_unreadable_rule_closes_its_product_or_else_its_institution(settings, change, expected):
    rules = [row("product_rules", value=f"{age}|60") for age in range(18, 22)]
    land(path_of(settings, "product_rules", "bank_01"), [*rules, row("product_rules") | change])
    land(path_of(settings, "product_rules", "bank_02"), rules)
    run(settings)
    assert closed(settings) == [expected]
    assert len(loaded(settings, "product_rules")) == 8


@pytest.mark.parametrize(
    ("feed", "source", "action"),
    [
        ("product_rules", "bank_01", ("close_institution", "bank_01", None)),
        ("products", "bank_01", ("close_institution", "bank_01", None)),
        ("institutions", "platform", ("close_institution", None, None)),
        ("suppressions", "platform", ("hold_delivery", None, None)),
    ],
)
@pytest.mark.parametrize("kind", ["UTF-16", "no column", "no table", "cut gzip", "broken link"])
def test_a_file_that_restricts_and_is_rejected_closes_all_that_it_may_concern(
    settings, feed, source, action, kind
):
    good_file = csv_bytes([row(feed)])
    name, content = {
        "UTF-16": ("rows.csv", good_file.decode().encode("utf-16")),
        "no column": ("rows.csv", b"a,b\n1,2\n"),
        "broken link": ("rows.csv", b""),
        "no table": ("rows.xlsx", b"PK\x03\x04"),
        "cut gzip": ("rows.csv.gz", b"\x1f\x8b\x08\x00abc"),
    }[kind]
    path = path_of(settings, feed, source, name=name)
    path.parent.mkdir(parents=True)
    if kind == "broken link":
        path.symlink_to(settings.home / "gone.csv")
    else:
        path.write_bytes(content)
    run(settings)
    assert closed(settings) == [action]
    assert table(settings)[0]["feed"] == feed
    assert table(settings)[0]["line"] is None


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("broken link", "it cannot be opened: No such file or directory"),
        ("link to itself", "it cannot be opened: Too many levels of symbolic links"),
        ("pipe", "it is a pipe, socket or device and no file"),
    ],
)
def test_a_file_that_cannot_be_opened_says_the_error_and_what_to_mend(settings, kind, error):
    path = path_of(settings, "suppressions", "platform")
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "link to itself" else settings.home / "gone.csv")
    run(settings)
    assert closed(settings) == [("hold_delivery", None, None)]
    (record,) = quarantined(settings, "suppressions")
    assert error in record["message"]
    assert "Mend what the operating system reports" in record["message"]
    assert "corrected file" not in record["message"]


def test_a_folder_of_orders_that_cannot_be_listed_holds_the_deliveries(settings):
    folder = land(path_of(settings, "suppressions", "platform"), [order()]).parent
    folder.chmod(0)
    if os.access(folder, os.R_OK):
        pytest.skip("this user may read every folder")
    run(settings)
    folder.chmod(0o700)
    assert closed(settings) == [("hold_delivery", None, None)]
    (record,) = quarantined(settings, "suppressions")
    assert "the folder cannot be listed: Permission denied" in record["message"]
    run(settings)
    assert len(loaded(settings, "suppressions")) == 1


def test_a_product_row_and_an_institution_row_close_what_they_name(settings):
    land(
        path_of(settings, "products", "bank_01"),
        [row("products"), row("products", product_id="p-2", status="Paused")],
    )
    land(
        path_of(settings, "institutions", "platform"),
        [
            row("institutions"),
            row("institutions", institution_id="bank_02", admitted_to="31.12.2026"),
            row("institutions", institution_id="Bank 03"),
            row("institutions", institution_id="bank_04"),
        ],
    )
    run(settings)
    # a row without a readable id lists nobody, so that institution is absent
    assert closed(settings) == [
        ("close_institution", "bank_02", None),
        ("close_product", "bank_01", "p-2"),
    ]


@pytest.mark.parametrize(
    "subject",
    [PHONE, f"sha256:{HASH}", "1ern4MPwf7w8XSPrqAWbU/ExXDtfPG2uywr+spCpe+E=", HASH[:32], "", "a/b"],
)
def test_a_subject_that_is_no_hash_holds_the_deliveries_and_is_not_loaded(
    settings, caplog, subject
):
    land(
        path_of(settings, "suppressions", "platform"),
        [order(), order(subject=HASH.upper(), reason="fraud"), order(subject=subject)],
    )
    run(settings)
    assert closed(settings) == [("hold_delivery", None, None)]
    assert findings(settings) == {"unreadable_order_holds_delivery": 1}
    assert len(loaded(settings, "suppressions")) == 2
    assert not subject or subject not in caplog.text + json.dumps(table(settings))


def test_an_order_for_one_institution_holds_only_its_deliveries(settings):
    bad = order(subject=PHONE, institution_id="bank_02")
    land(path_of(settings, "suppressions", "platform"), [order(), order(reason="fraud"), bad])
    run(settings)
    assert closed(settings) == [("hold_delivery", "bank_02", None)]


@pytest.mark.parametrize("word", ["all", "ALL", "All ", "*", ""])
def test_words_for_every_institution_are_an_order_for_all(settings, word):
    land(path_of(settings, "suppressions", "platform"), [order(institution_id=word)])
    run(settings)
    assert [found["institution_id"] for found in loaded(settings, "suppressions")] == [None]
    assert closed(settings) == []


@pytest.mark.parametrize(
    ("change", "institution"),
    [
        ({"effective_at": "09/01/2026 00:00"}, "bank_02"),
        ({"reason": "Erasure"}, "bank_02"),
        ({"institution_id": "Bank 02"}, None),
    ],
)
def test_an_order_whose_subject_can_be_read_is_obeyed_at_once(settings, change, institution):
    good_orders = [order(), order(reason="fraud")]
    bad = order(institution_id="bank_02") | change
    land(path_of(settings, "suppressions", "platform"), [*good_orders, bad])
    run(settings)
    key = loaded(settings, "suppressions")[0]["subject"]
    assert orders(settings) == [("phone", key, institution, "unreadable_order")]
    assert closed(settings) == []
    assert HASH not in json.dumps(table(settings, ORDERS_FEED))


def test_an_order_without_its_type_of_subject_counts_for_both_types(settings):
    land(
        path_of(settings, "suppressions", "platform"),
        [order(), order(reason="fraud"), order(subject_type="tel")],
    )
    run(settings)
    assert [found[0] for found in orders(settings)] == ["id_number", "phone"]
    assert closed(settings) == []


def test_the_readable_orders_of_a_rejected_list_are_obeyed_as_well(settings):
    bad = [order(effective_at="09/01/2026", reason=reason) for reason in ("fraud", "erasure")]
    land(path_of(settings, "suppressions", "platform"), [order(institution_id="bank_02"), *bad])
    run(settings)
    assert closed(settings) == [("hold_delivery", None, None)]
    assert [found[2] for found in orders(settings)].count("bank_02") == 1
    assert len(orders(settings)) == 3


def test_an_empty_marker_closes_nothing(settings):
    land(path_of(settings, "suppressions", "platform"), [order()])
    land(path_of(settings, "suppressions", "platform", name="_SUCCESS"), b"")
    land(path_of(settings, "leads", name="_SUCCESS"), b"done")
    land(path_of(settings, "leads"), leads(3, consent_withdrawn_at=None))
    run(settings)
    assert closed(settings) == orders(settings) == []


def test_a_clean_day_has_empty_tables_and_no_finding(settings):
    for feed, source in [
        ("leads", "search"),
        ("products", "bank_01"),
        ("suppressions", "platform"),
    ]:
        land(path_of(settings, feed, source), [row(feed)])
    run(settings)
    assert closed(settings) == orders(settings) == []
    assert findings(settings) == findings(settings, ORDERS_FEED) == {}


# K2: of two rows of one key


@pytest.mark.parametrize("campaign", ["a", "z"])
@pytest.mark.parametrize("captured", ["2026-11-20T08:00:00+08:00", "2026-11-20T20:00:00+08:00"])
def test_a_withdrawal_wins_over_a_copy_of_the_same_day(settings, campaign, captured):
    late = copy_of_lead(consent_withdrawn_at=WITHDRAWN, campaign_id=campaign, captured_at=captured)
    land(path_of(settings, "leads", name="10h.csv"), [copy_of_lead(campaign_id="m")])
    land(path_of(settings, "leads", name="16h.csv"), [late])
    run(settings)
    assert [lead["consent_withdrawn_at"] is not None for lead in loaded(settings)] == [True]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"consent_withdrawn_at": WITHDRAWN}, "consent_withdrawn"),
        ({"consent_withdrawn_at": WITHDRAWN, "amount": "x"}, "consent_withdrawn"),
        ({"consent_withdrawn_at": "20/11/2026"}, "unreadable_consent"),
        ({"consent_scope": "||"}, "unreadable_consent"),
        ({"consent_scope": "bank_01"}, "consent_narrowed"),
    ],
)
def test_a_withdrawal_of_a_later_day_is_obeyed(settings, change, reason):
    land(path_of(settings, "leads"), leads(3, consent_withdrawn_at=None))
    others = leads(2, first=900, consent_withdrawn_at=None)
    later = copy_of_lead(lead_id="L00001", **change)
    land(path_of(settings, "leads", day=NEXT, name="again.csv"), [*others, later])
    run(settings, DAY, NEXT)
    assert orders(settings) == []
    assert orders(settings, NEXT) == [("lead", "search/L00001", None, reason)]
    with connect(settings) as connection:
        for day, known in [(DAY, 0), (NEXT, 1)]:
            create_known_view(connection, settings, "suppressions", day)
            assert connection.sql("from suppressions").to_arrow_table().num_rows == known


def test_a_copy_that_changes_no_consent_closes_nothing(settings):
    land(path_of(settings, "leads"), [copy_of_lead(consent_scope="bank_01")])
    wider = copy_of_lead(consent_scope="all", campaign_id="b")
    land(path_of(settings, "leads", day=NEXT), [wider])
    run(settings, DAY, NEXT)
    assert orders(settings, NEXT) == []
    assert loaded(settings)[0]["consent_scope"] == ["bank_01"]


def test_of_two_scopes_the_narrower_one_counts_and_of_two_others_none(settings):
    land(path_of(settings, "leads", name="a.csv"), [copy_of_lead(consent_scope="all")])
    land(path_of(settings, "leads", name="b.csv"), [copy_of_lead(consent_scope="bank_01")])
    other = copy_of_lead(lead_id="L2", consent_scope="bank_01")
    land(path_of(settings, "leads", name="c.csv"), [other, other | {"consent_scope": "bank_02"}])
    run(settings)
    assert loaded(settings)[0]["consent_scope"] == ["bank_01"]
    assert orders(settings) == [("lead", "search/L2", None, "consent_narrowed")]


@pytest.mark.parametrize(
    ("sent", "scope"),
    [
        ("all", ["all"]),
        ("all|all", ["all", "all"]),
        ("all|!bank_01", ["!bank_01"]),
        ("bank_01|all|bank_02", ["bank_01", "bank_02"]),
        ("bank_01", ["bank_01"]),
    ],
)
def test_beside_names_of_institutions_all_does_not_count(settings, sent, scope):
    land(path_of(settings, "leads", "search"), [row("leads", lead_id="L1", consent_scope=sent)])
    run(settings)
    assert [lead["consent_scope"] for lead in loaded(settings, "leads")] == [scope]


@pytest.mark.parametrize("again", ["Status", "STATUS", "Daily Quota", "daily-quota"])
def test_a_column_that_restricts_and_comes_twice_in_other_letters_closes(settings, again):
    good = csv_bytes([row("products")]).decode().splitlines()
    path = path_of(settings, "products", "bank_01")
    land(path, f"{good[0]},{again}\n{good[1]},paused\n".encode())
    run(settings)
    assert closed(settings) == [("close_institution", "bank_01", None)]


def test_a_file_of_leads_that_cannot_be_read_closes_the_other_leads_of_its_channel(settings):
    rows = leads(2, consent_withdrawn_at=None)
    land(path_of(settings, "leads", name="10h.csv"), rows)
    land(path_of(settings, "leads", name="16h.csv"), csv_bytes(rows).decode().encode("utf-16"))
    land(path_of(settings, "leads", "social"), rows)
    run(settings)
    assert [subject for _, subject, *_ in orders(settings)] == ["search/L00001", "search/L00002"]
    assert len(loaded(settings)) == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("16h.csv", csv_bytes(leads(30, first=50))[:-1]),
        ("16h.csv", csv_bytes(leads(30, first=50))[:-90]),
        ("16h.jsonl", b'{"lead_id": "L00009"}\n{"lead_id": "L000'),
        ("16h.csv.gz", csv_bytes(leads(30, first=50))[:-90]),
    ],
)
def test_a_file_of_leads_that_is_cut_off_closes_the_leads_of_the_other_files(
    settings, name, content
):
    land(path_of(settings, "leads", name="10h.csv"), leads(2, consent_withdrawn_at=None))
    land(path_of(settings, "leads", name=name), content)
    land(path_of(settings, "leads", "social", name="10h.csv"), leads(2))
    run(settings)
    subjects = [subject for _, subject, _, reason in orders(settings)]
    assert {"search/L00001", "search/L00002"} <= set(subjects)
    assert not [subject for subject in subjects if subject.startswith("social/")]


def test_a_file_whose_last_line_is_whole_json_closes_nothing(settings):
    land(path_of(settings, "leads", name="10h.csv"), leads(2, consent_withdrawn_at=None))
    row_of_json = json.dumps(copy_of_lead(lead_id="L9")).encode()
    land(path_of(settings, "leads", name="16h.jsonl"), row_of_json)
    run(settings)
    assert orders(settings) == []


@pytest.mark.parametrize(
    ("feed", "source", "right", "wrong", "action"),
    [
        ("institutions", "platform", "admitted_to", "admited_to", "close_institution"),
        ("products", "bank_01", "valid_to", "vaild_to", "close_institution"),
        ("products", "bank_01", "daily_budget", "Daily_Budgt", "close_institution"),
    ],
)
def test_a_misspelt_column_that_restricts_rejects_its_file(
    settings, feed, source, right, wrong, action
):
    rows = [{wrong if name == right else name: value for name, value in row(feed).items()}]
    land(path_of(settings, feed, source), rows)
    run(settings)
    assert [found[0] for found in closed(settings)] == [action]
    assert loaded(settings, feed) == []


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("amount", "amonut"),
        ("amount", "loan_amount"),
        ("currency", "Curency"),
        ("amount", "AMOUNT"),
    ],
)
def test_what_people_stated_under_a_misspelt_name_is_not_replaced_by_an_assumption(
    settings, suffix, right, wrong
):
    stated = copy_of_lead(lead_id="L00001")
    sent = {wrong if name == right else name: value for name, value in stated.items()}
    content = csv_bytes([sent]) if suffix == "csv" else json.dumps(sent).encode() + b"\n"
    land(path_of(settings, "leads", name=f"10h.{suffix}"), content)
    run(settings)
    assert loaded(settings) == []


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_channel_that_asks_for_no_amount_is_loaded(settings, suffix):
    sent = {name: value for name, value in copy_of_lead().items() if name != "amount"}
    sent["utm_source"] = "spring"
    content = csv_bytes([sent]) if suffix == "csv" else json.dumps(sent).encode() + b"\n"
    land(path_of(settings, "leads", name=f"10h.{suffix}"), content)
    run(settings)
    assert len(loaded(settings)) == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "wrong", ["consent_witdrawn_at", "consent_withdrawn_a", "CONSENT_WITHDRAWN_AT"]
)
def test_a_misspelt_column_of_withdrawals_closes_the_other_leads_of_the_channel(
    settings, suffix, wrong
):
    land(path_of(settings, "leads", name="10h.csv"), leads(2, consent_withdrawn_at=None))
    again = copy_of_lead(lead_id="L00001", consent_withdrawn_at=WITHDRAWN)
    again = {wrong if name == "consent_withdrawn_at" else name: v for name, v in again.items()}
    content = csv_bytes([again]) if suffix == "csv" else json.dumps(again).encode() + b"\n"
    land(path_of(settings, "leads", name=f"16h.{suffix}"), content)
    run(settings)
    assert {subject for _, subject, *_ in orders(settings)} == {"search/L00001", "search/L00002"}


@pytest.mark.parametrize(
    ("extra", "reasons"),
    [
        ("consent_withdrawn_at_utc", {"unmapped_column"}),  # its values restrict by its name
        ("withdrawn", {"unmapped_column"}),
        ("utm_valid", set()),
        ("pd", set()),
    ],
)
def test_a_further_column_is_no_misspelt_one(settings, extra, reasons):
    land(path_of(settings, "leads"), leads(2, consent_withdrawn_at=None, **{extra: "1"}))
    run(settings)
    assert len(loaded(settings)) == 2
    assert {reason for *_, reason in orders(settings)} == reasons


def test_of_two_catalogues_the_paused_product_and_the_earlier_end_count(settings):
    active = row("products", status="active", valid_to=date(2026, 12, 1))
    paused = row("products", status="paused", valid_to=date(2026, 12, 31))
    land(path_of(settings, "products", "bank_01", name="a.csv"), [active])
    land(path_of(settings, "products", "bank_01", name="b.csv"), [paused])
    ends = [row("institutions", admitted_to=end) for end in (None, date(2026, 11, 19))]
    land(path_of(settings, "institutions", "platform", name="a.csv"), ends[:1])
    land(path_of(settings, "institutions", "platform", name="b.csv"), ends[1:])
    run(settings)
    assert [found["status"] for found in loaded(settings, "products")] == ["paused"]
    assert loaded(settings, "institutions")[0]["admitted_to"] == date(2026, 11, 19)


def person(number, **changes):
    changes = {"id_number": f"91110000{number:09}L", "phone": f"+86138{number:08}"} | changes
    return copy_of_lead(full_name=f"Person {number}", **changes)


def test_rows_of_one_key_that_name_different_persons_are_all_quarantined(settings):
    people = [person(number) for number in range(4)]
    land(path_of(settings, "leads"), [*people, *leads(6)])
    run(settings)
    assert len(loaded(settings)) == 6
    records = [(found["rule"], found["severity"], found["rows"]) for found in quarantined(settings)]
    assert records == [("key_of_different_persons", "critical", 1)] * 4
    assert counts(settings)["search"]["quarantined"] == 4
    assert findings(settings) == {"key_of_different_persons": 4}


@pytest.mark.parametrize(
    "change",
    [
        {"phone": "+8613900139000"},
        {"full_name": "Zhang  san"},
        {"id_number": "911100006000 37341l"},
        {"phone": "", "full_name": "Li Si"},
        {"id_number": ""},
        {"id_number": "91310000100003388F"},  # corrected: phone and name are the same
    ],
)
def test_a_correction_of_one_person_is_a_harmless_copy(settings, change):
    land(path_of(settings, "leads"), [copy_of_lead(), copy_of_lead(**change)])
    run(settings)
    assert len(loaded(settings)) == 1
    assert counts(settings)["search"]["duplicates"] == 1


def test_ids_that_begin_again_on_the_next_day_are_no_copies(settings):
    land(path_of(settings, "leads"), [person(1)])
    land(path_of(settings, "leads", day=NEXT), [person(2), *leads(3)])
    run(settings, DAY, NEXT)
    assert len(loaded(settings)) == 1
    assert len(loaded(settings, day=NEXT)) == 3
    assert [found["rule"] for found in quarantined(settings, day=NEXT)] == [
        "key_of_different_persons"
    ]


def test_one_run_over_two_days_publishes_the_bytes_of_two_runs(settings, tmp_path):
    other = Settings(home=tmp_path / "other", threads=2, memory_limit="1GB")
    for home in (settings, other):
        land(path_of(home, "leads"), [person(1), person(2) | {"lead_id": "L2"}])
        again = [person(2), person(3) | {"lead_id": "L2"}, person(1)]
        withdrawn = person(2) | {"lead_id": "L2", "consent_withdrawn_at": WITHDRAWN}
        land(path_of(home, "leads", day=NEXT), [*again, withdrawn, *leads(9)])
        land(path_of(home, "suppressions", "platform", NEXT), [order(), order(subject=PHONE)])
    run(settings, DAY, NEXT)
    run(other, NEXT)
    one, two = published(other), published(settings)
    assert one.items() <= two.items()  # one run publishes no empty feed of the first day
    assert {name.split("/")[1] for name in one} >= {"leads", ORDERS_FEED, "restrictions"}
    assert orders(settings, NEXT) == [("lead", "search/L2", None, "consent_withdrawn")]


# blank rows and binary numbers


@pytest.mark.parametrize(
    ("name", "blank"),
    [
        ("rows.csv", lambda columns: "," * (columns - 1)),
        ("rows.csv", lambda columns: ",".join([" "] * columns)),
        ("rows.csv", lambda columns: ",".join(['""'] * columns)),
        ("rows.csv", lambda columns: ",,,"),
        ("rows.jsonl", lambda columns: '{"lead_id": "", "amount": null}'),
    ],
)
def test_rows_without_any_value_are_passed_over_and_counted(settings, name, blank):
    rows = leads(3)
    as_lines = "".join(json.dumps(lead) + "\n" for lead in rows)
    text = as_lines if name.endswith("jsonl") else csv_bytes(rows).decode()
    content = text + f"{blank(len(rows[0]))}\n" * 5
    land(path_of(settings, "leads", name=name), content.encode())
    run(settings)
    assert counts(settings)["search"]["received"] == counts(settings)["search"]["loaded"] == 3
    manifest = read_manifest(Settings.day_folder(settings.lake / "leads", DAY))
    assert manifest["blank_rows"] == {"search": 5}
    assert quarantined(settings) == []


@pytest.mark.parametrize(
    ("column", "numbers", "is_rejected"),
    [
        ("lead_id", [2.6e18, 2.7e18], True),
        ("campaign_id", [float("nan"), None], False),
        ("campaign_id", [5.0, None], False),
    ],
)
def test_a_binary_number_is_no_text(settings, column, numbers, is_rejected):
    table_ = received("leads", [good("leads", lead_id=f"P{i}") for i in range(2)])
    index = table_.schema.get_field_index(column)
    table_ = table_.set_column(index, column, pa.array(numbers, pa.float64()))
    path = path_of(settings, "leads", name="rows.parquet")
    path.parent.mkdir(parents=True)
    pq.write_table(table_, path)
    run(settings)
    assert len(loaded(settings)) == (0 if is_rejected else 2)
    assert [found["rule"] for found in quarantined(settings)] == (
        ["type"] if is_rejected or numbers[0] == 5 else []
    )


# names of columns, empty files and names that nobody knows


@pytest.mark.parametrize(
    ("feed", "name", "misspelt", "is_rejected"),
    [
        ("leads", "rows.jsonl", {"consent_withdrawn_at": "consentWithdrawnAt"}, True),
        ("leads", "rows.csv", {"consent_withdrawn_at": "withdrawn_at"}, True),
        ("products", "rows.csv", {"daily_budget": "Budget"}, True),
        ("products", "rows.jsonl", {"valid_to": "valid_until"}, True),
        ("products", "rows.csv", {"daily_budget": "sales_region"}, False),  # another column
        ("products", "rows.jsonl", {}, False),
        ("leads", "rows.csv", {"campaign_id": "consent_withdrawn"}, False),  # both are there
    ],
)
def test_a_misspelt_optional_column_that_restricts_rejects_the_file(
    settings, feed, name, misspelt, is_rejected
):
    sent = [
        {misspelt.get(column, column): value for column, value in row(feed).items()},
    ]
    text = "".join(json.dumps(line) + "\n" for line in sent).encode()
    content = text if name.endswith("jsonl") else csv_bytes(sent)
    land(path_of(settings, feed, "bank_01", name=name), content)
    run(settings)
    assert len(loaded(settings, feed)) == (0 if is_rejected else 1)
    assert [found["rule"] for found in quarantined(settings, feed)] == ["header"] * is_rejected


def test_an_empty_catalogue_closes_only_who_sent_rows_before(settings):
    header = csv_bytes([], row("product_rules"))
    for name, rows in [("had_rules", [row("product_rules")]), ("has_none", [])]:
        land(path_of(settings, "product_rules", name), rows or header)
        land(path_of(settings, "product_rules", name, NEXT), header)
    land(path_of(settings, "product_rules", "in_parts"), [row("product_rules")])
    land(path_of(settings, "product_rules", "in_parts", NEXT, "empty.csv"), header)
    land(path_of(settings, "product_rules", "in_parts", NEXT, "rest.csv"), [row("product_rules")])
    run(settings, DAY, NEXT)
    assert closed(settings) == []
    assert closed(settings, NEXT) == [("close_institution", "had_rules", None)]


def test_parts_of_a_catalogue_without_a_common_key_contradict_nothing(settings):
    for name in ("consumer", "business"):
        rows = [row("products", product_id=f"{name}-{number}") for number in range(3)]
        land(path_of(settings, "products", "bank_01", name=f"{name}.csv"), rows)
    run(settings)
    assert closed(settings) == []
    assert len(loaded(settings, "products")) == 6


def test_an_order_for_an_institution_that_no_list_names_holds_for_all(settings):
    land(path_of(settings, "institutions", "platform"), [row("institutions")])
    named = [order(institution_id=name) for name in ("bank_01", "bnak_01", "")]
    land(path_of(settings, "suppressions", "platform"), named)
    run(settings)
    assert [(institution, reason) for *_, institution, reason in orders(settings)] == [
        (None, "unreadable_order")
    ]
    assert findings(settings, ORDERS_FEED) == {"unreadable_order_applied": 1}


def test_a_file_in_a_misspelt_folder_closes_what_it_may_concern(settings):
    land(settings.landing / "Suppression/platform/2026-11-20/list.csv", [order()])
    land(settings.landing / "product_rule/bank_01/2026-11-20/rules.csv", [row("product_rules")])
    land(settings.landing / "readme.txt", b"Ask the platform team.")
    land(path_of(settings, "product_rules", "Bank 01"), [row("product_rules")])
    run(settings)
    assert closed(settings) == [
        ("close_institution", "bank_01", None),
        ("close_institution", "bank_01", None),
        ("hold_delivery", None, None),
    ]
    folder = settings.landing / "suppressions"
    (settings.landing / "Suppression").rename(folder)  # moved, and the date is run again
    run(settings)
    assert ("hold_delivery", None, None) not in closed(settings)


@pytest.mark.parametrize(
    ("name", "is_closing"),
    [("leads.csv.bak", True), ("leads.xlsx", True), ("notes.txt", False), ("copy.bak", False)],
)
def test_a_file_of_leads_with_an_impossible_name_closes_unless_it_says_nothing_new(
    settings, name, is_closing
):
    rows = leads(2, consent_withdrawn_at=None)
    contents = {
        "leads.csv.bak": csv_bytes(leads(3, consent_withdrawn_at=None)),
        "leads.xlsx": b"PK\x03\x04packed",
        "notes.txt": b"all sent",
        "copy.bak": csv_bytes(rows),
    }
    land(path_of(settings, "leads"), rows)
    land(path_of(settings, "leads", name=name), contents[name])
    run(settings)
    assert bool(orders(settings)) is is_closing


def test_a_hold_ends_with_a_list_of_the_same_name_or_one_that_the_next_run_finds(settings):
    def holds(last):
        with connect(settings) as connection:
            return load_holds(connection, settings, last, {"bank_01"})

    bad = [order(), order(reason="fraud"), order(subject=PHONE)]
    names = ("same.csv", "other.csv")
    for source, name in zip(("east", "west"), names, strict=True):
        land(path_of(settings, "suppressions", source, name="same.csv"), bad)
        run(settings)
        assert len(holds(DAY)) == 1
        land(path_of(settings, "suppressions", source, name=name), [order(reason="erasure")])
        if name == "same.csv":
            run(settings)
            assert holds(DAY) == []
    run(settings, NEXT)
    assert holds(NEXT) == []


# the contract itself

COLUMN = {"name": "a", "type": "text", "description": "A."}
CONTRACT = {"feed": "f", "description": "F.", "source_column": "s", "key": ["a"]}


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ({"columns": [COLUMN | {"restricts": True}]}, "state on_unreadable"),
        ({"columns": [COLUMN | {"on_unreadable": "hold_delivery"}]}, "state on_unreadable"),
        (
            {
                "columns": [COLUMN],
                "on_unreadable": {"file": "hold_delivery", "row": "hold_delivery"},
            },
            "mark the columns",
        ),
        (
            {"columns": [COLUMN], "safer_first": [{"column": "a", "known_first": True}]},
            "mark as restricting",
        ),
        (
            {
                "columns": [COLUMN | {"restricts": True, "severity": "warning"}],
                "on_unreadable": {"file": "hold_delivery", "row": "hold_delivery"},
            },
            "severity is critical",
        ),
        (
            {"columns": [COLUMN], "safer_first": [{"column": "a"}]},
            "exactly one criterion",
        ),
        (
            {
                "columns": [COLUMN | {"restricts": True}],
                "on_unreadable": {"file": "hold_delivery", "row": "hold_delivery"},
            },
            "state on_unknown",
        ),
    ],
)
def test_a_contract_that_leaves_open_what_stays_closed_is_refused(contract, message):
    with pytest.raises(ValueError, match=message):
        Contract.model_validate(CONTRACT | contract)
