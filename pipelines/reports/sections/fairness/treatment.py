"""How groups of people were treated: matched, offered, approved, funded, prices, odds, errors.

People of the days before count once, with what is known of their matches by the end of the day.
Each group is compared with the largest group of its attribute, over all people and among people
alike in what may legitimately differ (`controls` in `expectations/policy/fairness.yml`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby, pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from expectations.contracts import load
from expectations.policy_types import Fairness
from models.params import params
from pipelines.core.database import connect, query_table, read_query, run_query
from pipelines.core.errors import InputMissing
from pipelines.core.formats import count, share
from pipelines.core.home.shared_marts import list_mart_files
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.core.translation import Text, text, words
from pipelines.reports.sections.fairness.comparison import (
    YES_OR_NO,
    Comparison,
    compare_groups,
    reject_chance,
)

SQL = Path(__file__).parent / "sql"
KEYS = '"date", channel_id, lead_id'
PRIOR_PEOPLE = 20
"""People of the average result that are added to each bin, so that small bins shrink."""
MEASURES = {
    "matched": text("Matched: people with a match"),
    "offers": text("Offers to a matched person"),
    "odds": text("Odds of the first offer"),
    "suggested_apr": text("Price of the first offer (suggested APR)"),
    "approved": text("Approved at least once, of people with a decision"),
    "charged_apr": text("Price charged (APR of approvals)"),
    "funded": text("Funded, of people with an approval"),
    "approval_error": text("Error of the odds: approvals less predicted"),
    "approval_brier": text("Brier score of the odds of approval"),
    "take_up_error": text("Error of the take-up: funded less predicted"),
}
"""Measure -> its name, in the order of the page."""
LENDER_RULES = {"approved": "lender_approval_gap", "charged_apr": "lender_price_gap"}
"""Measure that lenders are compared by -> the rule of the verdict with its limits."""


@dataclass(frozen=True)
class Law:
    """A law in force that protects some of the attributes."""

    law: str
    jurisdiction: str
    since: str
    attributes: tuple[str, ...]
    standard: str
    read_by_lawyer: bool
    source: str


@dataclass(frozen=True)
class Treatment:
    """The figures of groups on the days of the window; none of a group below the least size."""

    first_day: str | None = None
    last_day: str | None = None
    people: int = 0
    min_group: int = 0
    groups: tuple[Comparison, ...] = ()
    """By measure, attribute and group, over all lenders."""
    withheld: dict[str, int] | None = None
    """Attribute -> groups that are too small to be shown."""
    lenders_compared: int = 0
    """Comparisons of lenders; chance is judged over all of them."""
    lenders: tuple[Comparison, ...] = ()
    """Comparisons of lenders beyond their limits, then the next farthest."""
    laws: tuple[Law, ...] = ()

    @property
    def is_measured(self) -> bool:
        """Return whether any group could be compared."""
        return bool(self.groups)

    @property
    def by_attribute(self) -> list[tuple[str, list[tuple[str, list[Comparison]]]]]:
        """Return each attribute with its measures and their groups, in the order of the page."""
        return [
            (
                attribute,
                [
                    (measure, list(rows))
                    for measure, rows in groupby(of_attribute, lambda row: row.measure)
                ],
            )
            for attribute, of_attribute in groupby(self.groups, lambda row: row.attribute)
        ]

    def laws_on(self, attribute: str) -> list[Law]:
        """Return the laws in force that protect an attribute."""
        return [law for law in self.laws if attribute in law.attributes]

    def flagged(self, measure: str) -> list[Comparison]:
        """Return the comparisons of lenders beyond chance and beyond the limit of the verdict."""
        return [row for row in self.lenders if row.measure == measure and row.is_beyond]


def measure_treatment(settings: Settings, day: date) -> Treatment:
    """Return how groups were treated in the window up to `day`, as known at its end.

    Raises:
        InputMissing: No day of the window is published whole.
    """
    with connect(settings) as connection:
        days = load_window(settings, day, connection)
        return compare_window(connection, day, days)


def load_window(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[date, ...]:
    """Create the views of the window up to `day` and return its published days.

    They are `window_leads`, `person_attributes`, `window_matches` and `window_outcomes`.

    Raises:
        InputMissing: No day of the window has marts, matches and leads.
    """
    days = _published_days(settings, day)
    if not days:
        raise InputMissing(f"no day up to {day} has published matches; nothing was compared")
    rules = policy.fairness()
    marts = [str(settings.day_folder(settings.marts, one) / "leads.parquet") for one in days]
    lake = [
        str(settings.day_folder(settings.lake / "leads", one) / "leads.parquet") for one in days
    ]
    matches = [str(settings.day_folder(settings.matches, one) / "matches.parquet") for one in days]
    outcomes = list_mart_files(settings.day_folder(settings.marts, days[-1]), "outcomes")
    country = "upper(split_part(coalesce(region, ''), '-', 1)) as country"
    controls = ", ".join(f'cast("{name}" as double) as "{name}"' for name in rules.controls)
    _read(connection, marts).filter("exclusion_stage is null").project(
        f"{KEYS}, segment, currency, {country}, {controls}"
    ).create_view("window_leads")
    attributes = _attributes(set(pq.read_schema(lake[-1]).names), rules)
    _read(connection, lake).project(f"{KEYS}, {attributes}").create_view("lead_attributes")
    _read(connection, matches).create_view("window_matches")
    connection.read_parquet(outcomes, hive_partitioning=False).create_view("window_outcomes")
    create_long_view(connection, "person_attributes", "lead_attributes", KEYS, "group_name")
    return days


def compare_window(
    connection: duckdb.DuckDBPyConnection, day: date, days: Sequence[date]
) -> Treatment:
    """Return the comparison of the groups of the window.

    Args:
        connection: With the views that `load_window` creates.
        day: The last day; laws are the ones in force on it.
        days: The days of the window.
    """
    rules = policy.fairness()
    laws = [law for law in rules.laws if law.holds(day)]
    protected = [
        (name, country)
        for law in laws
        for name in sorted(law.attributes)
        for country in sorted(law.countries)
    ]
    connection.register("laws", _table(protected))
    people = connection.execute("select count(*) from window_leads").fetchall()[0][0]
    run_query(connection, SQL / "people.sql", {"every": -(-people // rules.max_people) or 1})
    run_query(connection, SQL / "memberships.sql")
    columns = ", ".join(f'"{name}"' for name in rules.controls)
    connection.execute(
        f"create view controls_of_people as select person, segment, currency, {columns} from people"
    )
    create_long_view(
        connection,
        "person_controls",
        "controls_of_people",
        "person, segment, currency",
        "amount",
        "control",
    )
    run_query(connection, SQL / "control_bins.sql", {"bins": rules.control_bins})
    last_decided = day - timedelta(days=params().decision_maturity_days)
    run_query(connection, SQL / "person_matches.sql", {"last_decided": last_decided})
    connection.execute(read_query(SQL / "observations.sql"))
    sizes = {name: getattr(rules, name) for name in ("max_strata", "people_per_stratum")}
    run_query(connection, SQL / "strata.sql", sizes | {"prior_people": PRIOR_PEOPLE})
    cells = query_table(connection, SQL / "compared.sql")
    groups, lenders = compare_groups(cells, rules.min_group)
    tested = reject_chance(lenders, LENDER_RULES)
    order = list(MEASURES)
    return Treatment(
        first_day=f"{days[0]}",
        last_day=f"{days[-1]}",
        people=connection.execute("select count(*) from people").fetchall()[0][0],
        min_group=rules.min_group,
        groups=tuple(
            sorted(groups, key=lambda row: (row.attribute, order.index(row.measure), row.group))
        ),
        withheld=_count_withheld(connection, rules.min_group),
        lenders_compared=len(tested),
        lenders=tuple(tested[: max(rules.listed_lenders, sum(row.is_beyond for row in tested))]),
        laws=tuple(
            Law(
                law.law,
                law.jurisdiction,
                f"{law.valid_from}",
                tuple(sorted(law.attributes)),
                law.standard,
                law.read_by_lawyer,
                law.source,
            )
            for law in laws
        ),
    )


def describe_lender(row: Comparison) -> Text:
    """Return a lender's comparison as a sentence: groups, values, sizes and interval."""
    found = row.controlled
    assert found is not None  # noqa: S101  every tested comparison has an estimate
    if row.measure in YES_OR_NO:
        interval = f"{found.ratio_low:.2f}\N{EN DASH}{found.ratio_high:.2f}"
        size = text("ratio {ratio} ({interval})", ratio=f"{found.ratio:.2f}", interval=interval)
    else:
        size = text(
            "difference {difference} ({low} to {high})",
            difference=f"{found.difference:+.2%}",
            low=f"{found.difference_low:+.2%}",
            high=f"{found.difference_high:+.2%}",
        )
    return text(
        "{lender}, {attribute}: {value} of {group} against {reference_value} of {reference}; among "
        "comparable people {size}; {people} and {reference_people} decisions",
        lender=row.institution_id,
        attribute=words(row.attribute),
        value=share(row.value),
        group=row.group,
        reference_value=share(row.reference_value),
        reference=row.reference,
        size=size,
        people=count(row.people),
        reference_people=count(row.reference_people),
    )


