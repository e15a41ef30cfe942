"""The tables of `bench real`: measured figures, and the targets that they meet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.bench.benchmarks.leaks import SourceLeaks
from pipelines.core.statistics import wilson_interval

Rows = Mapping[str, Mapping[str, Any]]
"""Figures of `run_experiment`, by row of the table."""

LABELS = {
    "hmda": "home loans (HMDA), approval, 2022-2023 to 2024",
    "hmda_unseen": "the same, unseen lenders",
    "hmda_reported": "the same, only outcomes reported before 2024",
    "sba_folds": "small-business loans (SBA), charge-off, random folds",
    "sba_folds_day": "the same, with the day of approval as a feature",
    "sba_by_time": "the same, split by time",
}
KNOWN_AFTER_LOAN = frozenset({"Term", "ChgOffDate", "ChgOffPrinGr"})
"""Columns of SBA that are known only after the end of a loan."""

AT_LEAST, AT_MOST = "≥", "≤"
TARGETS = (
    ("hmda", "auc", AT_LEAST, 0.892),
    ("hmda", "ece", AT_MOST, 0.007),
    ("hmda", "brier", AT_MOST, 0.0945),
    ("hmda", "lenders", AT_LEAST, 0.90),
    ("hmda_unseen", "auc", AT_LEAST, 0.855),
    ("hmda_unseen", "ece", AT_MOST, 0.015),
    ("sba_folds_day", "auc", AT_LEAST, 0.80),
    ("sba_by_time", "auc", AT_LEAST, 0.63),
)
"""Row, figure, direction and target; `lenders` is the share of lenders within their interval."""
FIGURES = {"auc": "AUC", "ece": "ECE", "brier": "Brier", "lenders": "lenders within interval"}


HEADS: Mapping[str, Mapping[str, str]] = {
    "held_out": {
        "held_out": "held out together",
        "auc_of_all": "AUC, all loans",
        "auc_of_later": "AUC, later loans",
        "predicted": "mean prediction, later loans",
        "observed": "observed rate",
    },
    "years": {
        "year": "year of approval",
        "rows": "loans",
        "rate": "charged off",
        "auc": "AUC of random folds within",
    },
    "columns": {
        "column": "single column, AUC",
        "of_1997": "within 1997",
        "of_2004": "within 2004, to November",
        "of_later": "within the later loans",
        "before_to_later": "fitted before, on the later loans",
    },
    "outcomes": {
        "outcomes": "outcomes that count",
        "rows": "loans",
        "rate_before": "charged off, before",
        "rate_later": "later",
        "auc_random": "AUC, random folds",
        "auc_by_time": "AUC, by time",
    },
}
"""Heads of the tables of `why_time_split_differs`, by key of a row."""


@dataclass(frozen=True)
class TargetResults:
    """The targets, compared with the measured figures."""

    table: list[str]
    figures: list[dict[str, Any]]


def format_figures(rows: Rows) -> Iterator[str]:
    """Yield the lines of the table of all figures."""
    yield (
        "| experiment | AUC (95%) | KS | Brier (95%) | ECE (95%) | ECE by chance "
        "| lenders within interval | without drift allowance | rows: fitted, predicted |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, figures in rows.items():
        auc, brier, ece = (_with_interval(figures, figure) for figure in ("auc", "brier", "ece"))
        yield (
            f"| {LABELS[name]} | {auc} | {figures['ks']:.3f} | {brier} | {ece} "
            f"| {figures['ece_by_chance']:.4f} "
            f"| {figures['lenders_within']} of {figures['lenders_checked']} "
            f"| {figures['lenders_within_without_drift']} "
            f"| {figures['rows_train']:,}, {figures['rows_test']:,} |"
        )


def check_targets(rows: Rows, leaks: Mapping[str, SourceLeaks]) -> TargetResults:
    """Return the targets that are met: of the figures, and of the leak check on both files."""
    figures = [
        _check_target(rows[name], name, figure, direction, limit)
        for name, figure, direction, limit in TARGETS
        if name in rows
    ]
    figures += _check_leaks(leaks)
    head = ["| figure | target | measured (95%) | met |", "| --- | --- | --- | --- |"]
    lines = [
        f"| {row['figure']} | {row['target']} | {row['measured']} "
        f"| {'yes' if row['met'] else 'no'} |"
        for row in figures
    ]
    return TargetResults(head + lines, figures)


def format_study(study: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the lines of the four tables of `why_time_split_differs.explain`."""
    lines: list[str] = []
    for name, head in HEADS.items():
        lines += [f"| {' | '.join(head.values())} |", f"|{' --- |' * len(head)}"]
        lines += [
            f"| {' | '.join(_format_cell(row[key]) for key in head)} |"
            for row in study.get(name, ())
        ]
        lines.append("")
    return lines[:-1]


def _check_target(
    figures: Mapping[str, Any], name: str, figure: str, direction: str, limit: float
) -> dict[str, Any]:
    values = dict(figures)
    if figure == "lenders":
        values |= _lender_share(figures["lenders_within"], figures["lenders_checked"])
    value = values[figure]
    is_met = value is not None and (value >= limit if direction == AT_LEAST else value <= limit)
    return {
        "figure": f"{LABELS[name]}: {FIGURES[figure]}",
        "target": f"{direction} {limit:g}",
        "measured": "none with enough rows" if value is None else _with_interval(values, figure),
        "met": bool(is_met),
    }


def _lender_share(within: int, checked: int) -> dict[str, float | None]:
    if not checked:
        return {"lenders": None}
    low, high = wilson_interval([within], [checked])
    return {
        "lenders": within / checked,
        "lenders_low": float(low[0]),
        "lenders_high": float(high[0]),
    }


def _check_leaks(leaks: Mapping[str, SourceLeaks]) -> Iterator[dict[str, Any]]:
    expected_leaks = {"hmda": frozenset[str](), "sba": KNOWN_AFTER_LOAN}
    for mapping, result in leaks.items():
        flagged = {leak.name for leak in result.leaks}
        expected = expected_leaks[mapping]
        yield {
            "figure": f"leak check of {mapping}, {result.checked} columns",
            "target": f"flags {_format_names(expected)}",
            "measured": f"flags {_format_names(flagged)}",
            "met": flagged >= expected if expected else not flagged,
        }


def _format_names(names: set[str] | frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"


def _with_interval(figures: Mapping[str, Any], figure: str) -> str:
    value, low, high = (figures[name] for name in (figure, f"{figure}_low", f"{figure}_high"))
    return f"{value:.4f} ({low:.4f} to {high:.4f})"


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else f"{value}"
