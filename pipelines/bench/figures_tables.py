"""The tables of `bench real`: what was measured, and which bars it meets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.bench.source_leaks import Found
from pipelines.core.statistics import wilson_interval

Rows = Mapping[str, Mapping[str, Any]]
"""What `question.measure` returns, by row of the table."""

WORDS = {
    "hmda": "home loans (HMDA), approval, 2022-2023 to 2024",
    "hmda_unseen": "the same, lenders never seen",
    "hmda_told": "the same, as far as lenders had told of it before 2024",
    "sba_folds": "small-business loans (SBA), charge-off, random folds",
    "sba_folds_day": "the same, with the day of approval as a column",
    "sba_by_time": "the same, split by time",
}
KNOWN_AFTERWARDS = frozenset({"Term", "ChgOffDate", "ChgOffPrinGr"})
"""Columns of SBA that are known only once a loan has ended."""

AT_LEAST, AT_MOST = "≥", "≤"
BARS = (
    ("hmda", "auc", AT_LEAST, 0.892),
    ("hmda", "ece", AT_MOST, 0.007),
    ("hmda", "brier", AT_MOST, 0.0945),
    ("hmda", "lenders", AT_LEAST, 0.90),
    ("hmda_unseen", "auc", AT_LEAST, 0.855),
    ("hmda_unseen", "ece", AT_MOST, 0.015),
    ("sba_folds_day", "auc", AT_LEAST, 0.80),
    ("sba_by_time", "auc", AT_LEAST, 0.63),
)
"""Row, figure, and the bar that it is held against; `lenders` is the share of them within."""
FIGURES = {"auc": "AUC", "ece": "ECE", "brier": "Brier", "lenders": "lenders within"}


HEADS: Mapping[str, Mapping[str, str]] = {
    "held_out": {
        "held_out": "held out together",
        "auc_of_all": "AUC, all loans",
        "auc_of_later": "AUC, later loans",
        "said": "mean said of those",
        "happened": "happened",
    },
    "years": {
        "year": "year of approval",
        "rows": "loans",
        "rate": "charged off",
        "auc": "AUC of random folds within",
    },
    "columns": {
        "column": "column alone, AUC",
        "of_1997": "within 1997",
        "of_2004": "within 2004, to November",
        "of_later": "within the later ones",
        "before_to_later": "learned before, on the later ones",
    },
    "endings": {
        "endings": "which endings count",
        "rows": "loans",
        "rate_before": "charged off, before",
        "rate_later": "later",
        "auc_random": "AUC, random folds",
        "auc_by_time": "AUC, by time",
    },
}
"""Of each table of the gap, by key of a row."""


@dataclass(frozen=True)
class Held:
    """The bars against what was measured."""

    table: list[str]
    figures: list[dict[str, Any]]


def details(rows: Rows) -> Iterator[str]:
    """Yield the lines of the table of all figures."""
    yield (
        "| what | AUC (95%) | KS | Brier (95%) | ECE (95%) | ECE by chance | lenders within "
        "| were they to stay as they were | rows: learned, predicted |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, found in rows.items():
        auc, brier, ece = (_with_ends(found, figure) for figure in ("auc", "brier", "ece"))
        yield (
            f"| {WORDS[name]} | {auc} | {found['ks']:.3f} | {brier} | {ece} "
            f"| {found['ece_by_chance']:.4f} "
            f"| {found['lenders_within']} of {found['lenders_checked']} "
            f"| {found['lenders_within_unmoved']} "
            f"| {found['rows_train']:,}, {found['rows_test']:,} |"
        )


def bars(rows: Rows, leaks: Mapping[str, Found]) -> Held:
    """Return which bars hold: of the figures, and of the leak check on both files."""
    figures = [
        _bar(rows[name], name, figure, sign, limit)
        for name, figure, sign, limit in BARS
        if name in rows
    ]
    figures += _of_leaks(leaks)
    head = ["| what | bar | measured (95%) | held |", "| --- | --- | --- | --- |"]
    lines = [
        f"| {bar['what']} | {bar['bar']} | {bar['measured']} | {'yes' if bar['held'] else 'no'} |"
        for bar in figures
    ]
    return Held(head + lines, figures)


def why(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the lines of the four tables of what `gap.explain` found."""
    lines: list[str] = []
    for name, head in HEADS.items():
        lines += [f"| {' | '.join(head.values())} |", f"|{' --- |' * len(head)}"]
        lines += [f"| {' | '.join(_cell(row[key]) for key in head)} |" for row in found[name]]
        lines.append("")
    return lines[:-1]


def _bar(
    found: Mapping[str, Any], name: str, figure: str, sign: str, limit: float
) -> dict[str, Any]:
    told = dict(found)
    if figure == "lenders":
        told |= _lenders(found["lenders_within"], found["lenders_checked"])
    value = told[figure]
    held = value is not None and (value >= limit if sign == AT_LEAST else value <= limit)
    return {
        "what": f"{WORDS[name]}: {FIGURES[figure]}",
        "bar": f"{sign} {limit:g}",
        "measured": "none with enough rows" if value is None else _with_ends(told, figure),
        "held": bool(held),
    }


def _lenders(within: int, checked: int) -> dict[str, float | None]:
    if not checked:
        return {"lenders": None}
    low, high = wilson_interval([within], [checked])
    return {
        "lenders": within / checked,
        "lenders_low": float(low[0]),
        "lenders_high": float(high[0]),
    }


def _of_leaks(leaks: Mapping[str, Found]) -> Iterator[dict[str, Any]]:
    wanted = {"hmda": frozenset[str](), "sba": KNOWN_AFTERWARDS}
    for mapping, found in leaks.items():
        named = {leak.name for leak in found.leaks}
        expected = wanted[mapping]
        flags = ", ".join(f"`{name}`" for name in sorted(expected)) or "nothing"
        told = ", ".join(f"`{name}`" for name in sorted(named)) or "nothing"
        yield {
            "what": f"leak check of {mapping}, {found.checked} columns",
            "bar": f"flags {flags}",
            "measured": f"flags {told}",
            "held": named >= expected if expected else not named,
        }


def _with_ends(found: Mapping[str, Any], figure: str) -> str:
    value, low, high = (found[name] for name in (figure, f"{figure}_low", f"{figure}_high"))
    return f"{value:.4f} ({low:.4f} to {high:.4f})"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:.3f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value}"
    )
