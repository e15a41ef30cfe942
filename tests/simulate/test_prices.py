"""Under broadcast institutions pay 57% of the yield; in a season prices react to what they buy."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pytest

from pipelines.core.publishing import write_parquet
from pipelines.core.settings import Settings
from pipelines.simulate import SimulationPlan
from pipelines.simulate.market.catalogue import terms_on
from pipelines.simulate.market.lenders import PRICE_MODELS
from pipelines.simulate.outcomes.broadcast import (
    CHANNELS_SHARE,
    FEES_OF_YIELD,
    draw_broadcast,
    expected_fees,
    expected_yield,
)
from pipelines.simulate.outcomes.ground_truth import compute_pair_truth, meets_hard_rules
from pipelines.simulate.prices.calibration import (
    application_cost,
    calibrate_prices,
    measure_broadcast_cost,
)
from pipelines.simulate.prices.reactions import (
    HIGHEST,
    LOWEST,
    POOR_WEEKS,
    Bids,
    WeekResults,
    load_bids,
    measure_service,
    react,
)
from pipelines.simulate.respond import update_prices
from pipelines.simulate.shocks import NAMES, Shock
from pipelines.simulate.simulate import start_market
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.truth import leads_on
from pipelines.simulate.world import World
from tests.helpers.representatives import keep

MONDAY = date(2026, 1, 12)
BEFORE_CAP, AFTER_CAP = date(2025, 3, 3), date(2026, 1, 5)


def make_market(home: Path, leads: int, institutions: int, seed: int) -> SimulatedMarket:
    return SimulatedMarket(World(Settings(home=home), leads, institutions, 12, seed))


def landed_spend(home: Path, day: date) -> float:
    """Return the sum of what all channels report as spent on a day."""
    files = list((home / "landing" / "channel_spend").glob(f"*/{day}/*"))
    csv = [f"{file}" for file in files if file.suffix == ".csv"]
    lines = [f"{file}" for file in files if file.suffix == ".jsonl"]
    query = """select sum(spend) from (select spend from read_csv($csv) union all
        select spend from read_json($lines))"""
    with duckdb.connect() as connection:
        ((spend,),) = connection.execute(query, {"csv": csv, "lines": lines}).fetchall()
    return float(spend)


def broadcast_totals(market: SimulatedMarket, day: date, drawings: int = 1) -> np.ndarray:
    """Return the mean fees of broadcasts of a day's leads, at the day's prices, and their yield."""
    leads, totals = leads_on(market, day), np.zeros(2)
    price, quota, is_active = terms_on(market.world, market.products, day, market.price_factor(day))
    quota = np.where(is_active, quota, 0)
    for drawing in range(drawings):
        pairs = draw_broadcast(
            market.world, market.lenders, market.products, leads, quota, drawing + 100
        )
        fees = expected_fees(market.products, price, pairs)
        totals += (fees.sum(), expected_yield(pairs).sum())
    return totals / drawings


def fee_share(market: SimulatedMarket, start: date, days: int) -> float:
    """Return the fees of a broadcast of these days, at the day's prices, over its yield."""
    dates = [start + timedelta(days=number) for number in range(days)]
    fees, interest = np.sum([broadcast_totals(market, day) for day in dates], axis=0)
    return float(fees / interest)


@pytest.mark.parametrize(("count", "tolerance"), keep((0,), [(1, 0.15), (3, 0.06)]))
def test_fees_are_57_percent_of_the_yield_of_a_broadcast_before_and_after_the_cap(
    tmp_path, count, tolerance
):
    """A fortnight of a market varies by its weather; the mean over markets does not."""
    markets = [make_market(tmp_path, 800, 60, seed) for seed in range(1, count + 1)]
    for start in (BEFORE_CAP, AFTER_CAP):
        shares = [fee_share(market, start, 14) for market in markets]
        assert np.mean(shares) == pytest.approx(FEES_OF_YIELD, abs=tolerance)
        assert max(abs(share - FEES_OF_YIELD) for share in shares) < 0.15


def test_channels_are_paid_90_percent_of_the_fees_of_a_broadcast(tmp_path):
    market = make_market(tmp_path, 1_500, 40, 3)
    for day in (BEFORE_CAP, AFTER_CAP):
        market.write_channel_spend(day)
        spend = landed_spend(tmp_path, day)
        fees, _ = broadcast_totals(market, day, drawings=12)
        assert spend == pytest.approx(CHANNELS_SHARE * fees, rel=0.04)


