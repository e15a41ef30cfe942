"""What an institution's manifest tells of prices: those of its own products, in figures and words.

Prices of others, and what the platform itself limits (pacing, exposure), are nobody else's
business.
"""

from collections import defaultdict
from dataclasses import asdict
from datetime import date
from typing import Any

from expectations import policy
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches.shadow_price_text import told_prices

Facts = dict[str, Any]

TOLD = ("prices", "prices_currency", "prices_note", "floors_short")
"""Fields of a manifest beyond those agreed; a receiver may do without them."""


NOTE = (
    "What the day's matches would be worth more in all: to first order, each by itself. Leads that "
    "a rule keeps away are counted one by one, whether or not your quota has room for all of them."
)


def told(settings: Settings, day: date) -> dict[str, Facts]:
    """Return institution -> `TOLD` of it: `prices` by product, each with `words`; `floors_short`:
    leads that it was promised and can't get, where there are any.

    Raises:
        InputMissing: The day's matches are not published.
    """
    matches, marts = (settings.day_folder(root, day) for root in (settings.matches, settings.marts))
    short = read_manifest(matches).get("floors_short", [])
    found: defaultdict[str, Facts] = defaultdict(
        lambda: {
            "prices": [],
            "prices_currency": policy.base_currency(),
            "prices_note": NOTE,
        }
    )
    for product in told_prices(matches, marts):
        facts = asdict(product) | {"rules": [*map(asdict, product.rules)], "words": product.words}
        owner = facts.pop("institution_id")
        found[owner]["prices"].append(facts)
    for floor in short:
        owner = floor.get("institution_id")
        if owner is not None:
            own = {name: value for name, value in floor.items() if name != "institution_id"}
            found[owner].setdefault("floors_short", []).append(own)
    return dict(found)
