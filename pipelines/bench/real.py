"""`bench real`: how good the models are on real public records, and the table of it in the docs.

Home loans (HMDA) for approval, small-business loans (SBA) for how loans end. Where the whole files
lie in the folder `--data` they are measured, else the project's samples of them; each has its own
table in docs/figures.md, between markers, and a run writes the one that it measured.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from pipelines.bench.home import own_home
from pipelines.bench.models import build
from pipelines.bench.question import Question, measure
from pipelines.errors import WrongUse
from pipelines.settings import PROJECT, Settings

SAMPLES = PROJECT / "expectations/mappings/samples"
DATA = PROJECT.parent / "shared/data"
FIGURES = PROJECT / "docs/figures.md"

THE_ONE_CHANNEL = frozenset({"channel_approval_rate", "channel_funded_rate"})
"""The mapping of SBA invents one channel: its history tells nothing but the date."""


@dataclass(frozen=True)
class Record:
    """A public file: its mapping, its name as a whole and as the project's sample."""

    mapping: str
    whole: str
    sample: str
    questions: Mapping[str, Question]
    """What is asked of it, by the words of the table."""


RECORDS = (
    Record(
        "hmda",
        "hmda_applications_2022_2024.parquet",
        "hmda_sample.parquet",
        {
            "home loans (HMDA), approval, split by time": Question(
                "approved", "business_date", "2024-01-01"
            ),
            "the same, lenders never seen": Question(
                "approved", "business_date", "2024-01-01", unseen="institution_id"
            ),
        },
    ),
    Record(
        "sba",
        "sba_7a_loans.csv",
        "sba_7a_loans.csv.gz",
        {
            "small-business loans (SBA), charge-off, random folds": Question(
                "charged_off", folds=5, drop=THE_ONE_CHANNEL
            ),
            "the same, split by time": Question(
                "charged_off", "business_date", "2004-12-01", drop=THE_ONE_CHANNEL
            ),
        },
    ),
)


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Measure every record, print the table and write it into the docs.

    Returns:
        `data` (whole or sample), `rows`: what `measure` returns, by the words of the table;
        `seconds`.

    Raises:
        WrongUse: The page has no place for the table.
        BanyanError: A file can't be measured; says why.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines bench real", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the whole files")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="page with the markers")
    asked = parser.parse_args(options)
    is_whole = all((asked.data / record.whole).is_file() for record in RECORDS)
    data = "whole" if is_whole else "sample"
    _between(asked.figures, data)
    began = monotonic()
    rows: dict[str, dict[str, Any]] = {}
    for record in RECORDS:
        file = asked.data / record.whole if is_whole else SAMPLES / record.sample
        rows |= _measured(settings, record, file)
    table = "\n".join(_table(rows))
    sys.stdout.write(f"{table}\n")
    page, (start, end) = _between(asked.figures, data)
    asked.figures.write_text(f"{page[:start]}\n{table}\n{page[end:]}", "utf-8")
    return {"data": data, "rows": rows, "seconds": round(monotonic() - began, 1)}


def _measured(settings: Settings, record: Record, file: Path) -> dict[str, dict[str, Any]]:
    with own_home(settings) as home:
        day = build(home, record.mapping, file)
        return {words: measure(home, day, asked) for words, asked in record.questions.items()}


def _between(page: Path, data: str) -> tuple[str, tuple[int, int]]:
    """Return the page, and where in it the table of `data` lies."""
    text = page.read_text("utf-8")
    found = re.search(rf"<!-- models {data} -->(.*?)<!-- /models -->", text, re.DOTALL)
    if found is None:
        raise WrongUse(
            f"{page} has no place for the table: write <!-- models {data} --> and "
            "<!-- /models --> into it, each on a line of its own. Nothing was measured."
        )
    return text, found.span(1)


def _table(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| what | AUC (95%) | KS | Brier | ECE | lenders within | rows: learned, predicted |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for words, found in rows.items():
        yield (
            f"| {words} | {found['auc']:.4f} ({found['auc_low']:.4f} to {found['auc_high']:.4f}) "
            f"| {found['ks']:.3f} | {found['brier']:.4f} | {found['ece']:.4f} "
            f"| {found['lenders_within']} of {found['lenders_checked']} "
            f"| {found['rows_train']:,}, {found['rows_test']:,} |"
        )
