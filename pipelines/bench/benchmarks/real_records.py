"""`bench real`: how good the models are on real public records, and the tables of it in the docs.

Home loans (HMDA) for approval, small-business loans (SBA) for how loans end. The whole files are
read from the folder `--data`; without that option and without the folder, the project's samples of
them. A file is prepared once for all that is asked of it. Each of the two has its own tables in
docs/figures.md, between markers, and a run writes those that it measured.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from models.training.dataset import examples
from pipelines.bench.evaluate import measure
from pipelines.bench.experiment import Question
from pipelines.bench.figures_tables import bars, details, why
from pipelines.bench.fixtures.prepared_homes import prepared
from pipelines.bench.source_leaks import Found, look
from pipelines.bench.studies import why_time_split_differs
from pipelines.core.errors import UsageError
from pipelines.core.settings import PROJECT, Settings

SAMPLES = PROJECT / "expectations/mappings/samples"
DATA = PROJECT.parent / "shared/data"
FIGURES = PROJECT / "docs/figures.md"

INVENTED_CHANNELS = frozenset({"channel_approval_rate", "channel_funded_rate"})
"""Neither file has a channel. Their mappings invent one, or five by lot: what became of its
earlier leads tells nothing but the date."""


@dataclass(frozen=True)
class Record:
    """A public file, and what is asked of it by the names of the tables' rows."""

    mapping: str
    questions: dict[str, Question]
    whole: tuple[str, ...]
    """The file as it was published, then those that lie beside it."""
    sample: tuple[str, ...]
    """The same in the project."""


TOLD_BY_2024 = Question("approved", "business_date", "2024-01-01", drop=INVENTED_CHANNELS)
DECIDED_BY_2024 = replace(TOLD_BY_2024, knows_all=True)
"""An application stands in the register of the year in which its lender took final action (12 CFR
1003.4(a) and 1003.5(a)): those of 2022 and 2023 were all decided before 2024. That a lender decides
some weeks after a day of that year, and tells of it in the next quarter, is the mapping's
invention."""

HMDA = Record(
    "hmda",
    {
        "hmda": DECIDED_BY_2024,
        "hmda_unseen": replace(DECIDED_BY_2024, unseen="institution_id"),
        "hmda_told": TOLD_BY_2024,
    },
    ("hmda_applications_2022_2024.parquet", "hmda_lenders_by_year.parquet"),
    ("hmda_sample.parquet", "hmda_lenders_by_year.parquet"),
)
OF_A_BOOK = Question("charged_off", drop=INVENTED_CHANNELS)

SBA = Record(
    "sba",
    {
        "sba_folds": OF_A_BOOK,
        "sba_folds_day": replace(OF_A_BOOK, with_day=True),
        "sba_by_time": replace(OF_A_BOOK, time="business_date", split="2004-12-01"),
    },
    ("sba_7a_loans.csv",),
    ("sba_7a_loans.csv.gz",),
)
RECORDS = (HMDA, SBA)


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Measure every record, print the tables and write them into the docs.

    Returns:
        `data` (whole or sample); `rows`, what `measure` returns, by row; `leaks`, the columns
        flagged in each file; `bars`, which figures hold against which limit; with
        `--why` also `why`, what `gap.explain` returns; `prepared` (made or kept); `seconds`.

    Raises:
        UsageError: A file is not there, or the page has no place for the tables.
        BanyanError: A file can't be measured; says why.
    """
    asked = _parser().parse_args(options)
    _known(asked.only)
    data, files = _files(asked.data)
    wanted = [data, *(["why"] if asked.why else [])]
    for block in wanted:
        _between(asked.figures, block)
    began = monotonic()
    rows: dict[str, dict[str, Any]] = {}
    leaks: dict[str, Found] = {}
    said: dict[str, Any] = {}
    tables: dict[str, list[str]] = {}
    for record, file in files:
        with prepared(settings, asked.prepared, record.mapping, file) as (home, day, state):
            said[record.mapping] = state
            for name, question in record.questions.items():
                if asked.only and name not in asked.only:
                    continue
                _say(f"measuring {name}")
                rows[name] = measure(home, day, question)
            _say(f"looking for leaks in {file.name}")
            first = next(iter(record.questions.values()))
            pairs = examples(home, day, first.target, as_of=day)
            leaks[record.mapping] = look(home, pairs, first.features, record.mapping, file)
            if asked.why and record is SBA:
                found = why_time_split_differs.explain(home, day, record.questions["sba_by_time"])
                tables["why"] = why(found)
    held = bars(rows, leaks)
    tables[data] = [*details(rows), "", *held.table]
    for block in wanted:
        _write(asked.figures, block, tables[block])
    return {
        "data": data,
        "rows": rows,
        "leaks": {mapping: found.as_figures()["leaks"] for mapping, found in leaks.items()},
        "bars": held.figures,
        **({"why": found} if asked.why else {}),
        "prepared": said,
        "seconds": round(monotonic() - began, 1),
    }


def _known(only: Sequence[str]) -> None:
    """Refuse names of rows that there are not."""
    names = [name for record in RECORDS for name in record.questions]
    if unknown := sorted(set(only) - set(names)):
        raise UsageError(
            f"no row is named {', '.join(unknown)}; there are: {', '.join(names)}. Nothing was "
            "measured."
        )


def _files(data: Path | None) -> tuple[str, list[tuple[Record, Path]]]:
    """Return whether the files are whole or samples, and each record with its file."""
    if data is None and not DATA.is_dir():
        return "sample", [(record, SAMPLES / record.sample[0]) for record in RECORDS]
    folder = data or DATA
    found = {name: _packed_or_not(folder / name) for r in RECORDS for name in r.whole}
    if absent := [name for name, path in found.items() if not path.is_file()]:
        raise UsageError(
            f"{folder} lacks {', '.join(absent)}. Nothing was measured. Name with --data the "
            f"folder that holds {', '.join(found)}; the project's samples are measured where "
            f"neither --data is given nor {DATA} is there."
        )
    return "whole", [(record, found[record.whole[0]]) for record in RECORDS]


def _packed_or_not(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    return packed if packed.is_file() and not file.is_file() else file


def _between(page: Path, block: str) -> tuple[str, tuple[int, int]]:
    """Return the page, and where in it the tables of `block` lie."""
    text = page.read_text("utf-8") if page.is_file() else ""
    found = re.search(rf"<!-- models {block} -->(.*?)<!-- /models -->", text, re.DOTALL)
    if found is None:
        raise UsageError(
            f"{page} has no place for the tables: write <!-- models {block} --> and "
            "<!-- /models --> into it, each on a line of its own. Nothing was measured."
        )
    return text, found.span(1)


def _write(figures: Path, block: str, lines: Sequence[str]) -> None:
    table = "\n".join(lines)
    sys.stdout.write(f"{table}\n\n")
    page, (start, end) = _between(figures, block)
    figures.write_text(f"{page[:start]}\n{table}\n{page[end:]}", "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines bench real", description=__doc__)
    parser.add_argument("--data", type=Path, help=f"folder of the whole files (else {DATA})")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="page with the markers")
    parser.add_argument(
        "--prepared", type=Path, help="keep the prepared files here, and take them if they stand"
    )
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=[],
        metavar="ROW,...",
        help="measure these rows alone, such as hmda; the tables then have no others",
    )
    parser.add_argument(
        "--why", action="store_true", help="also why SBA is harder by time than in random folds"
    )
    return parser


def _say(words: str) -> None:
    """Tell whoever watches a terminal what is being done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"bench real: {words}\n")
