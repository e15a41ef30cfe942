"""`explain`: what decided, on the day as it was published."""

from datetime import date
from typing import Any

from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.explain.day import load_day
from pipelines.explain.lead import explain_lead
from pipelines.explain.product import explain_product

Name = tuple[str, str]


def explain(
    settings: Settings, day: date, *, lead: Name | None = None, product: Name | None = None
) -> dict[str, Any]:
    """Return why a lead got these offers or none, or how a product fared.

    Args:
        settings: Where the day is.
        day: A business date that was matched.
        lead: Channel and lead.
        product: Institution and product; together with `lead`, only what decided between the two.

    Raises:
        InputMissing: The day isn't published, or knows no such lead or product.
    """
    with connect(settings) as connection:
        told = load_day(connection, settings, day)
        found: dict[str, Any] = {"date": day.isoformat(), **told.made_by}
        if lead is None:
            if product is None:
                return found
            names = {"institution_id": product[0], "product_id": product[1]}
            return found | names | explain_product(told, *product)
        found |= {"channel_id": lead[0], "lead_id": lead[1]} | explain_lead(told, *lead)
    if product is not None:
        found["products"] = [
            row
            for row in found["products"]
            if (row["institution_id"], row["product_id"]) == product
        ]
    return found
