"""The surroundings of a process: variables of Python and of libraries, text encoding, file modes.

Each library reads variables of its own, most of them when it is imported. So they are set or
removed here, before any library is imported. docs/decisions/surroundings.md lists them.
"""

import codecs
import locale
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
"""The root of the code, with `dbt_project/`, `expectations/` and `dags/`."""

NO_STATISTICS = {
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "SCARF_ANALYTICS": "false",
}
"""Airflow, dbt and Great Expectations send usage statistics by default; these switch it off."""

FIXED = {
    **NO_STATISTICS,
    "OPENBLAS_NUM_THREADS": "1",  # the sum of a matrix product depends on the number of threads
    "PYTHONUTF8": "1",  # for the processes that this one starts
    "TZ": "UTC",
}
"""Variables with one value for every run."""

REMOVED = (
    *("DBT_", "GX_", "GE_", "GREAT_EXPECTATIONS"),
    *("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "GOTO_", "MKL_", "BLIS_", "NPY_"),
    *("ARROW_", "DUCKDB_", "SQLALCHEMY_", "ONELOG_", "SENTRY_", "OTEL_"),
)
"""Beginnings of the variables that libraries read and that nobody sets for Banyan."""

SLOW_AND_UNUSED = "rfc3987_syntax"
"""jsonschema's checker of IRIs, where the audit's tools brought it along: nothing here checks one.

Airflow, dbt and Great Expectations import jsonschema, and it the checker, which makes its grammar
for two seconds.
"""

PYTHON_READS = ("PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONIOENCODING", "PYTHONTZPATH")
"""Variables that Python reads as it starts; they change how the libraries work."""

RESTARTED = "_BANYAN_RESTARTED"


def isolate_libraries() -> None:
    """Set and remove the variables that libraries read; call it before they are imported."""
    sys.modules.setdefault(SLOW_AND_UNUSED, None)  # type: ignore[arg-type] # it can't be imported
    remove_variables(*REMOVED)
    os.environ.update(FIXED)
    time.tzset()


def remove_variables(*beginnings: str) -> None:
    """Remove every variable whose name begins with one of `beginnings`."""
    for name in [name for name in os.environ if name.upper().startswith(beginnings)]:
        del os.environ[name]


def restart_if_unsuitable() -> None:
    """Start this program again, once, if Python was started with unsuitable variables.

    Python reads some variables only as it starts: the encoding of text, the folders of modules,
    the treatment of warnings. A restarted program has the same arguments.
    """
    if os.environ.pop(RESTARTED, None) or is_suitable(os.environ):
        return
    suitable = {name: value for name, value in os.environ.items() if name not in PYTHON_READS}
    suitable |= {"PYTHONPATH": str(PROJECT), "PYTHONUTF8": "1", RESTARTED: "1"}
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, suitable)  # noqa: S606 - the same program


def is_suitable(variables: Mapping[str, str]) -> bool:
    """Return whether this Python process reads text as UTF-8 and modules from the project."""
    return (
        variables.get("PYTHONPATH") in {None, str(PROJECT)}
        and not any(name in variables for name in PYTHON_READS)
        and codecs.lookup(locale.getencoding()).name == "utf-8"
        and codecs.lookup(sys.getfilesystemencoding()).name == "utf-8"
    )


def protect_new_files(umask: str) -> None:
    """Set the mode of every file that this process and its children create from now on."""
    os.umask(int(umask, 8))
