"""Values that the file, the day or the peers make impossible: kept apart, counted, and reported."""

import json
from datetime import date, timedelta

import pytest

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from tests.helpers.landing import DAY, csv_bytes, land, leads, path_of, row
from tests.ingest.published import counts, loaded, quarantined

FAR = "2062-11-20T04:00:00+00:00"
"""2026 typed as 2062."""
PHONES = [
    "13912345678",
    "0086 139 1234 5679",
    "\u202a+8613912345680\u202c",
    "\uff0b\uff18\uff16\uff11\uff13\uff19\uff11\uff12\uff13\uff14\uff15\uff16\uff18\uff11",
    "+86-139-1234-5682",
    "+86\uff08139\uff0912345683",
    "86 13912345684",
    "+8613912345685 \u8f6c 12",
]
"""One mobile each, from +8613912345678 on; the fifth is E.164 but for its hyphens."""
WORDS = {
    "device_id": "NULL",
    "campaign_id": "nan",
    "full_name": "N/A",
    "region": "NULL",
    "debt_monthly": "NULL",
    "bureau_score": r"\N",
    "purpose": "None",
}


def many(changes, count=8):
    return [one | changes for one in leads(count)]


def last_changed(**changes):
    """Return 4 leads of which the last one has changes."""
    rows = leads(4)
    rows[-1] |= changes
    return rows


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("values"), threads=2, memory_limit="1GB")
    names = [name for name in row("leads") if name != "amount"] + ["amount"]
    whole = csv_bytes(leads(6, amount=5000), names)
    files = {
        "whole": whole,
        "cut": whole.removesuffix(b"00.0\n").removesuffix(b"00\n"),
        "cut_within_quotes": whole[:-5] + b'"5',
        "cut_before_amount": whole[: whole.rindex(b",")],
        "cut_at_cr": whole.replace(b"\n", b"\r\n").removesuffix(b"\n"),
        "cut_after_break": csv_bytes(leads(3, amount=5000, purpose="a\nb"), names)[:-4],
        "quoted": whole.removesuffix(b"5000\n") + b'"5000"',
        "rmb": csv_bytes(many({"currency": "RMB"}, 6)),
        "one_rmb": csv_bytes(last_changed(currency="RMB")),
        "phones": csv_bytes(
            [one | {"phone": phone} for one, phone in zip(leads(8), PHONES, strict=True)]
        ),
        "one_phone": csv_bytes(last_changed(phone="13912345678")),
        "words": csv_bytes(many(WORDS)),
        "capture_2062": csv_bytes(last_changed(captured_at=FAR)),
        "capture_1970": csv_bytes(last_changed(captured_at="1970-01-01T00:00:00Z")),
        "capture_ends": csv_bytes(last_changed(captured_at="2026-11-21T23:59:59+08:00")),
        "capture_after": csv_bytes(last_changed(captured_at="2026-11-22T00:00:00+08:00")),
        "consent_2062": csv_bytes(last_changed(consent_at=FAR)),
        "born_2062": csv_bytes(last_changed(birth_date="2062-05-05")),
        "born_1862": csv_bytes(last_changed(birth_date="1862-05-05")),
    }
    for channel, content in files.items():
        land(path_of(settings, "leads", channel), content)
    lines = "".join(json.dumps(one) + "\n" for one in leads(4))
    land(path_of(settings, "leads", "json_lines", name="rows.jsonl"), lines.rstrip("\n").encode())
    land(
        path_of(settings, "leads", "cut_json", name="rows.jsonl"), lines.rstrip("\n").encode()[:-9]
    )
    typed = [row("outcomes", lead_id=f"x{i}") for i in range(12)]
    typed[1]["recorded_at"] = FAR
    typed[2] |= {"event_at": FAR, "recorded_at": FAR}
    typed[3]["event_at"] = FAR
    typed[4]["recorded_at"] = "2026-11-22T00:00:00+08:00"  # the day after the next
    typed[5]["recorded_at"] = "2126-11-19T04:00:00Z"
    typed[6]["recorded_at"] = "2026-11-21T23:59:59+08:00"  # a clock may be a day ahead
    land(path_of(settings, "outcomes", "lender_02"), typed)
    prices = {"percent": 1.58, "tenths": 0.21, "share": 0.0158, "id": 110105198808082707}
    land(
        path_of(settings, "products", "lender_06"),
        [row("products", product_id=name, price=price) for name, price in prices.items()]
        + [
            row("products", product_id="all", daily_quota=2**63 - 1, daily_budget=1e308),
            row("products", product_id="slipped", price_model="cpl", price=110105198808082707),
            row("products", product_id="minus", daily_quota=-1),
            *(row("products", product_id=f"good{i}") for i in range(4)),
        ],
    )
    orders = [
        row("suppressions", subject=f"search/L{name}", effective_at=at)
        for name, at in (
            ("next_month", "2026-12-20T00:00:00+08:00"),
            ("long_ago", "2001-01-01T00:00:00+08:00"),
            ("2062", FAR),
        )
    ]
    land(path_of(settings, "suppressions", "platform"), orders)
    ingest_day.ingest(settings, DAY)
    return settings


