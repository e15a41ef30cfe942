"""The result of an onboarding as text for a terminal."""

import shlex
from collections.abc import Iterator
from typing import Any

MAX_COLUMNS = 60
"""Columns of the file that are listed."""
MAX_REASONS = 20
"""Reasons of the dry run that are listed."""


def describe(found: dict[str, Any]) -> str:
    """Return what `onboard` found as lines."""
    return "\n".join(
        (
            *_describe_file(found),
            *_describe_columns(found),
            *_describe_dry_run(found["dry_run"]),
            *_describe_next(found),
        )
    )


def _describe_file(found: dict[str, Any]) -> Iterator[str]:
    form, sample = found["format"], found["sample"]
    facts = [form["format"]]
    if form["format"] != "parquet":
        facts.append(form["encoding"])
    if form["format"] == "csv":
        facts += [f"delimiter {form['delimiter']!r}", "header" if form["header"] else "no header"]
    if form["skip_lines"]:
        facts.append(f"{form['skip_lines']} lines before the header")
    yield f"{found['file']}: {', '.join(facts)}"
    if sample["is_whole"]:
        yield f"Profiled: the whole file, {sample['rows']:,} rows"
    else:
        yield (
            f"Profiled: a sample, the first {sample['rows']:,} rows; the file has "
            f"{sample['of_bytes'] / 1e6:,.1f} MB. The import reads all of it"
        )


def _describe_columns(found: dict[str, Any]) -> Iterator[str]:
    target = {column["from"]: name for name, column in found["columns"].items()}
    yield ""
    yield f"{'column of the file':32} {'kind':12} {'filled':>6} {'distinct':>9}  becomes"
    for column in found["profile"][:MAX_COLUMNS]:
        name = " ".join(column["column"].split())[:32]
        becomes = target.get(column["column"], "-")
        evidence = found["columns"].get(becomes, {}).get("evidence", "")
        yield (
            f"{name:32} {column['kind']:12} {column['filled']:>6.0%} {column['distinct']:>9,}  "
            f"{becomes}{f' ({evidence})' if evidence else ''}"
        )
    if len(found["profile"]) > MAX_COLUMNS:
        yield f"and {len(found['profile']) - MAX_COLUMNS:,} more columns; --json has all of them"


def _describe_dry_run(run: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield (
        f"Dry run of the sample: {run['read']:,} rows read, {run['arriving']:,} would arrive, "
        f"{run['quarantined']:,} be quarantined"
    )
    if run["quarantined"] != run["quarantined_by_values"]:
        yield (
            f"With every question answered {run['quarantined_by_values']:,} would be quarantined "
            "for their values"
        )
    for reason in run["reasons"][:MAX_REASONS]:
        effect = {
            "critical": "row quarantined", "warning": "value emptied", "info": "counted"
        }[reason["severity"]]  # fmt: skip
        open_question = " [open question]" if reason["open_question"] else ""
        yield (
            f"  {reason['rows']:>8,}  {reason['column'] or 'row'}: {reason['message']} "
            f"({reason['rule']}; {effect}){open_question}"
        )
    if run["rows"]:
        yield ""
        yield "The first rows as they would arrive; what names a person is masked:"
        for row in run["rows"]:
            yield "  " + "  ".join(f"{name}={value}" for name, value in row.items())


def _describe_next(found: dict[str, Any]) -> Iterator[str]:
    yield ""
    questions = found["questions"]
    if questions:
        yield f"{len(questions)} questions are open; the draft has them beside their columns:"
        yield from (f"  ? {question}" for question in questions)
    else:
        yield "No question is open."
    yield f"Draft: {found['draft']}"
    command = shlex.join(["banyan", "import", found["draft"], found["path"]])
    yield f"Next: answer the questions in it, then `{command}`"