def test_a_broadcast_respects_consents_and_knows_only_sent_columns(tmp_path):
    market = make_market(tmp_path, 1_500, 40, 3)
    products, leads = market.products, leads_on(market, AFTER_CAP)
    pairs = draw_broadcast(market.world, market.lenders, products, leads, products.quota)
    scope = leads.columns["consent_scope"][pairs.lead]
    names = market.lenders.name[products.lender[pairs.product]]
    is_listed = scope != "all"
    assert is_listed.any()
    for listed, name in zip(scope[is_listed], names[is_listed], strict=True):
        assert name in listed.split("|")
    reads_income = ~np.isnan(products.min_income[pairs.product])
    is_person = ~leads.traits["is_firm"][pairs.lead]
    income = leads.columns["income_monthly"][pairs.lead]
    assert not np.isnan(income[reads_income & is_person]).any()
    assert np.isnan(income[~reads_income & is_person]).any()


def test_only_the_rate_ceiling_changes_the_factor(tmp_path):
    market = make_market(tmp_path, 300, 10, 3)
    days = (BEFORE_CAP, date(2025, 9, 30), date(2025, 10, 1), AFTER_CAP)
    factors = [calibrate_prices(market.calibrated_market, day) for day in days]
    assert factors[0] == factors[1] > factors[2] == factors[3] > 0


@pytest.mark.parametrize("name", keep((3,), NAMES))
def test_no_shock_changes_the_factor(tmp_path, name):
    market = make_market(tmp_path, 300, 10, 3)
    world = replace(market.world, shocks=(Shock(name, AFTER_CAP),))
    assert SimulatedMarket(world).price_factor(AFTER_CAP) == market.price_factor(AFTER_CAP)


def test_fees_follow_the_price_model(tmp_path):
    market = make_market(tmp_path, 300, 10, 3)
    leads = leads_on(market, AFTER_CAP)
    price = market.products.price
    pairs = draw_broadcast(
        market.world, market.lenders, market.products, leads, market.products.quota
    )
    fees = expected_fees(market.products, price, pairs)
    for row in range(0, fees.size, 7):
        due = {
            "cpl": 1,
            "cpa": pairs.p_approve[row],
            "cps": pairs.p_approve[row] * pairs.p_fund[row] * pairs.amount[row],
        }[str(PRICE_MODELS[market.products.price_model[pairs.product[row]]])]
        assert fees[row] == pytest.approx(price[pairs.product[row]] * due)


def weeks(bids: Bids, service: np.ndarray, count: int, *, leads: int = 50) -> Iterator[Bids]:
    """Yield the bids after each week in which the products were served so by their price."""
    ones, day = np.ones(service.size), MONDAY
    for _ in range(count):
        cost = 100.0 * bids.factor  # a lower bid makes the same leads cheaper
        week = WeekResults(np.full(service.size, float(leads)), cost, 100.0 * service)
        bids = react(bids, week, ones, day)
        day += timedelta(days=7)
        yield bids


def test_a_product_that_is_dumped_on_bids_less_pauses_and_leaves():
    history = list(weeks(Bids.at_start(1), np.array([0.2]), 12))
    factors = [float(bids.factor[0]) for bids in history]
    assert factors[:3] == [0.9, 0.81, 0.729]
    assert min(factors) >= LOWEST
    first_pause = next(at for at, bids in enumerate(history) if bids.pauses[0])
    assert first_pause == POOR_WEEKS - 1
    paused = history[first_pause]
    day = MONDAY + timedelta(days=7 * first_pause)
    assert not paused.is_open(day)[0]
    assert paused.is_open(day + timedelta(days=14))[0]
    assert history[-1].left_on[0] > day.toordinal()
    assert not history[-1].is_open(day + timedelta(days=365))[0]


def test_a_product_with_somewhat_worse_leads_finds_a_lower_price_and_stays():
    *_, last = weeks(Bids.at_start(1), np.array([0.7]), 20)
    assert 0.7 <= last.factor[0] < 1
    assert last.pauses[0] == last.left_on[0] == 0


def test_a_product_served_well_bids_more_within_bounds():
    *_, last = weeks(Bids.at_start(2), np.array([3.0, 1.0]), 20)
    assert last.factor.tolist() == [HIGHEST, 1]


def test_a_few_leads_or_no_yield_known_change_nothing():
    start = Bids.at_start(1)
    (few,) = weeks(start, np.array([0.1]), 1, leads=3)
    assert few.factor[0] == 1
    week = WeekResults(np.array([50.0]), np.array([100.0]), np.array([10.0]))
    assert react(start, week, np.array([np.nan]), MONDAY).factor[0] == 1


@pytest.fixture
def season(tmp_path: Path) -> SimulatedMarket:
    """A home with catalogues of a Monday a week ago, and no deliveries yet."""
    plan = SimulationPlan(MONDAY - timedelta(days=7), 8, 300, 10, 3, 11, broadcast_days=0)
    return start_market(Settings(home=tmp_path), plan)


