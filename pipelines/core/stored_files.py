"""Read the small files of a home, and say what to do about one that is damaged.

A file is written beside its place, synced and renamed, so a killed run tears none. A file that is
torn or changed all the same was damaged by a disk, a copy or a person.
"""

import json
from pathlib import Path
from typing import Any

from pipelines.core.errors import IntegrityError

LOST = "it can't be made again; keep the home as it is and ask the developers."
BUILT_FROM_LANDING = "remove the folder {folder}; the next run builds it again from landing/."
RUN_AGAIN = (
    "remove the folder {folder} and run the date again (`python -m pipelines run --date {name}`); "
    "the same inputs give the same bytes."
)
WRITTEN_AGAIN = "remove {path}; a run of the date writes it again."
SHARED_BY_DAYS = (
    "remove {path} and run a date again that names it (in the home, `grep -l {name} "
    "marts/*/history.json` lists them); its step `transform` writes the file again, with the same "
    "bytes."
)
RESTORE = {
    "ledger": (
        "each manifest of the date's lake holds the same entries. In the home: "
        "`jq -c '.ledger[]' lake/*/date={name}/manifest.json > ledger/date={name}.jsonl`."
    ),
    "lake": BUILT_FROM_LANDING,
    "quarantine": BUILT_FROM_LANDING,
    "registry": (
        "remove the folder {folder} and train the set again (`python -m pipelines train --date "
        "{name}`); the same records give the same models."
    ),
    "outbox": (
        "ask the institution for the file that it received, and don't deliver the date again "
        "before: the next version would not know what the earlier ones held."
    ),
    "transport": (
        "ask the institution which files of the delivery it has. If it has them all, remove {path} "
        "and mark nothing: `send` compares the files that are still on its server. If it took them "
        "away, `send` would send them again."
    ),
    **dict.fromkeys(
        (
            *("marts", "pairs", "matches", "offers", "unmatched"),
            *("reasons", "reports", "scorecards"),
        ),
        RUN_AGAIN,
    ),
    "history": SHARED_BY_DAYS,
    **dict.fromkeys((".dbt", "work", "ingest", "step_failures"), WRITTEN_AGAIN),
}
"""Folder of the home -> what makes a damaged file in it again."""
RESTORE_ONE = {
    "ledger/closed.json": (
        'write `{{"closed_through": "D"}}` into it, where D is the last date that was run.'
    ),
    "ledger/origins.json": LOST,
}
"""The same for single files."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in the JSON file `path`.

    Raises:
        FileNotFoundError: There is none.
        IntegrityError: It is torn or changed; the message says what to do.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise IntegrityError(describe_damage(path, _describe_text_error(error))) from None
    if not isinstance(value, dict):
        raise IntegrityError(describe_damage(path, "it holds no JSON object"))
    return value


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one JSON object in each line.

    Raises:
        IntegrityError: A line is torn or changed; the message names it and says what to do.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except ValueError as error:
        raise IntegrityError(describe_damage(path, _describe_text_error(error))) from None
    objects = []
    for number, line in enumerate(lines, 1):
        try:
            objects.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            where = f"line {number} of {len(lines)} is no JSON object"
            raise IntegrityError(describe_damage(path, where)) from None
    return objects


def describe_damage(path: Path, how: str) -> str:
    """Return which file is damaged, how, what was not done and what to do."""
    return (
        f"{path} is damaged: {how}. Nothing was changed or published. Restore the file from the "
        f"backup of the home; without a backup: {how_to_restore(path)}"
    )


def how_to_restore(path: Path) -> str:
    """Return what makes `path`, a file of a home, again from the other files of the home."""
    root, partition = _find_partition(path)
    name = partition.name.partition("=")[2].removesuffix(".jsonl") or path.stem
    advice = RESTORE_ONE.get(f"{root}/{path.name}") or RESTORE.get(root, LOST)
    return advice.format(path=path, folder=partition, name=name)


def _find_partition(path: Path) -> tuple[str, Path]:
    """Return the name of the folder of the home that holds `path`, and its partition."""
    for folder in (path, *path.parents):
        if folder.name.startswith(("date=", "as_of=")):
            above = folder.parent
            is_feed = above.parent.name in {"lake", "quarantine", "ingest"}
            return (above.parent.name if is_feed else above.name), folder
    if path.parts[-5:-3] == ("marts", "history"):
        return "history", path.parent
    return path.parent.name, path.parent


def _describe_text_error(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON from line {error.lineno}, column {error.colno} on"
    return "it is no UTF-8 text"
