"""The simulated market is reproducible, plausible and learnable, and logs every corruption."""

from collections import Counter
from datetime import date, timedelta

import duckdb
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from expectations.contracts import feeds
from pipelines.core.data_provenance import read_provenance
from pipelines.core.settings import Settings
from pipelines.ingest.ingest_day import ingest
from pipelines.simulate import SimulationPlan, simulate
from tests.helpers.feeds import SIMULATED
from tests.helpers.representatives import keep
from tests.simulate.conftest import DAYS, SIZE, START, bytes_below
from tests.simulate.corruption_log import assert_quarantine_matches_log

LAST = START + timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def ingested(market):
    """The same market after ingest."""
    ingest(market.settings, LAST)
    return market


def lake(market, feed, sql):
    files = f"{market.settings.lake}/{feed}/*/*.parquet"
    return duckdb.sql(
        f"with rows as (from read_parquet('{files}', hive_partitioning = false)) {sql}"
    ).fetchall()


def test_every_feed_is_written_and_counted(market):
    assert market.summary["feeds"].keys() == set(SIMULATED)
    written = bytes_below(market.settings.landing)
    per_feed = Counter(name.split("/")[0] for name in written)
    assert per_feed == {feed: counts["files"] for feed, counts in market.summary["feeds"].items()}
    formats = {name.split(".", 1)[1] for name in written if "/leads." in name}
    assert formats == {"csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"}


@pytest.mark.parametrize("threads", keep((1,), [1, 2]))
def test_the_same_seed_gives_the_same_bytes(tmp_path, threads):
    small = SIZE | {"days": 2, "leads_per_day": 200, "sealed": 0.5}
    homes = [Settings(home=tmp_path / name, threads=threads) for name in ("one", "other")]
    for home in homes:
        simulate(home, SimulationPlan(**small))
    one, other = (bytes_below(home.home) for home in homes)
    assert one == other
    assert len(one) > 20


def test_another_seed_is_another_world(tmp_path):
    small = SIZE | {"days": 1, "leads_per_day": 200}
    one, other = Settings(home=tmp_path / "one"), Settings(home=tmp_path / "other")
    simulate(one, SimulationPlan(**small))
    simulate(other, SimulationPlan(**small | {"seed": 8}))
    leads, others = (bytes_below(home.landing / "leads") for home in (one, other))
    assert leads.keys() == others.keys()
    assert not set(leads.values()) & set(others.values())


def test_a_day_has_the_same_leads_whenever_the_simulation_starts(market, tmp_path):
    settings = Settings(home=tmp_path)
    day = START + timedelta(days=3)
    simulate(settings, SimulationPlan(**SIZE | {"start": day, "days": 1}, corruption=0.02))
    alone = bytes_below(settings.landing / "leads")
    assert alone.items() <= bytes_below(market.settings.landing / "leads").items()
    assert len({name.split("/")[0] for name in alone}) == 6


def test_days_without_broadcast_differ_in_their_outcomes_only(tmp_path):
    small = SIZE | {"days": 3, "leads_per_day": 200}
    one, other = Settings(home=tmp_path / "one"), Settings(home=tmp_path / "other")
    simulate(one, SimulationPlan(**small))
    simulate(other, SimulationPlan(**small, broadcast_days=1))
    every, some = bytes_below(one.landing), bytes_below(other.landing)
    differing = {name for name, _ in every.items() ^ some.items()}
    assert {name.split("/")[0] for name in differing} == {"outcomes"}
    shown = [path.parent.name for path in other.truth.glob("*/shown.parquet")]
    assert shown == [f"date={START}"]
    assert any(name.startswith("outcomes/") for name in some)


def test_nothing_is_reported_before_it_happened_or_after_the_last_day(ingested):
    rows = lake(
        ingested,
        "outcomes",
        "select landed_on, event_at, recorded_at, lead_id from rows",
    )
    assert len(rows) > 5_000
    zone = ingested.settings.zone
    for landed, happened, recorded, _ in rows:
        assert happened <= recorded
        assert recorded.astimezone(zone).date() <= landed <= LAST


