"""Delivery windows: the hours and banking days on which an institution takes files."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays

from expectations.policy_types import Agreement
from pipelines.transport.endpoints import TransportRefused

MAX_DAYS = 30
"""No country has so many days without a banking day among them."""

Window = tuple[datetime, datetime]


def find_window(agreement: Agreement, now: datetime, zone: ZoneInfo) -> Window | None:
    """Return the next window, its first and last moment; None: the institution takes files now.

    Raises:
        TransportRefused: The country of the banking days has no calendar here.
    """
    local = now.astimezone(zone)
    for days in range(MAX_DAYS):
        day = local.date() + timedelta(days=days)
        first = datetime.combine(day, agreement.delivery_from or time.min, tzinfo=zone)
        last = datetime.combine(day, agreement.delivery_until or time.max, tzinfo=zone)
        if local <= last and _is_banking_day(agreement, first):
            return None if first <= local else (first, last)
    raise TransportRefused("calendar", f"{agreement.banking_days} has no banking day in a month")


def describe_window(agreement: Agreement, window: Window) -> str:
    """Return when the file goes, and why not now."""
    hours, days = "", ""
    if agreement.delivery_from and agreement.delivery_until:
        hours = f" between {agreement.delivery_from:%H:%M} and {agreement.delivery_until:%H:%M}"
    if agreement.banking_days:
        days = f" on banking days of {agreement.banking_days}"
    return (
        f"takes files{hours}{days} (expectations/policy/transport.yml); the next window begins "
        f"{window[0]:%Y-%m-%d %H:%M}"
    )


def _is_banking_day(agreement: Agreement, moment: datetime) -> bool:
    if agreement.banking_days is None:
        return True
    try:
        calendar = holidays.country_holidays(agreement.banking_days)
    except NotImplementedError:
        raise TransportRefused(
            "calendar",
            f"no calendar is known for `banking_days: {agreement.banking_days}` of "
            f"{agreement.institution_id} in expectations/policy/transport.yml; correct the country",
        ) from None
    return bool(calendar.is_working_day(moment.date()))
