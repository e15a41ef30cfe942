"""Every cell of docs/restrictions.md: damaged files in, what the page says out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from expectations.contracts import contracts, load
from expectations.restriction_table import (
    DAMAGES,
    DOWNSTREAM,
    EFFECTS,
    FILE,
    NOT_APPLICABLE,
    list_cases,
)
from pipelines.core.publishing import read_manifest
from pipelines.core.restrictions import ORDERS_FEED
from pipelines.core.settings import PROJECT, Settings
from pipelines.ingest import ingest_day
from pipelines.pairs.eligibility.rules import compile_rules
from pipelines.transform import warehouse
from tests.helpers.landing import DAY
from tests.helpers.restriction_cases import KEYS, LOOSE_AND_SAFE, NEXT, Builder, File, base_files

CASES = [case for case in list_cases(contracts()) if case.effect not in NOT_APPLICABLE]
PREFIXES = {"products": "b", "product_rules": "r", "product_fees": "f", "leads": "c"}
BUILDERS = {
    case.test: Builder(case, f"{PREFIXES.get(case.feed, 'p')}{number:03}")
    for number, case in enumerate(CASES, start=1)
}


Found = set[tuple[str | None, ...]]


@dataclass(frozen=True)
class Observed:
    """What the ingest published about one case."""

    settings: Settings
    builder: Builder
    day: date
    """The date on which the damage was known."""
    restrictions: Found = field(default_factory=set)
    """Action, institution, product."""
    orders: Found = field(default_factory=set)
    """Subject, institution."""

    def rows(self, day: date | None = None, suffix: str = "") -> list[dict[str, Any]]:
        """Return the loaded rows of the case's source."""
        feed = self.builder.case.feed
        source = load(feed).source_column
        wanted = self.builder.source + suffix
        return [r for r in read_table(self.settings, feed, day or self.day) if r[source] == wanted]

    def list_keys(self, day: date | None = None) -> list[str]:
        return [row[KEYS[self.builder.case.feed]] for row in self.rows(day)]

    @property
    def victims(self) -> list[dict[str, Any]]:
        name = KEYS[self.builder.case.feed]
        return [row for row in self.rows() if row[name] == self.builder.victim]

    @property
    def is_quiet(self) -> bool:
        return not self.restrictions and not self.orders


@cache
def read_table(settings: Settings, name: str, day: date) -> tuple[dict[str, Any], ...]:
    file = Settings.day_folder(settings.lake / name, day) / f"{name}.parquet"
    return tuple(pq.read_table(file, partitioning=None).to_pylist())


