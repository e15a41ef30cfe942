"""Gain of the supply chain's features in the risk of businesses, by the truth of simulated markets.

A market of firms is simulated for longer than the horizon of a loan. Models are trained on loans
whose horizon is over and predict the leads of later months, with and without what the chain shows
of the partners. So a gain must vanish if links are shuffled, or if no failure travels up the chain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import chain
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import t as student

from models.params import Features, params
from models.training.boosting import EnsembleSize, Examples, TrainingSet, train_ensemble
from models.training.dataset import load_examples
from models.training.optional_features import GroupTest, compare_groups, select_features
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    count_option,
    show_progress,
    split_list,
    temporary_home,
)
from pipelines.bench.studies.reject_inference import (
    Predictions,
    delay_reports,
    load_applicants,
    register_outcomes,
)
from pipelines.core.arrays import FloatArray
from pipelines.core.settings import Settings
from pipelines.ingest.ingest_day import ingest
from pipelines.simulate.outcomes.ground_truth import RISK_OF_STRENGTH
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.world import Contagion, World
from pipelines.transform.build import transform

START = date(2023, 7, 3)
"""A Monday, early enough that the rate cap does not change within the market."""
CHANNELS = 1
INTERVAL = timedelta(days=56)
"""Days between two days with leads, on which outcomes are reported too: few files cost less."""
HORIZON = timedelta(days=366) + INTERVAL + timedelta(days=7)
"""Age from which a loan's horizon is over, and its reports are in."""
TEST_DAYS = 150
"""The last days, whose leads are predicted."""
FEWEST_DAYS = 12
HISTORY_MONTHS = 13
"""Months of supply links that are known at the start, so that no window is cut."""
GENEROSITY = 3.0
"""Fall of every cut-off, in standard deviations of strength: more loans for the same leads."""
RISKIEST = 0.1
"""Share of leads whose recall is measured."""
TREES = EnsembleSize("additive_first", (300, 60))
"""The same size for all, so that only the features differ."""

OWN = ("supply_paid_late_change", "supply_months_without_sales", "supply_sales_growth")
"""Features of the group `chain` that are of the business itself, not of its partners."""
PEERS = "peers_arrears_rate"
FIRST_HOP = "supply_buyers_late_share"
"""The only column on partners before the group `chain` existed: how they pay this business."""

AFTER = "partners"
"""The set with all columns on partners that the training keeps."""
UNTESTED = "untested"
"""The model with all of them, whether they improve it or not."""

CONDITIONS = ("hop1", "hop2", "none", "shuffled")
"""What is planted; `shuffled` is `hop1` with every link given to a random seller."""
METRICS = ("auc", "recall")


@dataclass(frozen=True)
class MarketSize:
    """The size of a market of firms."""

    days: int
    leads_per_day: int
    institutions: int
    seller_share: float
    """Share of firms that invoice another one in a month."""
    generosity: float = GENEROSITY


class FirmMarket(SimulatedMarket):
    """A market in which every lead is of a firm and lenders are generous; links may be shuffled."""

    def __init__(self, world: World, *, is_shuffled: bool, generosity: float = GENEROSITY):
        super().__init__(world)
        everyone = np.ones_like(self.channels.business)
        self.channels = replace(self.channels, business=everyone)
        self.products = replace(
            self.products,
            cut=self.products.cut - generosity,
            pd_max=widen_band(self.products.pd_max, generosity),
        )
        self._is_shuffled = is_shuffled

    def price_factor(self, day: date) -> float:  # noqa: ARG002
        """Return 1: nothing here depends on prices, and there are no people to calibrate on."""
        return 1.0

    def _write_file(
        self, feed: str, source: str, day: date, table: pa.Table, file_format: str, name: str = ""
    ) -> None:
        if feed == "supply_links" and self._is_shuffled:
            order = np.random.default_rng([self.world.seed, day.toordinal()])
            sellers = table["seller_id"].take(pa.array(order.permutation(table.num_rows)))
            position = table.column_names.index("seller_id")
            table = table.set_column(position, "seller_id", sellers)
            table = table.filter(pc.not_equal(table["seller_id"], table["buyer_id"]))
        super()._write_file(feed, source, day, table, file_format, name)


