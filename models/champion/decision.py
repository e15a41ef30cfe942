"""The champion-challenger decision: promote the challenger, or retain the champion.

The rule and its reasons: docs/decisions/champion-challenger.md. In short, the challenger is
promoted, because it has newer data, unless there is an objection: its own figures, too few new
outcomes, a figure that is worse beyond chance or by more than its tolerance, or probabilities that
are miscalibrated where the champion's are not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa

from models.champion.evaluation_window import (
    THREADS,
    EvaluationWindow,
    is_miscalibrated,
    is_refit_of_champion,
    to_outcomes,
)
from models.champion.registry import Champion, ModelVersion
from models.params import params
from models.scoring.estimators import Estimator
from models.training.fit_model import RANDOM_AUC
from models.training.paired_bootstrap import LOWER_IS_BETTER, Difference, compare

FIGURE_NAMES = {"auc": "AUC", "log_loss": "log loss", "ece": "ECE", "value": "value"}
NO_OBJECTION = frozenset({"promoted", "undecided", "abstained"})
"""Results of the off-policy test that do not speak against a challenger."""

Refit = Callable[[pa.Table], ModelVersion]
"""The training recipe: fits a model to training rows; returns the prior if they are too few."""

OffPolicyTest = Callable[[Estimator, date], tuple[str, str]]
"""Takes the refitted recipe and the start of the evaluation window; returns the decision of the
off-policy evaluation on the exploration log, and its reason."""


@dataclass(frozen=True)
class Evaluation:
    """The inputs of one champion-challenger evaluation.

    The champion predicts the window as it is. The challenger was trained on it, so its recipe is
    refitted on the training rows known before the window. If recipe and training rows are the
    champion's own, the refit would equal the champion, and none is made.
    """

    model: str
    champion: Champion
    challenger: ModelVersion
    as_of: date
    load_window: Callable[[], EvaluationWindow]
    """Called only if nothing else decides."""
    refit: Refit
    off_policy_test: OffPolicyTest | None = None

    @property
    def has_large_growth(self) -> bool:
        """Return whether the champion was trained on far fewer rows than the challenger."""
        rows, before = self.challenger.metadata["rows"], self.champion.version.metadata["rows"]
        return bool(rows >= params().challenge.growth_factor * before)


@dataclass(frozen=True)
class ChampionDecision:
    """The active version of one model from a set on, and why."""

    active: ModelVersion
    record: dict[str, Any]
    """`decision` (`promoted` or `retained`), `reason`, the dates of both versions, and figures."""
    rejected: ModelVersion | None = None


@dataclass
class Evidence:
    """The findings that a decision rests on."""

    findings: list[str] = field(default_factory=list)
    objections: list[str] = field(default_factory=list)
    """Findings against the challenger."""
    figures: dict[str, Any] = field(default_factory=dict)


def promote_first(challenger: ModelVersion, as_of: date) -> ChampionDecision:
    """Return the promotion of a challenger that has no champion before it."""
    return _promote(challenger, None, as_of, ["there was no champion before"], {})


def decide(evaluation: Evaluation) -> ChampionDecision:
    """Return the decision from the evaluation's date on."""
    challenger, champion = evaluation.challenger, evaluation.champion
    if challenger.metadata["source"] == "prior":
        return _decide_on_prior(challenger, champion, evaluation.as_of)
    evidence = _check_own_figures(challenger)
    if champion.is_prior:
        _compare_with_prior(challenger, evidence)
    elif not evidence.objections:
        _compare_in_window(evaluation, evidence)
    if evidence.objections:
        return retain(champion, evaluation.as_of, evidence.objections, challenger, evidence.figures)
    return _promote(challenger, champion, evaluation.as_of, evidence.findings, evidence.figures)


def retain(
    champion: Champion,
    as_of: date,
    reasons: Sequence[str],
    challenger: ModelVersion | None = None,
    figures: dict[str, Any] | None = None,
) -> ChampionDecision:
    """Return the retention of the champion from `as_of` on, with the objections as its reason."""
    record = {
        "decision": "retained",
        "reason": "; ".join(reasons),
        "champion": f"{champion.trained_as_of}",
        "challenger": f"{as_of}",
    }
    version = champion.version
    metadata = version.metadata | _tenure_dates(champion.trained_as_of, champion.active_since)
    active = ModelVersion(version.estimator, metadata, version.folder)
    return ChampionDecision(active, record | (figures or {}), challenger)