def create_long_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    wide: str,
    keys: str,
    value: str,
    column: str = "attribute",
) -> None:
    """Create the view `name`: the columns of `wide` beside its keys, one row per row and column."""
    connection.execute(
        f"create view {name} as select * from {wide} "
        f"unpivot include nulls ({value} for {column} in (columns(* exclude ({keys}))))"
    )


def _published_days(settings: Settings, day: date) -> tuple[date, ...]:
    """Return the days of the window, oldest first, of which leads and matches are published."""
    window = policy.fairness().window_days
    days = (day - timedelta(days=back) for back in reversed(range(window)))
    roots = (settings.marts, settings.matches, settings.lake / "leads")
    return tuple(
        one
        for one in days
        if all((settings.day_folder(root, one) / MANIFEST).is_file() for root in roots)
    )


def _read(connection: duckdb.DuckDBPyConnection, files: list[str]) -> duckdb.DuckDBPyRelation:
    return connection.read_parquet(files, hive_partitioning=True, union_by_name=True)


def _attributes(names: set[str], rules: Fairness) -> str:
    """Return the select list of the attributes that the lake has, each as text."""
    protected = sorted(c.name for c in load("leads").columns if c.protected and c.name in names)
    texts = [f'cast("{name}" as varchar) as "{name}"' for name in (*protected, "region")]
    return ", ".join([*texts, f"{_age_band(rules.age_bands)} as age"])


def _age_band(first_years: Sequence[int]) -> str:
    """Return the SQL expression of the band of `age_years`, as text."""
    cases = [f"when age_years < {first_years[0]} then '<{first_years[0]}'"]
    cases += [
        f"when age_years < {end} then '{start}\N{EN DASH}{end - 1}'"
        for start, end in pairwise(first_years)
    ]
    cases.append(f"when age_years >= {first_years[-1]} then '{first_years[-1]}+'")
    return f"case {' '.join(cases)} end"


def _table(protected: list[tuple[str, str]]) -> pa.Table:
    attributes, countries = zip(*protected, strict=True) if protected else ((), ())
    return pa.table(
        {
            "attribute": pa.array(attributes, pa.string()),
            "country": pa.array(countries, pa.string()),
        }
    )


def _count_withheld(connection: duckdb.DuckDBPyConnection, least: int) -> dict[str, int]:
    rows = run_query(connection, SQL / "withheld_groups.sql", {"min_group": least}).fetchall()
    return dict(rows)
