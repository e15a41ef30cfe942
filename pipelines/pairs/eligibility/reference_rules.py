"""One pair, judged rule by rule: whether each is met, and on which side of it the lead lies.

The same law as `judging` applies to all pairs by set, written down a second time from the rows of
the feeds: plainly, for one pair, with every answer kept. `explain` tells it; `bench eligibility`
and the tests hold both against each other. A verdict names the rule's bound and the lead's side of
it, never the lead's value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

MET = "met"


@dataclass(frozen=True)
class Verdict:
    """What one rule says of one pair."""

    step: str
    """The step of the funnel that the rule belongs to."""
    rule: str
    """What is asked, such as `bureau_score ge 600`."""
    answer: str
    """`met`, or how it is missed: below, above, unknown, not listed, listed, ..."""

    @property
    def is_met(self) -> bool:
        """Return whether the pair may stand as far as this rule is concerned."""
        return self.answer == MET


def verdicts(
    lead: Row, product: Row, rules: Sequence[Row], *, every_institution: str
) -> list[Verdict]:
    """Return what every rule says of a pair, in the order in which steps are judged.

    Args:
        lead: A row of table `leads`; its `pd` is judged if it has one.
        product: A row of table `products`.
        rules: The product's rows of the feed `product_rules`.
        every_institution: The word in `consent_scope` that covers all.
    """
    return [
        *_permissions(lead, product, every_institution),
        *(
            Verdict(name, f"{name} is {product[name]}", _same(lead[name], product[name]))
            for name in ("segment", "currency")
        ),
        _limits("amount", "amount", lead, product["amount_min"], product["amount_max"]),
        _term(lead, product),
        *(_own(lead, rule) for rule in rules),
        _cap(product),
        *([_band(lead, product)] if "pd" in lead else []),
    ]


def _permissions(lead: Row, product: Row, every: str) -> Iterator[Verdict]:
    institution = product["institution_id"]
    scope = lead["consent_scope"] or []
    covers = every in scope or institution in scope
    yield Verdict(
        "consent", f"consent covers {institution}", MET if covers else "not in the consent"
    )
    barred = institution in (lead["suppressed_institutions"] or [])
    yield Verdict(
        "suppressed",
        f"{institution} may be sent this person",
        "on its suppression list" if barred else MET,
    )


def _same(value: Any, wanted: Any) -> str:
    if value is None:
        return "unknown"
    return MET if value == wanted else "another"


def _limits(step: str, attribute: str, lead: Row, low: float, high: float) -> Verdict:
    return Verdict(
        step, f"{attribute} between {low:g} and {high:g}", _side(lead[attribute], low, high)
    )


def _side(value: Any, low: float | None, high: float | None) -> str:
    if value is None:
        return "unknown"
    if low is not None and not value >= low:
        return "below"
    if high is not None and not value <= high:
        return "above"
    return MET


def _term(lead: Row, product: Row) -> Verdict:
    judged = _limits(
        "term", "term_months", lead, product["term_min_months"], product["term_max_months"]
    )
    return Verdict("term", judged.rule, MET if lead["term_months"] is None else judged.answer)


def _cap(product: Row) -> Verdict:
    cap = product["price_cap"]
    rule = "no price cap" if cap is None else f"apr_min at most the cap of {cap:g}"
    return Verdict("price_cap", rule, MET if cap is None else _side(product["apr_min"], None, cap))


def _band(lead: Row, product: Row) -> Verdict:
    low = 0.0 if product["pd_min"] is None else product["pd_min"]
    high = 1.0 if product["pd_max"] is None else product["pd_max"]
    return _limits("risk_band", "pd", lead, low, high)


def _own(lead: Row, rule: Row) -> Verdict:
    attribute, op, asked = rule["attribute"], rule["op"], rule["value"]
    return Verdict("rules", f"{attribute} {op} {asked}", _answer(lead[attribute], op, asked))


def _answer(value: Any, op: str, asked: str) -> str:
    if value is None:
        return MET if op == "not_in" else "unknown"
    if op == "known":
        return MET
    if op in {"in", "not_in"}:
        is_listed = _is_listed(value, asked)
        wrong = "not listed" if op == "in" else "listed"
        return MET if is_listed == (op == "in") else wrong
    ends = [float(end) for end in asked.split("|")]
    low = None if op == "le" else ends[0]
    high = None if op == "ge" else ends[-1]
    return _side(value, low, high)


def _is_listed(value: Any, asked: str) -> bool:
    members = [member.strip() for member in asked.split("|") if member.strip()]
    if isinstance(value, bool):
        return str(value).lower() in {member.lower() for member in members}
    if isinstance(value, int | float):
        return float(value) in {float(member) for member in members}
    return value in members
