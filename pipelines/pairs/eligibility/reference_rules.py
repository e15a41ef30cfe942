"""Reference implementation of the hard rules: one pair, rule by rule.

It restates the rules of `engine` from the rows of the feeds, without sets, and keeps every answer.
`explain` prints it; `bench eligibility` and the tests compare both implementations. A check states
the rule's bound and the side on which the lead lies, never the lead's value.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from expectations.policy_types import Pairs
from pipelines.pairs.financing_cost import CHARGES, Loans, compute_costs

Row = Mapping[str, Any]
Product = tuple[str, str]

MET = "met"
OPERATORS = {
    "ge": "at least",
    "le": "at most",
    "between": "between",
    "in": "among",
    "not_in": "other than",
    "known": "known",
}
"""Operator of a product's rule -> its words."""
RATE_TOLERANCE = 1e-7
"""An annual cost that is above the cap by no more is a rounding error."""


@dataclass(frozen=True)
class RuleCheck:
    """The result of one rule for one pair."""

    step: str
    """The step of the funnel that the rule belongs to."""
    rule: str
    """The requirement, such as `bureau_score ge 600`."""
    answer: str
    """`met`, or how it is missed: below, above, unknown, not listed, listed, ..."""

    @property
    def is_met(self) -> bool:
        """True if the pair meets the rule."""
        return self.answer == MET

    @property
    def words(self) -> str:
        """Return the requirement as a person reads it: `bureau_score at least 600`."""
        attribute, _, rest = self.rule.partition(" ")
        op, _, value = rest.partition(" ")
        if self.step != "rules" or op not in OPERATORS:
            return self.rule
        if op == "known":
            return f"{attribute} known"
        separator = " and " if op == "between" else ", "
        return f"{attribute} {OPERATORS[op]} {value.replace('|', separator)}"


def check_pair(
    lead: Row, product: Row, rules: Sequence[Row], *, every_institution: str
) -> list[RuleCheck]:
    """Return the check of every rule for a pair, in the order of the steps.

    Args:
        lead: A row of table `leads`; its `pd` is checked if it has one.
        product: A row of table `products`.
        rules: The product's rows of the feed `product_rules`.
        every_institution: The entry of `consent_scope` that covers all institutions.
    """
    return [
        *_check_permissions(lead, product, every_institution),
        *(
            RuleCheck(name, f"{name} is {product[name]}", _compare(lead[name], product[name]))
            for name in ("segment", "currency")
        ),
        _check_amount(lead, product),
        _check_term(lead, product),
        *(_check_own_rule(lead, rule) for rule in rules),
        _check_disclosure(product),
        *_check_price_caps(lead, product),
        *([_check_risk_band(lead, product)] if "pd" in lead else []),
    ]


def check_earlier_offers(
    day: date, earlier: Mapping[Product, date], products: Sequence[Product], rules: Pairs
) -> dict[Product, list[RuleCheck]]:
    """Return the failed checks of contact frequency and exclusivity of one person, by product.

    Args:
        day: The business date.
        earlier: Product -> date of the person's last match with it.
        products: The open products.
        rules: The policy of pairs.
    """
    days = {product: (day - offered_on).days for product, offered_on in earlier.items()}
    failed: dict[Product, list[RuleCheck]] = {}
    for product in products:
        if days.get(product, rules.same_product_again_days) < rules.same_product_again_days:
            rule = f"not shown within {rules.same_product_again_days} days"
            failed[product] = [
                RuleCheck("contact_frequency", rule, f"shown {days[product]} days ago")
            ]
        for promise in rules.exclusive:
            since = [ago for other, ago in days.items() if other[0] == promise.institution_id]
            if (
                product[0] != promise.institution_id
                and min(since, default=promise.days) < promise.days
            ):
                rule = f"promised to {promise.institution_id} for {promise.days} days"
                failed.setdefault(product, []).append(RuleCheck("exclusive", rule, "promised"))
    return failed


def _check_permissions(lead: Row, product: Row, every: str) -> Iterator[RuleCheck]:
    institution = product["institution_id"]
    scope = lead["consent_scope"] or []
    is_covered = every in scope or institution in scope
    yield RuleCheck(
        "consent", f"consent covers {institution}", MET if is_covered else "not in the consent"
    )
    is_suppressed = institution in (lead["suppressed_institutions"] or [])
    yield RuleCheck(
        "suppressed",
        f"{institution} may be sent this person",
        "on its suppression list" if is_suppressed else MET,
    )


