"""Check a home and its surroundings, and say what to do about each problem."""

import os
import shlex
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy
from packaging.requirements import InvalidRequirement, Requirement

from pipelines.core.errors import BanyanError
from pipelines.core.evidence.publication_log import find_head
from pipelines.core.home import schema_version
from pipelines.core.home.lock import describe_holder
from pipelines.core.home.shared_marts import list_shared_files
from pipelines.core.identifier_key import MIN_LENGTH
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import PROJECT, Settings
from pipelines.core.step_failures import read_step_failures
from pipelines.core.stored_files import read_json
from pipelines.core.translation import plural
from pipelines.ingest.landing import list_closed_folders, list_paths, list_unread_paths

State = Literal["ok", "note", "action"]

GROWTH_DAYS = 7
"""Last days that the growth per day is measured on."""
LEAST_DAYS_OF_DISK = 30
"""Fewer days until the disk is full need an action."""
MAX_NAMES = 3
"""Names that a line lists before it counts the rest."""
AIRFLOW_URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
AIRFLOW_URL_COMMAND = f"{AIRFLOW_URL}_CMD"
"""A command that prints the address, which has precedence in Airflow as well."""
UNDER_A_SCHEDULER = "under a scheduler clear its tasks (dags/README.md, A date that failed)"


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    name: str
    state: State
    found: str
    """What was found."""
    action: str = ""
    """What to do; empty where nothing is to be done."""


def examine(settings: Settings, now: datetime | None = None) -> list[Check]:
    """Return every check of the home and its surroundings; none changes anything.

    Args:
        settings: Settings of the home.
        now: The moment that dates are compared with; None: this moment.
    """
    today = (now or datetime.now(UTC)).astimezone(settings.zone).date()
    checks: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("schema", lambda: _check_schema(settings)),
        ("libraries", _check_libraries),
        ("disk", lambda: _check_disk(settings)),
        ("time zone", lambda: _check_time_zone(settings)),
        ("key", lambda: _check_key(settings)),
        ("modes", lambda: _check_modes(settings)),
        ("landing", lambda: _check_landing(settings, today)),
        ("dates", lambda: _check_dates(settings, today)),
        ("steps", lambda: _check_steps(settings)),
        ("evidence", lambda: _check_evidence(settings)),
        ("lock", lambda: _check_lock(settings)),
        ("airflow", lambda: _check_airflow(settings)),
    ]
    return [check for name, run in checks for check in _run(name, run)]


