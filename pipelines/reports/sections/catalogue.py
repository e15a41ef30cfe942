"""The day's catalogue: what changed since the day before, and the products that took no lead."""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.database import run_query
from pipelines.core.formats import without_personal
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.core.translation import join, text, words
from pipelines.matches.shadow_price_text import PRICES
from pipelines.pairs.eligibility.load_inputs import (
    MATCHED_AMOUNT,
    find_price_caps,
    read_product_fees,
)
from pipelines.pairs.valuation import least_odds_sql

SQL = Path(__file__).parent / "sql"
MARTS = {"products": "products", "rules": "product_rules"}

CHANGES = {
    "institution_gone": text("institution gone"),
    "institution_new": text("institution new"),
    "product_gone": text("product gone"),
    "product_closed": text("product closed"),
    "product_new": text("product new"),
    "product_opened": text("product opened"),
    "price": text("price changed"),
    "terms": text("terms changed"),
    "quota": text("quota or budget changed"),
    "rules": text("rules changed"),
    "fees": text("fees of the loan changed"),
}
"""Change of the catalogue -> its words, in the order of the page."""

REASONS = {
    "closed": text("it is closed"),
    "no_quota": text("its quota leaves no lead for today"),
    "no_budget": text("its budget leaves nothing for today"),
    "small_budget": text("its budget is below the price of one lead"),
    "low_odds": text("an approval is too unlikely for every lead that meets its rules"),
    "low_value": text("every match would be below the minimum value"),
    "other_offers": text("the leads took other offers, or a limit of the plan excludes them"),
    "no_leads": text("no lead could be matched with any product"),
    "segment": text("no lead is of its segment"),
    "currency": text("no lead of its segment asks in its currency"),
    "amount": text("no lead asks for an amount that it lends"),
    "term": text("no lead asks for a term that it lends"),
    "costs_not_stated": text("its catalogue lacks the fee lines that the law asks for"),
    "price_cap": text("its annual cost is above the legal cap"),
    "own_rule": text("its own rule excludes the leads"),
    "several_rules": text("its rules, its risk band, consent or earlier offers exclude the leads"),
}
"""Reason why a product took no lead -> its words."""


@dataclass(frozen=True)
class CatalogueChange:
    """One change of an institution or product since the day before."""

    institution_id: str
    product_id: str
    """Empty if it concerns the institution."""
    change: str
    """A key of `CHANGES`."""
    before: str
    now: str
    leads_before: int
    """Matches of the product on the day before."""

    @property
    def name(self) -> str:
        """Return INSTITUTION or INSTITUTION/PRODUCT."""
        return f"{self.institution_id}/{self.product_id}".rstrip("/")

    @property
    def text(self) -> str:
        """Return the change in words."""
        return CHANGES[self.change]


@dataclass(frozen=True)
class ProductWithoutLeads:
    """A product of the catalogue that took no lead on the day."""

    institution_id: str
    product_id: str
    reason: str
    """A key of `REASONS`."""
    leads: int | None
    """Leads that the reason is about; None where it is about the product alone."""
    detail: str

    @property
    def text(self) -> str:
        """Return the reason in words."""
        reason = REASONS[self.reason]
        return join([reason, words(self.detail)], ": ") if self.detail else reason


@dataclass(frozen=True)
class Catalogue:
    """Changes of the catalogue and its products without leads."""

    compared_with: str | None = None
    """The day before (ISO) whose catalogue it is compared with; None if there is none."""
    changes: tuple[CatalogueChange, ...] = ()
    without_leads: tuple[ProductWithoutLeads, ...] = ()

    @property
    def changes_by_kind(self) -> list[tuple[str, int]]:
        """Return the words of each kind of change with its number, in the order of the page."""
        counts = Counter(row.change for row in self.changes)
        return [(text, counts[change]) for change, text in CHANGES.items() if counts[change]]

    @property
    def without_leads_by_reason(self) -> list[tuple[str, int]]:
        """Return each reason in words with its number of products, most first."""
        counts = Counter(row.reason for row in self.without_leads)
        return [(REASONS[reason], number) for reason, number in counts.most_common()]


