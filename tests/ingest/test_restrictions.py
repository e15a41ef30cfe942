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
from tests.helpers.identifier_key import keyed
from tests.helpers.landing import DAY, csv_bytes, land, leads, path_of, row
from tests.ingest.published import counts, loaded, published, quarantined

pytestmark = pytest.mark.usefixtures("remembered")

NEXT = DAY + timedelta(days=1)
PHONE = "+8613800138000"
SUPPRESSED = "suppressions"


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


HASH = sha(PHONE)
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


def test_an_unreadable_rule_closes_its_product_or_else_its_institution(settings):
    changes: list[tuple[dict[str, str], str, str | None]] = [
        ({"op": "gte"}, "close_product", "p-1"),
        ({"op": "not in"}, "close_product", "p-1"),
        ({"value": ""}, "close_product", "p-1"),
        ({"attribute": "Age Years"}, "close_product", "p-1"),
        ({"product_id": ""}, "close_institution", None),
        ({"product_id": "p 1"}, "close_institution", None),
    ]
    rules = [row("product_rules", value=f"{age}|60") for age in range(18, 22)]
    banks = {f"bank_{number:02}": change for number, change in enumerate(changes)}
    for bank, (change, _, _) in banks.items():
        land(path_of(settings, "product_rules", bank), [*rules, row("product_rules") | change])
    land(path_of(settings, "product_rules", "careful"), rules)
    run(settings)
    expected = {(action, bank, product) for bank, (_, action, product) in banks.items()}
    assert len(closed(settings)) == len(expected)
    assert set(closed(settings)) == expected
    assert len(loaded(settings, "product_rules")) == 4 * 7


def test_a_file_that_restricts_and_is_rejected_closes_all_that_it_may_concern(settings):
    actions = {
        "product_rules": "close_institution",
        "products": "close_institution",
        "institutions": "close_institution",
        "suppressions": "hold_delivery",
    }
    kinds = ("utf-16", "no-column", "no-table", "cut-gzip", "broken-link")
    for feed in actions:
        good_file = csv_bytes([row(feed)])
        files = {
            "utf-16": ("rows.csv", good_file.decode().encode("utf-16")),
            "no-column": ("rows.csv", b"a,b\n1,2\n"),
            "broken-link": ("rows.csv", b""),
            "no-table": ("rows.xlsx", b"PK\x03\x04"),
            "cut-gzip": ("rows.csv.gz", b"\x1f\x8b\x08\x00abc"),
        }
        for kind in kinds:
            name, content = files[kind]
            path = path_of(settings, feed, kind, name=name)
            path.parent.mkdir(parents=True)
            if kind == "broken-link":
                path.symlink_to(settings.home / "gone.csv")
            else:
                path.write_bytes(content)
    run(settings)
    found = {
        (each["feed"], each["source"], each["action"], each["institution_id"], each["line"])
        for each in table(settings)
    }
    of_lenders = ("product_rules", "products")
    assert found == {
        (feed, kind, action, kind if feed in of_lenders else None, None)
        for feed, action in actions.items()
        for kind in kinds
    }
    assert len(table(settings)) == len(found)
    assert {each["product_id"] for each in table(settings)} == {None}


def test_a_file_that_cannot_be_opened_says_the_error_and_what_to_mend(settings):
    errors = {
        "broken": "it cannot be opened: No such file or directory",
        "itself": "it cannot be opened: Too many levels of symbolic links",
        "pipe": "it is a pipe, socket or device and no file",
    }
    for kind in errors:
        path = path_of(settings, "suppressions", kind)
        path.parent.mkdir(parents=True)
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path if kind == "itself" else settings.home / "gone.csv")
    run(settings)
    assert closed(settings) == [("hold_delivery", None, None)] * 3
    records = {record["source"]: record["message"] for record in quarantined(settings, SUPPRESSED)}
    assert records.keys() == errors.keys()
    for kind, message in records.items():
        assert errors[kind] in message
        assert "Mend what the operating system reports" in message
        assert "corrected file" not in message


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


