"""Compare two versions of the policies on past days: what a change would have touched.

The recorded matches of each day are judged by both versions: price caps, least odds, age of
consent, who may consent for a business, minimum value, offers a lead, repeated and exclusive
offers, protected attributes in rules of products. A match is touched if a rule forbids it under one
version and not under the other. What a looser rule would have let in was never recorded as a match;
the unmatched leads that ended at that rule say how many people it concerns. The admission of an
institution is data of a feed, so no policy changes it. Other policies change the plan as a whole;
they are named, and `off-policy` and `replay` measure them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.policy import JudgedPolicies
from pipelines.core.database import connect, make_private_folder, query_table
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.evidence.kept_policies import export_policies, find_kept, list_kept
from pipelines.core.evidence.policy_changes import ChangedEntry, compare_entries, compare_files
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"
CURRENT = "current"
"""The name of the policies in force."""
MAX_EXAMPLES = 5
"""Match ids that each rule lists."""

LOOSENED = {
    "price_cap": ("apr_above_cap",),
    "least_odds": ("odds_below_minimum",),
    "minimum_value": ("below_minimum",),
    "consent_age": ("consent_expired",),
    "consent_role": ("consent_role_not_allowed", "consent_role_unknown", "consent_role_missing"),
    "same_product_again": ("contact_frequency",),
    "exclusive": ("promised_elsewhere",),
}
"""Rule -> details of the unmatched leads that ended at it."""


@dataclass
class RuleEffect:
    """What one rule does to the recorded matches of the days."""

    forbidden: int = 0
    """Matches that the second version forbids and the first does not."""
    allowed: int = 0
    """Matches that the first version forbids and the second does not."""
    may_open: int = 0
    """Unmatched leads that ended at this rule, where the second version is looser."""
    examples: list[str] = field(default_factory=list)
    """Match ids."""


@dataclass(frozen=True)
class DayEffect:
    """What the change does to one day."""

    matches: int
    """Recorded matches."""
    touched: int
    persons: int
    """Persons of the touched matches."""
    may_open: int


@dataclass
class PolicyDiff:
    """What changes between two versions of the policies, on some days."""

    first: str
    second: str
    changed_files: dict[str, str]
    """File -> changed, added or removed."""
    not_judged: list[str]
    """Files that differ and whose effect on single matches can't be judged."""
    entries: list[ChangedEntry] = field(default_factory=list)
    """What differs in the files, entry by entry, or key by key."""
    days: dict[str, DayEffect] = field(default_factory=dict)
    rules: dict[str, RuleEffect] = field(default_factory=dict)
    matches: int = 0
    touched_days: int = 0
    touched_matches: int = 0
    touched_persons: int = 0
    """Distinct persons over all days."""


@dataclass(frozen=True)
class _Version:
    name: str
    policies: JudgedPolicies
    files: dict[str, bytes]


def compare_policies(
    settings: Settings, first: str, second: str, start: date, end: date
) -> PolicyDiff:
    """Return what the second version would have changed on the days from `start` to `end`.

    Args:
        settings: Settings of the home.
        first: A folder of policies, the beginning of a kept version, or `current`.
        second: The same.
        start: First date.
        end: Last date, included.

    Raises:
        UsageError: A version is unknown.
        PolicyError: A file of a version is missing or invalid.
        InputMissing: No date of the span has matches.
    """
    with _open_version(settings, first) as one, _open_version(settings, second) as other:
        diff = PolicyDiff(one.name, other.name, compare_files(one.files, other.files), [])
        diff.not_judged = [
            name for name in diff.changed_files if Path(name).stem not in policy.JUDGED
        ]
        diff.entries = list(compare_entries(one.files, other.files))
        touched: list[pa.Array] = []
        for day in _list_days(settings, start, end):
            with connect(settings) as connection:
                touched.append(_compare_day(connection, settings, day, (one, other), diff))
    diff.matches = sum(day.matches for day in diff.days.values())
    diff.touched_matches = sum(day.touched for day in diff.days.values())
    diff.touched_days = sum(bool(day.touched or day.may_open) for day in diff.days.values())
    diff.touched_persons = len(pa.chunked_array(touched, pa.string()).unique())
    return diff


@dataclass(frozen=True)
class KeptVersion:
    """A version of the policies that the home keeps."""

    version: str
    policy_version: str
    is_current: bool
    days: int
    """Dates whose newest matches were made under it."""
    first_day: str
    last_day: str
    changed_files: tuple[str, ...]
    """Files that differ from the version of the dates before."""


