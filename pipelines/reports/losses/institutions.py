"""Losses of institutions: closed products, rules that leave no lead."""

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import run_query
from pipelines.core.formats import without_personal
from pipelines.core.settings import Settings
from pipelines.core.translation import join, plural, text, words
from pipelines.evaluation.drift.catalogue_drift import CLOSED_BY_CHOICE
from pipelines.pairs.eligibility.rules import normalise_text
from pipelines.reports.sections.catalogue import (
    Catalogue,
    CatalogueChange,
    create_leads_to_match_view,
    create_product_limits,
    find_day_before,
    load_changes,
)
from pipelines.reports.sections.intake import list_lead_files
from pipelines.reports.verdict import Finding, make_finding, name_places

SQL = Path(__file__).parent / "sql"
OWN_CHANGES = ("price", "terms", "quota", "rules", "fees")
"""Changes of an institution's catalogue that may cost it every lead without being meant to."""
UNCLEAR = frozenset({"rule_of_unknown_product", "fee_of_unknown_product", "contradictory_fee"})
"""Reasons of closing by a readable row that is not clear."""
OPEN_TEXTS = frozenset(
    column.name
    for column in load("leads").columns
    if column.type == "text" and column.is_open_text and not column.personal
)
"""Columns of a lead that may have any text."""
LAST_DAYS = ["institution_id", "product_id", "valid_to", "admitted_to"]
"""Columns of the products mart that name a product and state its last day."""
MAX_REASONS = 8
"""Reasons that the evidence of one finding lists."""