def test_a_subject_that_is_no_hash_holds_the_deliveries_and_is_not_loaded(settings, caplog):
    base64 = "1ern4MPwf7w8XSPrqAWbU/ExXDtfPG2uywr+spCpe+E="
    subjects = (PHONE, f"sha256:{HASH}", base64, HASH[:32], "", "a/b")
    for number, subject in enumerate(subjects):
        rows = [order(), order(subject=HASH.upper(), reason="fraud"), order(subject=subject)]
        land(path_of(settings, "suppressions", f"platform-{number}"), rows)
    run(settings)
    assert closed(settings) == [("hold_delivery", None, None)] * len(subjects)
    assert findings(settings) == {"unreadable_order_holds_delivery": len(subjects)}
    assert {found["source"] for found in table(settings)} == set(counts(settings, SUPPRESSED))
    assert len(loaded(settings, "suppressions")) == 2 * len(subjects)
    text = caplog.text + json.dumps(table(settings))
    assert [subject for subject in subjects if subject and subject in text] == []


def test_an_order_for_one_institution_holds_only_its_deliveries(settings):
    bad = order(subject=PHONE, institution_id="bank_02")
    land(path_of(settings, "suppressions", "platform"), [order(), order(reason="fraud"), bad])
    run(settings)
    assert closed(settings) == [("hold_delivery", "bank_02", None)]


def test_words_for_every_institution_are_an_order_for_all(settings):
    words = ("all", "ALL", "All ", "*", "")
    orders_ = [order(institution_id=w, subject=sha(f"{n}")) for n, w in enumerate(words)]
    land(path_of(settings, "suppressions", "platform"), orders_)
    run(settings)
    institutions = [found["institution_id"] for found in loaded(settings, "suppressions")]
    assert institutions == [None] * len(words)
    assert closed(settings) == []


def test_an_order_whose_subject_can_be_read_is_obeyed_at_once(settings):
    cases: dict[str, tuple[dict[str, str], str | None]] = {
        "13800000001": ({"effective_at": "09/01/2026 00:00"}, "bank_02"),
        "13800000002": ({"reason": "Erasure"}, "bank_02"),
        "13800000003": ({"institution_id": "Bank 02"}, None),
    }
    good_orders = [order(subject=sha(f"{number}")) for number in range(4)]
    bad = [
        order(institution_id="bank_02", subject=sha(phone)) | change
        for phone, (change, _) in cases.items()
    ]
    land(path_of(settings, "suppressions", "platform"), [*good_orders, *bad])
    run(settings)
    assert sorted(orders(settings)) == sorted(
        ("phone", keyed(phone), institution, "unreadable_order")
        for phone, (_, institution) in cases.items()
    )
    assert closed(settings) == []
    stored = json.dumps(table(settings, ORDERS_FEED))
    assert [phone for phone in cases if sha(phone) in stored] == []


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


def test_a_withdrawal_wins_over_a_copy_of_the_same_day(settings):
    late = [
        {"campaign_id": campaign, "captured_at": f"2026-11-20T{hour}:00:00+08:00"}
        for campaign in ("a", "z")
        for hour in ("08", "20")
    ]
    for number, change in enumerate(late):
        withdrawn = copy_of_lead(consent_withdrawn_at=WITHDRAWN, **change)
        channel = f"channel-{number}"
        land(path_of(settings, "leads", channel, name="10h.csv"), [copy_of_lead(campaign_id="m")])
        land(path_of(settings, "leads", channel, name="16h.csv"), [withdrawn])
    run(settings)
    is_withdrawn = [lead["consent_withdrawn_at"] is not None for lead in loaded(settings)]
    assert is_withdrawn == [True] * len(late)


def test_a_withdrawal_of_a_later_day_is_obeyed(settings):
    changes: list[tuple[dict[str, str], str]] = [
        ({"consent_withdrawn_at": WITHDRAWN}, "consent_withdrawn"),
        ({"consent_withdrawn_at": WITHDRAWN, "amount": "x"}, "consent_withdrawn"),
        ({"consent_withdrawn_at": "20/11/2026"}, "unreadable_consent"),
        ({"consent_scope": "||"}, "unreadable_consent"),
        ({"consent_scope": "bank_01"}, "consent_narrowed"),
    ]
    others = leads(2, first=900, consent_withdrawn_at=None)
    for number, (change, _) in enumerate(changes):
        channel = f"channel-{number}"
        land(path_of(settings, "leads", channel), leads(3, consent_withdrawn_at=None))
        later = copy_of_lead(lead_id="L00001", **change)
        land(path_of(settings, "leads", channel, NEXT, "again.csv"), [*others, later])
    run(settings, DAY, NEXT)
    assert orders(settings) == []
    assert sorted(orders(settings, NEXT)) == [
        ("lead", f"channel-{number}/L00001", None, reason)
        for number, (_, reason) in enumerate(changes)
    ]
    with connect(settings) as connection:
        for day, known in [(DAY, 0), (NEXT, len(changes))]:
            create_known_view(connection, settings, "suppressions", day)
            assert connection.sql("from suppressions").to_arrow_table().num_rows == known


