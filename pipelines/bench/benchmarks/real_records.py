"""Quality of the models on public records, and the tables of it in docs/figures.md.

Home loans (HMDA) for approval, small-business loans (SBA) for charge-off. `--data` names the folder
of the whole files; without it the project's samples are measured. A file is prepared once for all
its experiments. Whole files and samples have their own tables in docs/figures.md, between markers,
and a run writes the tables that it measured."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from models.training.dataset import load_examples
from pipelines.bench.benchmarks.leaks import SourceLeaks, check_source
from pipelines.bench.benchmarks.models import prepared_home
from pipelines.bench.benchmarks.real_records_tables import (
    check_targets,
    format_figures,
    format_study,
)
from pipelines.bench.evaluate import Experiment, run_experiment
from pipelines.bench.shell import Figures, Stopwatch, show_progress, split_list
from pipelines.bench.studies import why_time_split_differs
from pipelines.core.errors import UsageError
from pipelines.core.settings import PROJECT, Settings

SAMPLES = PROJECT / "expectations/mappings/samples"
PAGE = PROJECT / "docs/figures.md"

INVENTED_CHANNELS = frozenset({"channel_approval_rate", "channel_funded_rate"})
"""Neither file has a channel. Their mappings invent one, or five at random, so the rates of a
channel's earlier leads carry no information except the date."""


@dataclass(frozen=True)
class PublicRecord:
    """A public file and its experiments, by row of the tables."""

    mapping: str
    experiments: dict[str, Experiment]
    whole: tuple[str, ...]
    """The published file, then the files that lie beside it."""
    sample: str
    """The sample in the project."""


REPORTED_BY_2024 = Experiment("approved", "business_date", "2024-01-01", drop=INVENTED_CHANNELS)
DECIDED_BY_2024 = replace(REPORTED_BY_2024, with_late_outcomes=True)
"""The register lists an application in the year of the lender's final action (12 CFR 1003.4(a) and
1003.5(a)): the applications of 2022 and 2023 were all decided before 2024. Delay of the decision
within the year and report in the next quarter are inventions of the mapping."""

HMDA = PublicRecord(
    "hmda",
    {
        "hmda": DECIDED_BY_2024,
        "hmda_unseen": replace(DECIDED_BY_2024, unseen="institution_id"),
        "hmda_reported": REPORTED_BY_2024,
    },
    ("hmda_applications_2022_2024.parquet", "hmda_lenders_by_year.parquet"),
    "hmda_sample.parquet",
)
PORTFOLIO = Experiment("charged_off", drop=INVENTED_CHANNELS)

SBA = PublicRecord(
    "sba",
    {
        "sba_folds": PORTFOLIO,
        "sba_folds_day": replace(PORTFOLIO, with_day=True),
        "sba_by_time": replace(PORTFOLIO, time="business_date", split="2004-12-01"),
    },
    ("sba_7a_loans.csv",),
    "sba_7a_loans.csv.gz",
)
RECORDS = (HMDA, SBA)


