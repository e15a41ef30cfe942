"""An explanation as people read it."""

from collections.abc import Iterator
from typing import Any

from pipelines.matches.stage_labels import DETAILS, FUNNEL

Found = dict[str, Any]


def text(found: Found) -> str:
    """Return an explanation in lines: first where it ended, then what decided."""
    lines = _of_lead(found) if "lead_id" in found else _of_product(found)
    return "\n".join(lines)


def _of_lead(found: Found) -> Iterator[str]:
    yield f"{found['channel_id']}/{found['lead_id']} on {found['date']}: {found['outcome']}"
    if found["stage"]:
        yield f"  {found['stage']}: {DETAILS.get(found['detail'], found['detail'])}"
    if found.get("same_as"):
        yield f"  the lead that stands for this person: {found['same_as']}"
    for record in found.get("records", []):
        column = f", column {record['column']}" if record["column"] else ""
        yield f"  {record['file']}, line {record['line']}{column}: {record['rule']}"
    for row in found["products"]:
        yield from _at_product(row)
    yield f"policy {found['policy_version']}, models {found['models']}"


def _at_product(row: Found) -> Iterator[str]:
    rank = f"offer {row['rank']}" if row["rank"] else row["decision"]
    lot = f" (its chance was {row['propensity']:.1%})" if 0 < row.get("propensity", 0) < 1 else ""
    yield f"  {row['institution_id']}/{row['product_id']}  {rank}: {row['why']}{lot}"
    if "expected_value" in row:
        yield (
            f"      approve {row['p_approve']:.1%}, take {row['p_fund']:.1%}, default "
            f"{row['pd']:.2%}, at {row['suggested_apr']:.2%} a year; worth "
            f"{row['expected_value']:,.2f} (revenue {row['revenue']:,.2f}, person "
            f"{row['person_benefit']:,.2f}, institution {row['institution_margin']:,.2f}, each "
            f"weighed); place {row['price_of_quota']:,.2f}, left {row['value_after_price']:,.2f}"
        )


def _of_product(found: Found) -> Iterator[str]:
    name = f"{found['institution_id']}/{found['product_id']} on {found['date']}"
    if "closed" in found:
        yield f"{name}: took no leads ({found['closed']})"
        return
    yield f"{name}: {found['matches']:,} of {found['daily_quota']:,} places filled"
    yield f"  one more place would add {found['price_of_quota']:,.2f} a day"
    if found["daily_budget"] is not None:
        yield f"  expected spend {found['expected_spend']:,.2f} of {found['daily_budget']:,.2f}"
    yield "  leads left after each step:"
    for row in found["funnel"]:
        words = FUNNEL.get(row["step"], "scored by the models")
        yield f"    {row['leads']:>9,}  {row['step']}: {words}"
    if found["missed_by_one"]:
        yield "  leads that one rule alone kept away:"
    for row in sorted(found["missed_by_one"], key=lambda row: -row["leads"]):
        attribute = "" if row["attribute"] in {"", "lead_row"} else f" ({row['attribute']})"
        yield f"    {row['leads']:>9,}  {row['step']}{attribute}"
    yield "  what decided about the scored leads:"
    for row in found["decided"]:
        yield f"    {row['leads']:>9,}  {row['why']}"
    yield f"policy {found['policy_version']}, models {found['models']}"
