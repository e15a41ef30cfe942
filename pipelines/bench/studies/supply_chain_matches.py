"""Small businesses in the scorecard, matched with and without what the supply chain shows.

A market of firms is simulated as in `supply_chain`, and its last day is trained, scored and matched
by the pipeline's own steps, once for each set of features and from the same state of the home. The
scorecard measures the matches by the truth. A season of 60 days could not show a difference: no
default is known so early, so its risk model is the stated prior, which reads no partners.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date

import click
import numpy as np

from models.params import exclude_features, params, params_text, replace_params
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    count_option,
    run_in_new_process,
    show_progress,
    temporary_home,
)
from pipelines.bench.studies.supply_chain import (
    CONDITIONS,
    MarketSize,
    feature_sets,
    interval_of_mean,
    plant_market,
    seller_share_option,
    simulate_firms,
)
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.daily_cache import compute_offers
from pipelines.evaluation.scorecard.day_figures import figures_by_group
from pipelines.evaluation.scorecard.lead_totals import load_lead_costs, total_by_truth
from pipelines.evaluation.scorecard.policies import BROADCAST
from pipelines.matches.match_day import match
from pipelines.pairs.score_day import score
from pipelines.training.weekly import ensure

DAYS = 13
"""Days with leads. The last, 5 May 2025, is not at a month's end, when lenders have little left."""
AFTER = "partners"
"""The set with all features; the others of `feature_sets` are compared with it."""
MEASURED = (
    "approval_rate",
    "default_rate",
    "institution_yield",
    "fee_share_of_yield",
    "cost_share_of_yield",
    "surplus_share_of_oracle",
    "surplus_share_of_attainable",
)
"""Figures of the scorecard that are reported as they are."""
PER_LEAD = ("shown", "approved", "funded", "surplus")
"""Figures of the scorecard that are reported by lead."""


@click.command("chain-matches")
@count_option("--leads-per-day", 4_000, "Leads of each day, all of firms.")
@count_option("--institutions", 20, "Number of institutions.")
@seller_share_option
@click.option(
    "--generosity",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Fall of every lender's cut-off, in standard deviations of strength.",
)
@click.option(
    "--condition",
    type=click.Choice(CONDITIONS),
    default="hop1",
    show_default=True,
    help="What is planted.",
)
@count_option("--seeds", 5, "Number of markets.", least=2)
@click.pass_obj
def command(
    settings: Settings,
    *,
    leads_per_day: int,
    institutions: int,
    seller_share: float,
    generosity: float,
    condition: str,
    seeds: int,
) -> Figures:
    """Measure what the supply chain's features bring in the matches of businesses.

    Firms apply on 13 days, eight weeks apart; the last one is matched by the models of all before.

    The figures have, for the matches with the features `own` (without partners), `buyers_late`
    (with the one column of this name) and `partners` (all), and for a `broadcast`, the scorecard's
    figures of the segment business by the truth, as means over seeds: rates and shares, and
    `shown`, `approved`, `funded` and `surplus` by lead (`_per_lead`). `gain` has the difference of
    `partners` from each other set with its 95% interval over seeds (Student's t), and `models` by
    set the number of markets whose risk model was trained and no stated prior, and its mean AUC in
    validation. `leads` and `quota` are of the matched day.
    """
    size = MarketSize(DAYS, leads_per_day, institutions, seller_share, generosity)
    stopwatch = Stopwatch()
    measured = []
    for seed in range(1, seeds + 1):
        with temporary_home(settings) as home:
            measured.append(match_market(home, condition, size, seed, list_params()))
        show_progress("chain-matches", f"seed {seed}: {measured[-1]}")
    conditions = {"condition": condition, "seller_share": seller_share, "generosity": generosity}
    seconds = round(stopwatch.seconds, 1)
    return summarise(measured) | conditions | {"seeds": seeds, "seconds": seconds}


def match_market(
    settings: Settings,
    condition: str,
    size: MarketSize,
    seed: int,
    params_by_set: Mapping[str, str],
) -> dict[str, Figures]:
    """Return the figures of the last day of one market, by set of features and of a broadcast."""
    market = plant_market(settings, condition, size, seed)
    day = simulate_firms(market, size.days, with_spend=True)
    measured = {}
    for name, text in params_by_set.items():
        with _copy_home(settings) as home:
            found = run_in_new_process(match_with_params, home, condition, size, seed, day, text)
        measured[name] = found["banyan"]
        measured[BROADCAST] = found[BROADCAST]
    return measured


def list_params() -> dict[str, str]:
    """Return the YAML of the parameters with each set of `feature_sets`.

    A column that is left out is left out of every model.
    """
    everything = set(params().model_features("risk").names)
    return {
        name: exclude_features(params_text(), everything - set(features.names))
        for name, features in feature_sets().items()
    }


@contextmanager
def _copy_home(settings: Settings) -> Iterator[Settings]:
    with temporary_home(settings) as copied:
        shutil.copytree(settings.home, copied.home, dirs_exist_ok=True)
        yield copied


def match_with_params(
    settings: Settings, condition: str, size: MarketSize, seed: int, day: date, text: str
) -> dict[str, Figures]:
    """Train, score and match `day` with these parameters, in a process of its own.

    Returns:
        The scorecard's figures of the segment business, of the published matches (`banyan`, with
        what is known of their models) and of a broadcast.
    """
    replace_params(text)
    models = ensure(settings, day)
    score(settings, day)
    match(settings, day)
    market = plant_market(settings, condition, size, seed)
    offers = compute_offers(settings, day, simulated=market)
    with connect(settings) as connection:
        totals = total_by_truth(connection, load_lead_costs(connection, settings, day), offers)
    by_policy = figures_by_group([totals])["Segment"]["business"]
    facts = {"models": models, "quota": offers.quota}
    return {name: _select_figures(by_policy[name]) | facts for name in ("banyan", BROADCAST)}


def _select_figures(figures: Figures) -> Figures:
    per_lead = {f"{name}_per_lead": figures[name] / figures["leads"] for name in PER_LEAD}
    return {name: figures[name] for name in ("leads", *MEASURED)} | per_lead


def summarise(measured: Sequence[Mapping[str, Figures]]) -> Figures:
    """Return the means over markets, and the gains of `AFTER` over the other sets."""
    names = [*MEASURED, *(f"{name}_per_lead" for name in PER_LEAD)]
    sets = list(feature_sets())

    def values(of: str, name: str) -> list[float]:
        return [float(market[of][name]) for market in measured]

    means = {
        of: {name: round(float(np.mean(values(of, name))), 4) for name in names}
        for of in (*sets, BROADCAST)
    }
    gains = {
        f"over_{baseline}": {
            name: interval_of_mean(np.subtract(values(AFTER, name), values(baseline, name)))
            for name in names
        }
        for baseline in (*sets, BROADCAST)
        if baseline != AFTER
    }
    counts = {name: round(float(np.mean(values(AFTER, name)))) for name in ("leads", "quota")}
    return means | {"gain": gains, "models": _describe_models(measured, sets)} | counts


def _describe_models(measured: Sequence[Mapping[str, Figures]], sets: Sequence[str]) -> Figures:
    risk = {name: [market[name]["models"]["risk"] for market in measured] for name in sets}
    trained = {
        name: [model["auc"] for model in models if model["source"] == "model"]
        for name, models in risk.items()
    }
    return {
        name: {"trained": len(auc), "auc": round(float(np.mean(auc)), 4) if auc else None}
        for name, auc in trained.items()
    }