def deliver(market: SimulatedMarket, *, best: bool, each: int = 30) -> None:
    """Store a week's deliveries: for each product its best or its worst eligible leads."""
    for back in range(1, 8):
        day = MONDAY - timedelta(days=back)
        leads = leads_on(market, day)
        size = (leads.number.size, market.products.lender.size)
        lead, product = (axis.ravel() for axis in np.indices(size))
        is_eligible = meets_hard_rules(market.products, leads, lead, product)
        lead, product = lead[is_eligible], product[is_eligible]
        truth = compute_pair_truth(
            market.world, market.lenders, market.products, leads, lead, product
        )
        order = np.lexsort((expected_yield(truth) * (-1 if best else 1), product))
        place = np.arange(order.size) - np.searchsorted(product[order], product[order])
        rows = order[place < each // 7]
        market.write_day_truth(day, "responses", {"lead": lead[rows], "product": product[rows]})


def bids_after(market: SimulatedMarket, *, best: bool) -> Bids:
    deliver(market, best=best)
    settings = market.world.settings
    update_prices(settings, market, MONDAY)
    return load_bids(settings.truth, MONDAY, market.products.lender.size)


def test_a_platform_that_dumps_leads_loses_fees_and_one_that_matches_gains(season):
    dumped = bids_after(season, best=False).factor
    matched = bids_after(season, best=True).factor
    has_fee_by_lead = PRICE_MODELS[season.products.price_model] == "cpl"
    assert (dumped[has_fee_by_lead] < 1).mean() > 0.8
    assert (matched[has_fee_by_lead] > 1).mean() > 0.8
    assert dumped.mean() < 0.95
    assert matched.mean() > 1


def test_random_draws_of_eligible_leads_are_served_as_by_broadcast(season):
    """The cost that a product can bear, from sampled leads, agrees with a week's real leads."""
    market = season
    size = market.products.lender.size
    cost, interest = np.zeros(size), np.zeros(size)
    price = market.price_factor(MONDAY) * market.products.price
    for back in range(1, 8):
        leads = leads_on(market, MONDAY - timedelta(days=back))
        lead, product = (axis.ravel() for axis in np.indices((leads.number.size, size)))
        is_eligible = meets_hard_rules(market.products, leads, lead, product)
        lead, product = lead[is_eligible], product[is_eligible]
        truth = compute_pair_truth(
            market.world, market.lenders, market.products, leads, lead, product
        )
        cost += np.bincount(product, application_cost(market.products, price, truth), size)
        interest += np.bincount(product, expected_yield(truth), size)
    broadcast_cost = measure_broadcast_cost(market.calibrated_market, MONDAY, price)
    service = measure_service(WeekResults(np.ones(size), cost, interest), broadcast_cost)
    assert np.nanmedian(service) == pytest.approx(1, abs=0.2)


def test_catalogues_of_changed_products_are_sent_again_with_the_new_price(season):
    bids = bids_after(season, best=False)
    landing = season.world.settings.landing / "products"
    before = {path.parent.parent.name for path in landing.glob(f"*/{MONDAY}/*")}
    assert not before
    season.write_day(MONDAY, MONDAY - timedelta(days=7))
    changed = season.products.lender[bids.factor != 1]
    sent = {path.parent.parent.name for path in landing.glob(f"*/{MONDAY}/products.*")}
    assert sent >= {str(season.lenders.name[lender]) for lender in changed}
    path = next(landing.glob(f"*/{MONDAY}/products.csv"))
    table = pcsv.read_csv(path)
    lender = season.lenders.name.tolist().index(path.parent.parent.name)
    prices = season.prices_on(MONDAY)[season.products.lender == lender]
    assert set(prices.tolist()) <= set(table["price"].to_pylist())


def test_a_monday_that_is_run_again_gives_the_same_bytes(season):
    truth = season.world.settings.truth
    bids_after(season, best=False)
    file = next(truth.glob("prices/*/bids.parquet"))
    first = file.read_bytes()
    update_prices(season.world.settings, season, MONDAY)
    assert file.read_bytes() == first
    update_prices(season.world.settings, season, MONDAY + timedelta(days=1))
    assert len(list(truth.glob("prices/*/bids.parquet"))) == 1


def test_without_deliveries_nothing_reacts(season):
    settings = season.world.settings
    update_prices(settings, season, MONDAY)
    assert not (settings.truth / "prices").exists()
    assert (load_bids(settings.truth, MONDAY, 3).factor == 1).all()


def test_a_product_that_left_is_paused_with_a_last_day(season):
    size = season.products.lender.size
    left = replace(Bids.at_start(size), left_on=np.where(np.arange(size) == 0, 739_000, 0))
    folder = season.world.settings.truth / "prices" / f"date={MONDAY}"
    write_parquet(pa.table(vars(left)), folder / "bids.parquet")
    season.write_catalogues(MONDAY, is_first=False)
    lender = str(season.lenders.name[season.products.lender[0]])
    (path,) = (season.world.settings.landing / "products" / lender / f"{MONDAY}").iterdir()
    row = pcsv.read_csv(path).to_pylist()[0]
    assert (row["status"], row["valid_to"]) == ("paused", date.fromordinal(739_000))
