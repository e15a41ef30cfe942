"""A person isn't shown the same product again too soon, nor a rival of whom it is promised to."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from expectations import policy
from expectations.policy_types import Exclusive
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.engine import STATED_STEPS, Eligibility, judge
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY

RULES = policy.pairs()


def market(home: Path, *offers: tuple[int, int, date]) -> Settings:
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


def judged(settings: Settings, steps: tuple[str, ...] | None = None) -> tuple[Eligibility, set]:
    marts = settings.day_folder(settings.marts, DAY)
    with connect(settings) as connection:
        load_leads(connection, marts)
        connection.execute("create or replace table leads as select *, 0.01 as pd from leads")
        rules = load_products(connection, marts, DAY)
        found = judge(connection, rules, DAY, *([steps] if steps else []))
        connection.register("eligible", found.table())
        pairs = connection.sql(
            "select lead_id, product_id from eligible join leads using (lead_row) "
            "join products using (product_row)"
        ).fetchall()
    return found, set(pairs)


def first_lead_with_two_banks(pairs: set[tuple[str, str]]) -> tuple[int, list[int]]:
    of_lead: dict[str, list[int]] = {}
    for lead, product in sorted(pairs):
        of_lead.setdefault(lead, []).append(int(product.removeprefix("loan-")))
    return next(
        (int(lead.removeprefix("lead-")), products)
        for lead, products in of_lead.items()
        if len({product // 2 for product in products}) > 1
    )


def test_a_product_comes_back_when_the_days_are_over(tmp_path):
    _, free = judged(market(tmp_path / "free"))
    lead, products = first_lead_with_two_banks(free)
    pair = (f"lead-{lead:07}", f"loan-{products[0]:04}")
    last_day = DAY - timedelta(days=RULES.same_product_again_days - 1)
    found, pairs = judged(market(tmp_path / "shown", (lead, products[0], last_day)))
    assert free - pairs == {pair}
    assert (found.remaining["risk_band"] - found.remaining["shown_lately"]).sum() == 1
    over = market(tmp_path / "over", (lead, products[0], last_day - timedelta(days=1)))
    assert judged(over)[1] == free


def test_a_person_promised_to_one_institution_sees_no_other(tmp_path, monkeypatch):
    _, free = judged(market(tmp_path / "free"))
    lead, products = first_lead_with_two_banks(free)
    promised = Exclusive(institution_id=f"bank-{products[0] // 2:03}", days=20)
    rules = RULES.model_copy(update={"exclusive": (promised,)})
    monkeypatch.setattr(policy, "pairs", lambda: rules)
    lately = market(tmp_path / "shown", (lead, products[0], DAY - timedelta(days=19)))
    found, pairs = judged(lately)
    of_lead = {product for name, product in pairs if name == f"lead-{lead:07}"}
    own = {f"loan-{number:04}" for number in products if number // 2 == products[0] // 2}
    assert of_lead == own
    assert {pair for pair in free - pairs if pair[0] != f"lead-{lead:07}"} == set()
    assert found.remaining["exclusive"].sum() == len(pairs)


def test_what_banyan_showed_before_is_no_law_for_others(tmp_path):
    _, free = judged(market(tmp_path / "free"), STATED_STEPS)
    lead, products = first_lead_with_two_banks(free)
    shown = market(tmp_path / "shown", (lead, products[0], DAY - timedelta(days=1)))
    assert judged(shown, STATED_STEPS)[1] == free


def test_marts_of_an_earlier_version_are_refused_with_what_to_do(tmp_path):
    settings = market(tmp_path)
    (settings.day_folder(settings.marts, DAY) / "earlier_offers.parquet").unlink()
    with pytest.raises(InputMissing, match=r"Run the step `transform`"):
        judged(settings)
