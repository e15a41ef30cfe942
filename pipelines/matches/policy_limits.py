"""Limits of a day from policy: pacing, exposure, concentration and floors, each row with its owner.

Quotas and budgets come from the products, all other limits from `expectations/policy/limits.yml`.
A family has the rows for the solver (`Limit`) and the names of their owners, so that shadow prices
and shortfalls can be reported by name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.policy_types import Concentration, Exposure, Floor, Pacing
from pipelines.allocation.problem import (
    INTEGER_TOLERANCE,
    Limit,
    PairColumns,
    build_floor_limit,
    build_share_limit,
)
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.errors import IntegrityError

OWNER_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("institution_id", "product_id", "column", "group")]
)
"""Owner of a row: an institution, one of its products, or the leads with `group` in `column`."""

Product = tuple[str, str]
Owner = tuple[str, str | None]
"""An institution, or one of its products."""


@dataclass(frozen=True)
class LimitFamily:
    """Limits of one kind."""

    kind: str
    """quota, budget, pacing, exposure, concentration or floor."""
    limit: Limit
    owners: pa.Table
    """`OWNER_SCHEMA`, by row of the limit."""
    stated: FloatArray
    """Stated limit of each row, in leads or in the product's currency; NaN: unlimited. The row of a
    floor can be lower: it asks for no more leads than have a pair with the owner."""

    @property
    def infeasible_leads(self) -> int:
        """Return the number of leads of the stated floors that have no pair with the owner."""
        if not self.limit.is_floor:
            return 0
        return int(np.nansum(self.stated + self.limit.upper))


@dataclass(frozen=True)
class LimitInputs:
    """The numbered columns that the limits of a day are built from."""

    connection: duckdb.DuckDBPyConnection
    """With `leads` (`lead_row`) and `products` (`product_row`)."""
    pairs: PairColumns
    quota: IntArray
    """By product."""
    products: Sequence[Product]
    """Institution and product by `product_row`."""

    @property
    def institutions(self) -> list[str]:
        """Return the institutions by their code: in the order of their names."""
        return sorted({institution for institution, _ in self.products})

    def product_owners(self) -> pa.Table:
        """Return the owners of a family with one row per product."""
        institutions, products = ([key[part] for key in self.products] for part in (0, 1))
        return _name_owners(institution_id=institutions, product_id=products)

    def lead_groups(self, column: str) -> tuple[IntArray, list[str]]:
        """Return the group of each pair's lead in `column` (-1: none), and all groups.

        Raises:
            IntegrityError: The leads of the marts have no such column.
        """
        columns = self.connection.table("leads").columns
        if column not in columns:
            raise IntegrityError(
                f"expectations/policy/limits.yml limits leads by {column}, which is no "
                "column of the leads in the marts. Nothing was matched, and earlier matches are "
                f"unchanged. Choose a column: {', '.join(sorted(set(columns) - {'lead_row'}))}."
            )
        values = self.connection.sql(
            f'select cast("{column}" as varchar) as value from leads order by lead_row'
        ).to_arrow_table()["value"]
        groups = sorted(value for value in values.unique().to_pylist() if value is not None)
        code = pc.index_in(values, value_set=pa.array(groups, pa.string())).fill_null(-1)
        return code.to_numpy().astype(np.int64)[self.pairs.own_lead], groups


def _name_owners(**columns: Sequence[str | None]) -> pa.Table:
    """Return the owners of rows; a column not given is null."""
    given = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    rows = max(map(len, given.values()))
    owners = [given.get(name, pa.nulls(rows, pa.string())) for name in OWNER_SCHEMA.names]
    return pa.table(owners, OWNER_SCHEMA)


def build_pacing_caps(inputs: LimitInputs, entries: Sequence[Pacing]) -> list[LimitFamily]:
    """Return the cap on each channel's share of each product's quota; nothing without entries."""
    share = np.array([_find_share(product, entries) for product in inputs.products], np.float64)
    if not np.isfinite(share).any():
        return []
    channel, channels = inputs.lead_groups("channel_id")
    limit = build_share_limit(
        *("pacing", inputs.pairs.product, channel, len(channels)),
        share=share[:, None],
        quota=inputs.quota,
    )
    return [_build_cap("pacing", limit, _cross_products(inputs, "channel_id", channels))]


def _find_share(product: Product, entries: Sequence[Pacing]) -> float:
    """Return the share of the most specific entry for the product; NaN without one."""
    matching = [
        ((entry.institution_id, entry.product_id).count(None), entry.share)
        for entry in entries
        if entry.institution_id in {None, product[0]} and entry.product_id in {None, product[1]}
    ]
    _, share = min(matching, default=(0, np.nan))
    return share


def build_exposure_caps(inputs: LimitInputs, entries: Sequence[Exposure]) -> list[LimitFamily]:
    """Return the caps on the share of each product for leads of a group, a family by column."""
    families = []
    for column in _list_columns(entries, "max_share"):
        group, groups = inputs.lead_groups(column)
        share = np.full(len(groups), np.nan)
        for entry in entries:
            if entry.column == column and entry.max_share and entry.group in groups:
                index = groups.index(entry.group)
                share[index] = np.fmin(share[index], entry.max_share)
        limit = build_share_limit(
            *(f"exposure_{column}", inputs.pairs.product, group, len(groups)),
            share=share,
            quota=inputs.quota,
        )
        families.append(_build_cap("exposure", limit, _cross_products(inputs, column, groups)))
    return families


def build_concentration_caps(
    inputs: LimitInputs, entries: Sequence[Concentration]
) -> list[LimitFamily]:
    """Return the caps on the matches with any one group of leads, a family by entry.

    A group with no more pairs than the cap cannot break it and has no row: of the many chains of a
    day few have one.
    """
    families = []
    for place, entry in enumerate(entries):
        group, groups = inputs.lead_groups(entry.column)
        if entry.institution_id is not None:
            named = [institution == entry.institution_id for institution, _ in inputs.products]
            group = np.where(np.array(named, np.bool_)[inputs.pairs.product], group, -1)
        pairs = np.bincount(group[group >= 0], minlength=len(groups))
        binding = np.flatnonzero(pairs > entry.max_matches)
        if not binding.size:
            continue
        code = np.full(len(groups) + 1, binding.size, np.int64)  # the last one: of no group
        code[binding] = np.arange(binding.size)
        limit = Limit(
            f"concentration_{place}_{entry.column}",
            code[group],
            np.full(binding.size, float(entry.max_matches)),
        )
        owners = _name_owners(
            institution_id=[entry.institution_id] * binding.size,
            column=[entry.column] * binding.size,
            group=[groups[index] for index in binding],
        )
        families.append(_build_cap("concentration", limit, owners))
    return families


def build_exposure_floors(
    inputs: LimitInputs, entries: Sequence[Exposure], matches: int
) -> list[LimitFamily]:
    """Return the least share of `matches` for leads of a group, a family by column."""
    families = []
    for column in _list_columns(entries, "min_share"):
        group, groups = inputs.lead_groups(column)
        floor_by_group = {
            entry.group: int(np.ceil(entry.min_share * matches - INTEGER_TOLERANCE))
            for entry in sorted(entries, key=lambda entry: entry.min_share or 0)
            if entry.column == column and entry.min_share
        }
        groups = [*groups, *sorted(floor_by_group.keys() - set(groups))]
        least = np.array([floor_by_group.get(name, 0) for name in groups], np.int64)
        owners = _name_owners(column=[column] * len(groups), group=groups)
        families.append(_build_floor(inputs, f"exposure_{column}", group, least, owners))
    return families


def _list_columns(entries: Sequence[Exposure], share: str) -> list[str]:
    return sorted({entry.column for entry in entries if getattr(entry, share)})


def build_floors(inputs: LimitInputs, entries: Sequence[Floor]) -> list[LimitFamily]:
    """Return the floors of products and of institutions; an owner without pairs has no leads."""
    institutions: list[Owner] = [(institution, None) for institution in inputs.institutions]
    product_entries = [entry for entry in entries if entry.product_id is not None]
    institution_entries = [entry for entry in entries if entry.product_id is None]
    pairs = inputs.pairs
    return [
        *_build_floors_of_kind(
            inputs, "product", pairs.product, [*inputs.products], product_entries
        ),
        *_build_floors_of_kind(
            inputs, "institution", pairs.institution, institutions, institution_entries
        ),
    ]


def _build_floors_of_kind(
    inputs: LimitInputs,
    kind: str,
    owner: IntArray,
    owners: list[Owner],
    entries: Sequence[Floor],
) -> Iterator[LimitFamily]:
    if not entries:
        return
    floor_by_owner: dict[Owner, int] = {}
    for entry in entries:  # of several, the greatest counts
        key = (entry.institution_id, entry.product_id)
        floor_by_owner[key] = max(entry.leads_a_day, floor_by_owner.get(key, 0))
    absent = sorted(floor_by_owner.keys() - set(owners), key=lambda key: (key[0], key[1] or ""))
    every_owner = [*owners, *absent]
    least = np.array([floor_by_owner.get(key, 0) for key in every_owner], np.int64)
    names = _name_owners(
        institution_id=[institution for institution, _ in every_owner],
        product_id=[product for _, product in every_owner],
    )
    yield _build_floor(inputs, kind, owner, least, names)


def _build_floor(
    inputs: LimitInputs, kind: str, owner: IntArray, least: IntArray, owners: pa.Table
) -> LimitFamily:
    """Return the floors, lowered to the number of leads that have a pair with the owner."""
    inside = np.flatnonzero(owner >= 0)
    lead_owner = np.unique(inputs.pairs.lead[inside] * len(least) + owner[inside])
    leads = np.bincount(lead_owner % len(least), minlength=len(least))
    stated = np.where(least > 0, least, np.nan)
    limit = build_floor_limit(kind, owner, np.minimum(least, leads))
    return LimitFamily("floor", limit, owners, stated)


def _build_cap(kind: str, limit: Limit, owners: pa.Table) -> LimitFamily:
    stated = np.where(np.isfinite(limit.upper), limit.upper, np.nan)
    return LimitFamily(kind, limit, owners, stated)


def _cross_products(inputs: LimitInputs, column: str, groups: list[str]) -> pa.Table:
    """Return the owners of a family with one row per product and group."""
    return _name_owners(
        institution_id=[institution for institution, _ in inputs.products for _ in groups],
        product_id=[product for _, product in inputs.products for _ in groups],
        column=[column] * (len(groups) * len(inputs.products)),
        group=groups * len(inputs.products),
    )
