"""Hard rules of products, gathered into what each product asks of each attribute.

Rules arrive as rows (product, attribute, op, value). All rules of a product on one attribute make
one `Bounds`: lowest and highest value, values allowed, values forbidden, must be known. A rule that
can't be judged closes its product: to ignore it could send a lender someone whom it excluded.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from pipelines.core.errors import BanyanError

NOT_JUDGED = frozenset(
    {
        "lead_id",
        "person_key",
        "business_date",
        "exclusion_stage",
        "exclusion_detail",
        "canonical_channel_id",
        "canonical_lead_id",
    }
)
"""Columns that say which lead it is or what became of it; no rule's business."""

Product = tuple[str, str]


class UnfitRule(BanyanError):
    """A rule that can't be judged; the text says why, without any lead's data."""


@dataclass
class Bounds:
    """What one product asks of one attribute; an unknown value meets only what is forbidden."""

    at_least: float | None = None
    at_most: float | None = None
    one_of: set[Any] | None = None
    none_of: set[Any] = field(default_factory=set)
    known: bool = False
    or_unknown: bool = False
    """An unknown value is as good as one within the bounds."""

    @property
    def admits_unknown(self) -> bool:
        """Return whether a lead of which nothing is known may pass."""
        stated = (self.at_least, self.at_most, self.one_of)
        is_asked = self.known or any(bound is not None for bound in stated)
        return self.or_unknown or not is_asked

    def add(self, op: str, value: str, kind: pa.DataType) -> None:
        """Tighten the bounds by one more rule; `UnfitRule` if its value can't be meant."""
        if op == "known":
            if value.strip().lower() != "true":
                raise UnfitRule(f"known takes the value true, not {value!r}")
            self.known = True
        elif op == "in":
            members = _members(value, kind)
            self.one_of = members if self.one_of is None else self.one_of & members
        elif op == "not_in":
            self.none_of |= _members(value, kind)
        else:
            self._narrow(*_range(op, value, kind))

    def _narrow(self, low: float | None, high: float | None) -> None:
        if low is not None:
            self.at_least = low if self.at_least is None else max(self.at_least, low)
        if high is not None:
            self.at_most = high if self.at_most is None else min(self.at_most, high)


@dataclass(frozen=True)
class CompiledRules:
    """What the rules of all products ask."""

    bounds: dict[str, dict[Product, Bounds]]
    """Attribute -> product -> what it asks; attributes by name."""
    closed: dict[Product, str]
    """Products with a rule that can't be judged -> why."""


def compile_rules(
    rules: pa.Table, attributes: pa.Schema, protected: frozenset[str]
) -> CompiledRules:
    """Gather rules by attribute and product.

    Args:
        rules: `institution_id`, `product_id`, `attribute`, `op`, `value`, all text.
        attributes: The columns of a lead that a rule may name, with their types.
        protected: Attributes that no rule may use, whatever the columns.
    """
    bounds: dict[str, dict[Product, Bounds]] = defaultdict(lambda: defaultdict(Bounds))
    closed: dict[Product, str] = {}
    for rule in rules.sort_by([(name, "ascending") for name in rules.column_names]).to_pylist():
        product, attribute = (rule["institution_id"], rule["product_id"]), rule["attribute"]
        try:
            kind = _kind(attribute, attributes, protected)
            bounds[attribute][product].add(rule["op"], rule["value"], kind)
        except UnfitRule as unfit:
            closed.setdefault(product, f"rule {attribute} {rule['op']}: {unfit}")
    return CompiledRules({name: dict(bounds[name]) for name in sorted(bounds)}, closed)


def _kind(attribute: str, attributes: pa.Schema, protected: frozenset[str]) -> pa.DataType:
    if attribute in protected:
        raise UnfitRule("the attribute is protected; no product may choose by it")
    if attribute not in attributes.names or attribute in NOT_JUDGED:
        raise UnfitRule("no such lead column or feature")
    kind = attributes.field(attribute).type
    if not (is_number(kind) or kinds.is_string(kind) or kinds.is_boolean(kind)):
        raise UnfitRule(f"a {kind} can't be judged by a rule")
    return kind


def is_number(kind: pa.DataType) -> bool:
    """Return whether values of this type lie on a line."""
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind))


def _members(value: str, kind: pa.DataType) -> set[Any]:
    texts = {text.strip() for text in value.split("|")} - {""}
    if not texts:
        raise UnfitRule(f"{value!r} lists nothing")
    if is_number(kind):
        return {_number(text) for text in texts}
    if kinds.is_boolean(kind):
        texts = {text.lower() for text in texts}
        if not texts <= {"true", "false"}:
            raise UnfitRule(f"{value!r} is not true or false")
    return texts


def _range(op: str, value: str, kind: pa.DataType) -> tuple[float | None, float | None]:
    if op not in {"ge", "le", "between"}:
        raise UnfitRule("no such operation")
    if not is_number(kind):
        raise UnfitRule("the attribute is not a number")
    if op == "ge":
        return _number(value), None
    if op == "le":
        return None, _number(value)
    ends = value.split("|")
    if len(ends) != 2:  # noqa: PLR2004  a range has two ends
        raise UnfitRule(f"{value!r} is not two numbers separated by |")
    low, high = _number(ends[0]), _number(ends[1])
    if low > high:
        raise UnfitRule(f"{value!r} ends before it begins")
    return low, high


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise UnfitRule(f"{text!r} is not a number") from None
    if not math.isfinite(number):
        raise UnfitRule(f"{text!r} is not a number")
    return number