@click.command("real")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the whole files (else the project's samples).",
)
@click.option(
    "--figures",
    "page",
    type=click.Path(path_type=Path),
    default=PAGE,
    help="Page with the markers of the tables (else docs/figures.md).",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Keep prepared files in this folder, and use the ones that are current.",
)
@click.option(
    "--only",
    default="",
    callback=split_list,
    metavar="ROW,...",
    help="Measure these rows only, such as hmda; the tables then have no others.",
)
@click.option(
    "--explain-time-split",
    is_flag=True,
    help="Also measure why SBA is harder by time than in random folds.",
)
@click.pass_obj
def command(
    settings: Settings,
    *,
    data: Path | None,
    page: Path,
    cache: Path | None,
    only: tuple[str, ...],
    explain_time_split: bool,
) -> Figures:
    """Measure the models on public records, print the tables and write them into the page.

    The figures have `data` (whole or sample); `rows`, the figures of each experiment; `leaks`, the
    columns flagged in each file; `targets`, each with its figure and whether it is met; with
    `--explain-time-split` also `time_split`; `homes` (prepared or cached); `seconds`.
    """
    _check_rows(only)
    kind, files = find_files(data)
    blocks = [kind, *(["why"] if explain_time_split else [])]
    for block in blocks:
        _find_block(page, block)
    stopwatch = Stopwatch()
    rows: dict[str, dict[str, Any]] = {}
    leaks: dict[str, SourceLeaks] = {}
    homes: dict[str, str] = {}
    time_split: dict[str, Any] = {}
    for record, file in files:
        with prepared_home(settings, cache, record.mapping, file) as (home, day, state):
            homes[record.mapping] = state
            for name, experiment in record.experiments.items():
                if not only or name in only:
                    show_progress("real", f"measuring {name}")
                    rows[name] = run_experiment(home, day, experiment)
            show_progress("real", f"checking {file.name} for leaks")
            first = next(iter(record.experiments.values()))
            pairs = load_examples(home, day, first.target, as_of=day)
            leaks[record.mapping] = check_source(home, pairs, first.features, record.mapping, file)
            if explain_time_split and record is SBA:
                by_time = record.experiments["sba_by_time"]
                time_split = why_time_split_differs.explain(home, day, by_time)
    targets = check_targets(rows, leaks)
    tables = {kind: [*format_figures(rows), "", *targets.table], "why": format_study(time_split)}
    for block in blocks:
        _write_block(page, block, tables[block])
    return {
        "data": kind,
        "rows": rows,
        "leaks": {mapping: result.as_figures()["leaks"] for mapping, result in leaks.items()},
        "targets": targets.figures,
        **({"time_split": time_split} if explain_time_split else {}),
        "homes": homes,
        "seconds": round(stopwatch.seconds, 1),
    }


def _check_rows(only: Sequence[str]) -> None:
    """Refuse unknown names of rows."""
    names = [name for record in RECORDS for name in record.experiments]
    if unknown := sorted(set(only) - set(names)):
        raise UsageError(
            f"no row is named {', '.join(unknown)}; there are: {', '.join(names)}. Nothing was "
            "measured."
        )


def find_files(data: Path | None) -> tuple[str, list[tuple[PublicRecord, Path]]]:
    """Return `whole` or `sample`, and each record with its file.

    Raises:
        UsageError: The folder lacks a file.
    """
    if data is None:
        return "sample", [(record, SAMPLES / record.sample) for record in RECORDS]
    files = {name: _plain_or_gzip(data / name) for r in RECORDS for name in r.whole}
    if absent := [name for name, path in files.items() if not path.is_file()]:
        raise UsageError(
            f"{data} lacks {', '.join(absent)}. Nothing was measured. --data is the folder that "
            f"holds {', '.join(files)}; without it the project's samples are measured."
        )
    return "whole", [(record, files[record.whole[0]]) for record in RECORDS]


def _plain_or_gzip(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    return packed if packed.is_file() and not file.is_file() else file


def _find_block(page: Path, block: str) -> tuple[str, tuple[int, int]]:
    """Return the page, and the span between the markers of `block`."""
    text = page.read_text("utf-8") if page.is_file() else ""
    match = re.search(rf"<!-- models {block} -->(.*?)<!-- /models -->", text, re.DOTALL)
    if match is None:
        raise UsageError(
            f"{page} has no markers for the tables: write <!-- models {block} --> and "
            "<!-- /models --> into it, each on a line of its own. Nothing was measured."
        )
    return text, match.span(1)


def _write_block(page: Path, block: str, lines: Sequence[str]) -> None:
    table = "\n".join(lines)
    sys.stdout.write(f"{table}\n\n")
    text, (start, end) = _find_block(page, block)
    page.write_text(f"{text[:start]}\n{table}\n{text[end:]}", "utf-8")