def find_closed_products(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the closed products by the rule of the verdict that their reason belongs to.

    Each product is in one finding. Faults name every product; choices only count them.
    """
    path = settings.day_folder(settings.pairs, day) / "closed_products.parquet"
    query = SQL / "closed_by_reason.sql"
    rows = run_query(connection, query, {"closed_products": str(path)}).fetchall()
    by_rule: dict[str, list[tuple[str, list[str]]]] = {}
    for reason, products in rows:
        by_rule.setdefault(_find_rule(reason), []).append((reason, products))
    for rule, reasons in sorted(by_rule.items()):
        counts = [
            join([f"{len(products)}", words(reason), _name_products(reason, products)], " ")
            for reason, products in reasons
        ]
        names = [name for _, products in reasons for name in products]
        yield make_finding(rule, _join(counts), amount=len(names), where=name_places(names))


def _name_products(reason: str, products: list[str]) -> str:
    """Return the products in brackets; nothing where an institution closed them itself."""
    return "" if reason in CLOSED_BY_CHOICE else f"({', '.join(products)})"


def _find_rule(reason: str) -> str:
    """Return the rule of the verdict for a reason of `closed_products.parquet`."""
    if reason in CLOSED_BY_CHOICE:
        return "products_closed"
    if reason.startswith("unreadable_") or reason in UNCLEAR:
        return "product_closed_unreadable"
    if reason.startswith("rule "):
        return "product_closed_by_own_rule"
    if reason.startswith("impossible "):
        return "product_terms_impossible"
    return "products_closed_by_fault"


def find_products_without_pairs(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the open products for which their own rules leave no lead."""
    limits = policy.verdict_rules()["product_without_pairs"].limits
    marts = settings.day_folder(settings.marts, day)
    files = {
        **{name: str(marts / f"{name}.parquet") for name in ("products", "product_rules")},
        **{
            name: str(settings.day_folder(settings.pairs, day) / f"{name}.parquet")
            for name in ("pairs", "closed_products")
        },
    }
    create_leads_to_match_view(connection, settings, day)
    query = SQL / "products_without_pairs.sql"
    rows = run_query(connection, query, files | limits).fetchall()
    if rows:
        yield make_finding(
            "product_without_pairs",
            _join(
                text(
                    "{product}: {leads} of its amounts and terms, rules on {attributes}",
                    product=f"{institution}/{product}",
                    leads=plural(leads, "lead"),
                    attributes=attributes,
                )
                for institution, product, leads, attributes in rows
            ),
            amount=len(rows),
            where=name_places(f"{institution}/{product}" for institution, product, *_ in rows),
        )


def find_unseen_exclusions(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the texts that rules exclude and that no lead of the last days has.

    Where an attribute may have any text, a misspelt one excludes nobody.
    """
    limits = policy.verdict_rules()["rule_excludes_nobody"].limits
    rules = settings.day_folder(settings.marts, day) / "product_rules.parquet"
    leads = list_lead_files(settings, day, int(limits["max_days"]))
    excluded = _load_exclusions(connection, rules)
    seen = {name: _load_texts(connection, leads, name, limits["min_leads"]) for name in excluded}
    unseen = [
        (product, f"{attribute} {member}")
        for attribute, members in excluded.items()
        if (texts := seen[attribute])
        for product, member in members
        if normalise_text(member) not in texts
    ]
    if unseen:
        yield make_finding(
            "rule_excludes_nobody",
            _join(f"{product}: {member}" for product, member in unseen),
            amount=len(unseen),
            where=name_places(product for product, _ in unseen),
        )


def _load_exclusions(
    connection: duckdb.DuckDBPyConnection, rules: Path
) -> dict[str, list[tuple[str, str]]]:
    """Return attribute -> (product, text) of each `not_in` on an attribute of any text."""
    excluded: dict[str, list[tuple[str, str]]] = {}
    query = SQL / "exclusions_of_rules.sql"
    for institution, product, attribute, value in run_query(
        connection, query, {"product_rules": str(rules)}
    ).fetchall():
        if attribute in OPEN_TEXTS:
            members = [text.strip() for text in value.split("|") if text.strip()]
            excluded.setdefault(attribute, []).extend(
                (f"{institution}/{product}", member) for member in members
            )
    return excluded


def _load_texts(
    connection: duckdb.DuckDBPyConnection, leads: list[str], attribute: str, least: float
) -> set[str]:
    """Return the texts of an attribute of leads; none where too few leads have one."""
    if not leads:
        return set()
    rows = connection.read_parquet(leads, hive_partitioning=False, union_by_name=True)
    counted = rows.aggregate(f'"{attribute}", count(*)', f'"{attribute}"').fetchall()
    texts = {text: leads for text, leads in counted if text is not None}
    return set(map(normalise_text, texts)) if sum(texts.values()) >= least else set()


def find_institutions_without_leads(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the institutions with a catalogue that take no lead, each with its reason.

    One that has taken leads the day before is a remark, unless it has declared that it takes none,
    or nothing of its own has changed and chance or the offers of others explain it.
    """
    pairs = settings.day_folder(settings.pairs, day)
    earlier = find_day_before(settings.matches, day)
    before = settings.day_folder(settings.matches, earlier) if earlier else None
    matches = settings.day_folder(settings.matches, day)
    files = {
        "products": settings.day_folder(settings.marts, day) / "products.parquet",
        "closed_products": pairs / "closed_products.parquet",
        "pairs": pairs / "pairs.parquet",
        "matches": matches / "matches.parquet",
        "matches_before": (before or matches) / "matches.parquet",
    }
    parameters: dict[str, object] = {name: str(path) for name, path in files.items()}
    parameters["declarations"] = sorted(CLOSED_BY_CHOICE)
    create_product_limits(connection, settings, day)
    query = SQL / "institutions_without_leads.sql"
    rows = run_query(connection, query, parameters).fetchall()
    changes: dict[str, list[str]] = {}
    if rows and before is not None:
        for change in load_changes(settings, day, connection):
            if change.change in OWN_CHANGES:
                changes.setdefault(change.institution_id, []).append(change.text)
    by_rule: dict[str, list[tuple[str, str]]] = {}
    for name, reason, is_declared, is_closed, fitting, leads_before in rows:
        own_changes = list(dict.fromkeys(changes.get(name, ())))
        is_asked = before is not None and not is_declared
        is_changed = is_closed or bool(own_changes)
        is_stopped = is_asked and _is_stopped(leads_before, fitting, is_changed=is_changed)
        rule = "institution_without_leads_now" if is_stopped else "institution_without_leads"
        causes = [words(reason), *(own_changes if is_stopped else ())]
        by_rule.setdefault(rule, []).append((name, join(causes, ", ")))
    for rule, found in sorted(by_rule.items()):
        yield make_finding(
            rule,
            _join(join([name, causes], ": ") for name, causes in found),
            amount=len(found),
            where=name_places(name for name, _ in found),
        )


def _is_stopped(leads_before: int, fitting: int, *, is_changed: bool) -> bool:
    """Return whether somebody should ask why an institution takes no lead any more.

    Args:
        leads_before: Leads that it took the day before.
        fitting: Today's pairs of its products.
        is_changed: Its catalogue has changed since the day before, or a fault has closed it.
    """
    limits = policy.verdict_rules()["institution_without_leads_now"].limits
    least = limits["min_leads_before"]
    if not is_changed:  # policies of earlier versions do not state these limits
        least = limits.get("min_leads_outbid" if fitting else "min_leads_without_fit", least)
    return leads_before >= least


def find_catalogue_changes(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield what left the catalogue since the day before, and the number of all other changes.

    What has reached the last day that was stated for it is a change and no loss.
    """
    changes = load_changes(settings, day, connection)
    ended = _list_ended(settings, day)
    since = text("compared with {day}", day=f"marts/date={find_day_before(settings.marts, day)}")
    limits = policy.verdict_rules()["product_gone"].limits
    left = {
        "institution_gone": [
            row.name
            for row in changes
            if row.change == "institution_gone" and row.name not in ended
        ],
        "product_gone": [
            row.name
            for row in changes
            if row.change == "product_gone"
            and row.leads_before >= limits["min_leads_before"]
            and row.name not in ended
        ],
    }
    for rule, names in left.items():
        if names:
            yield make_finding(rule, since, amount=len(names), where=name_places(names))
    if changes:
        if "product_price_jump" in policy.verdict_rules():  # earlier versions have none
            yield from _find_price_jumps(changes)
            yield from _find_removed_rules(settings, day, connection)
        counts = Catalogue(changes=changes).changes_by_kind
        yield make_finding(
            "catalogue_changed",
            since,
            amount=len(changes),
            where=name_places({row.institution_id for row in changes}),
            changes=join(join([kind, f"{number}"], " ") for kind, number in counts),
        )


def _list_ended(settings: Settings, day: date) -> set[str]:
    """Return the institutions and products whose stated last day is before `day`.

    The institutions' list and the catalogues of the day before state it.
    """
    before = find_day_before(settings.marts, day)
    if before is None:
        return set()
    file = settings.day_folder(settings.marts, before) / "products.parquet"
    ended = set()
    for row in pq.read_table(file, columns=LAST_DAYS, partitioning=None).to_pylist():
        institution = row["institution_id"]
        if row["admitted_to"] and row["admitted_to"] < day:
            ended.add(institution)
        if row["valid_to"] and row["valid_to"] < day:
            ended.add(f"{institution}/{row['product_id']}")
    return ended


def _find_price_jumps(changes: Iterable[CatalogueChange]) -> Iterator[Finding]:
    """Yield the products whose price rose or fell by more than a factor."""
    limits = policy.verdict_rules()["product_price_jump"].limits
    jumps = []
    for row in changes:
        if row.change == "price":
            (before, model_before), (now, model) = row.before.split(), row.now.split()
            lower, higher = sorted((float(before), float(now)))
            if model == model_before and higher >= lower * limits["max_factor"]:
                jumps.append((row.name, f"{row.before} → {row.now}"))
    if jumps:
        yield make_finding(
            "product_price_jump",
            _join(join([name, prices], ": ") for name, prices in jumps),
            amount=len(jumps),
            where=name_places(name for name, _ in jumps),
        )


def _find_removed_rules(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the open products that have no rule any more on an attribute that they restricted."""
    before = find_day_before(settings.marts, day)
    if before is None:
        return
    marts = settings.day_folder(settings.marts, day)
    files = {
        "products": marts / "products.parquet",
        "rules_now": marts / "product_rules.parquet",
        "rules_before": settings.day_folder(settings.marts, before) / "product_rules.parquet",
    }
    paths = {name: str(path) for name, path in files.items()}
    removed: dict[str, list[str]] = {}
    rows = run_query(connection, SQL / "removed_rules.sql", paths).fetchall()
    for institution, product, attribute in rows:
        removed.setdefault(f"{institution}/{product}", []).append(attribute)
    if removed:
        yield make_finding(
            "product_rules_removed",
            _join(join([name, ", ".join(rules)], ": ") for name, rules in removed.items()),
            amount=len(removed),
            where=name_places(removed),
        )


def _join(evidence: Iterable[str]) -> str:
    return join(map(without_personal, evidence), limit=MAX_REASONS)