def list_versions(settings: Settings) -> list[KeptVersion]:
    """Return the kept versions in the order of the dates that were run under them."""
    days: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(settings.matches.glob(f"date=*/{MANIFEST}")):
        pinned = read_manifest(path.parent).get("policies", "")
        days[pinned].append(path.parent.name.removeprefix("date="))
    kept = sorted(
        list_kept(settings), key=lambda each: (not days[each.version], days[each.version])
    )
    before: dict[str, str] = {}
    found = []
    for each in kept:
        names = sorted(each.files.keys() | before.keys())
        changed = tuple(n for n in names if each.files.get(n) != before.get(n)) if before else ()
        own = days[each.version]
        found.append(
            KeptVersion(
                version=each.version,
                policy_version=each.policy_version,
                is_current=each.version == policy.full_version(),
                days=len(own),
                first_day=own[0] if own else "",
                last_day=own[-1] if own else "",
                changed_files=changed,
            )
        )
        before = each.files
    return found


@contextmanager
def _open_version(settings: Settings, name: str) -> Iterator[_Version]:
    """Yield the version that `name` means."""
    if name == CURRENT:
        yield _read_version(name, policy.FOLDER)
    elif Path(name).is_dir():
        yield _read_version(name, Path(name))
    else:
        kept = find_kept(settings, name)
        if kept is None:
            raise UsageError(
                f"{name!r} is no folder, and the home keeps no policies of that version. Nothing "
                "was compared. `banyan policy list` shows the versions; `current` are the ones in "
                "force."
            )
        with make_private_folder(settings) as folder:
            exported = export_policies(settings, kept, folder / "policies")
            yield _read_version(kept.version[:12], exported)


def _read_version(name: str, folder: Path) -> _Version:
    files = {path.name: path.read_bytes() for path in folder.glob("*.yml")}
    return _Version(name, policy.read_folder(folder), files)


def _list_days(settings: Settings, start: date, end: date) -> list[date]:
    days = [start + timedelta(days=number) for number in range((end - start).days + 1)]
    found = [
        day for day in days if (settings.day_folder(settings.matches, day) / MANIFEST).is_file()
    ]
    if not found:
        raise InputMissing(
            f"{settings.matches} has no matches from {start} to {end}. Nothing was compared. "
            "`banyan status` shows the dates that were run."
        )
    return found


def _compare_day(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    day: date,
    versions: tuple[_Version, _Version],
    diff: PolicyDiff,
) -> pa.Array:
    """Add the effect on one day to `diff`; return the persons of the touched matches."""
    _load_day(connection, settings, day)
    for name, version in zip(("broken_before", "broken_after"), versions, strict=True):
        broken = _judge(connection, settings, day, version.policies)
        connection.register(name, broken)
    touched = query_table(connection, SQL / "touched_matches.sql")
    connection.register("touched", touched)
    by_rule = query_table(connection, SQL / "touched_by_rule.sql", {"examples": MAX_EXAMPLES})
    for row in by_rule.to_pylist():
        effect = diff.rules.setdefault(row["broken_rule"], RuleEffect())
        effect.forbidden += row["matches"] if row["effect"] == "forbidden" else 0
        effect.allowed += row["matches"] if row["effect"] == "allowed" else 0
        effect.examples += row["examples"][: MAX_EXAMPLES - len(effect.examples)]
    may_open = _count_may_open(connection, day, versions)
    for rule, leads in may_open.items():
        diff.rules.setdefault(rule, RuleEffect()).may_open += leads
    (matches,) = connection.execute("select count(*) from matches").fetchall()[0]
    persons = touched["person"].unique()
    diff.days[f"{day}"] = DayEffect(
        matches=matches,
        touched=len(touched["match_id"].unique()),
        persons=len(persons),
        may_open=sum(may_open.values()),
    )
    return persons


