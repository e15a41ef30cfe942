"""What binds a day's plan, from catalogue and policy: families of limits, each row with its name.

Quotas and budgets come from the products, all else from `expectations/policy/limits.yml`. Each
family is what the solver keeps (`constraints`), and beside it whom its rows bind, so that prices
and shortfalls can be told by name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.policy_types import Exposure, Floor, Pacing
from pipelines.allocation.problem import (
    INTEGER_TOLERANCE,
    Limit,
    PairColumns,
    build_floor_limit,
    build_share_limit,
)
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.errors import IntegrityError

NAMES = pa.schema(
    [(name, pa.string()) for name in ("institution_id", "product_id", "column", "group")]
)
"""Whom a row binds: an institution, a product of it, the leads with `group` in `column`."""

Product = tuple[str, str]
Owner = tuple[str, str | None]
"""An institution, or a product of it."""


@dataclass(frozen=True)
class Family:
    """Limits of one kind."""

    kind: str
    """quota, budget, pacing, exposure or floor."""
    limit: Limit
    names: pa.Table
    """`NAMES`, by row of the limit."""
    stated: FloatArray
    """What each row allows, or promises, in leads or in the product's currency; NaN: no limit. The
    limit itself may be less: a floor asks for no more leads than there are."""

    @property
    def out_of_reach(self) -> int:
        """Return how many of the leads that floors promise aren't there at all."""
        if not self.limit.is_floor:
            return 0
        return int(np.nansum(self.stated + self.limit.upper))


@dataclass(frozen=True)
class Day:
    """The numbered columns that the limits of a day are made from."""

    connection: duckdb.DuckDBPyConnection
    """With `leads` (`lead_row`) and `products` (`product_row`)."""
    candidates: PairColumns
    quota: IntArray
    """By product."""
    products: Sequence[Product]
    """Institution and product by `product_row`."""

    @property
    def institutions(self) -> list[str]:
        """Return the institutions by their code: in the order of their names."""
        return sorted({institution for institution, _ in self.products})

    def by_product(self) -> pa.Table:
        """Return the names of rows that are products."""
        institutions, products = ([name[part] for name in self.products] for part in (0, 1))
        return names(institution_id=institutions, product_id=products)

    def groups(self, column: str) -> tuple[IntArray, list[str]]:
        """Return of each pair the group of its lead in `column` (-1: none), and all groups.

        Raises:
            IntegrityError: The leads of the marts have no such column.
        """
        known = self.connection.table("leads").columns
        if column not in known:
            raise IntegrityError(
                f"expectations/policy/limits.yml limits the exposure by {column}, which the leads "
                "of the marts don't have. Nothing was matched, and earlier matches stand. Name one "
                f"of these: {', '.join(sorted(set(known) - {'lead_row'}))}."
            )
        values = self.connection.sql(
            f'select cast("{column}" as varchar) as value from leads order by lead_row'
        ).to_arrow_table()["value"]
        found = sorted(value for value in values.unique().to_pylist() if value is not None)
        code = pc.index_in(values, value_set=pa.array(found, pa.string())).fill_null(-1)
        return code.to_numpy().astype(np.int64)[self.candidates.lead], found


def names(**columns: Sequence[str | None]) -> pa.Table:
    """Return the names of rows; a column not given is empty."""
    given = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    rows = max(map(len, given.values()))
    return pa.table([given.get(name, pa.nulls(rows, pa.string())) for name in NAMES.names], NAMES)


def paced(day: Day, entries: Sequence[Pacing]) -> list[Family]:
    """Return the limit of each channel's share in each product's quota; nothing without entries."""
    share = np.array([_share_of(product, entries) for product in day.products], np.float64)
    if not np.isfinite(share).any():
        return []
    channel, channels = day.groups("channel_id")
    limit = build_share_limit(
        *("pacing", day.candidates.product, channel, len(channels)),
        share=share[:, None],
        quota=day.quota,
    )
    return [_capped("pacing", limit, _products_by_group(day, "channel_id", channels))]


def _share_of(product: Product, entries: Sequence[Pacing]) -> float:
    """Return the share of the entries that name most of the product; NaN where none does."""
    of_product = [
        ((entry.institution_id, entry.product_id).count(None), entry.share)
        for entry in entries
        if entry.institution_id in {None, product[0]} and entry.product_id in {None, product[1]}
    ]
    _, share = min(of_product, default=(0, np.nan))
    return share