@pytest.mark.parametrize("is_later", [False, True])
def test_a_copy_that_disputes_who_consented_for_the_business_closes_its_lead(settings, is_later):
    roles = [
        ("owner", "employee", True),
        ("", "employee", True),
        ("employee", "owner", True),
        ("ownr", "owner", True),
        ("owner", "Legal Representative", False),
        ("owner", "OWNER ", False),
        ("owner", "", False),
        ("", "owner", False),
    ]
    day = NEXT if is_later else DAY
    for number, (first, second, _) in enumerate(roles):
        copy = {"lead_id": f"L{number}", "phone": f"+86138001380{number:02}"}
        land(
            path_of(settings, "leads", f"c{number}"), [copy_of_lead(consent_by_role=first, **copy)]
        )
        again = path_of(settings, "leads", f"c{number}", day, "again.csv")
        land(again, [copy_of_lead(consent_by_role=second, campaign_id="z", **copy)])
        person = path_of(settings, "leads", f"p{number}", day, "again.csv")
        consumer = copy | {"segment": "consumer"}
        land(path_of(settings, "leads", f"p{number}"), [copy_of_lead(**consumer)])
        land(person, [copy_of_lead(consent_by_role=second, campaign_id="z", **consumer)])
    run(settings, DAY, *([NEXT] if is_later else []))
    assert sorted(orders(settings, day)) == [
        ("lead", f"c{number}/L{number}", None, "consent_role")
        for number, (*_, is_closed) in enumerate(roles)
        if is_closed
    ]


@pytest.mark.parametrize("is_later", [False, True])
def test_copies_that_state_different_owners_of_a_business_close_it(settings, is_later):
    owners = [
        ("91-1", "91-2", True),
        ("91-1", "911", False),
        ("", "91-2", False),
        ("91-1", "", False),
    ]
    day = NEXT if is_later else DAY
    for number, (first, second, _) in enumerate(owners):
        copy = {"lead_id": f"L{number}", "segment": "business"}
        row = copy_of_lead(owner_id_number=first, **copy)
        land(path_of(settings, "leads", f"c{number}"), [row])
        again = copy_of_lead(owner_id_number=second, campaign_id="z", **copy)
        land(path_of(settings, "leads", f"c{number}", day, "again.csv"), [again])
    run(settings, DAY, *([NEXT] if is_later else []))
    assert orders(settings, day) == [("lead", "c0/L0", None, "owner_disputed")]
    # of two copies of a day the one with an owner is loaded
    stated = {row["lead_id"]: row["owner_id_number"] for row in loaded(settings)}
    assert stated["L2"] == (None if is_later else "91-2")
    assert stated["L3"] == "91-1"


def test_a_lake_from_before_a_column_was_agreed_has_it_as_missing(settings):
    """An older release wrote the partitions of a home that is run on."""
    land(path_of(settings, "leads"), leads(2, consent_withdrawn_at=None))
    run(settings)
    file = settings.day_folder(settings.lake / "leads", DAY) / "leads.parquet"
    before = pq.read_table(file)
    pq.write_table(before.drop_columns(["consent_by_role", "consent_evidence"]), file)
    copies = leads(2, consent_withdrawn_at=None)
    copies[0] |= {"consent_by_role": "employee"}
    land(path_of(settings, "leads", day=NEXT), copies)
    run(settings, NEXT)
    assert loaded(settings, day=NEXT) == []
    assert orders(settings, NEXT) == [("lead", "search/L00001", None, "consent_role")]


