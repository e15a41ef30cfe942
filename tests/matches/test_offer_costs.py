"""An offer states what the loan costs in all: in money, a year, and in words of two languages."""

from typing import Any

import duckdb
import pyarrow as pa
import pytest
import pyxirr

from pipelines.matches.offer_costs import build_offers
from pipelines.pairs.eligibility.load_inputs import FEES
from pipelines.pairs.financing_cost import CHARGES

Row = dict[str, Any]

KEY = {"institution_id": "bank", "product_id": "loan"}
GUARANTEE = KEY | {"fee": "guarantee_fee", "basis": "share_of_balance", "value": 0.001}
GUARANTEE |= {"charged_when": "each_period", "collector": "First Guarantee", "is_contingent": False}
OPENING = KEY | {"fee": "opening fee", "basis": "fixed", "value": 60.0, "charged_when": "upfront"}
OPENING |= {"collector": "Bank", "is_contingent": False}
NOTHING = OPENING | {"fee": "service_fee", "value": 0.0}
LATE = KEY | {"fee": "late_payment", "basis": "share_of_balance", "value": 0.0125}
LATE |= {"charged_when": "on_default", "collector": "Bank", "is_contingent": True}
CHARGED = {"upfront_fixed": 60.0, "period_share_of_balance": 0.001}


def make_offer(fees: list[Row], charges: Row | None = None, **changes: Any) -> Row:
    """Return the offer of 12,000 over 12 months at 18% a year, with changes."""
    match = {"match_id": "m", "channel_id": "search", "lead_id": "ann", "rank": 1, **KEY}
    match |= {"currency": "CNY", "amount": 12_000.0, "term_months": 12, "suggested_apr": 0.18}
    match |= {name: value for name, value in changes.items() if name in match}
    product = KEY | {"term_max_months": 36, "repayment": "equal_instalments", "is_compound": False}
    product |= dict.fromkeys(CHARGES, 0.0) | (charges or {})
    product |= {name: value for name, value in changes.items() if name in product}
    named = KEY | {"product_name": "Personal loan", "institution_name": "First Bank"}
    lead = {"channel_id": "search", "lead_id": "ann", "amount": 12_000.0}
    match |= {"main_reasons_en": "your income", "main_reasons_zh": "您的收入"}
    with duckdb.connect() as connection:
        for name, rows in (
            ("offered", [match]),
            ("products", [product]),
            ("product_names", [named]),
            ("leads", [lead]),
            ("odds_shown", [{"match_id": "m", "odds_shown": 40}]),
        ):
            connection.register(name, pa.Table.from_pylist(rows))
        connection.register("mart_product_fees", pa.Table.from_pylist(fees, FEES))
        if changes.get("term_months", 12) is None:
            connection.execute(
                "create table typed as select * replace (null::int as term_months) from offered"
            )
            connection.register("offered", connection.sql("from typed").to_arrow_table())
        (offer,) = build_offers(connection).to_pylist()
    return offer


def test_the_annual_cost_is_the_irr_of_what_the_person_gets_and_pays():
    offer = make_offer([GUARANTEE, OPENING, LATE], CHARGED)
    owed, flows = 12_000.0, [12_000.0 - 60]
    for _ in range(12):
        interest = owed * 0.015
        flows.append(-(offer["instalment"] + 0.001 * owed))
        owed += interest - offer["instalment"]
    assert abs(owed) < 0.1  # instalments are rounded to cents
    assert offer["annual_cost"] == pytest.approx(12 * pyxirr.irr(flows), abs=1e-5)
    assert offer["total_cost"] == pytest.approx(-sum(flows), abs=0.1)
    assert offer["total_cost"] == pytest.approx(offer["interest"] + offer["fees_in_any_case"])