def _promote(
    challenger: ModelVersion,
    champion: Champion | None,
    as_of: date,
    reasons: Sequence[str],
    figures: dict[str, Any],
) -> ChampionDecision:
    record = {
        "decision": "promoted",
        "reason": "; ".join(reasons),
        "champion": f"{champion.trained_as_of}" if champion else None,
        "challenger": f"{as_of}",
    }
    metadata = challenger.metadata | _tenure_dates(as_of, as_of)
    return ChampionDecision(ModelVersion(challenger.estimator, metadata), record | figures)


def _tenure_dates(trained_as_of: date, since: date) -> dict[str, str]:
    return {"trained_as_of": f"{trained_as_of}", "champion_since": f"{since}"}


def _decide_on_prior(challenger: ModelVersion, champion: Champion, as_of: date) -> ChampionDecision:
    """Retain the champion, since no model could be trained; a prior gets the newest metadata."""
    reason = f"no model could be trained: {challenger.metadata['reason']}"
    if not champion.is_prior:
        return retain(champion, as_of, [reason], challenger)
    dates = _tenure_dates(champion.trained_as_of, champion.active_since)
    active = ModelVersion(challenger.estimator, challenger.metadata | dates)
    return ChampionDecision(active, retain(champion, as_of, [reason]).record)


def _check_own_figures(challenger: ModelVersion) -> Evidence:
    """Return the objections from the challenger's own figures on later leads."""
    figures, evidence = challenger.metadata["figures"], Evidence()
    if figures["auc_low"] <= RANDOM_AUC:
        evidence.objections.append(
            f"on later leads its AUC is not above 0.5 beyond chance (AUC {figures['auc']:.3f}, "
            f"{figures['auc_low']:.3f} to {figures['auc_high']:.3f} with 95% confidence)"
        )
    constant = figures["base_rate"] * (1 - figures["base_rate"])
    if figures["brier"] >= constant:
        evidence.objections.append(
            f"on later leads it is no better than a constant rate (Brier {figures['brier']:.4f}, "
            f"that of the rate {constant:.4f})"
        )
    return evidence


def _compare_with_prior(challenger: ModelVersion, evidence: Evidence) -> None:
    """Add the comparison with a stated prior on later leads, which are new to the prior."""
    evidence.findings.append("a stated prior is replaced by a model that is valid on later leads")
    if figures := challenger.metadata.get("against_prior"):
        differences = {name: Difference(**figure) for name, figure in figures.items()}
        sentences = (_describe(name, differences[name]) for name in FIGURE_NAMES)
        evidence.findings.append("on these leads " + ", ".join(sentences))
        evidence.objections += _find_losses(differences, 1.0, has_large_growth=True)


def _compare_in_window(evaluation: Evaluation, evidence: Evidence) -> None:
    """Add the comparison of champion and challenger on outcomes that are new to the champion."""
    champion, metadata = evaluation.champion, evaluation.challenger.metadata
    window = evaluation.load_window()
    if not window.rows.num_rows:
        last_lead = champion.version.metadata.get("last_lead_on")
        evidence.objections.append(
            "its data is stale: no outcome is newer than the champion's (challenger: leads until "
            f"{metadata['last_lead_on']}; champion: outcomes known before "
            f"{champion.trained_as_of}, leads until {last_lead})"
        )
    elif not window.shortage:
        _compare_figures(evaluation, window, evidence)
    elif evaluation.has_large_growth:
        evidence.findings.append(
            f"{window.shortage}; but it was trained on {metadata['rows']:,} rows and the champion "
            f"on {champion.version.metadata['rows']:,}"
        )
    else:
        evidence.objections.append(window.shortage)


