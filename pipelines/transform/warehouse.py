"""The warehouse that dbt builds: what a run tells dbt, how one layer is built.

Only one process at a time can hold the DuckDB file, so whoever calls this is the only one (in
Airflow: the pool of one slot).
"""

import json
import logging
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from dbt.cli.main import dbtRunner

from expectations import policy
from expectations.contracts import contracts
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import write_json, write_parquet
from pipelines.core.settings import PROJECT, Settings
from pipelines.transform.failures import results_of

LAYERS = ("staging", "intermediate", "features", "marts")
PROJECT_FOLDER = PROJECT / "dbt_project"
MATCHES = pa.schema(
    [
        *(
            (name, pa.string())
            for name in ("match_id", "channel_id", "lead_id", "institution_id", "product_id")
        ),
        ("rank", pa.int64()),
        ("suggested_apr", pa.float64()),
    ]
)
"""The columns of `matches/` by which an outcome finds its lead, and how the lead was shown it."""

log = logging.getLogger(__name__)


def build(
    settings: Settings, day: date, layer: str, *, with_unit_tests: bool = False
) -> dict[str, int]:
    """Build the tables of `layer` as of `day` and test them; return how many of each there are.

    Args:
        settings: Where the lake and the warehouse are.
        day: The business date; nothing of the lake after it is read.
        layer: One of `LAYERS`; the layers before it must stand as of the same day.
        with_unit_tests: Also run dbt's unit tests, which judge the SQL and not the data.

    Raises:
        InputMissing: A layer before `layer` isn't built as of `day`.
        IntegrityError: A table can't be built or a test fails; the message names it.
    """
    _start(settings, day, layer)
    _write_typed(settings)
    outcome = dbtRunner().invoke(
        [
            "--quiet",
            "--log-level=none",
            "--log-level-file=none",
            f"--log-path={state_folder(settings)}",
            "build",
            f"--select=path:{layer}",
            "--indirect-selection=buildable",
            *([] if with_unit_tests else ["--exclude-resource-type=unit_test"]),
            f"--project-dir={PROJECT_FOLDER}",
            f"--profiles-dir={PROJECT_FOLDER}",
            f"--target-path={state_folder(settings) / 'target'}",
            f"--vars={json.dumps(variables(settings, day))}",
        ]
    )
    results = results_of(settings, day, layer, outcome)
    _finish(settings, day, layer)
    return _counts(results)


def variables(settings: Settings, day: date) -> dict[str, str | int | float]:
    """Return dbt's vars: what the run and the policies decide."""
    identity, priors = policy.identity(day), policy.priors()
    return {
        "business_date": f"{day:%Y-%m-%d}",
        "time_zone": settings.time_zone,
        "lake": _pattern(settings.lake),
        "published": _pattern(settings.home),
        "typed": _pattern(_typed_folder(settings)),
        "warehouse": str(settings.warehouse),
        "spill": str(state_folder(settings) / "spill"),
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "same_person_days": identity.same_person_days,
        "earlier_offer_days": policy.pairs().earlier_days,
        "device_burst_leads": identity.device_burst.most_leads,
        "device_burst_days": identity.device_burst.window_days,
        "phone_burst_leads": identity.phone_burst.most_leads,
        "phone_burst_days": identity.phone_burst.window_days,
        "consent_longest_days": policy.consent(day).longest_days,
        "smoothing_decisions": policy.outcomes().smoothing_decisions,
        # the platform's first rate, before any outcome: no segment is likelier than another
        "prior_approval": sum(priors.approve.values()) / len(priors.approve),
        "prior_take_up": sum(priors.take_up.values()) / len(priors.take_up),
    }


def state_folder(settings: Settings) -> Path:
    """Return where dbt keeps what can always be made again: compiled SQL, parsed project."""
    return settings.home / ".dbt"


def require_built(settings: Settings, day: date, *layers: str) -> None:
    """Raise `InputMissing` unless each of `layers` stands in the warehouse as of `day`."""
    missing = [layer for layer in layers if layer not in _built(settings, day)]
    if missing:
        raise InputMissing(
            f"The warehouse doesn't hold {', '.join(missing)} as of {day}. Nothing was built. "
            f"Run `python -m pipelines transform --date {day}`, which builds every layer in order."
        )


def _start(settings: Settings, day: date, layer: str) -> None:
    """Note that `layer` and those after it don't stand any more."""
    before = LAYERS[: LAYERS.index(layer)]
    require_built(settings, day, *before)
    _note(settings, day, before)
    shutil.rmtree(state_folder(settings) / "spill", ignore_errors=True)


def _finish(settings: Settings, day: date, layer: str) -> None:
    _note(settings, day, LAYERS[: LAYERS.index(layer) + 1])
    shutil.rmtree(state_folder(settings) / "spill", ignore_errors=True)


def _note(settings: Settings, day: date, layers: tuple[str, ...]) -> None:
    write_json(_note_path(settings), {"day": f"{day:%Y-%m-%d}", "layers": layers})


def _built(settings: Settings, day: date) -> list[str]:
    path = _note_path(settings)
    note: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    same_day = note.get("day") == f"{day:%Y-%m-%d}" and settings.warehouse.is_file()
    return list(note["layers"]) if same_day else []


def _note_path(settings: Settings) -> Path:
    return state_folder(settings) / "built.json"


def _typed_folder(settings: Settings) -> Path:
    return state_folder(settings) / "typed" / "date=0001-01-01"


def _write_typed(settings: Settings) -> None:
    """Write an empty file with the columns of each source, read before the real ones.

    So a feed of which nothing came in yet is an empty table, and a column that is newer than a
    file is empty there.
    """
    schemas = {contract.feed: contract.lake_schema for contract in contracts()}
    for name, schema in (schemas | {"matches": MATCHES}).items():
        write_parquet(schema.empty_table(), _typed_folder(settings) / f"{name}.parquet")


def _pattern(folder: Path) -> str:
    """Return `folder` as part of a glob pattern inside a SQL string inside a format string."""
    text = folder.as_posix().replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    return text.replace("'", "''").replace("{", "{{").replace("}", "}}")


def _counts(results: list[Any]) -> dict[str, int]:
    """Log each table and test with its time, and count them by kind."""
    for result in results:
        log.info(
            "%s %s: %.2f s", result.node.resource_type, result.node.name, result.execution_time
        )
    kinds = Counter(str(result.node.resource_type) for result in results)
    names = {"model": "tables", "test": "tests", "unit_test": "unit_tests"}
    return {name: kinds[kind] for kind, name in names.items() if kinds[kind]}