def test_an_outcome_names_a_lead_and_a_product_that_exist_and_match(ingested):
    settings = ingested.settings
    (unknown,) = duckdb.sql(
        f"""
        with outcomes as (from '{settings.lake}/outcomes/*/*.parquet'),
        leads as (from '{settings.lake}/leads/*/*.parquet'),
        products as (from '{settings.lake}/products/*/*.parquet')
        select
            count(*) filter (products.product_id is null) as of_no_product,
            count(*) filter (leads.segment <> products.segment) as of_wrong_segment,
            count(*) filter (leads.amount > products.amount_max) as too_much
        from outcomes
        left join leads using (channel_id, lead_id)
        left join products using (institution_id, product_id)
        """
    ).fetchall()
    assert unknown == (0, 0, 0)


def test_quarantine_holds_exactly_what_the_corruption_log_names(ingested):
    assert_quarantine_matches_log(ingested.settings)


def test_identities_are_valid_and_fake_leads_have_impossible_phones(ingested):
    ((leads, bad_ids, bad_phones),) = lake(
        ingested,
        "leads",
        "select count(*), count(*) filter (not is_id_valid), count(*) filter (not is_phone_valid)"
        " from rows",
    )
    assert bad_ids == 0
    assert 0.001 < bad_phones / leads < 0.05


def test_some_people_apply_through_several_channels_and_rings_share_a_device(ingested):
    ((several,),) = lake(
        ingested,
        "leads",
        "select count(*) from (select person_key from rows group by person_key"
        " having count(distinct channel_id) > 1)",
    )
    assert several > 100
    ((rings,),) = lake(
        ingested,
        "leads",
        "select count(*) from (select device_id from rows where device_id is not null"
        " group by device_id, landed_on having count(distinct person_key) > 5)",
    )
    assert rings == DAYS


def test_some_leads_are_suppressed(ingested):
    settings = ingested.settings
    reasons = duckdb.sql(
        f"""
        select distinct reason from '{settings.lake}/suppressions/*/*.parquet'
        join '{settings.lake}/leads/*/*.parquet' on subject in (id_number_sha256, phone_sha256)
        """
    ).fetchall()
    assert {reason for (reason,) in reasons} >= {"do_not_contact", "existing_customer"}


def test_catalogues_are_sent_first_and_then_only_when_they_change(market):
    catalogues = bytes_below(market.settings.landing / "products")
    days = Counter(name.split("/")[1] for name in catalogues if "/products." in name)
    assert days.pop(str(START)) == 12
    assert 0 < sum(days.values()) < 12


def test_approval_can_be_learned_but_not_perfectly(market):
    """A logistic regression on visible traits has a good AUC, and even the truth is uncertain."""
    pairs = duckdb.sql(
        f"""
        select * exclude (channel_id, lead_id, date)
        from '{market.settings.truth}/date=*/shown.parquet'
        join '{market.settings.truth}/date=*/leads.parquet' using (channel_id, lead_id, date)
        """
    ).to_arrow_table()
    column = {name: pairs[name].to_numpy() for name in pairs.column_names}
    approved = np.random.default_rng(0).random(pairs.num_rows) < column["p_approve"]
    assert 0.03 < approved.mean() < 0.15
    assert 0.85 < roc_auc_score(approved, column["p_approve"]) < 0.95

    score = column["score"]
    shown = np.column_stack(
        [
            (np.where(np.isnan(score), 620, score) - 650) / 60,
            np.minimum(column["burden"], 2),
            column["idle"],
            np.log(np.maximum(column["income"], 100)) - 9,
            np.log(column["amount"]) - 10,
            column["is_firm"],
            np.eye(int(column["product"].max()) + 1)[column["product"]],
        ]
    )
    first = np.arange(approved.size) < approved.size * 0.7
    model = LogisticRegression(max_iter=100).fit(shown[first], approved[first])
    learned = roc_auc_score(approved[~first], model.predict_proba(shown[~first])[:, 1])
    assert 0.78 < learned < 0.93


def test_provenance_records_that_every_feed_is_simulated(market):
    (origin,) = read_provenance(market.settings)
    assert origin["kind"] == "simulate"
    assert origin["invented"].keys() == set(feeds())
    assert origin["dates"] == f"{START} to {LAST}"


def test_a_market_can_start_on_any_weekday_and_month(tmp_path):
    """Leap days and year ends are special cases of calendar arithmetic."""
    for start in (date(2024, 2, 28), date(2025, 12, 31)):
        settings = Settings(home=tmp_path / str(start))
        small = SIZE | {"start": start, "days": 2, "leads_per_day": 50}
        assert simulate(settings, SimulationPlan(**small))["feeds"]["leads"]["rows"] >= 100
