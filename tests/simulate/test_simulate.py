"""What the simulated market promises: reproducible, plausible, learnable, and honest about dirt."""

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
from pipelines.ingest import ingest
from pipelines.simulate import Plan, simulate
from tests.simulate.conftest import DAYS, SIZE, START, bytes_below
from tests.simulate.corrupted_market import assert_exactly_the_key_is_set_aside

LAST = START + timedelta(days=DAYS - 1)


def truth(market, name, columns="*"):
    files = f"{market.settings.truth}/date=*/{name}.parquet"
    return duckdb.sql(f"select {columns} from read_parquet('{files}')").to_arrow_table()


@pytest.fixture(scope="module")
def taken_in(market):
    """The same market after its files were taken in."""
    ingest(market.settings, LAST)
    return market


def lake(market, feed, sql):
    files = f"{market.settings.lake}/{feed}/*/*.parquet"
    return duckdb.sql(
        f"with rows as (from read_parquet('{files}', hive_partitioning = false)) {sql}"
    ).fetchall()


def test_every_feed_is_written_and_counted(market):
    assert market.said["feeds"].keys() == set(feeds())
    written = bytes_below(market.settings.landing)
    per_feed = Counter(name.split("/")[0] for name in written)
    assert per_feed == {feed: said["files"] for feed, said in market.said["feeds"].items()}
    sound = {name.split(".", 1)[1] for name in written if "/leads." in name}
    assert sound == {"csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"}


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_bytes(tmp_path, threads):
    small = SIZE | {"days": 2, "leads_per_day": 200}
    homes = [Settings(home=tmp_path / name, threads=threads) for name in ("one", "other")]
    for home in homes:
        simulate(home, Plan(**small))
    one, other = (bytes_below(home.home) for home in homes)
    assert one == other
    assert len(one) > 20


def test_another_seed_is_another_world(tmp_path):
    small = SIZE | {"days": 1, "leads_per_day": 200}
    one, other = Settings(home=tmp_path / "one"), Settings(home=tmp_path / "other")
    simulate(one, Plan(**small))
    simulate(other, Plan(**small | {"seed": 8}))
    leads, others = (bytes_below(home.landing / "leads") for home in (one, other))
    assert leads.keys() == others.keys()
    assert not set(leads.values()) & set(others.values())


def test_a_day_has_the_same_leads_whenever_the_simulation_starts(market, tmp_path):
    settings = Settings(home=tmp_path)
    day = START + timedelta(days=3)
    simulate(settings, Plan(**SIZE | {"start": day, "days": 1}, dirt=0.02))
    alone = bytes_below(settings.landing / "leads")
    assert alone.items() <= bytes_below(market.settings.landing / "leads").items()
    assert len({name.split("/")[0] for name in alone}) == 6


def test_days_without_broadcast_have_no_outcomes_and_all_else_is_the_same(tmp_path):
    small = SIZE | {"days": 3, "leads_per_day": 200}
    one, other = Settings(home=tmp_path / "one"), Settings(home=tmp_path / "other")
    simulate(one, Plan(**small))
    simulate(other, Plan(**small, broadcast_days=1))
    all_of_it, some = bytes_below(one.landing), bytes_below(other.landing)
    differing = {name for name, _ in all_of_it.items() ^ some.items()}
    assert {name.split("/")[0] for name in differing} == {"outcomes"}
    shown = [path.parent.name for path in other.truth.glob("*/shown.parquet")]
    assert shown == [f"date={START}"]
    assert any(name.startswith("outcomes/") for name in some)


def test_nothing_is_reported_before_it_happened_or_after_the_last_day(taken_in):
    rows = lake(
        taken_in,
        "outcomes",
        "select landed_on, event_at, recorded_at, lead_id from rows",
    )
    assert len(rows) > 5_000
    zone = taken_in.settings.zone
    for landed, happened, recorded, _ in rows:
        assert happened <= recorded
        assert recorded.astimezone(zone).date() <= landed <= LAST


def test_an_outcome_names_a_lead_and_a_product_that_exist_and_fit(taken_in):
    settings = taken_in.settings
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


def test_every_row_of_the_answer_key_is_quarantined_under_its_rule_and_no_other(taken_in):
    assert_exactly_the_key_is_set_aside(taken_in.settings)


def test_most_identities_are_valid_and_invented_leads_are_found_by_their_phone(taken_in):
    ((leads, bad_ids, bad_phones),) = lake(
        taken_in,
        "leads",
        "select count(*), count(*) filter (not is_id_valid), count(*) filter (not is_phone_valid)"
        " from rows",
    )
    assert bad_ids == 0
    assert 0.001 < bad_phones / leads < 0.05


def test_some_people_come_through_several_channels_and_rings_share_a_device(taken_in):
    ((several,),) = lake(
        taken_in,
        "leads",
        "select count(*) from (select person_key from rows group by person_key"
        " having count(distinct channel_id) > 1)",
    )
    assert several > 100
    ((rings,),) = lake(
        taken_in,
        "leads",
        "select count(*) from (select device_id from rows where device_id is not null"
        " group by device_id, landed_on having count(distinct person_key) > 5)",
    )
    assert rings == DAYS


def test_some_leads_are_suppressed(taken_in):
    settings = taken_in.settings
    found = duckdb.sql(
        f"""
        select distinct reason from '{settings.lake}/suppressions/*/*.parquet'
        join '{settings.lake}/leads/*/*.parquet' on subject in (id_number_sha256, phone_sha256)
        """
    ).fetchall()
    assert {reason for (reason,) in found} >= {"do_not_contact", "existing_customer"}


def test_catalogues_come_first_and_then_only_when_they_change(market):
    catalogues = bytes_below(market.settings.landing / "products")
    days = Counter(name.split("/")[1] for name in catalogues if "/products." in name)
    assert days.pop(str(START)) == 12
    assert 0 < sum(days.values()) < 12


def test_approval_can_be_learned_but_not_perfectly(market):
    """A plain model of what lenders see finds much, and the truth itself leaves chance."""
    pairs = duckdb.sql(
        f"""
        select * exclude (channel_id, lead_id, date)
        from '{market.settings.truth}/date=*/shown.parquet'
        join '{market.settings.truth}/date=*/leads.parquet' using (channel_id, lead_id, date)
        """
    ).to_arrow_table()
    column = {name: pairs[name].to_numpy() for name in pairs.column_names}
    happened = np.random.default_rng(0).random(pairs.num_rows) < column["p_approve"]
    assert 0.03 < happened.mean() < 0.15
    assert 0.85 < roc_auc_score(happened, column["p_approve"]) < 0.95

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
    first = np.arange(happened.size) < happened.size * 0.7
    model = LogisticRegression(max_iter=100).fit(shown[first], happened[first])
    learned = roc_auc_score(happened[~first], model.predict_proba(shown[~first])[:, 1])
    assert 0.78 < learned < 0.93


def test_the_report_can_say_that_all_of_it_is_simulated(market):
    (origin,) = read_provenance(market.settings)
    assert origin["kind"] == "simulate"
    assert origin["invented"].keys() == set(feeds())
    assert origin["dates"] == f"{START} to {LAST}"


def test_the_default_market_begins_on_any_weekday_and_month(tmp_path):
    """A leap day and a year's end have their own arithmetic."""
    for start in (date(2024, 2, 28), date(2025, 12, 31)):
        settings = Settings(home=tmp_path / str(start))
        small = SIZE | {"start": start, "days": 2, "leads_per_day": 50}
        assert simulate(settings, Plan(**small))["feeds"]["leads"]["rows"] >= 100