def find_day_before(root: Path, day: date) -> date | None:
    """Return the date of the newest published folder of `root` before `day`."""
    names = (path.parent.name for path in root.glob(f"date=*/{MANIFEST}"))
    last = max((name for name in names if name < f"date={day}"), default=None)
    return date.fromisoformat(last.removeprefix("date=")) if last else None


def find_compared_day(settings: Settings, day: date) -> str | None:
    """Return the date (ISO) whose catalogue `day` is compared with; None if there is none."""
    before = find_day_before(settings.marts, day)
    return f"{before}" if before else None


def load_changes(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[CatalogueChange, ...]:
    """Return the changes since the newest marts before `day`; none if there are no earlier ones."""
    before = find_day_before(settings.marts, day)
    if before is None:
        return ()
    files = {
        f"{name}_{when}": str(settings.day_folder(settings.marts, date_) / f"{mart}.parquet")
        for when, date_ in (("before", before), ("now", day))
        for name, mart in MARTS.items()
    }
    matches = settings.day_folder(settings.matches, before) / "matches.parquet"
    if not matches.is_file():  # the day before was transformed and never matched
        matches = settings.day_folder(settings.matches, day) / "matches.parquet"
    files["matches_before"] = str(matches)
    connection.register("fees_of_both_days", _read_fees(settings, before, day))
    rows = run_query(connection, SQL / "catalogue_changes.sql", files).fetchall()
    connection.unregister("fees_of_both_days")
    return tuple(
        CatalogueChange(
            institution, product, change, without_personal(old), without_personal(new), leads
        )
        for institution, product, change, old, new, leads in rows
    )


def _read_fees(settings: Settings, before: date, day: date) -> pa.Table:
    """Return the fees of products on both days; `is_now`: of the later one."""
    tables = []
    for is_now, date_ in ((False, before), (True, day)):
        fees = read_product_fees(settings.day_folder(settings.marts, date_))
        flags = pa.array([is_now] * fees.num_rows, pa.bool_())
        tables.append(fees.append_column("is_now", flags))
    return pa.concat_tables(tables, promote_options="default")


def create_leads_to_match_view(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date
) -> None:
    """Create the view `leads_to_match`: the day's leads that are not excluded.

    `amount` is the one at which a lead is matched, which marts of an earlier version do not have
    apart; `least_odds` are the least odds of an approval that its offers must have.
    """
    file = settings.day_folder(settings.marts, day) / "leads.parquet"
    leads = connection.read_parquet(str(file), hive_partitioning=False)
    leads.create_view("day_leads", replace=True)
    matched = "coalesce(matched_amount, amount)" if MATCHED_AMOUNT in leads.columns else "amount"
    connection.execute(
        f"""
        create or replace view leads_to_match as
        select * replace ({matched} as amount), {least_odds_sql(day)} as least_odds
        from day_leads as leads
        where exclusion_stage is null
        """
    )


def create_product_limits(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date
) -> None:
    """Create table `product_limits`: quota and budget that the plan of `day` gave each product."""
    prices = settings.day_folder(settings.matches, day) / PRICES
    run_query(connection, SQL / "product_limits.sql", {"prices": str(prices)})


def load_products_without_leads(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[ProductWithoutLeads, ...]:
    """Return the products of the catalogue without a match, each with its reason."""
    marts, pairs, matches = (
        settings.day_folder(root, day)
        for root in (settings.marts, settings.pairs, settings.matches)
    )
    files = {
        "products": marts / "products.parquet",
        **{name: pairs / f"{name}.parquet" for name in ("pairs", "closed_products", "near_misses")},
        "matches": matches / "matches.parquet",
    }
    parameters = {
        **{name: str(path) for name, path in files.items()},
        "minimum_value": policy.value().minimum_value,
    }
    rules = find_price_caps(pq.read_table(files["products"], partitioning=None), day)
    connection.register("cost_rules", rules)
    connection.register("product_fees", read_product_fees(marts))
    create_leads_to_match_view(connection, settings, day)
    create_product_limits(connection, settings, day)
    rows = run_query(connection, SQL / "products_without_leads.sql", parameters).fetchall()
    connection.unregister("cost_rules")
    connection.unregister("product_fees")
    return tuple(
        ProductWithoutLeads(institution, product, reason, leads, without_personal(detail or ""))
        for institution, product, reason, leads, detail in rows
    )