def _run(name: str, run: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return the result of a check; one that cannot be made is a problem itself."""
    try:
        return list(run())
    except BanyanError as error:
        return [Check(name, "action", str(error), "do what the message says")]
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        found = f"{type(error).__name__}:{where} {error.strerror or ''}".rstrip()
        return [Check(name, "action", found, "make it readable for the user that runs Banyan")]


def _check_schema(settings: Settings) -> Iterator[Check]:
    if not settings.home.is_dir():
        yield Check("schema", "note", f"{settings.home} does not exist yet; the first run makes it")
        return
    found = schema_version.read_version(settings)
    if found == schema_version.VERSION:
        yield Check("schema", "ok", f"version {found}, as this code")
    elif found < schema_version.VERSION:
        yield Check(
            "schema",
            "action",
            f"version {found}; this code needs {schema_version.VERSION}",
            "back up the home, then run `banyan migrate`",
        )
    else:
        yield Check(
            "schema",
            "action",
            f"version {found}; this code knows versions up to {schema_version.VERSION}",
            "run the newer code, or restore a backup from before the upgrade",
        )


def _check_libraries() -> Iterator[Check]:
    """Compare installed versions with the requirements that run the day."""
    path = PROJECT / "requirements.in"
    if not path.is_file():
        yield Check("libraries", "note", f"{path} is not installed; versions were not compared")
        return
    wrong, count = [], 0
    for requirement in _read_requirements(path.read_text("utf-8")):
        count += 1
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if wrong:
        action = "install the pinned versions: `pip install -r requirements.txt`"
        yield Check("libraries", "action", "; ".join(wrong), action)
    else:
        yield Check("libraries", "ok", f"{count} libraries are of the required versions")


def _read_requirements(text: str) -> Iterator[Requirement]:
    """Yield the requirements of the first section, which runs the day."""
    for line in text.split("# installs the project itself", maxsplit=1)[0].splitlines():
        try:
            yield Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:
            continue  # an empty line or a comment


def _check_disk(settings: Settings) -> Iterator[Check]:
    place = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    days = _list_dates(settings.matches)[-GROWTH_DAYS:]
    grown = [_measure_day(settings, day) for day in days]
    if not any(grown):
        yield Check("disk", "ok", f"{_gigabytes(free)} free; no date was run yet")
        return
    growth = sum(grown) / len(grown)
    left = int(free / growth)
    found = (
        f"{_gigabytes(free)} free; the last {plural(len(grown), 'date')} took "
        f"{growth / 1e6:,.1f} MB each: {left:,} days are left"
    )
    if left < LEAST_DAYS_OF_DISK:
        yield Check("disk", "action", found, "free disk, or move the home to a larger one")
    else:
        yield Check("disk", "ok", found)


def _measure_day(settings: Settings, day: date) -> int:
    """Return the bytes that a date added to the home."""
    name = f"date={day}"
    folders = [
        *settings.home.glob(f"*/{name}"),
        *settings.home.glob(f"*/*/{name}"),
        *settings.landing.glob(f"*/*/{day}"),
    ]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    marts = settings.day_folder(settings.marts, day)
    before = settings.day_folder(settings.marts, day - timedelta(days=1))
    new = set(list_shared_files(marts)) - set(list_shared_files(before))
    return sum(file.stat().st_size for file in [*files, *filter(Path.is_file, new)])


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"


def _check_time_zone(settings: Settings) -> Iterator[Check]:
    try:
        ZoneInfo(settings.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield Check(
            "time zone",
            "action",
            f"{settings.time_zone} is not in the time zone database of this machine",
            "install it: `pip install tzdata`, or the package tzdata of the system",
        )
        return
    path = schema_version.home_file(settings)
    stated = read_json(path).get("time_zone") if path.is_file() else None
    if stated and stated != settings.time_zone:
        yield Check(
            "time zone",
            "action",
            f"the business dates of the home are of {stated}, BANYAN_TIME_ZONE is "
            f"{settings.time_zone}",
            f"set BANYAN_TIME_ZONE={stated}; for another zone start a new home",
        )
    else:
        yield Check("time zone", "ok", settings.time_zone)


def _check_key(settings: Settings) -> Iterator[Check]:
    path = settings.identifier_key_file
    has_hashes = any(settings.lake.glob(f"*/date=*/{MANIFEST}"))
    if not path.is_file():
        if not has_hashes:
            yield Check("key", "ok", "none yet; the first run makes it")
        elif settings.identifier_key:
            yield Check("key", "ok", "in BANYAN_IDENTIFIER_KEY")
        else:
            action = "restore it from a backup; without it no order matches an earlier person"
            yield Check("key", "action", f"{path} is missing, but the lake has hashes", action)
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield Check("key", "action", f"{path} has the mode {mode:o}", f"chmod 600 {path}")
    elif len(path.read_text("ascii", "replace").strip()) < MIN_LENGTH:
        action = "restore it from a backup"
        yield Check("key", "action", f"{path} has fewer than {MIN_LENGTH} characters", action)
    else:
        yield Check("key", "ok", f"{path.name} has the mode {mode:o}; it must be in every backup")


def _check_modes(settings: Settings) -> Iterator[Check]:
    """Check that the folders of the home give nobody more than `BANYAN_UMASK` lets them."""
    allowed = int(settings.folder_mode, 8)
    folders = [settings.home, *(path for path in settings.home.glob("*") if path.is_dir())]
    wide = [
        path
        for path in folders
        if path.is_dir() and path.name != "landing" and path.stat().st_mode & 0o777 & ~allowed
    ]
    if wide:
        yield Check(
            "modes",
            "action",
            f"{_name(path.name for path in wide)} can be read by more users than mode "
            f"{allowed:o} lets",
            f"chmod {allowed:o} {' '.join(map(str, wide[:MAX_NAMES]))}"
            + (" ..." if wide[MAX_NAMES:] else ""),
        )
    unwritable = [path for path in folders if path.is_dir() and not os.access(path, os.W_OK)]
    if unwritable:
        found = f"{_name(path.name for path in unwritable)} can't be written"
        yield Check("modes", "action", found, "give them to the user that runs Banyan")
    if not wide and not unwritable:
        yield Check("modes", "ok", f"folders have the mode {allowed:o} or less")


def _check_landing(settings: Settings, today: date) -> Iterator[Check]:
    landed = list(list_paths(settings))
    unreadable = [path for path, *_ in landed if not os.access(settings.landing / path, os.R_OK)]
    unreadable += list_closed_folders(settings)
    if unreadable:
        action = "make them readable for the user that runs Banyan"
        yield Check("landing", "action", f"can't be read: {_name(unreadable)}", action)
    unread = [
        found
        for found in list_unread_paths(settings)
        if found.since < settings.day_start(today) and not found.is_folder
    ]
    if unread:
        yield Check(
            "landing",
            "action",
            f"{plural(len(unread), 'file')} hidden or unfinished (.part) since before today: "
            f"{_name(found.path for found in unread)}",
            "ask the source to finish or remove them; no run reads them",
        )
    pending = Counter(landed_on for *_, landed_on in landed if landed_on > _last_closed(settings))
    if pending:
        files = plural(sum(pending.values()), "file")
        span = f"{min(pending)} to {max(pending)}" if len(pending) > 1 else f"{min(pending)}"
        yield Check("landing", "note", f"{files} waiting for the runs of their dates: {span}")
    if not unreadable and not unread and not pending:
        yield Check("landing", "ok", f"{plural(len(landed), 'file')}, all read")


def _last_closed(settings: Settings) -> date:
    path = settings.ledger / "closed.json"
    return date.fromisoformat(read_json(path)["closed_through"]) if path.is_file() else date.min


def _check_dates(settings: Settings, today: date) -> Iterator[Check]:
    """Name the dates that should have been run: gaps, and dates with leads up to yesterday."""
    run = [
        day
        for day in _list_dates(settings.matches)
        if (settings.day_folder(settings.reports, day) / MANIFEST).is_file()
    ]
    if not run:
        yield Check("dates", "note", "no date was run yet; `banyan run --date D` runs one")
        return
    span = {run[0] + timedelta(days=number) for number in range((run[-1] - run[0]).days + 1)}
    landed = {
        landed_on
        for _, feed, _, landed_on in list_paths(settings)
        if feed == "leads" and run[-1] < landed_on < today
    }
    missing = sorted((span | landed) - set(run))
    if missing:
        many = len(missing) > 1
        yield Check(
            "dates",
            "action",
            f"{plural(len(missing), 'date')} not run: {_name(map(str, missing))}",
            f"banyan run --date {missing[0]}{f' --to {missing[-1]}' if many else ''}; "
            f"{UNDER_A_SCHEDULER}",
        )
    else:
        yield Check("dates", "ok", f"{plural(len(run), 'date')} run, the last is {run[-1]}")


def _check_steps(settings: Settings) -> Iterator[Check]:
    failed = [
        (day, step, message)
        for day in _list_dates(settings.step_failures)
        for step, message in read_step_failures(settings, day)
    ]
    if failed:
        day, step, message = failed[-1]
        yield Check(
            "steps",
            "action",
            f"{plural(len(failed), 'failed step')}; the last is {step} of {day}: {message}",
            f"correct the cause (docs/runbook.md), then banyan run --date {day}; "
            f"{UNDER_A_SCHEDULER}",
        )
    else:
        yield Check("steps", "ok", "no step is left failed")


def _check_evidence(settings: Settings) -> Iterator[Check]:
    """Compare the publication log with the newest report; `banyan verify` compares everything."""
    head = find_head(settings)
    reports = _list_dates(settings.reports)
    newest = settings.day_folder(settings.reports, reports[-1]) if reports else settings.reports
    manifest = newest / MANIFEST
    stated = (read_json(manifest).get("log") or {}).get("size", 0) if manifest.is_file() else 0
    if stated > head.size:
        yield Check(
            "evidence",
            "action",
            f"{newest.name} states a publication log of {stated:,} leaves; there are {head.size:,}",
            "keep the home as it is and run `banyan verify`",
        )
    else:
        yield Check("evidence", "ok", f"{plural(head.size, 'leaf', 'leaves')} in the log")


def _check_lock(settings: Settings) -> Iterator[Check]:
    if holder := describe_holder(settings):
        yield Check("lock", "note", f"{holder} is at work on the home")
    else:
        yield Check("lock", "ok", "free")


def _check_airflow(settings: Settings) -> Iterator[Check]:
    url = _find_airflow_url()
    if url and not url.startswith("sqlite"):
        yield _check_server(url)
        return
    path = settings.airflow / "airflow.db"
    if not path.is_file():
        yield Check("airflow", "ok", "no database yet; the first run makes it")
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
            (result,) = database.execute("pragma quick_check(1)").fetchone()
    except sqlite3.Error as error:
        result = str(error)
    if result == "ok":
        yield Check("airflow", "ok", f"the database {path.name} is readable")
    else:
        action = f"move {path} away; the next run makes a new one, only the history of runs is lost"
        yield Check("airflow", "action", f"{path} is damaged: {result}", action)


def _find_airflow_url() -> str:
    """Return the address of Airflow's database in the environment; empty if it states none."""
    command = shlex.split(os.environ.get(AIRFLOW_URL_COMMAND, ""))
    if not command:
        return os.environ.get(AIRFLOW_URL, "")
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)  # noqa: S603 - the operator's own command, as Airflow runs it
    return printed.stdout


def _check_server(url: str) -> Check:
    """Check a database server; the message never has the URL, which may hold a password."""
    try:
        parsed = sqlalchemy.make_url(url)
        engine = sqlalchemy.create_engine(parsed)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
        return Check(
            "airflow",
            "action",
            f"the database of {AIRFLOW_URL} or its _CMD can't be reached ({type(error).__name__})",
            "start the database server, and check host, user and password of the variable",
        )
    return Check("airflow", "ok", f"{parsed.get_backend_name()} on {parsed.host} answers")


def _list_dates(root: Path) -> list[date]:
    dates = []
    for folder in root.glob("date=*"):
        try:
            dates.append(date.fromisoformat(folder.name.removeprefix("date=")))
        except ValueError:
            continue  # a stray folder
    return sorted(dates)


def _name(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - MAX_NAMES} more" if listed[MAX_NAMES:] else ""
    return f"{', '.join(listed[:MAX_NAMES])}{more}"
