"""The guarantees of the marts for models and matching."""

from datetime import timedelta

import pytest

from pipelines.core.home.shared_marts import read_mart
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.transform.build import GROWING
from tests.helpers.lake import at, write_day, write_matches
from tests.helpers.mart_schemas import SCHEMAS
from tests.transform.conftest import DAY, FIRST, Market, build_all

pytestmark = pytest.mark.usefixtures("built")


def mart(settings: Settings, name: str) -> list[dict]:
    return read_mart(settings.day_folder(settings.marts, DAY), name).to_pylist()


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_mart_has_exactly_the_agreed_columns(market: Market, name: str):
    table = read_mart(market.settings.day_folder(market.settings.marts, DAY), name)
    assert table.schema.names == SCHEMAS[name].names
    assert table.cast(SCHEMAS[name]).schema == SCHEMAS[name]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("leads", ["channel_id", "lead_id"]),
        ("products", ["institution_id", "product_id"]),
        ("training_pairs", ["channel_id", "lead_id", "institution_id", "product_id"]),
        ("channels", ["channel_id"]),
    ],
)
def test_a_mart_is_sorted_by_its_key(market: Market, name: str, key: list[str]):
    keys = [tuple(row[column] for column in key) for row in mart(market.settings, name)]
    assert keys
    if name in GROWING:  # the days' shared files follow each other, each in the order of the key
        keys = sorted(keys)
    assert keys == sorted(set(keys))


def test_the_mart_has_exactly_the_leads_of_the_day(market: Market):
    sent = {(row["channel_id"], row["lead_id"]) for row in market.rows[DAY]["leads"]}
    published = {(row["channel_id"], row["lead_id"]) for row in mart(market.settings, "leads")}
    assert published == sent


def test_the_current_catalogue_is_the_latest_known(market: Market):
    prices = {row["price"] for row in mart(market.settings, "products")}
    assert prices == {10.0}  # sent on the 1st, 4th, 7th and 10th; the day is the 12th


def test_a_training_pair_has_the_terms_of_the_date_of_its_lead(market: Market):
    for row in mart(market.settings, "training_pairs"):
        sent_on = max(day for day in (1, 4, 7, 10) if day <= row["business_date"].day)
        assert row["price"] == sent_on


def test_the_manifest_counts_the_rows_of_the_marts(market: Market):
    manifest = read_manifest(market.settings.day_folder(market.settings.marts, DAY))
    counts = manifest["counts"]
    assert counts["leads"] == len(market.rows[DAY]["leads"])
    assert counts["leads_to_match"] + sum(counts["leads_excluded"].values()) == counts["leads"]
    assert counts["outcomes"] == sum(
        row["event"] is not None for _, row in market.rows_of("outcomes")
    )
    assert counts["unlinked_outcomes"] == 0
    assert set(manifest["inputs"]) >= {"lake/leads", "lake/outcomes", "matches"}


def test_an_outcome_is_linked_by_the_match_of_an_earlier_date_only(home: Settings):
    lead = {"channel_id": "search", "lead_id": "ann"}
    product = {"institution_id": "bank", "product_id": "loan"}
    answer = product | {"event": "approved", "recorded_at": at("2026-03-12 09:00")}
    write_day(home, FIRST, leads=[lead], products=[product])
    write_day(
        home, DAY, outcomes=[answer | {"match_id": "early"}, answer | {"match_id": "same-day"}]
    )
    write_matches(home, DAY - timedelta(days=1), [lead | product | {"match_id": "early"}])
    write_matches(home, DAY, [lead | product | {"match_id": "same-day"}])
    counts = build_all(home, DAY)
    assert counts["outcomes"] == 1
    assert counts["outcomes_unlinked"] == {"unknown_match": 1}
    assert mart(home, "training_pairs")[0]["lead_id"] == "ann"


def test_numbers_with_more_firms_or_phones_than_a_person_has_are_named_by_channel(home: Settings):
    def send(name: str, **changes: str) -> dict[str, str]:
        return {"channel_id": "social", "lead_id": name, "segment": "business", **changes}

    agent = [send(f"f{n}", id_number=f"firm-{n}", owner_id_number="agent") for n in range(6)]
    owner = [send(f"o{n}", id_number=f"shop-{n}", owner_id_number="owner") for n in range(5)]
    broker = [send(f"b{n}", id_number="broker", phone=f"phone-{n}") for n in range(4)]
    write_day(home, DAY, leads=[*agent, *owner, *broker])
    build_all(home, DAY)
    found = read_manifest(home.day_folder(home.marts, DAY))["findings"]
    assert [(each["id"], each["count"], each["sources"]) for each in found] == [
        ("identity_number_shared", 1, ["social"]),
        ("owner_number_shared", 1, ["social"]),
    ]