def write(settings: Settings, files: list[File]) -> None:
    for file in files:
        path = settings.landing / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The files of all cases in one home, ingested for two days."""
    settings = Settings(home=tmp_path_factory.mktemp("table"), threads=1, memory_limit="1GB")
    files = list(base_files([(b.case.feed, b.source) for b in BUILDERS.values()]))
    files += [file for builder in BUILDERS.values() for file in builder.build()]
    write(settings, [file for file in files if not file.is_after])
    ingest_day.ingest(settings, DAY)
    write(settings, [file for file in files if file.is_after])
    ingest_day.ingest(settings, NEXT)
    return settings


def observe(settings: Settings, builder: Builder) -> Observed:
    day = NEXT if any(file.is_after for file in builder.build()) else DAY
    observed = Observed(settings, builder, day)
    for row in read_table(settings, "restrictions", day):
        if row["source"] == builder.source:
            found = (row["action"], row["institution_id"], row["product_id"])
            observed.restrictions.add(found)
    for row in read_table(settings, ORDERS_FEED, day):
        if row["source"] == builder.source:
            observed.orders.add((row["subject"], row["institution_id"]))
    return observed


# what each effect means in the published files


def is_closed_product(seen: Observed) -> bool:
    owner, product = seen.builder.source, seen.builder.victim
    return seen.restrictions == {("close_product", owner, product)}


def is_closed_institution(seen: Observed) -> bool:
    feed = seen.builder.case.feed
    owner = seen.builder.victim if feed == "institutions" else seen.builder.source
    return seen.restrictions == {("close_institution", owner, None)}


def is_suppressed(seen: Observed) -> bool:
    return seen.builder.victim in {subject for subject, _ in seen.orders} and not seen.restrictions


def is_closed_lead(seen: Observed) -> bool:
    return {subject for subject, _ in seen.orders} == {f"{seen.builder.source}/v"}


def is_closed_channel(seen: Observed) -> bool:
    closed = {subject for subject, _ in seen.orders}
    return closed == {f"{seen.builder.source}/{name}" for name in ("g1", "g2")}


def is_absent(seen: Observed) -> bool:
    return seen.is_quiet and not seen.victims and len(seen.rows()) >= 3


def is_other(seen: Observed) -> bool:
    name = seen.builder.name("w")
    return seen.is_quiet and name in seen.list_keys() and not seen.victims


def is_loaded(seen: Observed) -> bool:
    return seen.is_quiet and len(seen.rows()) == 4


def is_for_every_institution(seen: Observed) -> bool:
    if seen.builder.case.variant == "unknown":
        return (seen.builder.victim, None) in seen.orders and len(seen.victims) == 1
    return seen.is_quiet and [row["institution_id"] for row in seen.victims] == [None]


def is_without_value(seen: Observed) -> bool:
    (victim,) = seen.victims
    return seen.is_quiet and victim[seen.builder.case.column] is None


def is_closed_by_rule(seen: Observed) -> bool:
    attributes = pa.schema([("age_years", pa.int64())])
    names = ("institution_id", "product_id", "attribute", "op", "value")
    rules = pa.Table.from_pylist([{name: row[name] for name in names} for row in seen.rows()])
    compiled = compile_rules(rules, attributes, frozenset())
    return set(compiled.closed) == {(seen.builder.source, "v")}


def has_every_row(seen: Observed) -> bool:
    case = seen.builder.case
    suffix = "x" if case.variant == "two_sources" else ""
    total = len(seen.rows()) + (len(seen.rows(suffix=suffix)) if suffix else 0)
    return seen.is_quiet and total == {"two_sources": 8}.get(case.variant, 5)


def is_the_safer_row(seen: Observed) -> bool:
    (victim,) = seen.victims
    value = victim[seen.builder.case.column]
    safe = LOOSE_AND_SAFE[seen.builder.case.column][1]
    if isinstance(value, list):
        return seen.is_quiet and value == safe.split("|")
    if isinstance(value, (int, float)):
        return seen.is_quiet and value == float(safe)
    return seen.is_quiet and f"{value}"[:10] == safe[:10]


def is_withdrawn(seen: Observed) -> bool:
    if seen.builder.case.variant == "later_copy":
        return is_closed_lead(seen)
    (victim,) = seen.victims
    return seen.is_quiet and victim["consent_withdrawn_at"] is not None


def counts_later(seen: Observed) -> bool:
    (victim,) = seen.victims
    return seen.day == NEXT and victim["is_late"] and seen.is_quiet


def is_in_force(seen: Observed) -> bool:
    builder = seen.builder
    later = [
        row
        for name in ("restrictions", ORDERS_FEED)
        for row in read_table(seen.settings, name, NEXT)
        if row["source"] == builder.source
    ]
    is_detail = builder.case.feed in ("product_rules", "product_fees")
    if is_detail and builder.case.variant == "source":
        assert builder.source + "x" in sources_of(seen, "rules_of_unknown_institution")
    return not later and len(seen.rows(DAY)) == 4 and not seen.rows(NEXT)


def sources_of(seen: Observed, identifier: str) -> list[str]:
    folder = Settings.day_folder(seen.settings.lake / "restrictions", seen.day)
    found = {entry["id"]: entry["sources"] for entry in read_manifest(folder)["findings"]}
    return found.get(identifier, [])


def is_newest(seen: Observed) -> bool:
    name = seen.builder.name("v2")
    return seen.is_quiet and name in seen.list_keys(NEXT)


CHECKS: dict[str, Callable[[Observed], bool]] = {
    "close_product": is_closed_product,
    "close_institution": is_closed_institution,
    "close_listed": lambda seen: seen.restrictions == {("close_institution", None, None)},
    "hold_delivery": lambda seen: {action for action, *_ in seen.restrictions} == {"hold_delivery"},
    "suppress_subject": is_suppressed,
    "close_lead": is_closed_lead,
    "close_channel": is_closed_channel,
    "row_absent": is_absent,
    "absent": is_other,
    "other_product": is_other,
    "rule_closes_product": is_closed_by_rule,
    "rule_closes_institution": is_other,
    "other_lead": is_other,
    "no_institution": lambda seen: (
        is_loaded(seen) and seen.victims[0]["consent_scope"] == ["bnak_01"]
    ),
    "every_institution": is_for_every_institution,
    "not_sent": is_loaded,
    "any_text": is_loaded,
    "unknown_role": lambda seen: is_loaded(seen) and seen.victims[0]["consent_by_role"] == "ownr",
    "reported": lambda seen: (
        is_loaded(seen) and seen.builder.source in sources_of(seen, "order_of_unknown_lead")
    ),
    "no_limit": is_without_value,
    "not_withdrawn": is_without_value,
    "role_not_stated": is_without_value,
    "all_rows": has_every_row,
    "other_rows": has_every_row,
    "safer_row": is_the_safer_row,
    "first_row": is_loaded,
    "withdrawal_wins": is_withdrawn,
    "safer_row_and_close_product": lambda seen: is_closed_product(seen) and len(seen.victims) == 1,
    "safer_row_and_close_institution": lambda seen: (
        is_closed_institution(seen) and len(seen.victims) == 1
    ),
    "careful_of_both": has_every_row,
    "not_loaded": is_absent,
    "next_run": counts_later,
    "superseded": lambda seen: seen.is_quiet and not seen.rows(NEXT),
    "once": is_loaded,
    "newest": is_newest,
    "in_force": is_in_force,
    "nothing": lambda seen: seen.is_quiet,
    "not_read": lambda seen: seen.is_quiet and not seen.rows(),
    "loaded": is_loaded,
}
"""Effect -> whether what was published is what the page says."""


@pytest.mark.parametrize("name", BUILDERS)
def test_a_cell_holds(home: Settings, name: str):
    builder = BUILDERS[name]
    seen = observe(home, builder)
    shown = (seen.restrictions, seen.orders, seen.rows())
    assert CHECKS[builder.case.effect](seen), f"{builder.case.effect}: {shown}"


# the page is complete, and what it says holds to the end


def test_every_file_and_column_that_restricts_has_a_cell_for_every_damage():
    cells = {(case.feed, case.column, case.damage) for case in list_cases(contracts())}
    rows = {
        (contract.feed, row)
        for contract in contracts()
        if contract.on_unreadable
        for row in (FILE, *(column.name for column in contract.columns if column.restricts))
    }
    assert cells == {(*row, damage) for row in rows for damage in DAMAGES}
    assert len(rows) > 30


def test_every_effect_has_words_a_check_and_a_step_that_is_tested():
    effects = {case.effect for case in CASES}
    assert effects == set(EFFECTS) == set(CHECKS)
    assert effects == {effect for _, of_step, *_ in DOWNSTREAM for effect in of_step}


@cache
def list_unit_tests() -> frozenset[str]:
    """Return the names of dbt's unit tests."""
    files = (PROJECT / "dbt_project").glob("*/*.yml")
    return frozenset(
        each["name"]
        for path in files
        for each in yaml.safe_load(path.read_text("utf-8")).get("unit_tests", [])
    )


