"""The warehouse: dbt builds one layer at a time, with the variables of the run.

Only one process at a time can open the DuckDB file; in Airflow a pool of one slot ensures it.
"""

import json
import logging
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import ModelNode

from expectations import policy
from expectations.contracts import contracts
from pipelines.core import restrictions
from pipelines.core.database import DELIVERED
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import write_json, write_parquet
from pipelines.core.settings import IS_INSTALLED, Settings
from pipelines.core.stored_files import read_json
from pipelines.transform.dbt_errors import check_results
from pipelines.transform.parsed_project import PROJECT_FOLDER, load_parsed_project

SOURCE_FOLDERS = {"lake": "lake/{}", "intake": "lake/{}", "published": "{}", "policy": "policy/{}"}
"""Source of dbt -> the folder that has it, without the date."""
IN_SETTLEMENT = ("return_decisions",)
"""Published sources that are files of `settlement/`."""
LAYERS = ("staging", "intermediate", "features", "marts")
MATCHES = pa.schema(
    [
        *DELIVERED,
        ("rank", pa.int64()),
        ("suggested_apr", pa.float64()),
        ("p_approve", pa.float64()),
        ("p_fund", pa.float64()),
    ]
)
"""The columns of `matches/` that link an outcome to its lead, the terms shown to the lead, and the
probability that its decision is compared with."""

RETURN_DECISIONS = pa.schema([(name, pa.string()) for name in ("match_id", "decision")])
"""The columns of `settlement/date=D/return_decisions.parquet` that free quota and budget."""

log = logging.getLogger(__name__)


def build(
    settings: Settings, day: date, layer: str, *, with_unit_tests: bool = False
) -> dict[str, int]:
    """Build the tables of `layer` as of `day` and test them; return their numbers.

    Args:
        settings: Settings of the home.
        day: The business date; later partitions of the lake are not read.
        layer: One of `LAYERS`; the earlier layers must be built as of the same day.
        with_unit_tests: Also run dbt's unit tests, which test the SQL and not the data.

    Raises:
        InputMissing: An earlier layer is not built as of `day`.
        IntegrityError: A table can't be built or a test fails; the message names it.
    """
    _mark_stale(settings, day, layer)
    _write_typed_files(settings, day)
    outcome = run_dbt(
        settings,
        day,
        "build",
        f"--select=path:{layer}",
        "--indirect-selection=buildable",
        "--no-write-json",  # nobody reads dbt's manifest; it is written for the documentation
        *([] if with_unit_tests else ["--exclude-resource-type=unit_test"]),
    )
    results = check_results(settings, day, layer, outcome)
    _mark_built(settings, day, layer)
    return _count_results(results)


def generate_docs(settings: Settings) -> Path:
    """Write dbt's documentation of every table as one page; return its path."""
    any_day = date(2026, 1, 1)  # queries are compiled for it, none is run
    command = ("docs", "generate", "--static", "--empty-catalog")
    dbtRunner().invoke([*command, *_options(settings), _as_option(variables(settings, any_day))])
    page = settings.home / "docs" / "dbt.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(state_folder(settings) / "target" / "static_index.html", page)
    return page


@dataclass(frozen=True)
class WarehouseTable:
    """A table of dbt with what it reads; published ones have their folder's name."""

    name: str
    layer: str
    inputs: tuple[str, ...]


def load_tables(settings: Settings) -> list[WarehouseTable]:
    """Return every table of the parsed project, with the tables and sources that it reads."""
    any_day = date(2026, 1, 1)  # the project is parsed, no query runs
    project = parse_project(settings, any_day)
    tables = {key: node for key, node in project.nodes.items() if isinstance(node, ModelNode)}
    layers = {key: node.original_file_path.split("/")[0] for key, node in tables.items()}
    names = {
        key: f"{'marts' if layers[key] == 'marts' else 'warehouse'}/{node.name}"
        for key, node in tables.items()
    }
    names |= {
        key: "settlement"
        if source.name in IN_SETTLEMENT
        else SOURCE_FOLDERS[source.source_name].format(source.name)
        for key, source in project.sources.items()
    }
    return [
        WarehouseTable(
            names[key],
            layers[key],
            tuple(sorted(names[each] for each in node.depends_on_nodes if each in names)),
        )
        for key, node in sorted(tables.items())
    ]