seller_share_option = click.option(
    "--seller-share",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of firms that invoice another one in a month: how much of the trade is seen.",
)


def widen_band(pd_max: FloatArray, generosity: float) -> FloatArray:
    """Return the highest default probabilities that generous lenders state.

    Who approves weaker applicants states a wider band: by the risk of the strength given up.
    """
    odds = pd_max / (1 - pd_max) * np.exp(RISK_OF_STRENGTH * generosity)
    return np.asarray(np.round(odds / (1 + odds), 3), np.float64)


@click.command("chain")
@count_option(
    "--days", 14, "Days with leads, eight weeks apart; loans run for a year.", least=FEWEST_DAYS
)
@count_option("--leads-per-day", 3_000, "Leads of each day, all of firms.")
@count_option("--institutions", 8, "Number of institutions.")
@seller_share_option
@count_option("--seeds", 5, "Number of markets of each condition.", least=2)
@click.option(
    "--conditions",
    callback=split_list,
    default="hop1,none,shuffled",
    show_default=True,
    metavar="NAME,…",
    help=f"What is planted: {', '.join(CONDITIONS)}.",
)
@click.pass_obj
def command(
    settings: Settings,
    *,
    days: int,
    leads_per_day: int,
    institutions: int,
    seller_share: float,
    seeds: int,
    conditions: tuple[str, ...],
) -> Figures:
    """Measure what the supply chain's features bring in the risk of businesses.

    The figures have, by condition, `auc` and `recall` (at the 10% riskiest) of the models `own`
    (without partners), `buyers_late` (with the one column of this name), `partners` (with all that
    a training keeps), `untested` (with all, kept or not) and `truth`, as means over seeds; `gain`,
    that of `partners` over `own`, with its 95% interval over seeds (Student's t); `kept`, the
    number of markets whose training keeps the partners; counts of `loans`, `defaults` and `leads`;
    `seconds`.
    """
    if unknown := sorted(set(conditions) - set(CONDITIONS)):
        raise click.UsageError(f"No condition is named {unknown[0]!r}; see --help.")
    size = MarketSize(days, leads_per_day, institutions, seller_share)
    stopwatch = Stopwatch()
    figures: Figures = {}
    for condition in conditions:
        measured = []
        for seed in range(1, seeds + 1):
            with temporary_home(settings) as home:
                measured.append(measure_market(home, condition, size, seed))
            show_progress("chain", f"{condition}, seed {seed}: {measured[-1]}")
        figures[condition] = summarise(measured)
    return figures | {"seeds": seeds, "seller_share": seller_share, **stopwatch.figures(1)}


def measure_market(
    settings: Settings, condition: str, size: MarketSize, seed: int
) -> dict[str, Any]:
    """Return the metrics of each model in one market."""
    last = simulate_firms(plant_market(settings, condition, size, seed), size.days)
    ended = last - HORIZON
    loans = load_examples(settings, last, "defaulted", as_of=last)
    loans = loans.filter(pc.less(loans["business_date"], ended))
    applicants, truth = load_applicants(settings, last, since=last - timedelta(days=TEST_DAYS))
    metrics, kept = {}, {}
    for name, features in feature_sets().items():
        tests = list(compare_partners(loans, features))
        kept[name] = any(test.is_kept for test in tests)
        selected = select_features(features, tests)
        metrics[name] = measure(fit_and_predict(loans, applicants, selected), truth)
    everything = fit_and_predict(loans, applicants, feature_sets()[AFTER])
    return metrics | {
        UNTESTED: measure(everything, truth),
        "kept": int(kept[AFTER]),
        "truth": measure(truth, truth),
        "loans": loans.num_rows,
        "defaults": round(float(pc.sum(loans["label"]).as_py())),
        "leads": applicants.num_rows,
    }


def plant_market(settings: Settings, condition: str, size: MarketSize, seed: int) -> FirmMarket:
    """Return the market of firms in which `condition` is planted; nothing is written."""
    world = World(
        settings,
        size.leads_per_day,
        size.institutions,
        CHANNELS,
        seed,
        contagion=Contagion.HOP1 if condition == "shuffled" else Contagion(condition),
        seller_share=size.seller_share,
    )
    return FirmMarket(world, is_shuffled=condition == "shuffled", generosity=size.generosity)


