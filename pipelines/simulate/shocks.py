"""Shocks: changes of a market from one day on, by name."""

from dataclasses import dataclass
from datetime import date

from pipelines.core.errors import UsageError

CHANNEL_TURNS_BAD = "channel_turns_bad"
SECTOR_FALLS = "sector_falls"
INSTITUTION_TIGHTENS = "institution_tightens"
PRICE_CAP = "price_cap"

NAMES = {
    CHANNEL_TURNS_BAD: "the largest channel brings less reliable people and more fake leads",
    SECTOR_FALLS: "firms of the most common industry sell less, pay later, default more often",
    INSTITUTION_TIGHTENS: "the institution with the largest quota raises its approval cut-off",
    PRICE_CAP: "the highest rate falls by a third; leads cost the same",
}


@dataclass(frozen=True)
class Shock:
    """One change, in force from a business date on."""

    name: str
    """One of `NAMES`."""
    on: date

    @classmethod
    def parse(cls, text: str) -> "Shock":
        """Return the shock that is written `NAME@DATE`.

        Raises:
            UsageError: The name or the date does not exist.
        """
        name, _, on = text.partition("@")
        if name not in NAMES:
            raise UsageError(
                f"No shock is named {name!r}; the names are {', '.join(sorted(NAMES))}. "
                "Write it as NAME@DATE."
            )
        try:
            return cls(name, date.fromisoformat(on))
        except ValueError:
            raise UsageError(
                f"{text!r} has no valid date. Write it as NAME@DATE, such as {name}@2025-03-17."
            ) from None

    def __str__(self) -> str:
        return f"{self.name}@{self.on}"
