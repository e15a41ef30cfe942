"""Whether a challenger takes the champion's place: by evidence that neither model has seen.

The rule and its reasons: docs/decisions/replaced-by-evidence.md. In short, the newcomer is
promoted, because it knows more of the world, unless something speaks against it: its own figures,
too little to compare on, a figure that is worse beyond chance or by more than its margin, or
probabilities that are out of their band where the champion's are not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from models.champion.evaluation import (
    THREADS,
    Contest,
    is_champion_again,
    out_of_band,
    outcomes,
)
from models.champion.evaluation_window import Stretch
from models.champion.registry import Champion, Entry
from models.params import params
from models.scoring.estimators import Estimator
from models.training.fit_model import CHANCE
from models.training.paired_bootstrap import LOWER_IS_BETTER, Difference, compare

WORDS = {"auc": "AUC", "log_loss": "log loss", "ece": "ECE", "value": "value"}


@dataclass(frozen=True)
class Seat:
    """Who serves as one of the models from a set on, and why."""

    entry: Entry
    decision: dict[str, Any]
    """`promoted` or `kept`, the reason, who was compared with whom, and the figures."""
    refused: Entry | None = None


@dataclass
class Evidence:
    """What a decision rests on."""

    words: list[str] = field(default_factory=list)
    against: list[str] = field(default_factory=list)
    """What speaks against the challenger, in words; empty: nothing."""
    facts: dict[str, Any] = field(default_factory=dict)


def first(challenger: Entry, as_of: date) -> Seat:
    """Return that `challenger` serves, as there was nobody before."""
    return _promoted(challenger, None, as_of, ["there was no champion before"], {})


def settle(contest: Contest) -> Seat:
    """Return who serves from the contest's day on."""
    challenger, champion, as_of = contest.challenger, contest.champion, contest.as_of
    if challenger.facts["source"] == "prior":
        return _of_prior(challenger, champion, as_of)
    found = _own_check(challenger)
    if champion.is_prior:
        _meet_prior(challenger, found)
    elif not found.against:
        _meet(contest, found)
    if found.against:
        return kept(champion, as_of, found.against, challenger, found.facts)
    return _promoted(challenger, champion, as_of, found.words, found.facts)


def kept(
    champion: Champion,
    as_of: date,
    reasons: Sequence[str],
    challenger: Entry | None = None,
    facts: dict[str, Any] | None = None,
) -> Seat:
    """Return that the champion stays from `as_of` on, and why the challenger was refused."""
    decision = {
        "decision": "kept",
        "reason": "; ".join(reasons),
        "champion": f"{champion.trained_as_of}",
        "challenger": f"{as_of}",
    }
    said = champion.entry.facts | _dates(champion.trained_as_of, champion.since)
    stays = Entry(champion.entry.estimator, said, champion.entry.stands)
    return Seat(stays, decision | (facts or {}), challenger)


def _promoted(
    challenger: Entry,
    champion: Champion | None,
    as_of: date,
    reasons: Sequence[str],
    facts: dict[str, Any],
) -> Seat:
    decision = {
        "decision": "promoted",
        "reason": "; ".join(reasons),
        "champion": f"{champion.trained_as_of}" if champion else None,
        "challenger": f"{as_of}",
    }
    said = challenger.facts | _dates(as_of, as_of)
    return Seat(Entry(challenger.estimator, said), decision | facts)


def _dates(trained_as_of: date, since: date) -> dict[str, str]:
    return {"trained_as_of": f"{trained_as_of}", "champion_since": f"{since}"}


def _of_prior(challenger: Entry, champion: Champion, as_of: date) -> Seat:
    """Return that nothing could be trained: a model stays, a prior stays with its newest words."""
    reason = f"no model could be trained: {challenger.facts['reason']}"
    if not champion.is_prior:
        return kept(champion, as_of, [reason], challenger)
    said = challenger.facts | _dates(champion.trained_as_of, champion.since)
    return Seat(Entry(challenger.estimator, said), kept(champion, as_of, [reason]).decision)


def _own_check(challenger: Entry) -> Evidence:
    """Return what its own figures on later leads say; they need no champion."""
    figures, found = challenger.facts["figures"], Evidence()
    if figures["auc_low"] <= CHANCE:
        found.against.append(
            f"on later leads it cannot be told from chance (AUC {figures['auc']:.3f}, "
            f"{figures['auc_low']:.3f} to {figures['auc_high']:.3f} with 95% confidence)"
        )
    guess = figures["base_rate"] * (1 - figures["base_rate"])
    if figures["brier"] >= guess:
        found.against.append(
            f"on later leads it is no better than one rate for all (Brier {figures['brier']:.4f}, "
            f"that of the rate {guess:.4f})"
        )
    return found