def run_dbt(settings: Settings, day: date, *command: str) -> dbtRunnerResult:
    """Run one dbt command on the warehouse as of `day`, in this process; return dbt's result."""
    options = [*_options(settings), _as_option(variables(settings, day))]
    try:
        return dbtRunner(manifest=parse_project(settings, day)).invoke([*command, *options])
    finally:  # the file must be free for others
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def parse_project(settings: Settings, day: date) -> Manifest:
    """Return the parsed dbt project with the places of this home.

    In a clone it is stored beside the code, for every home; an installed package, and a folder that
    can't be written, stay as they are, and it is stored in the home.
    """
    is_shared = not IS_INSTALLED and os.access(PROJECT_FOLDER, os.W_OK)
    folder = PROJECT_FOLDER / "target" if is_shared else state_folder(settings)
    return load_parsed_project(folder, variables(settings, day), _options(settings))


def _as_option(values: dict[str, Any]) -> str:
    return f"--vars={json.dumps(values)}"


def _options(settings: Settings) -> list[str]:
    """Return the options that every dbt command gets, besides the variables."""
    return [
        "--quiet",
        "--log-level=none",
        "--log-level-file=none",
        f"--log-path={state_folder(settings)}",
        f"--project-dir={PROJECT_FOLDER}",
        f"--profiles-dir={PROJECT_FOLDER}",
        f"--target-path={state_folder(settings) / 'target'}",
    ]


def variables(settings: Settings, day: date) -> dict[str, Any]:
    """Return dbt's vars, from the run and the policies."""
    assumed = policy.assumed_requests().newest_first
    identity, priors = policy.identity(day), policy.priors()
    outcomes = policy.outcomes()
    sudden = outcomes.sudden_change
    contradictions = policy.contradictions(day)
    return {
        "business_date": f"{day:%Y-%m-%d}",
        "channel_currencies": [entry.model_dump(mode="json") for entry in assumed.currencies],
        "assumed_amounts": [entry.model_dump(mode="json") for entry in assumed.amounts],
        "time_zone": settings.time_zone,
        "lake": _pattern(settings.lake),
        "published": _pattern(settings.home),
        "typed": _pattern(_typed_folder(settings)),
        "warehouse": str(settings.warehouse),
        "spill": str(state_folder(settings) / "spill"),
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "same_person_days": identity.same_person_days,
        "max_phones_per_person": identity.max_phones_per_person,
        "firms_of_one_owner": identity.firms_of_one_owner.are,
        "max_firms_per_owner": identity.firms_of_one_owner.max_firms,
        "owner_window_days": identity.firms_of_one_owner.window_days,
        "earlier_offer_days": policy.pairs().earlier_days,
        "device_burst_leads": identity.device_burst.max_leads,
        "device_burst_days": identity.device_burst.window_days,
        "phone_burst_leads": identity.phone_burst.max_leads,
        "phone_burst_days": identity.phone_burst.window_days,
        "consent_longest_days": policy.consent(day).longest_days,
        "unknown_consent_version": policy.consent_texts().unknown_version,
        "contradictions": contradictions.model_dump(exclude={"valid_from", "source"}),
        "currency_rates": [
            {"currency": name, "rate": rate} for name, rate in policy.currencies(day).items()
        ],
        "smoothing_decisions": outcomes.smoothing_decisions,
        "amount_tolerance": outcomes.amount_tolerance,
        "rate_tolerance": outcomes.rate_tolerance,
        "unfounded_least_rows": outcomes.unfounded_report.least_rows,
        "unfounded_least_share": outcomes.unfounded_report.least_share,
        "sudden_window_days": sudden.window_days,
        "sudden_least_decisions": sudden.least_decisions,
        "sudden_reference_decisions": sudden.reference_decisions,
        "sudden_odds_factor": sudden.odds_factor,
        "sudden_log_likelihood_gain": -math.log(sudden.chance),
        "sudden_prediction_odds_factor": sudden.prediction_odds_factor,
        "sudden_trained_decisions": sudden.trained_decisions,
        # the platform's rate before any outcome, with equal weight for every segment
        "prior_approval": sum(priors.approve.values()) / len(priors.approve),
        "prior_take_up": sum(priors.take_up.values()) / len(priors.take_up),
    }


def state_folder(settings: Settings) -> Path:
    """Return the folder of dbt's disposable state: compiled SQL, parsed project."""
    return settings.home / ".dbt"


def require_built(settings: Settings, day: date, *layers: str) -> None:
    """Raise `InputMissing` unless each of `layers` is built as of `day`."""
    missing = [layer for layer in layers if layer not in _list_built(settings, day)]
    if missing:
        raise InputMissing(
            f"The warehouse doesn't have {', '.join(missing)} as of {day}. Nothing was built. "
            f"Run `python -m pipelines transform --date {day}`, which builds every layer in order."
        )


