"""A large day for benchmarks: leads, products and rules drawn at random, published as marts."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.publish import publishing, write_parquet
from pipelines.settings import Settings

DAY = date(2026, 11, 20)
INSTITUTIONS_HAVE = 2
"""Products of one institution."""
REGIONS = np.array([f"CN-{number}" for number in range(11, 42)])
INDUSTRIES = np.array([f"C{number}" for number in range(10, 30)])
WORDS = {
    "employment": np.array(["employed", "self_employed", "retired", "student", "other"]),
    "housing": np.array(["own", "mortgage", "rent", "family"]),
    "purpose": np.array(["working_capital", "education", "home", "car"]),
    "region": REGIONS,
    "industry": INDUSTRIES,
}
NUMBERS = {
    "bureau_score": (350.0, 850.0),
    "income_monthly": (1_000.0, 40_000.0),
    "age_years": (18.0, 70.0),
    "debt_to_income": (0.0, 1.2),
    "amount_to_income": (0.0, 3.0),
    "business_age_years": (0.0, 15.0),
}
"""Attribute -> between which numbers leads and rules lie."""
EARLIER_OFFERS = dict.fromkeys(
    ("channel_id", "lead_id", "institution_id", "product_id"), pa.string()
) | {"offered_on": pa.date32()}
UNKNOWN = 0.05
"""Share of leads of which an attribute is not known."""

Columns = dict[str, Any]


def write_market(settings: Settings, leads: int, products: int, rules: int, seed: int) -> None:
    """Publish `marts/date=DAY`: equal arguments, equal bytes.

    Args:
        settings: Where.
        leads: Of the day; `pd` is among their columns, as after scoring.
        products: All open, two to an institution.
        rules: Of each product, on different attributes.
        seed: Of all that is drawn.
    """
    random = np.random.default_rng(seed)
    tables = {
        "leads": pa.table(_leads(leads, products, random)),
        "products": pa.table(_products(products, random)),
        "product_rules": pa.table(_rules(products, rules, random)),
        "earlier_offers": pa.table(
            {name: pa.nulls(0, kind) for name, kind in EARLIER_OFFERS.items()}
        ),
        "channels": pa.table(
            {"channel_id": ["ch-0"], "cost_per_lead": [30.0], "currency": ["CNY"]}
        ),
    }
    with publishing(settings.of_day(settings.marts, DAY), {}) as folder:
        for name, table in tables.items():
            write_parquet(table, folder / f"{name}.parquet")


def _named(prefix: str, count: int) -> pa.Array:
    return pa.array([f"{prefix}{number:07}" for number in range(count)], pa.string())


def _leads(count: int, products: int, random: np.random.Generator) -> Columns:
    drawn: Columns = {
        "channel_id": pa.array(np.full(count, "ch-0")),
        "lead_id": _named("lead-", count),
        "set_aside_stage": pa.nulls(count, pa.string()),
        "segment": pa.array(np.where(random.random(count) < 0.8, "consumer", "business")),
        "currency": pa.array(np.full(count, "CNY")),
        "amount": np.round(random.lognormal(10.5, 1.0, count), -2) + 100,
        "term_months": _or_unknown(random.choice([6, 12, 24, 36, 60], count), random),
        "pd": random.beta(1.2, 14, count),
        "consent_scope": _scopes(count, products, random),
        "suppressed_institutions": _barred(count, products, random),
    }
    for name, (low, high) in NUMBERS.items():
        digits = 0 if high > 15 else 2
        drawn[name] = _or_unknown(np.round(random.uniform(low, high, count), digits), random)
    for name, words in WORDS.items():
        drawn[name] = _or_unknown(random.choice(words, count), random)
    return drawn


def _or_unknown(values: np.ndarray[Any, Any], random: np.random.Generator) -> pa.Array:
    return pa.array(values, mask=random.random(len(values)) < UNKNOWN)


def _institution(number: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.char.add("bank-", np.char.zfill(number.astype(np.str_), 4))


def _lists(lengths: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.string()))


def _scopes(count: int, products: int, random: np.random.Generator) -> pa.ListArray:
    """Return what leads consent to: mostly all, else a dozen institutions of their own."""
    institutions = -(-products // INSTITUTIONS_HAVE)
    lengths = np.where(random.random(count) < 0.7, 1, 12)
    values = _institution(random.integers(0, institutions, lengths.sum()))
    values = values.astype(object)
    values[(np.cumsum(lengths) - lengths)[lengths == 1]] = "all"
    return _lists(lengths, values)


def _barred(count: int, products: int, random: np.random.Generator) -> pa.ListArray:
    institutions = -(-products // INSTITUTIONS_HAVE)
    lengths = random.choice([0, 1, 3], count, p=[0.9, 0.07, 0.03])
    return _lists(lengths, _institution(random.integers(0, institutions, lengths.sum())))


def _products(count: int, random: np.random.Generator) -> Columns:
    number = np.arange(count)
    models = np.array(["cpl", "cpa", "cps"])
    return {
        "institution_id": pa.array(_institution(number // INSTITUTIONS_HAVE)),
        "product_id": _named("loan-", count),
        "institution_kind": pa.array(np.full(count, "bank")),
        "segment": pa.array(np.where(number % 5 == 4, "business", "consumer")),
        "currency": pa.array(np.full(count, "CNY")),
        "amount_min": np.round(random.lognormal(8.0, 0.6, count), -2),
        "amount_max": np.round(random.lognormal(11.8, 0.8, count), -2) + 20_000,
        "term_min_months": random.choice([3, 6, 12], count),
        "term_max_months": random.choice([24, 36, 60], count),
        "apr_min": np.round(random.uniform(0.05, 0.26, count), 4),
        "apr_max": np.full(count, 0.3),
        "pd_min": pa.array(np.zeros(count), mask=random.random(count) < UNKNOWN),
        "pd_max": np.round(random.uniform(0.04, 0.2, count), 3),
        "price_model": pa.array(models[number % 3]),
        "price": np.array([20.0, 150.0, 0.02])[number % 3],
        "daily_quota": random.integers(100, 2_000, count),
        "is_open": pa.array(np.full(count, True)),  # noqa: FBT003
        "closed_reason": pa.nulls(count, pa.string()),
    }


def _rules(products: int, each: int, random: np.random.Generator) -> Columns:
    """Return `each` rules for every product, on attributes drawn without repetition."""
    names = [*NUMBERS, *WORDS]
    number = np.repeat(np.arange(products), each)
    drawn = [random.permutation(len(names))[:each] for _ in range(products)]
    attributes = [names[place] for places in drawn for place in places]
    rules = [_rule(name, random) for name in attributes]
    return {
        "institution_id": pa.array(_institution(number // INSTITUTIONS_HAVE)),
        "product_id": pa.array([f"loan-{place:07}" for place in number], pa.string()),
        "attribute": pa.array(attributes, pa.string()),
        "op": pa.array([op for op, _ in rules], pa.string()),
        "value": pa.array([value for _, value in rules], pa.string()),
    }


def _rule(name: str, random: np.random.Generator) -> tuple[str, str]:
    """Return one rule that most leads meet."""
    if name in WORDS:
        words = random.permutation(WORDS[name])
        some = "|".join(words[: max(1, len(words) // 4)])
        return ("not_in", some) if random.random() < 0.5 else ("in", "|".join(words[1:]))
    low, high = NUMBERS[name]
    near, far = low + (high - low) * random.random(2) * [0.3, 1.0]
    return {
        0: ("ge", f"{near:.2f}"),
        1: ("le", f"{high - near + low:.2f}"),
        2: ("between", f"{near:.2f}|{max(near, far):.2f}"),
        3: ("known", "true"),
    }[int(random.integers(4))]