def _meet_prior(challenger: Entry, found: Evidence) -> None:
    """Add to `found` what later leads say of a prior, which has learned from none of them."""
    found.words.append("a stated prior gives way to a model that holds on later leads")
    if told := challenger.facts.get("against_prior"):
        differences = {name: Difference(**figures) for name, figures in told.items()}
        found.words.append("on those " + ", ".join(_in_words(n, differences[n]) for n in WORDS))
        found.against += _worse(differences, 1.0, is_outgrown=True)


def _meet(contest: Contest, found: Evidence) -> None:
    """Add to `found` what outcomes say that the champion has not seen."""
    champion, facts = contest.champion, contest.challenger.facts
    on = contest.newly_known()
    if not on.compared.num_rows:
        found.against.append(
            "its data is stale: no outcome is newer than what the champion knows (leads until "
            f"{facts['last_lead_on']}; the champion knows what was known before "
            f"{champion.trained_as_of}, leads until {champion.entry.facts.get('last_lead_on')})"
        )
    elif not on.too_few:
        _compare(contest, on, found)
    elif contest.is_outgrown:
        before = champion.entry.facts["rows"]
        found.words.append(
            f"{on.too_few}; but it has learned from {facts['rows']:,} and the champion from "
            f"{before:,}"
        )
    else:
        found.against.append(on.too_few)


def _compare(contest: Contest, on: Stretch, found: Evidence) -> None:
    champion = contest.champion.entry.estimator
    is_same = is_champion_again(contest.champion, on)
    recipe = champion if is_same else _tried(contest, on, found)
    if recipe is None:
        return
    rows = outcomes(contest.model, on)
    theirs, ours = (each.predict(on.compared, threads=THREADS) for each in (champion, recipe))
    differences = compare(rows, theirs, ours)
    sides = {"champion": theirs, "challenger": ours}
    foretold = {name: rows.exposure.chance(said) for name, said in sides.items()}
    is_out = {name: out_of_band(chance, rows) for name, chance in foretold.items()}
    found.facts["compared"] = {
        "rows": on.compared.num_rows,
        "happened": round(on.happened, 2),
        "known_since": f"{on.begins}",
        "could_show": round(on.exposure.mean, 6),
        "same_recipe_and_past": is_same,
        "figures": {name: difference.as_dict() for name, difference in differences.items()},
        "out_of_band": is_out,
    }
    said = _alone if is_same else _in_words
    found.words.append(
        f"on {on.compared.num_rows:,} outcomes known since {on.begins} (it happened to "
        f"{on.happened:,.0f})"
        + (" the champion shows " if is_same else " ")
        + ", ".join(said(name, differences[name]) for name in WORDS)
    )
    if is_same:
        found.words.append("the newcomer is of the same recipe and past, and knows those too")
    elif contest.worth:
        _weigh(*contest.worth(recipe, on.begins), found)
    found.against += _worse(differences, on.exposure.mean, is_outgrown=contest.is_outgrown)
    if is_out["challenger"] and not is_out["champion"]:
        found.against.append(
            "out of calibration where the champion is not: foretold "
            f"{foretold['challenger'].mean():.4f}, observed {rows.happened.mean():.4f}, champion "
            f"{foretold['champion'].mean():.4f}"
        )


def _weigh(decision: str, reason: str, found: Evidence) -> None:
    """Add to `found` what the log of trials says."""
    found.facts["by_log"] = {"decision": decision, "reason": reason}
    words = found.against if decision == "refused" else found.words
    words.append(f"by the log of trials {decision}: {reason}")


def _tried(contest: Contest, on: Stretch, found: Evidence) -> Estimator | None:
    """Return the recipe fitted on what was known before; None where that was too little."""
    entry = contest.refit(on.past)
    if entry.facts["source"] == "model":
        return entry.estimator
    words = f"its recipe cannot be tried on what was known before {on.begins}: "
    (found.words if contest.is_outgrown else found.against).append(words + entry.facts["reason"])
    return None


def _worse(
    differences: dict[str, Difference], could_show: float, *, is_outgrown: bool
) -> Iterator[str]:
    """Yield in words each figure in which the challenger is worse.

    Margins of losses and rates are for probabilities as a whole: where only a part of what they are
    about could show, they are that part.
    """
    for name, stated in params().challenge.margins.model_dump().items():
        margin = stated * could_show if name in LOWER_IS_BETTER else stated
        found = differences[name]
        turn = -1.0 if name in LOWER_IS_BETTER else 1.0
        gain, at_best = turn * found.difference, max(turn * found.low, turn * found.high)
        if gain >= -margin:
            continue
        if at_best < 0:
            yield f"worse beyond chance: {_in_words(name, found)}"
        elif not is_outgrown:
            yield f"worse by more than the margin of {margin:g}: {_in_words(name, found)}"


def _alone(name: str, found: Difference) -> str:
    return f"{WORDS[name]} {found.champion:.4f}"


def _in_words(name: str, found: Difference) -> str:
    return (
        f"{WORDS[name]} {found.challenger:.4f} against {found.champion:.4f} (difference "
        f"{found.low:+.4f} to {found.high:+.4f})"
    )