def rules(settings, source, feed="leads"):
    """Return (line, column, rule, severity) of the records of a source in quarantine."""
    return sorted(
        (r["line"], r["column"], r["rule"], r["severity"])
        for r in quarantined(settings, feed)
        if r["source"] == source
    )


def findings(settings, feed="leads"):
    manifest = read_manifest(Settings.day_folder(settings.lake / feed, DAY))
    return {finding["id"]: finding for finding in manifest["findings"]}


def from_channel(settings, channel):
    return [lead for lead in loaded(settings) if lead["channel_id"] == channel]


CUT = ["cut", "cut_after_break", "cut_before_amount", "cut_json", "cut_within_quotes"]


def test_a_last_line_that_may_be_cut_is_quarantined(settings):
    assert rules(settings, "cut") == [(7, None, "unterminated_line", "critical")]
    assert {lead["amount"] for lead in from_channel(settings, "cut")} == {5000.0}
    assert len(from_channel(settings, "cut")) == 5
    assert rules(settings, "cut_after_break") == [(6, None, "unterminated_line", "critical")]
    assert findings(settings)["unterminated_line"]["sources"] == CUT
    assert findings(settings)["unterminated_line"]["count"] == len(CUT)


@pytest.mark.parametrize("channel", ["cut_before_amount", "cut_within_quotes", "cut_json"])
def test_a_last_line_that_is_cut_elsewhere_is_quarantined(settings, channel):
    ((*_, severity),) = rules(settings, channel)
    assert severity == "critical"
    assert len(from_channel(settings, channel)) in {3, 5}


@pytest.mark.parametrize(
    ("channel", "rows"), [("whole", 6), ("cut_at_cr", 6), ("quoted", 6), ("json_lines", 4)]
)
def test_a_last_line_whose_end_is_certain_is_loaded(settings, channel, rows):
    assert rules(settings, channel) == []
    assert len(from_channel(settings, channel)) == rows


def test_a_currency_that_is_none_is_named(settings):
    assert counts(settings)["rmb"]["rejected_files"] == 1
    assert "currency of currency (6)" in quarantined_message(settings, "rmb")
    assert rules(settings, "one_rmb") == [(5, "currency", "currency", "critical")]
    assert findings(settings)["currency_not_iso"]["sources"] == ["one_rmb", "rmb"]


def quarantined_message(settings, source):
    return next(r["message"] for r in quarantined(settings) if r["source"] == source)


def test_phones_as_people_write_them_become_e164(settings):
    found = sorted(lead["phone"] for lead in from_channel(settings, "phones"))
    assert found == [f"+86139123456{last}" for last in range(78, 86)]
    assert all(lead["is_phone_valid"] for lead in from_channel(settings, "phones"))


def test_a_phone_has_one_hash_however_it_is_written(settings):
    national = from_channel(settings, "one_phone")[-1]
    written = next(
        lead for lead in from_channel(settings, "phones") if lead["phone"] == national["phone"]
    )
    assert national["phone_sha256"] == written["phone_sha256"]


def test_a_channel_of_which_most_phones_are_not_e164_is_reported(settings):
    finding = findings(settings)["phones_not_e164"]
    assert (finding["count"], finding["sources"]) == (1, ["phones"])
    assert finding["detail"] == "phones: phone 7 of 8"


def test_words_for_nothing_are_missing_values_and_reported(settings):
    rows = from_channel(settings, "words")
    assert len(rows) == 8
    assert {name: {lead[name] for lead in rows} for name in WORDS} == {
        name: {None} for name in WORDS
    }
    assert rules(settings, "words") == []
    finding = findings(settings)["placeholders"]
    assert (finding["count"], finding["sources"]) == (56, ["words"])
    assert "device_id 8" in finding["detail"]
    quality = read_manifest(Settings.day_folder(settings.lake / "leads", DAY))["quality"]
    counted = {q["column"]: q["unexpected"] for q in quality if q["rule"] == "placeholder"}
    assert counted == dict.fromkeys(WORDS, 8)