def test_a_broken_copy_with_a_role_that_may_not_consent_closes_its_lead(settings):
    changes = [{"consent_by_role": "employee"}, {"consent_by_role": "owner"}, {}]
    for number, change in enumerate(changes):
        land(path_of(settings, "leads", f"c{number}"), leads(1, consent_withdrawn_at=None))
        broken = copy_of_lead(lead_id="L00001", amount="x", **change)
        others = leads(2, first=900, consent_withdrawn_at=None)
        land(path_of(settings, "leads", f"c{number}", NEXT, "again.csv"), [*others, broken])
    run(settings, DAY, NEXT)
    assert orders(settings, NEXT) == [("lead", "c0/L00001", None, "unreadable_consent")]


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


def test_beside_names_of_institutions_all_does_not_count(settings):
    scopes = {
        "all": ["all"],
        "all|all": ["all", "all"],
        "all|!bank_01": ["!bank_01"],
        "bank_01|all|bank_02": ["bank_01", "bank_02"],
        "bank_01": ["bank_01"],
    }
    sent = [row("leads", lead_id=f"L{n}", consent_scope=scope) for n, scope in enumerate(scopes)]
    land(path_of(settings, "leads", "search"), sent)
    run(settings)
    known = {lead["lead_id"]: lead["consent_scope"] for lead in loaded(settings, "leads")}
    assert known == {f"L{n}": scope for n, scope in enumerate(scopes.values())}


def test_a_column_that_restricts_and_comes_twice_in_other_letters_closes(settings):
    good = csv_bytes([row("products")]).decode().splitlines()
    again = ("Status", "STATUS", "Daily Quota", "daily-quota")
    for number, name in enumerate(again):
        path = path_of(settings, "products", f"bank_{number}")
        land(path, f"{good[0]},{name}\n{good[1]},paused\n".encode())
    run(settings)
    assert closed(settings) == [
        ("close_institution", f"bank_{number}", None) for number in range(len(again))
    ]


def test_a_file_of_leads_that_cannot_be_read_closes_the_other_leads_of_its_channel(settings):
    rows = leads(2, consent_withdrawn_at=None)
    land(path_of(settings, "leads", name="10h.csv"), rows)
    land(path_of(settings, "leads", name="16h.csv"), csv_bytes(rows).decode().encode("utf-16"))
    land(path_of(settings, "leads", "social"), rows)
    run(settings)
    assert [subject for _, subject, *_ in orders(settings)] == ["search/L00001", "search/L00002"]
    assert len(loaded(settings)) == 4


def test_a_file_of_leads_that_is_cut_off_closes_the_leads_of_the_other_files(settings):
    whole = csv_bytes(leads(30, first=50))
    files = [
        ("16h.csv", whole[:-1]),
        ("16h.csv", whole[:-90]),
        ("16h.jsonl", b'{"lead_id": "L00009"}\n{"lead_id": "L000'),
        ("16h.csv.gz", whole[:-90]),
    ]
    for number, (name, content) in enumerate(files):
        path = path_of(settings, "leads", f"cut-{number}", name="10h.csv")
        land(path, leads(2, consent_withdrawn_at=None))
        land(path.with_name(name), content)
    land(path_of(settings, "leads", "social", name="10h.csv"), leads(2))
    run(settings)
    subjects = {subject for _, subject, _, reason in orders(settings)}
    channels = [f"cut-{number}" for number in range(len(files))]
    assert {f"{name}/L0000{n}" for name in channels for n in (1, 2)} <= subjects
    assert not [subject for subject in subjects if subject.startswith("social/")]


def test_a_file_whose_last_line_is_whole_json_closes_nothing(settings):
    land(path_of(settings, "leads", name="10h.csv"), leads(2, consent_withdrawn_at=None))
    row_of_json = json.dumps(copy_of_lead(lead_id="L9")).encode()
    land(path_of(settings, "leads", name="16h.jsonl"), row_of_json)
    run(settings)
    assert orders(settings) == []


def test_a_misspelt_column_that_restricts_rejects_its_file(settings):
    misspelt = [
        ("institutions", "platform", "admitted_to", "admited_to"),
        ("products", "bank_01", "valid_to", "vaild_to"),
        ("products", "bank_02", "daily_budget", "Daily_Budgt"),
    ]
    for feed, source, right, wrong in misspelt:
        sent = {wrong if name == right else name: value for name, value in row(feed).items()}
        land(path_of(settings, feed, source), [sent])
    run(settings)
    assert {found["source"]: found["action"] for found in table(settings)} == dict.fromkeys(
        ("platform", "bank_01", "bank_02"), "close_institution"
    )
    assert loaded(settings, "institutions") == loaded(settings, "products") == []