def _mark_stale(settings: Settings, day: date, layer: str) -> None:
    """Record that only the layers before `layer` are built as of `day`."""
    before = LAYERS[: LAYERS.index(layer)]
    require_built(settings, day, *before)
    _record_built(settings, day, before)
    shutil.rmtree(state_folder(settings) / "spill", ignore_errors=True)


def _mark_built(settings: Settings, day: date, layer: str) -> None:
    _record_built(settings, day, LAYERS[: LAYERS.index(layer) + 1])
    shutil.rmtree(state_folder(settings) / "spill", ignore_errors=True)


def _record_built(settings: Settings, day: date, layers: tuple[str, ...]) -> None:
    write_json(_record_path(settings), {"day": f"{day:%Y-%m-%d}", "layers": layers})


def _list_built(settings: Settings, day: date) -> list[str]:
    path = _record_path(settings)
    record = read_json(path) if path.is_file() else {}
    is_same_day = record.get("day") == f"{day:%Y-%m-%d}" and settings.warehouse.is_file()
    return list(record["layers"]) if is_same_day else []


def _record_path(settings: Settings) -> Path:
    return state_folder(settings) / "built.json"


def _typed_folder(settings: Settings) -> Path:
    return state_folder(settings) / "typed" / "date=0001-01-01"


def _write_typed_files(settings: Settings, day: date) -> None:
    """Write an empty file with the columns of each source; dbt reads it before the real files.

    So a feed without any file is an empty table, and a column that is newer than a file is null
    in it.
    """
    schemas = {contract.feed: contract.lake_schema for contract in contracts()}
    beside_feeds = {
        "matches": MATCHES,
        "delivered": DELIVERED,
        "return_decisions": RETURN_DECISIONS,
        restrictions.FEED: restrictions.SCHEMA,
        restrictions.ORDERS_FEED: restrictions.ORDERS,
    }
    for name, schema in (schemas | beside_feeds).items():
        write_parquet(schema.empty_table(), _typed_folder(settings) / f"{name}.parquet")
    for name, table in _policy_tables(day).items():
        write_parquet(table, _typed_folder(settings) / f"{name}.parquet")


def _policy_tables(day: date) -> dict[str, pa.Table]:
    """Return the dated policies that tables are joined with, and the ones in force on `day`."""
    period = [("valid_from", pa.date32()), ("valid_to", pa.date32())]
    caps = [(name, pa.string()) for name in ("kind", "segment", "currency")]
    confirmed = policy.outcomes().sudden_change.confirmed
    return {
        "price_caps": _entries_table(
            policy.price_caps(), pa.schema([*caps, *period, ("cap", pa.float64())])
        ),
        "consent_texts": _entries_table(
            policy.consent_texts().texts,
            pa.schema([("version", pa.string()), ("sha256", pa.string()), *period]),
        ),
        "consent_roles": _make_role_table(day),
        "confirmed_changes": _entries_table(
            confirmed, pa.schema([("institution_id", pa.string()), *period])
        ),
    }


def _make_role_table(day: date) -> pa.Table:
    """Return who may consent for a business on `day`: a row by jurisdiction and known role."""
    names = ("jurisdiction", "role", "may_consent")
    schema = pa.schema(list(zip(names, (pa.string(), pa.string(), pa.bool_()), strict=True)))
    rows = policy.judge_consent_roles(policy.consent_roles(), day)
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema)


def _entries_table(entries: Iterable[object], schema: pa.Schema) -> pa.Table:
    rows = [{name: getattr(entry, name) for name in schema.names} for entry in entries]
    return pa.Table.from_pylist(rows, schema)


def _pattern(folder: Path) -> str:
    """Return `folder` escaped for a glob pattern, in a SQL string, in a format string."""
    text = folder.as_posix().replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    return text.replace("'", "''").replace("{", "{{").replace("}", "}}")


def _count_results(results: list[Any]) -> dict[str, int]:
    """Log each table and test with its time, and count them by kind."""
    for result in results:
        log.info(
            "%s %s: %.2f s", result.node.resource_type, result.node.name, result.execution_time
        )
    kinds = Counter(str(result.node.resource_type) for result in results)
    names = {"model": "tables", "test": "tests", "unit_test": "unit_tests"}
    return {name: kinds[kind] for kind, name in names.items() if kinds[kind]}