def test_each_fee_is_listed_with_its_collector_and_what_it_comes_to():
    offer = make_offer([LATE, GUARANTEE, OPENING, NOTHING], CHARGED)
    shown = [(fee["fee"], fee["collector"], fee["is_contingent"]) for fee in offer["fees"]]
    assert shown == [
        ("opening fee", "Bank", False),
        ("guarantee_fee", "First Guarantee", False),
        ("late_payment", "Bank", True),
    ]
    opening, guarantee, late = offer["fees"]
    assert opening["amount"] == 60.0
    assert opening["amount"] + guarantee["amount"] == pytest.approx(offer["fees_in_any_case"])
    assert guarantee["annual_rate"] == pytest.approx(0.012)
    assert late["amount"] is late["annual_rate"] is None


def test_the_words_state_the_whole_cost_in_english():
    words = make_offer([GUARANTEE, OPENING, LATE], CHARGED)["words"]
    assert words == (
        "Personal loan of First Bank: CNY 12,000 over 12 months at about 18.00% interest a year. "
        "You repay 12 monthly payments of CNY 1,100.16. Interest: CNY 1,201.92. "
        "Fees: opening fee CNY 60.00 (0.90% a year), taken by Bank; "
        "guarantee fee CNY 80.13 (1.20% a year), taken by First Guarantee. "
        "The whole cost is CNY 1,342.05, or 20.17% a year. "
        "In special cases only: late payment fee 1.25% of what is owed if you do not pay as "
        "agreed, taken by Bank. "
        "Nothing else is charged. The lender decides and may ask for more. "
        "Of 100 people whose request looked as likely, at least 40 were approved. "
        "What counted most: your income."
    )


def test_the_words_state_the_whole_cost_in_chinese():
    words = make_offer([GUARANTEE, LATE], {"period_share_of_balance": 0.001})["words_zh"]
    assert words == (
        "First Bank Personal loan：贷款本金 CNY 12,000，期限 12 个月，年利率约 18.00%。"
        "分 12 期，每月还款 CNY 1,100.16。利息合计 CNY 1,201.92。"
        "费用：担保费 CNY 80.13（年化 1.20%），收取方：First Guarantee。"
        "综合融资成本合计 CNY 1,282.05，年化综合融资成本 19.20%。"
        "或有成本：逾期费用（未按约还款时）未还金额的 1.25%，收取方：Bank。"
        "除以上明示的成本外，不再收取其他任何费用。是否放款由贷款机构决定，机构可能要求补充材料。"
        "与您情况相近的申请，每100人中至少有 40 人获批。主要因素：您的收入。"
    )


@pytest.mark.parametrize(
    ("changes", "english", "chinese"),
    [
        (
            {"repayment": "equal_principal"},
            "12 monthly payments, of CNY 1,180.00 at first and CNY 1,015.00 at the end",
            "分 12 期按月还款，首期 CNY 1,180.00，末期 CNY 1,015.00",
        ),
        (
            {"repayment": "interest_first"},
            "interest of CNY 180.00 a month, and CNY 12,180.00 at the end",
            "每月付息 CNY 180.00，末期还款 CNY 12,180.00",
        ),
        (
            {"repayment": "bullet"},
            "one payment of CNY 14,347.42 after 12 months",
            "12 个月后一次还款 CNY 14,347.42",
        ),
        ({"term_months": 1}, "one payment of CNY 12,180.00 after 1 month", "1 个月后一次还款"),
        (
            {"term_months": None},
            "36 monthly payments of CNY 433.83",
            "分 36 期，每月还款 CNY 433.83",
        ),
    ],
)
def test_the_words_state_how_it_is_repaid(changes, english, chinese):
    offer = make_offer([], **changes)
    assert f"You repay {english}" in offer["words"]
    assert chinese in offer["words_zh"]
    assert "No fees." in offer["words"]
    assert "无其他费用。" in offer["words_zh"]
    assert ("You stated no term" in offer["words"]) == (offer["term_months"] is None)


def test_a_loan_without_fees_costs_its_stated_rate():
    offer = make_offer([NOTHING])
    assert (offer["annual_cost"], offer["annualisation"]) == (0.18, "simple")
    assert offer["fees"] == []
