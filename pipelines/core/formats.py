"""Text of numbers, dates and names, independent of the machine's language."""

import re
from collections.abc import Callable
from datetime import date
from itertools import zip_longest

from markupsafe import Markup, escape

from pipelines.core.errors import UsageError

NOTHING = "\N{EN DASH}"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
PERSONAL = re.compile(
    r"""
    (?<!\d)(?:
        \d{6}[ -]?\d{8}[ -]?\d{3}[\dXx]                 # an identity number of CN
        | (?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}    # a mobile phone of CN
        | \+\d(?:[ -]?\d){7,14}                         # a phone with its country's code
    )(?!\d)
    | (?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])              # a social security number of US
    | [^\s@]+@[^\s@]+\.\w+                             # an e-mail address
    """,
    re.VERBOSE,
)
MAX_NAME, MAX_NOTE = 100, 2_000
"""Characters of a name and of a note in a ledger."""


def count(value: float | None) -> str:
    """Return a whole number with thousands separators: 12,345."""
    return NOTHING if value is None else f"{value:,.0f}"


def share(part: float | None, whole: float | None = 1.0) -> str:
    """Return `part` of `whole` as a percentage with one decimal; a dash where `whole` is 0."""
    return NOTHING if part is None or not whole else f"{part / whole:.1%}"


def percent(value: float, places: int) -> str:
    """Return a share as a percentage with `places` decimals, for shares near one."""
    return f"{value:.{places}%}"


def figure(value: float | None) -> str:
    """Return a model's figure with three decimals."""
    return NOTHING if value is None else f"{value:.3f}"


def small(value: float | None) -> str:
    """Return a small figure with four decimals."""
    return NOTHING if value is None else f"{value:.4f}"


def money(value: float | None, currency: str | None = None) -> str:
    """Return an amount with two decimals and its currency."""
    if value is None:
        return NOTHING
    number = f"{round(value, 2) + 0.0:,.2f}"  # adding 0.0 turns -0.0 into 0.0
    return f"{number} {currency}" if currency else number


def prose(text: str) -> Markup:
    """Return `text` as HTML, with the parts between back-ticks as code."""
    parts = text.split("`")
    codes = [Markup("<code>{}</code>").format(part) for part in parts[1::2]]
    plain = [escape(part) for part in parts[::2]]
    both = [piece for pair in zip_longest(plain, codes, fillvalue=Markup()) for piece in pair]
    return Markup().join(both)


def long_date(day: date) -> str:
    """Return a date in long form, in English on every machine."""
    return f"{WEEKDAYS[day.weekday()]}, {day.day} {MONTHS[day.month - 1]} {day.year}"


def short_date(day: date) -> str:
    """Return a date as the label of an axis: 3 Feb."""
    return f"{day.day} {MONTHS[day.month - 1][:3]}"


def without_personal(text: str) -> str:
    """Return `text` with every likely identity number, phone and e-mail address masked.

    Messages and file names hold none by design; this is a second check for published pages.
    """
    return PERSONAL.sub("[masked]", text) if PERSONAL.search(text) else text


def clean_note(what: str, text: str, longest: int = MAX_NOTE) -> str:
    """Return a name or note for a ledger that is never erased, on one line.

    Raises:
        UsageError: It is too long, can't be printed, or holds what looks like an identity number, a
            phone or an e-mail address.
    """
    text = re.sub(r"\s+", " ", text).strip()
    if len(text) > longest or not text.isprintable():
        raise UsageError(
            f"The {what} has {len(text):,} characters, or one that can't be printed; at most "
            f"{longest:,} printable ones are kept. Nothing was recorded."
        )
    if without_personal(text) != text:
        raise UsageError(
            f"The {what} holds what looks like an identity number, a phone or an e-mail address. "
            "The ledger is never erased, so it may name no person but the officer. Nothing was "
            "recorded. Name a lead as CHANNEL/LEAD."
        )
    return text


FILTERS: dict[str, Callable[..., object]] = {
    function.__name__: function
    for function in (
        *(count, share, percent, figure, small, money),
        prose,
    )
}
"""The functions that the templates use as filters, by name."""
