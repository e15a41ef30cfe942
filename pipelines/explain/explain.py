"""Explain a lead or a product of a published day, as data and as text."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from pipelines.core.database import connect
from pipelines.core.formats import without_personal
from pipelines.core.settings import Settings
from pipelines.explain.lead import explain_lead
from pipelines.explain.product import explain_product
from pipelines.explain.published_day import load_day
from pipelines.matches.stage_labels import DETAILS, FUNNEL

Name = tuple[str, str]
Explanation = dict[str, Any]


def explain(
    settings: Settings, day: date, *, lead: Name | None = None, product: Name | None = None
) -> Explanation:
    """Return why a lead got these offers or none, or how a product filled its quota.

    Args:
        settings: Settings of the home.
        day: A business date that was matched.
        lead: Channel and lead.
        product: Institution and product; together with `lead`, only the pair of the two.

    Raises:
        InputMissing: The day is not published, or has no such lead or product.
    """
    with connect(settings) as connection:
        published = load_day(connection, settings, day)
        explanation: Explanation = {"date": day.isoformat(), **published.versions}
        if lead is None:
            if product is None:
                return explanation
            names = {"institution_id": product[0], "product_id": product[1]}
            return explanation | names | explain_product(published, *product)
        names = {"channel_id": lead[0], "lead_id": lead[1]}
        explanation |= names | explain_lead(published, *lead)
    if product is not None:
        explanation["products"] = [
            row
            for row in explanation["products"]
            if (row["institution_id"], row["product_id"]) == product
        ]
    return explanation


def format_explanation(explanation: Explanation) -> str:
    """Return an explanation as lines of text: first the outcome, then the reasons."""
    if "match_id" in explanation:
        lines = _format_match(explanation)
    elif "lead_id" in explanation:
        lines = _format_lead(explanation)
    else:
        lines = _format_product(explanation)
    return "\n".join(lines)


def _format_match(match: Explanation) -> Iterator[str]:
    yield (
        f"match {match['match_id']} of {match['date']}: lead {match['channel_id']}/"
        f"{match['lead_id']} for {match['institution_id']}/{match['product_id']}"
    )
    state = match["state"] or "in no ledger"
    yield f"  delivery {match['delivery_id'] or 'none'}: {state}"
    for event in match["history"]:
        detail = f" ({without_personal(event['detail'])})" if event["detail"] else ""
        at = f" at {event['at']}" if event["at"] else ""
        version = f", version {event['version']}" if event["version"] else ""
        yield f"      {event['known_on']}  {event['event']}{version}{at}{detail}"
    consent = match["consent"]
    if consent is None:
        yield "  the lake has no such lead any more, so its consent is unknown"
        return
    yield from _format_consent(consent)
    covers = "covers" if consent["covers_institution"] else "does NOT cover"
    yield f"      it {covers} {match['institution_id']}"
    for later in match["later"]:
        yield f"  withdrawn {later['withdrawn_at']}, by the channel's file of {later['known_on']}"
    for notice in match["notices"]:
        yield (
            f"  notice of {notice['sent_on']} to the institution: {notice['kind']} from "
            f"{notice['effective_on']}, by {notice['deadline']}"
        )


def _format_lead(lead: Explanation) -> Iterator[str]:
    yield f"{lead['channel_id']}/{lead['lead_id']} on {lead['date']}: {lead['outcome']}"
    if lead["stage"]:
        yield f"  {lead['stage']}: {DETAILS.get(lead['detail'], lead['detail'])}"
    if lead.get("canonical_lead"):
        yield f"  the canonical lead of this person: {lead['canonical_lead']}"
    for record in lead.get("records", []):
        column = f", column {record['column']}" if record["column"] else ""
        yield f"  {record['file']}, line {record['line']}{column}: {record['rule']}"
    if consent := lead.get("consent"):
        yield from _format_consent(consent)
    if kinds := [kind.replace("_", " ") for kind in lead.get("contradictions", ())]:
        yield f"  figures that contradict each other or the supply links: {', '.join(kinds)}"
    for row in lead.get("words", ()):
        name = f"{row['institution_id']}/{row['product_id']}"
        yield f"  shown to the person, {name}: {row['en']}"
        yield f"      {row['zh']}"
    for row in lead["products"]:
        yield from _format_pair(row)
    yield f"policy {lead['policy_version']}, models {lead['models']}"


def _format_consent(consent: Explanation) -> Iterator[str]:
    scope = ", ".join(consent["scope"] or ()) or "nobody"
    withdrawn = f", withdrawn {consent['withdrawn_at']}" if consent["withdrawn_at"] else ""
    yield f"  consent {consent['version']}, given {consent['given_at']} for {scope}{withdrawn}"
    for name in ("purpose", "evidence"):
        if consent[name]:
            yield f"      {name}: {without_personal(consent[name])}"
    for text in consent["texts"]:
        proven = {True: "the text that was shown", False: "a text of this version"}
        dates = f"from {text['shown_from']}" + (
            f" to {text['shown_to']}" if text["shown_to"] else ""
        )
        yield (
            f"      {proven[text['is_shown']]} ({text['jurisdiction']}, {text['language']}, "
            f"{dates}, sha256 {text['sha256']}): {text['text'] or text['file']}"
        )
    if consent["text_sha256"] and not any(text["is_shown"] for text in consent["texts"]):
        yield f"      the text shown (sha256 {consent['text_sha256']}) is in no register"
    if not consent["text_sha256"]:
        yield "      the channel sent no hash of the text, so which one was shown is not proven"


def _format_pair(row: Explanation) -> Iterator[str]:
    decision = f"offer {row['rank']}" if row["rank"] else row["decision"]
    propensity = row.get("propensity", 0)
    drawn = f" (propensity {propensity:.1%})" if 0 < propensity < 1 else ""
    yield f"  {row['institution_id']}/{row['product_id']}  {decision}: {row['why']}{drawn}"
    if "expected_value" in row:
        yield (
            f"      approval {row['p_approve']:.1%}, take-up {row['p_fund']:.1%}, default "
            f"{row['pd']:.2%}, at {row['suggested_apr']:.2%} a year; value "
            f"{row['expected_value']:,.2f} (person {row['person_benefit']:,.2f}, institution "
            f"{row['institution_margin']:,.2f} before its fee of {row['revenue']:,.2f}, each "
            f"weighted); quota price {row['price_of_quota']:,.2f}, value after all prices "
            f"{row['value_after_price']:,.2f}"
        )


def _format_product(product: Explanation) -> Iterator[str]:
    name = f"{product['institution_id']}/{product['product_id']} on {product['date']}"
    if "closed" in product:
        yield f"{name}: took no leads ({product['closed']})"
        return
    yield f"{name}: {product['matches']:,} of a quota of {product['daily_quota']:,} leads used"
    yield f"  one more lead of quota would add {product['price_of_quota']:,.2f} a day"
    if product["daily_budget"] is not None:
        spend = f"{product['expected_spend']:,.2f} of {product['daily_budget']:,.2f}"
        yield f"  expected spend {spend}"
    yield "  leads left after each step:"
    for row in product["funnel"]:
        label = FUNNEL.get(row["step"], "scored by the models")
        yield f"    {row['leads']:>9,}  {row['step']}: {label}"
    if product["near_misses"]:
        yield "  leads that one rule alone excludes:"
    for row in sorted(product["near_misses"], key=lambda row: -row["leads"]):
        attribute = "" if row["attribute"] in {"", "lead_row"} else f" ({row['attribute']})"
        yield f"    {row['leads']:>9,}  {row['step']}{attribute}"
    yield "  decisions about the scored leads:"
    for row in product["decisions"]:
        yield f"    {row['leads']:>9,}  {row['why']}"
    yield f"policy {product['policy_version']}, models {product['models']}"
