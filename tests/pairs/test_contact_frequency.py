"""Contact frequency and exclusivity: earlier offers exclude pairs for a number of days."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from expectations import policy
from expectations.policy_types import Exclusive
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.engine import STATED_STEPS, Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY

RULES = policy.pairs()


def write_offers(home: Path, *offers: tuple[int, int, date]) -> Settings:
    """Return a market with earlier offers: number of the lead, number of the product, date."""
    rows = [
        {
            "channel_id": channel,
            "lead_id": f"lead-{lead:07}",
            "institution_id": f"bank-{product // 2:03}",
            "product_id": f"loan-{product:04}",
            "offered_on": offered_on,
        }
        for lead, product, offered_on in offers
        for channel in (f"channel-{number}" for number in range(4))
    ]
    table = pa.Table.from_pylist(rows, SCHEMAS["earlier_offers"])
    return write_marts(home, DAY, leads=30, products=8, pairs=1, earlier_offers_table=table)


def find_pairs(
    settings: Settings, steps: tuple[str, ...] | None = None
) -> tuple[Eligibility, set[tuple[str, str]]]:
    """Return the eligibility and the pairs (lead, product) of the day."""
    marts = settings.day_folder(settings.marts, DAY)
    with connect(settings) as connection:
        load_leads(connection, marts)
        connection.execute("create or replace table leads as select *, 0.01 as pd from leads")
        rules = load_products(connection, marts, DAY)
        eligibility = find_eligible_pairs(connection, rules, DAY, *([steps] if steps else []))
        connection.register("eligible", eligibility.select_pairs_between())
        pairs = connection.sql(
            "select lead_id, product_id from eligible join leads using (lead_row) "
            "join products using (product_row)"
        ).fetchall()
    return eligibility, set(pairs)


def first_lead_with_two_banks(pairs: set[tuple[str, str]]) -> tuple[int, list[int]]:
    products_by_lead: dict[str, list[int]] = {}
    for lead, product in sorted(pairs):
        products_by_lead.setdefault(lead, []).append(int(product.removeprefix("loan-")))
    return next(
        (int(lead.removeprefix("lead-")), products)
        for lead, products in products_by_lead.items()
        if len({product // 2 for product in products}) > 1
    )


def test_a_product_is_eligible_again_after_the_contact_frequency_days(tmp_path):
    _, free = find_pairs(write_offers(tmp_path / "free"))
    lead, products = first_lead_with_two_banks(free)
    pair = (f"lead-{lead:07}", f"loan-{products[0]:04}")
    last_day = DAY - timedelta(days=RULES.same_product_again_days - 1)
    eligibility, pairs = find_pairs(write_offers(tmp_path / "shown", (lead, products[0], last_day)))
    assert free - pairs == {pair}
    assert (
        eligibility.remaining["risk_band"] - eligibility.remaining["contact_frequency"]
    ).sum() == 1
    over = write_offers(tmp_path / "over", (lead, products[0], last_day - timedelta(days=1)))
    assert find_pairs(over)[1] == free


def test_an_exclusive_institution_excludes_all_others_for_its_days(tmp_path, monkeypatch):
    _, free = find_pairs(write_offers(tmp_path / "free"))
    lead, products = first_lead_with_two_banks(free)
    promised = Exclusive(institution_id=f"bank-{products[0] // 2:03}", days=20)
    rules = RULES.model_copy(update={"exclusive": (promised,)})
    monkeypatch.setattr(policy, "pairs", lambda: rules)
    shown = write_offers(tmp_path / "shown", (lead, products[0], DAY - timedelta(days=19)))
    eligibility, pairs = find_pairs(shown)
    own_pairs = {product for name, product in pairs if name == f"lead-{lead:07}"}
    own = {f"loan-{number:04}" for number in products if number // 2 == products[0] // 2}
    assert own_pairs == own
    assert {pair for pair in free - pairs if pair[0] != f"lead-{lead:07}"} == set()
    assert eligibility.remaining["exclusive"].sum() == len(pairs)


def test_earlier_offers_are_no_stated_step(tmp_path):
    _, free = find_pairs(write_offers(tmp_path / "free"), STATED_STEPS)
    lead, products = first_lead_with_two_banks(free)
    shown = write_offers(tmp_path / "shown", (lead, products[0], DAY - timedelta(days=1)))
    assert find_pairs(shown, STATED_STEPS)[1] == free


def test_marts_without_earlier_offers_are_refused(tmp_path):
    settings = write_offers(tmp_path)
    (settings.day_folder(settings.marts, DAY) / "earlier_offers.parquet").unlink()
    with pytest.raises(InputMissing, match=r"Run the step `transform`"):
        find_pairs(settings)