def test_what_people_stated_under_a_misspelt_name_is_not_replaced_by_an_assumption(settings):
    stated = copy_of_lead(lead_id="L00001")
    for number, (right, wrong) in enumerate(
        [
            ("amount", "amonut"),
            ("amount", "loan_amount"),
            ("currency", "Curency"),
            ("amount", "AMOUNT"),
        ]
    ):
        sent = {wrong if name == right else name: value for name, value in stated.items()}
        for suffix in ("csv", "jsonl"):
            path = path_of(settings, "leads", f"{suffix}-{number}", name=f"10h.{suffix}")
            land(path, _as_file(sent, suffix))
    run(settings)
    assert loaded(settings) == []
    assert len(counts(settings)) == 8


def _as_file(sent: dict[str, str], suffix: str) -> bytes:
    """Return a row as CSV or as a line of JSON."""
    return csv_bytes([sent]) if suffix == "csv" else json.dumps(sent).encode() + b"\n"


def test_a_channel_that_asks_for_no_amount_is_loaded(settings):
    sent = {name: value for name, value in copy_of_lead().items() if name != "amount"}
    sent["utm_source"] = "spring"
    for suffix in ("csv", "jsonl"):
        land(path_of(settings, "leads", suffix, name=f"10h.{suffix}"), _as_file(sent, suffix))
    run(settings)
    assert {lead["channel_id"] for lead in loaded(settings)} == {"csv", "jsonl"}


def test_a_misspelt_column_of_withdrawals_closes_the_other_leads_of_the_channel(settings):
    right, channels = "consent_withdrawn_at", []
    again = copy_of_lead(lead_id="L00001", consent_withdrawn_at=WITHDRAWN)
    for number, wrong in enumerate(
        ("consent_witdrawn_at", "consent_withdrawn_a", "CONSENT_WITHDRAWN_AT")
    ):
        sent = {wrong if name == right else name: value for name, value in again.items()}
        for suffix in ("csv", "jsonl"):
            channels.append(f"{suffix}-{number}")
            path = path_of(settings, "leads", channels[-1], name="10h.csv")
            land(path, leads(2, consent_withdrawn_at=None))
            land(path.with_name(f"16h.{suffix}"), _as_file(sent, suffix))
    run(settings)
    assert {subject for _, subject, *_ in orders(settings)} == {
        f"{channel}/L0000{number}" for channel in channels for number in (1, 2)
    }


def test_a_further_column_is_no_misspelt_one(settings):
    extras: dict[str, set[str]] = {
        "consent_withdrawn_at_utc": {"unmapped_column"},  # its values restrict by its name
        "withdrawn": {"unmapped_column"},
        "utm_valid": set(),
        "pd": set(),
    }
    channels = {name.replace("_", "-"): name for name in extras}
    for channel, extra in channels.items():
        rows = leads(2, consent_withdrawn_at=None, **{extra: "1"})
        land(path_of(settings, "leads", channel), rows)
    run(settings)
    assert len(loaded(settings)) == 2 * len(extras)
    reasons: dict[str, set[str]] = {name: set() for name in extras}
    for _, subject, _, reason in orders(settings):
        reasons[channels[subject.partition("/")[0]]].add(reason)
    assert reasons == extras


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


def test_a_correction_of_one_person_is_a_harmless_copy(settings):
    changes = [
        {"phone": "+8613900139000"},
        {"full_name": "Zhang  san"},
        {"id_number": "911100006000 37341l"},
        {"phone": "", "full_name": "Li Si"},
        {"id_number": ""},
        {"id_number": "91310000100003388F"},  # corrected: phone and name are the same
    ]
    for number, change in enumerate(changes):
        rows = [copy_of_lead(), copy_of_lead(**change)]
        land(path_of(settings, "leads", f"channel-{number}"), rows)
    run(settings)
    assert [(one["loaded"], one["duplicates"]) for one in counts(settings).values()] == [
        (1, 1)
    ] * len(changes)
    assert len(loaded(settings)) == len(changes)


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