@pytest.mark.parametrize(
    ("channel", "column", "rule"),
    [
        ("capture_2062", "captured_at", "in_the_future"),
        ("capture_after", "captured_at", "in_the_future"),
        ("capture_1970", "captured_at", "too_long_ago"),
        ("consent_2062", "consent_at", "in_the_future"),
    ],
)
def test_a_time_far_from_the_landing_date_is_critical(settings, channel, column, rule):
    assert (5, column, rule, "critical") in rules(settings, channel)
    assert len(from_channel(settings, channel)) == 3
    assert channel in findings(settings)["times_implausible"]["sources"]


def test_the_day_after_the_landing_date_still_counts(settings):
    assert rules(settings, "capture_ends") == []


@pytest.mark.parametrize(
    ("channel", "rule"), [("born_2062", "in_the_future"), ("born_1862", "too_long_ago")]
)
def test_an_impossible_date_of_birth_is_emptied(settings, channel, rule):
    assert rules(settings, channel) == [(5, "birth_date", rule, "warning")]
    lead = next(lead for lead in from_channel(settings, channel) if lead["lead_id"] == "L00004")
    assert (lead["birth_date"], lead["age_years"]) == (None, None)


def test_an_outcome_of_2062_is_quarantined(settings):
    assert rules(settings, "lender_02", "outcomes") == [
        (3, "recorded_at", "in_the_future", "critical"),
        (4, "event_at", "in_the_future", "critical"),
        (4, "recorded_at", "in_the_future", "critical"),
        (5, "event_at", "in_the_future", "critical"),
        (6, "recorded_at", "in_the_future", "critical"),
        (7, "recorded_at", "in_the_future", "critical"),
    ]
    found = {outcome["lead_id"] for outcome in loaded(settings, "outcomes")}
    assert found == {"x0", *(f"x{i}" for i in range(6, 12))}
    assert findings(settings, "outcomes")["times_implausible"]["sources"] == ["lender_02"]


def test_impossible_prices_are_quarantined_and_their_value_is_in_no_message(settings):
    rows = rules(settings, "lender_06", "products")
    assert rows == [
        (2, "price", "conditional_range", "critical"),
        (3, "price", "conditional_range", "critical"),
        (5, "price", "conditional_range", "critical"),
        (7, "price", "conditional_range", "critical"),
        (8, "daily_quota", "range", "critical"),
    ]
    manifest = read_manifest(Settings.day_folder(settings.lake / "products", DAY))
    messages = [r["message"] for r in quarantined(settings, "products")]
    assert "110105198808082707" not in " ".join(messages) + json.dumps(manifest)
    assert "1.58" not in " ".join(messages)


def test_no_limit_counts_as_the_ceiling(settings):
    product = next(p for p in loaded(settings, "products") if p["product_id"] == "all")
    assert (product["daily_quota"], product["daily_budget"]) == (10_000_000, 1e12)
    finding = findings(settings, "products")["numbers_without_limit"]
    assert (finding["count"], finding["sources"]) == (2, ["lender_06"])


def test_an_order_may_begin_later_but_not_in_2062(settings):
    assert rules(settings, "platform", "suppressions") == [
        (4, "effective_at", "in_the_future", "critical")
    ]
    assert len(loaded(settings, "suppressions")) == 2


def test_a_clean_feed_states_no_finding(settings):
    assert findings(settings, "supply_links") == {}
    assert findings(settings)["times_implausible"]["count"] == 6


def test_a_late_file_is_judged_by_the_date_on_which_it_counts(tmp_path):
    settings = Settings(home=tmp_path, threads=1, memory_limit="1GB")
    before = DAY - timedelta(days=5)
    land(path_of(settings, "leads", day=before), leads(1))
    ingest_day.ingest(settings, date(2026, 11, 18))
    land(path_of(settings, "leads", "late", before), leads(2, first=10))
    ingest_day.ingest(settings, DAY)
    assert counts(settings, day=before)["search"]["quarantined"] == 1  # captured five days later
    assert counts(settings)["late"]["loaded"] == 2