@pytest.mark.parametrize("test", sorted({test for *_, tests in DOWNSTREAM for test in tests}))
def test_the_tests_that_the_page_names_exist(test: str):
    if "::" in test:
        file, name = test.split("::")
        assert f"def {name}(" in (PROJECT / file).read_text("utf-8")
    else:
        assert test in list_unit_tests()


def test_a_column_that_may_hold_any_word_states_what_an_unknown_one_does():
    open_ = {c.name for feed in contracts() for c in feed.columns if c.restricts and c.on_unknown}
    assert {"attribute", "value", "subject", "consent_scope", "fields"} <= open_


CLOSED = {
    "close_product",
    "close_institution",
    "close_listed",
    "row_absent",
    "absent",
    "other_product",
    "rule_closes_institution",
    "safer_row_and_close_product",
    "safer_row_and_close_institution",
}
"""Effects that close the product of the damaged row, or of the institution in it.

The other products of a stray rule's institution have the same rule of their own, so they stay open.
"""


@pytest.fixture(scope="module")
def products(home: Settings) -> dict[tuple[str, str], str | None]:
    """The products, and what they are made of, built from the same files -> why each is closed."""
    warehouse._write_typed_files(home, NEXT)
    outcome = warehouse.run_dbt(home, NEXT, "run", "--select=+products", "--no-write-json")
    assert outcome.success, outcome.exception
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        rows = connection.sql("select institution_id, product_id, closed_reason from products")
        return {(owner, product): reason for owner, product, reason in rows.fetchall()}


def test_what_the_page_calls_closed_is_closed_in_the_marts(products):
    open_products = {product for product, reason in products.items() if reason is None}
    wrong = []
    for name, builder in BUILDERS.items():
        case, owner = builder.case, builder.source
        if case.feed not in {"institutions", "products", "product_rules", "product_fees"}:
            continue
        victim = (builder.victim, "v") if case.feed == "institutions" else (owner, "v")
        other = (f"{owner}-g1", "v") if case.feed == "institutions" else (owner, "g1")
        closed_whole = {"close_listed"}
        if case.feed != "institutions":
            closed_whole.add("close_institution")
        if case.effect in CLOSED and victim in open_products:
            wrong.append(f"{name}: the product is open")
        if case.effect in closed_whole and other in open_products:
            wrong.append(f"{name}: another product of the institution is open")
        if case.effect in CLOSED - closed_whole and other not in open_products:
            wrong.append(f"{name}: another product is closed: {products.get(other)}")
        if case.effect == "other_product" and (owner, "w") in open_products:
            wrong.append(f"{name}: the misspelt product is open")
        if case.effect in {"no_limit", "loaded", "once"} and victim not in open_products:
            wrong.append(f"{name}: the product is closed: {products.get(victim)}")
    assert not wrong
    assert len(open_products) > 100