def exposed(day: Day, entries: Sequence[Exposure]) -> list[Family]:
    """Return the limits of what leads of a group may get of each product, a family by column."""
    families = []
    for column in _columns(entries, "most_share"):
        group, groups = day.groups(column)
        share = np.full(len(groups), np.nan)
        for entry in entries:
            if entry.column == column and entry.most_share and entry.group in groups:
                place = groups.index(entry.group)
                share[place] = np.fmin(share[place], entry.most_share)
        limit = build_share_limit(
            *(f"exposure_{column}", day.candidates.product, group, len(groups)),
            share=share,
            quota=day.quota,
        )
        families.append(_capped("exposure", limit, _products_by_group(day, column, groups)))
    return families


def least_exposed(day: Day, entries: Sequence[Exposure], matches: int) -> list[Family]:
    """Return what leads of a group must get at least of all `matches`, a family by column."""
    families = []
    for column in _columns(entries, "least_share"):
        group, groups = day.groups(column)
        wanted = {
            entry.group: int(np.ceil(entry.least_share * matches - INTEGER_TOLERANCE))
            for entry in sorted(entries, key=lambda entry: entry.least_share or 0)
            if entry.column == column and entry.least_share
        }
        groups = [*groups, *sorted(wanted.keys() - set(groups))]
        least = np.array([wanted.get(name, 0) for name in groups], np.int64)
        whom = names(column=[column] * len(groups), group=groups)
        families.append(_floor(day, f"exposure_{column}", group, least, whom))
    return families


def _columns(entries: Sequence[Exposure], share: str) -> list[str]:
    return sorted({entry.column for entry in entries if getattr(entry, share)})


def promised(day: Day, entries: Sequence[Floor]) -> list[Family]:
    """Return the floors of products and of institutions; strangers to the day have no leads."""
    institutions: list[Owner] = [(institution, None) for institution in day.institutions]
    of_products = [entry for entry in entries if entry.product_id is not None]
    of_institutions = [entry for entry in entries if entry.product_id is None]
    pairs = day.candidates
    return [
        *_promises(day, "product", pairs.product, [*day.products], of_products),
        *_promises(day, "institution", pairs.institution, institutions, of_institutions),
    ]


def _promises(
    day: Day, of: str, owner: IntArray, known: list[Owner], entries: Sequence[Floor]
) -> Iterator[Family]:
    if not entries:
        return
    promises: dict[Owner, int] = {}
    for entry in entries:  # of several the greatest counts
        key = (entry.institution_id, entry.product_id)
        promises[key] = max(entry.leads_a_day, promises.get(key, 0))
    strangers = sorted(promises.keys() - set(known), key=lambda owner: (owner[0], owner[1] or ""))
    whom = [*known, *strangers]
    least = np.array([promises.get(name, 0) for name in whom], np.int64)
    owners = names(
        institution_id=[institution for institution, _ in whom],
        product_id=[product for _, product in whom],
    )
    yield _floor(day, of, owner, least, owners)


def _floor(day: Day, of: str, owner: IntArray, least: IntArray, whom: pa.Table) -> Family:
    """Return the floor, lowered to the leads that its owners have a pair with at all."""
    inside = np.flatnonzero(owner >= 0)
    pairs = np.unique(day.candidates.lead[inside] * len(least) + owner[inside])
    leads = np.bincount(pairs % len(least), minlength=len(least))
    stated = np.where(least > 0, least, np.nan)
    return Family("floor", build_floor_limit(of, owner, np.minimum(least, leads)), whom, stated)


def _capped(kind: str, limit: Limit, whom: pa.Table) -> Family:
    return Family(kind, limit, whom, np.where(np.isfinite(limit.upper), limit.upper, np.nan))


def _products_by_group(day: Day, column: str, groups: list[str]) -> pa.Table:
    return names(
        institution_id=[institution for institution, _ in day.products for _ in groups],
        product_id=[product for _, product in day.products for _ in groups],
        column=[column] * (len(groups) * len(day.products)),
        group=groups * len(day.products),
    )