def _load_day(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> None:
    """Create the views of the recorded day."""
    marts = settings.day_folder(settings.marts, day)
    lake = settings.day_folder(settings.lake / "leads", day)
    files = {
        "matches": settings.day_folder(settings.matches, day) / "matches.parquet",
        "unmatched": settings.day_folder(settings.unmatched, day) / "unmatched.parquet",
        "consents": lake / "leads.parquet",
        **{
            name: marts / f"{name}.parquet"
            for name in ("leads", "products", "product_rules", "earlier_offers")
        },
    }
    for name, file in files.items():
        if not file.is_file():
            raise InputMissing(
                f"{file} is missing: {day} was not published whole, or an earlier version made it. "
                f"Nothing was compared. Run the date again: `banyan run --date {day}`."
            )
        connection.read_parquet(str(file), hive_partitioning=False).create_view(name)
    if "consent_by_role" not in connection.table("consents").columns:
        connection.execute(
            "create or replace view consents as "
            "select *, cast(null as varchar) as consent_by_role from read_parquet($file)",
            {"file": str(files["consents"])},
        )


def _judge(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, version: JudgedPolicies
) -> pa.Table:
    """Return each recorded match that one version forbids, its person and the rule."""
    odds = {name: entry.of_match for name, entry in version.least_odds_on(day).items()}
    default = odds.pop("default")
    caps = [
        (entry.kind, entry.segment, entry.currency, entry.cap)
        for entry in version.price_caps
        if entry.valid_from <= day and (entry.valid_to is None or day <= entry.valid_to)
    ]
    texts = pa.string()
    tables = {
        "caps": _make_table(
            {"kind": texts, "segment": texts, "currency": texts, "cap": pa.float64()}, caps
        ),
        "least_odds": _make_table(
            {"jurisdiction": texts, "odds": pa.float64()}, list(odds.items())
        ),
        "exclusive": _make_table(
            {"institution_id": texts, "days": pa.int64()},
            [(entry.institution_id, entry.days) for entry in version.pairs.exclusive],
        ),
        "protected_names": _make_table(
            {"name": texts}, [(name,) for name in sorted(version.protected.attributes)]
        ),
        "consent_roles": _make_table(
            {"jurisdiction": texts, "role": texts, "may_consent": pa.bool_()},
            version.judge_consent_roles(day),
        ),
    }
    for name, table in tables.items():
        connection.register(name, table)
    longest = version.consent_on(day).longest_days
    return query_table(
        connection,
        SQL / "judge_matches.sql",
        {
            "day": day,
            "default_least_odds": default,
            "oldest_consent": settings.day_start(day - timedelta(days=longest)),
            "minimum_value": version.value.minimum_value,
            "max_offers_per_lead": version.value.max_offers_per_lead,
            "same_product_again_days": version.pairs.same_product_again_days,
        },
    )


def _count_may_open(
    connection: duckdb.DuckDBPyConnection, day: date, versions: tuple[_Version, _Version]
) -> dict[str, int]:
    """Return rule -> unmatched leads that ended at it, of the rules that become looser."""
    before, after = (_measure_strictness(each.policies, day) for each in versions)
    details = Counter(
        dict(connection.execute("select detail, count(*) from unmatched group by 1").fetchall())
    )
    found = {
        rule: sum(details[detail] for detail in LOOSENED[rule])
        for rule in LOOSENED
        if any(after[rule].get(name, 0.0) < limit for name, limit in before[rule].items())
    }
    return {rule: leads for rule, leads in found.items() if leads}


def _measure_strictness(version: JudgedPolicies, day: date) -> dict[str, dict[str, float]]:
    """Return rule -> part -> how strict it is; a part that is absent restricts nothing."""
    caps: dict[str, float] = {}
    for entry in version.price_caps:
        if entry.valid_from <= day and (entry.valid_to is None or day <= entry.valid_to):
            name = f"{entry.kind}/{entry.segment}/{entry.currency}"
            caps[name] = max(caps.get(name, 0.0), 1 / entry.cap)
    return {
        "price_cap": caps,
        "least_odds": {name: each.of_match for name, each in version.least_odds_on(day).items()},
        "minimum_value": {"": version.value.minimum_value},
        "consent_age": {"": 1 / version.consent_on(day).longest_days},
        "consent_role": {
            f"{jurisdiction}/{role}": 1.0
            for jurisdiction, role, may_consent in version.judge_consent_roles(day)
            if not may_consent
        },
        "same_product_again": {"": float(version.pairs.same_product_again_days)},
        "exclusive": {each.institution_id: float(each.days) for each in version.pairs.exclusive},
    }


def _make_table(schema: dict[str, pa.DataType], rows: Sequence[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.values(), strict=True)]
    return pa.table(arrays, names=list(schema))
