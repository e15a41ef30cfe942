"""Compile the products' own hard rules: the bounds of each product on each attribute.

Rules arrive as rows (product, attribute, op, value). All rules of a product on one attribute make
one `Bounds`: lowest and highest value, allowed values, forbidden values, must be known. An invalid
rule closes its product: ignoring it could send a lender a person that it excluded.
"""

import math
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from expectations.contracts import load
from pipelines.core.errors import BanyanError

IDENTITY_COLUMNS = frozenset(
    {
        "lead_id",
        "person_key",
        "business_date",
        "exclusion_stage",
        "exclusion_detail",
        "canonical_channel_id",
        "canonical_lead_id",
        "matched_amount",
    }
)
"""Columns that identify a lead, state its exclusion or are assumed; no rule may name them."""

SEPARATORS = frozenset(",;\uff0c\uff1b\uff5c\u3001")
"""Characters that separate lists elsewhere, full-width ones among them; in a rule it is `|`."""

Product = tuple[str, str]


class InvalidRule(BanyanError):
    """A rule that cannot be applied; the message says why, without any lead's data."""


@dataclass
class Bounds:
    """Requirements of one product on one attribute. An unknown value meets only `none_of`."""

    at_least: float | None = None
    at_most: float | None = None
    one_of: set[Any] | None = None
    none_of: set[Any] = field(default_factory=set)
    known: bool = False
    or_unknown: bool = False
    """Accept an unknown value as one within the bounds."""

    @property
    def admits_unknown(self) -> bool:
        """True if a lead without a value may pass."""
        stated = (self.at_least, self.at_most, self.one_of)
        is_required = self.known or any(bound is not None for bound in stated)
        return self.or_unknown or not is_required

    def add(self, op: str, value: str, kind: pa.DataType, words: tuple[str, ...] = ()) -> None:
        """Tighten the bounds by one more rule.

        Args:
            op: The comparison.
            value: The reference value.
            kind: Type of the attribute.
            words: The only values of the attribute; none where any text is one.

        Raises:
            InvalidRule: The operation or the value does not fit the attribute.
        """
        if op == "known":
            if value.strip().lower() != "true":
                raise InvalidRule(f"known takes the value true, not {value!r}")
            self.known = True
        elif op == "in":
            members = _parse_members(value, kind, words)
            self.one_of = members if self.one_of is None else self.one_of & members
        elif op == "not_in":
            self.none_of |= _parse_members(value, kind, words)
        else:
            self._narrow(*_parse_range(op, value, kind))

    def _narrow(self, low: float | None, high: float | None) -> None:
        if low is not None:
            self.at_least = low if self.at_least is None else max(self.at_least, low)
        if high is not None:
            self.at_most = high if self.at_most is None else min(self.at_most, high)


@dataclass(frozen=True)
class CompiledRules:
    """The own rules of all products."""

    bounds: dict[str, dict[Product, Bounds]]
    """Attribute -> product -> its bounds; attributes by name."""
    closed: dict[Product, str]
    """Products with an invalid rule -> why it is invalid."""


def compile_rules(
    rules: pa.Table, attributes: pa.Schema, protected: frozenset[str]
) -> CompiledRules:
    """Return the rules as bounds by attribute and product.

    Args:
        rules: `institution_id`, `product_id`, `attribute`, `op`, `value`, all text.
        attributes: Columns of a lead that a rule may name, with their types.
        protected: Attributes that no rule may use.
    """
    words = {column.name: column.allowed for column in load("leads").columns}
    bounds: dict[str, dict[Product, Bounds]] = defaultdict(lambda: defaultdict(Bounds))
    closed: dict[Product, str] = {}
    for rule in rules.sort_by([(name, "ascending") for name in rules.column_names]).to_pylist():
        product, attribute = (rule["institution_id"], rule["product_id"]), rule["attribute"]
        try:
            kind = _attribute_type(attribute, attributes, protected)
            allowed = words.get(attribute, ())
            bounds[attribute][product].add(rule["op"], rule["value"], kind, allowed)
        except InvalidRule as invalid:
            closed.setdefault(product, f"rule {attribute} {rule['op']}: {invalid}")
    return CompiledRules({name: dict(bounds[name]) for name in sorted(bounds)}, closed)


def _attribute_type(
    attribute: str, attributes: pa.Schema, protected: frozenset[str]
) -> pa.DataType:
    if attribute in protected:
        raise InvalidRule("the attribute is protected; no product may choose by it")
    if attribute not in attributes.names or attribute in IDENTITY_COLUMNS:
        raise InvalidRule("no such lead column or feature")
    kind = attributes.field(attribute).type
    if not (is_number(kind) or kinds.is_string(kind) or kinds.is_boolean(kind)):
        raise InvalidRule(f"no rule can use a column of type {kind}")
    return kind


def is_number(kind: pa.DataType) -> bool:
    """Return True for a numeric type."""
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind))


def _parse_members(value: str, kind: pa.DataType, words: tuple[str, ...]) -> set[Any]:
    """Return the values that a rule lists.

    A misspelt word would exclude nobody where the rule is `not_in`, so it makes the rule invalid.
    """
    texts = {text.strip() for text in value.split("|")} - {""}
    if not texts:
        raise InvalidRule(f"{value!r} lists nothing")
    if is_number(kind):
        return {_parse_number(text) for text in texts}
    if kinds.is_boolean(kind):
        texts = {text.lower() for text in texts}
        if not texts <= {"true", "false"}:
            raise InvalidRule(f"{value!r} is not true or false")
    elif any(set(text) & SEPARATORS for text in texts):
        raise InvalidRule(f"{value!r} is not a list separated by |")
    elif words and not texts <= set(words):
        raise InvalidRule(f"{value!r} is not a list of {', '.join(words)}")
    return {normalise_text(text) for text in texts}


def normalise_text(text: str) -> str:
    """Return a text as rules compare it: without differences of case, width and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _parse_range(op: str, value: str, kind: pa.DataType) -> tuple[float | None, float | None]:
    if op not in {"ge", "le", "between"}:
        raise InvalidRule("no such operation")
    if not is_number(kind):
        raise InvalidRule("the attribute is not a number")
    if op == "ge":
        return _parse_number(value), None
    if op == "le":
        return None, _parse_number(value)
    ends = value.split("|")
    if len(ends) != 2:  # noqa: PLR2004  a range has two ends
        raise InvalidRule(f"{value!r} is not two numbers separated by |")
    low, high = _parse_number(ends[0]), _parse_number(ends[1])
    if low > high:
        raise InvalidRule(f"{value!r} ends before it begins")
    return low, high


def _parse_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise InvalidRule(f"{text!r} is not a number") from None
    if not math.isfinite(number):
        raise InvalidRule(f"{text!r} is not a number")
    return number