def _compare(value: Any, required: Any) -> str:
    if value is None:
        return "unknown"
    return MET if value == required else "different"


def _check_range(step: str, attribute: str, lead: Row, low: float, high: float) -> RuleCheck:
    return RuleCheck(
        step,
        f"{attribute} between {low:.12g} and {high:.12g}",
        _find_side(lead[attribute], low, high),
    )


def _find_side(value: Any, low: float | None, high: float | None) -> str:
    if value is None:
        return "unknown"
    if low is not None and not value >= low:
        return "below"
    if high is not None and not value <= high:
        return "above"
    return MET


def _check_amount(lead: Row, product: Row) -> RuleCheck:
    name = "matched_amount"
    check = _check_range("amount", name, lead, product["amount_min"], product["amount_max"])
    assumed = " (assumed, none is stated)" if lead["amount"] is None else ""
    return RuleCheck("amount", check.rule.replace(name, "amount") + assumed, check.answer)


def _check_term(lead: Row, product: Row) -> RuleCheck:
    check = _check_range(
        "term", "term_months", lead, product["term_min_months"], product["term_max_months"]
    )
    return RuleCheck("term", check.rule, MET if lead["term_months"] is None else check.answer)


def _check_disclosure(product: Row) -> RuleCheck:
    answer = MET if product["states_costs"] else "not stated"
    return RuleCheck("cost_disclosure", "the costs that the law asks for are stated", answer)


def _check_price_caps(lead: Row, product: Row) -> Iterator[RuleCheck]:
    cap, whole = product["price_cap"], product["whole_cost_cap"]
    if cap is not None:
        rule = f"apr_min at most the cap of {cap:g}"
        yield RuleCheck("price_cap", rule, _find_side(product["apr_min"], None, cap))
    if whole is not None:
        yield _check_whole_cost(lead, product, whole)
    if cap is None and whole is None:
        yield RuleCheck("price_cap", "no price cap", MET)


def _check_whole_cost(lead: Row, product: Row, cap: float) -> RuleCheck:
    """Check the annual cost at the product's highest rate; without a term, at each of its terms."""
    term, amount = lead["term_months"], lead["matched_amount"]
    rule = f"annual cost with all fees, at apr_max, at most {cap:g}"
    if not any(product[name] for name in CHARGES):  # a loan without fees costs its rate
        return RuleCheck("price_cap", rule, _find_side(product["apr_max"], None, cap))
    if amount is None:
        return RuleCheck("price_cap", rule, "unknown")
    lent = range(product["term_min_months"], product["term_max_months"] + 1)
    months = list(lent) if term is None else [max(1, term)]
    loan = {"amount": amount, "rate": product["apr_max"]}
    loan |= {name: product[name] for name in ("repayment", "is_compound", *CHARGES)}
    loans = pa.Table.from_pylist([{"months": each} | loan for each in months])
    costs = compute_costs(Loans.of_table(loans)).annual_cost
    return RuleCheck("price_cap", rule, _find_side(costs.max(), None, cap + RATE_TOLERANCE))


def _check_risk_band(lead: Row, product: Row) -> RuleCheck:
    low = 0.0 if product["pd_min"] is None else product["pd_min"]
    high = 1.0 if product["pd_max"] is None else product["pd_max"]
    return _check_range("risk_band", "pd", lead, low, high)


def _check_own_rule(lead: Row, rule: Row) -> RuleCheck:
    attribute, op, value = rule["attribute"], rule["op"], rule["value"]
    return RuleCheck("rules", f"{attribute} {op} {value}", _apply(op, value, lead[attribute]))


def _apply(op: str, rule_value: str, value: Any) -> str:
    if value is None:
        return MET if op == "not_in" else "unknown"
    if op == "known":
        return MET
    if op in {"in", "not_in"}:
        is_listed = _is_listed(value, rule_value)
        missed = "not listed" if op == "in" else "listed"
        return MET if is_listed == (op == "in") else missed
    ends = [float(end) for end in rule_value.split("|")]
    low = None if op == "le" else ends[0]
    high = None if op == "ge" else ends[-1]
    return _find_side(value, low, high)


def _is_listed(value: Any, rule_value: str) -> bool:
    members = [member.strip() for member in rule_value.split("|") if member.strip()]
    if isinstance(value, bool):
        return str(value).lower() in {member.lower() for member in members}
    if isinstance(value, int | float):
        return float(value) in {float(member) for member in members}
    return _fold(value) in {_fold(member) for member in members}


def _fold(text: str) -> str:
    """Return a text without differences of width, case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