def simulate_firms(market: FirmMarket, days: int, *, with_spend: bool = False) -> date:
    """Write a market of firms on one day in eight weeks, up to its marts; return their date.

    Args:
        market: In an empty home.
        days: Days with leads.
        with_spend: Whether channels report what the leads of each day cost.
    """
    settings = market.world.settings
    dates = [START + number * INTERVAL for number in range(days)]
    last = dates[-1]
    market.write_catalogues(START, is_first=True)
    market.write_supply_links(START, is_first=True, history_months=HISTORY_MONTHS)
    month = START
    while (month := (month + timedelta(days=31)).replace(day=1)) <= last:
        market.write_supply_links(month, is_first=False)
    outcomes = list(chain.from_iterable(market.write_leads(day, last) for day in dates))
    market.write_outcome_table(delay_reports(pa.concat_tables(outcomes), START, last, INTERVAL))
    register_outcomes(market)
    for day in dates if with_spend else ():
        market.write_channel_spend(day)
    ingest(settings, last)
    transform(settings, last)
    return last


def feature_sets() -> dict[str, Features]:
    """Return the features of the models: of the firm alone, with how it is paid, with partners."""
    everything = params().model_features("risk")
    partners = set(params().features["chain"].names) - {*OWN, PEERS}
    return {
        "own": without(everything, {*partners, FIRST_HOP}),
        "buyers_late": without(everything, partners),
        "partners": everything,
    }


def without(features: Features, excluded: set[str]) -> Features:
    """Return the features that are not excluded."""
    return Features(
        **{
            kind: tuple(name for name in names if name not in excluded)
            for kind, names in features.model_dump().items()
        }
    )


def compare_partners(loans: pa.Table, features: Features) -> Iterator[GroupTest]:
    """Yield the comparison by which a training keeps the columns on partners, or not."""
    groups = params().models["risk"].optional_features
    return compare_groups(loans, features, groups, TREES, use_recency=False)


def fit_and_predict(loans: pa.Table, applicants: pa.Table, features: Features) -> FloatArray:
    """Return the predicted log-odds of default of applicants."""
    examples = Examples.encode(loans, features, use_recency=False)
    everything = TrainingSet.prepare(examples, np.ones(loans.num_rows, np.bool_))
    model = train_ensemble(everything, TREES)
    return model.predict_log_odds(model.encoder.encode(applicants), threads=1)


def measure(predicted: FloatArray, truth: FloatArray) -> dict[str, float]:
    """Return the expected AUC, and the share of expected defaults among the riskiest leads."""
    order = np.argsort(-predicted, kind="stable")
    riskiest = order[: round(RISKIEST * order.size)]
    auc = Predictions(predicted, truth).auc(np.ones(truth.size))
    return {"auc": auc, "recall": float(truth[riskiest].sum() / truth.sum())}


def summarise(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over markets, and the gain of `partners` over the others with intervals.

    `untested_over_own` is the gain if all columns on partners are kept in every market.
    """
    models = [*feature_sets(), UNTESTED, "truth"]
    means = {
        model: {
            metric: round(float(np.mean([market[model][metric] for market in measured])), 4)
            for metric in METRICS
        }
        for model in models
    }
    gains = {
        name: {
            metric: interval_of_mean(
                [market[after][metric] - market[baseline][metric] for market in measured]
            )
            for metric in METRICS
        }
        for name, after, baseline in (
            ("over_own", AFTER, "own"),
            ("over_buyers_late", AFTER, "buyers_late"),
            ("untested_over_own", UNTESTED, "own"),
        )
    }
    counts = {
        name: round(float(np.mean([market[name] for market in measured])))
        for name in ("loans", "defaults", "leads")
    }
    kept = sum(market["kept"] for market in measured)
    return {**means, "gain": gains, "kept": kept, **counts}


def interval_of_mean(values: Sequence[float] | FloatArray) -> dict[str, float]:
    """Return mean and 95% interval of a figure over independent markets."""
    mean, size = float(np.mean(values)), len(values)
    half = float(student.ppf(0.975, size - 1) * np.std(values, ddof=1) / np.sqrt(size))
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}