def _compare_figures(evaluation: Evaluation, window: EvaluationWindow, evidence: Evidence) -> None:
    champion = evaluation.champion.version.estimator
    is_same = is_refit_of_champion(evaluation.champion, window)
    recipe = champion if is_same else _refit_recipe(evaluation, window, evidence)
    if recipe is None:
        return
    outcomes = to_outcomes(evaluation.model, window)
    predictions = {
        side: model.predict(window.rows, threads=THREADS)
        for side, model in (("champion", champion), ("challenger", recipe))
    }
    differences = compare(outcomes, predictions["champion"], predictions["challenger"])
    expected = {side: outcomes.exposure.window_probability(p) for side, p in predictions.items()}
    miscalibrated = {side: is_miscalibrated(p, outcomes) for side, p in expected.items()}
    evidence.figures["evaluation"] = {
        "rows": window.rows.num_rows,
        "positives": round(window.positives, 2),
        "known_since": f"{window.starts_on}",
        "observable_share": round(window.exposure.mean, 6),
        "is_refit_of_champion": is_same,
        "figures": {name: difference.as_dict() for name, difference in differences.items()},
        "is_miscalibrated": miscalibrated,
    }
    describe = _describe_champion if is_same else _describe
    evidence.findings.append(
        f"on {window.rows.num_rows:,} outcomes known since {window.starts_on} "
        f"({window.positives:,.0f} positive)"
        + (" the champion has " if is_same else " ")
        + ", ".join(describe(name, differences[name]) for name in FIGURE_NAMES)
    )
    if is_same:
        evidence.findings.append("the challenger has the same recipe and these outcomes as well")
    elif evaluation.off_policy_test:
        _add_off_policy_result(*evaluation.off_policy_test(recipe, window.starts_on), evidence)
    evidence.objections += _find_losses(
        differences, window.exposure.mean, has_large_growth=evaluation.has_large_growth
    )
    if miscalibrated["challenger"] and not miscalibrated["champion"]:
        evidence.objections.append(
            "miscalibrated where the champion is not: predicted "
            f"{expected['challenger'].mean():.4f}, observed {outcomes.labels.mean():.4f}, "
            f"champion {expected['champion'].mean():.4f}"
        )


def _add_off_policy_result(decision: str, reason: str, evidence: Evidence) -> None:
    """Add the result of the off-policy evaluation."""
    evidence.figures["off_policy"] = {"decision": decision, "reason": reason}
    sentences = evidence.findings if decision in NO_OBJECTION else evidence.objections
    sentences.append(f"off-policy evaluation on the exploration log {decision}: {reason}")


def _refit_recipe(
    evaluation: Evaluation, window: EvaluationWindow, evidence: Evidence
) -> Estimator | None:
    """Return the recipe fitted on the training rows before the window; None if they are too few."""
    version = evaluation.refit(window.training_rows)
    if version.metadata["source"] == "model":
        return version.estimator
    sentence = (
        f"its recipe cannot be fitted on outcomes known before {window.starts_on}: "
        f"{version.metadata['reason']}"
    )
    sentences = evidence.findings if evaluation.has_large_growth else evidence.objections
    sentences.append(sentence)
    return None


def _find_losses(
    differences: dict[str, Difference], observable_share: float, *, has_large_growth: bool
) -> Iterator[str]:
    """Yield a sentence for each figure in which the challenger is worse.

    Tolerances of losses and rates refer to the whole horizon; where only a share of it could be
    observed, they are multiplied by that share.
    """
    for name, stated in params().challenge.tolerances.model_dump().items():
        tolerance = stated * observable_share if name in LOWER_IS_BETTER else stated
        difference = differences[name]
        sign = -1.0 if name in LOWER_IS_BETTER else 1.0
        gain = sign * difference.difference
        best_case = max(sign * difference.low, sign * difference.high)
        if gain >= -tolerance:
            continue
        if best_case < 0:
            yield f"worse beyond chance: {_describe(name, difference)}"
        elif not has_large_growth:
            described = _describe(name, difference)
            yield f"worse by more than the tolerance of {tolerance:g}: {described}"


def _describe_champion(name: str, difference: Difference) -> str:
    return f"{FIGURE_NAMES[name]} {difference.champion:.4f}"


def _describe(name: str, difference: Difference) -> str:
    return (
        f"{FIGURE_NAMES[name]} {difference.challenger:.4f} against {difference.champion:.4f} "
        f"(difference {difference.low:+.4f} to {difference.high:+.4f})"
    )