def test_rows_without_any_value_are_passed_over_and_counted(settings):
    rows = leads(3)
    columns = len(rows[0])
    lines = {
        "commas": "," * (columns - 1),
        "spaces": ",".join([" "] * columns),
        "quotes": ",".join(['""'] * columns),
        "few": ",,,",
        "json": '{"lead_id": "", "amount": null}',
    }
    as_json = "".join(json.dumps(lead) + "\n" for lead in rows)
    for channel, blank in lines.items():
        text = as_json if channel == "json" else csv_bytes(rows).decode()
        name = "rows.jsonl" if channel == "json" else "rows.csv"
        land(path_of(settings, "leads", channel, name=name), (text + f"{blank}\n" * 5).encode())
    run(settings)
    assert {name: (of["received"], of["loaded"]) for name, of in counts(settings).items()} == (
        dict.fromkeys(lines, (3, 3))
    )
    manifest = read_manifest(Settings.day_folder(settings.lake / "leads", DAY))
    assert manifest["blank_rows"] == dict.fromkeys(lines, 5)
    assert quarantined(settings) == []


def test_a_binary_number_is_no_text(settings):
    columns: dict[str, tuple[str, list[float | None]]] = {
        "key": ("lead_id", [2.6e18, 2.7e18]),
        "nothing": ("campaign_id", [float("nan"), None]),
        "number": ("campaign_id", [5.0, None]),
    }
    for channel, (column, numbers) in columns.items():
        table_ = received("leads", [good("leads", lead_id=f"P{i}") for i in range(2)])
        index = table_.schema.get_field_index(column)
        table_ = table_.set_column(index, column, pa.array(numbers, pa.float64()))
        path = path_of(settings, "leads", channel, name="rows.parquet")
        path.parent.mkdir(parents=True)
        pq.write_table(table_, path)
    run(settings)
    of_channels = [lead["channel_id"] for lead in loaded(settings)]
    assert sorted(of_channels) == ["nothing", "nothing", "number", "number"]
    records = {(found["source"], found["rule"]) for found in quarantined(settings)}
    assert records == {("key", "type"), ("number", "type")}
    assert len(quarantined(settings)) == 2


# names of columns, empty files and names that nobody knows


def test_a_misspelt_optional_column_that_restricts_rejects_the_file(settings):
    files: list[tuple[str, str, dict[str, str], bool]] = [
        ("leads", "jsonl", {"consent_withdrawn_at": "consentWithdrawnAt"}, True),
        ("leads", "csv", {"consent_withdrawn_at": "withdrawn_at"}, True),
        ("products", "csv", {"daily_budget": "Budget"}, True),
        ("products", "jsonl", {"valid_to": "valid_until"}, True),
        ("products", "csv", {"daily_budget": "sales_region"}, False),  # another column
        ("products", "jsonl", {}, False),
        ("leads", "csv", {"campaign_id": "consent_withdrawn"}, False),  # both are there
    ]
    for number, (feed, suffix, misspelt, _) in enumerate(files):
        sent = {misspelt.get(column, column): value for column, value in row(feed).items()}
        path = path_of(settings, feed, f"source-{number}", name=f"rows.{suffix}")
        land(path, _as_file(sent, suffix))
    run(settings)
    for feed in ("leads", "products"):
        rejected = {
            f"source-{number}": is_rejected
            for number, (of, *_, is_rejected) in enumerate(files)
            if of == feed
        }
        loads = {source: of["loaded"] for source, of in counts(settings, feed).items()}
        assert loads == {source: int(not each) for source, each in rejected.items()}
        assert len(loaded(settings, feed)) == sum(loads.values())
        records = [(found["source"], found["rule"]) for found in quarantined(settings, feed)]
        assert sorted(records) == [(name, "header") for name, each in rejected.items() if each]


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


def test_a_file_of_leads_with_an_impossible_name_closes_unless_it_says_nothing_new(settings):
    rows = leads(2, consent_withdrawn_at=None)
    contents = {
        "leads.csv.bak": csv_bytes(leads(3, consent_withdrawn_at=None)),
        "leads.xlsx": b"PK\x03\x04packed",
        "notes.txt": b"all sent",
        "copy.bak": csv_bytes(rows),
    }
    for number, (name, content) in enumerate(contents.items()):
        land(path_of(settings, "leads", f"channel-{number}"), rows)
        land(path_of(settings, "leads", f"channel-{number}", name=name), content)
    run(settings)
    closed_channels = {subject.partition("/")[0] for _, subject, *_ in orders(settings)}
    assert closed_channels == {"channel-0", "channel-1"}


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
