"""The leads of a day: applicant, channel, requested loan, consent, and hidden traits."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.market.channels import Channels, channel_shares, channels_on
from pipelines.simulate.market.lenders import SEGMENTS, Lenders
from pipelines.simulate.population import firms, identities, people
from pipelines.simulate.population.chains import firm_stability, month_number
from pipelines.simulate.shocks import SECTOR_FALLS
from pipelines.simulate.world import (
    CURRENCY,
    REGIONS,
    Columns,
    TextArray,
    TimeArray,
    World,
    format_ids,
)

REPEAT_SHARE = 0.03
"""Share of leads that repeat another one of the day, through a channel drawn independently."""
RING_SIZE = 9
"""Leads of one fraud ring: different people, one device, within an hour."""
LEADS_PER_RING = 2_000
SCOPES = 64
"""Different lists of institutions that people consent to."""
SCOPE_SIZE = 12
"""Institutions on such a list, about."""
CONSENT_ROLES = np.array(["owner", "legal_representative", "authorised_agent", "employee"])
CONSENT_ROLE_WEIGHTS = [58, 30, 11, 1]
"""Who consents for a firm, by weight; an employee may not."""
CHANNELS_WITH_ROLE = 0.5
"""Share of channels that ask who consents for a firm."""
HOURS = [2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 12, 11, 11, 11, 10, 10, 11, 13, 14, 13, 10, 5]
"""Leads by hour of the day, local time."""
MISSING = {
    "income_monthly": 0.03, "debt_monthly": 0.05, "housing": 0.04, "employment": 0.02,
    "ethnicity": 0.3, "device_id": 0.08, "invoices_12m": 0.15, "tax_paid_annual": 0.10,
}  # fmt: skip
"""Share of leads in which a column is missing."""

Address = tuple[IntArray, IntArray]
"""Day and number of a lead within the day."""


@dataclass(frozen=True)
class DayLeads:
    """Leads of one day, in no particular order."""

    day: date
    number: IntArray
    """Number within the day; everything about a lead is a function of its number."""
    columns: Columns
    """Columns of the leads feed."""
    channel: IntArray
    """Position of the channel."""
    captured: TimeArray
    traits: Columns
    """Hidden traits that decide outcomes, one column for people and firms: `is_firm`, `applicant`
    (number of the person or firm), `ring` (fraud ring of the day; -1: none), `is_fake`, `region`,
    `industry`, `idle`, `age`, `income` (a month; a year's revenue of firms), `burden` (debt
    payments over income), `score`, `stability`, `hidden`, `chain` (log-odds of default that its
    buyers, its sector and its own failure add)."""

    @property
    def address(self) -> Address:
        """The address of these leads, for random numbers."""
        return np.full(self.number.size, self.day.toordinal()), self.number


def generate_leads(
    world: World, channels: Channels, lenders: Lenders, day: date, number: IntArray | None = None
) -> DayLeads:
    """Return leads of business date `day`.

    Args:
        world: The world.
        channels: Its channels.
        lenders: Its institutions.
        day: A business date.
        number: Numbers of the leads within the day; None: all leads.
    """
    number = np.arange(world.leads_per_day) if number is None else number
    leads = generate_requests(world, channels, day, number)
    random, address = world.random, leads.address
    columns, traits, channel, captured = leads.columns, leads.traits, leads.channel, leads.captured
    person_device = traits["applicant"] + traits["is_firm"] * 10**8
    ring_device = 10**9 + address[0] * 10_000 + traits["ring"]
    device = np.where(traits["ring"] >= 0, ring_device, person_device)
    phones = np.where(traits["is_fake"], _impossible_phones(world, address), columns["phone"])
    columns = columns | {
        "lead_id": format_ids(f"{day:%y%m%d}-", number, 7),
        "captured_at": captured,
        "segment": SEGMENTS[traits["is_firm"].astype(np.int64)],
        "campaign_id": _campaigns(world, channels_on(world, channels, day), channel, address),
        "phone": phones,
        "device_id": identities.device_ids(random, device),
        "currency": np.full(number.size, CURRENCY),
    }
    columns |= _consent(world, lenders, address, captured)
    columns["consent_by_role"] = _consent_roles(world, channel, traits["is_firm"], address)
    for name, share in MISSING.items():
        is_missing = random.uniform(f"left out {name}", *address) < share
        columns[name] = np.where(is_missing, _missing_value(columns[name]), columns[name])
    return replace(leads, columns=columns)


def generate_requests(world: World, channels: Channels, day: date, number: IntArray) -> DayLeads:
    """Return leads with what decides their outcomes: applicant, requested loan and traits.

    Contact, consent and missing values are left out, which no truth depends on.
    """
    address = (np.full(number.size, day.toordinal()), number)
    ring, first = _fraud_rings(world, address), _original_leads(world, address)
    channel, captured = arrivals(world, channels, day, number)
    channels = channels_on(world, channels, day)
    first_address = (address[0], first)
    first_channel, _ = arrivals(world, channels, day, first)
    is_firm = _draws_firm(world, channels, first_channel, first_address) & (ring < 0)
    applicant = _applicants(world, is_firm, channels.quality[first_channel], first_address)
    columns, traits = _describe_applicants(world, day, is_firm, applicant, first_address)
    is_fake = world.random.uniform("invented", *address) < channels.fake[channel]
    traits |= {"is_firm": is_firm, "applicant": applicant, "ring": ring, "is_fake": is_fake}
    return DayLeads(day, number, columns, channel, captured, traits)


def find_firms(world: World, channels: Channels, day: date, number: IntArray) -> BoolArray:
    """Return which leads of these numbers are of firms, without generating the leads."""
    address = (np.full(number.size, day.toordinal()), number)
    channels = channels_on(world, channels, day)
    first = _original_leads(world, address)
    first_channel, _ = arrivals(world, channels, day, first)
    is_firm = _draws_firm(world, channels, first_channel, (address[0], first))
    return is_firm & (_fraud_rings(world, address) < 0)


def _draws_firm(world: World, channels: Channels, channel: IntArray, address: Address) -> BoolArray:
    share = channels.business[channel]
    return np.asarray(world.random.uniform("segment of lead", *address) < share)


def arrivals(
    world: World, channels: Channels, day: date, number: IntArray
) -> tuple[IntArray, TimeArray]:
    """Return channel and time of capture of the leads of these numbers."""
    channels = channels_on(world, channels, day)
    address = (np.full(number.size, day.toordinal()), number)
    ring = _fraud_rings(world, address)
    shares = channel_shares(world, channels, day)
    channel = world.random.choice("channel", shares.tolist(), *address)
    channel = np.where(ring >= 0, np.argmin(channels.quality), channel)
    return channel, _capture_times(world, address, ring, day)


def lead_numbers_by_channel(world: World, channels: Channels, day: date) -> list[IntArray]:
    """Return the numbers of the day's leads by channel, each channel's in order of capture."""
    number = np.arange(world.leads_per_day)
    channel, captured = arrivals(world, channels, day, number)
    order = np.lexsort((captured, channel))
    ends = np.cumsum(np.bincount(channel, minlength=world.channels))
    return np.split(number[order], ends[:-1])


def _fraud_rings(world: World, address: Address) -> IntArray:
    """Return the fraud ring of each lead, -1 for none."""
    day, number = address
    count = world.leads_per_day // LEADS_PER_RING
    if not count:
        return np.full(number.size, -1)
    size = world.leads_per_day // count
    ring = np.minimum(number // size, count - 1)
    begin = world.random.integers("ring", size - RING_SIZE, ring, day)
    position = number - ring * size - begin
    return np.where((position >= 0) & (position < RING_SIZE), ring, -1)


def _original_leads(world: World, address: Address) -> IntArray:
    """Return the lead that each lead repeats, in most cases itself."""

    def is_repeat(day: IntArray, number: IntArray) -> BoolArray:
        return world.random.uniform("again", day, number) < REPEAT_SHARE

    day, number = address
    original = world.random.integers("again of", world.leads_per_day, day, number)
    in_ring = (_fraud_rings(world, address) >= 0) | (_fraud_rings(world, (day, original)) >= 0)
    repeats = is_repeat(day, number) & ~is_repeat(day, original) & ~in_ring
    return np.where(repeats, original, number)


def _applicants(
    world: World, is_firm: BoolArray, quality: FloatArray, address: Address
) -> IntArray:
    """Return the applicant of each lead: one of two, by the quality of the channel.

    A good channel selects the more stable of the two more often, a bad one the less stable.
    """
    random = world.random
    limit = np.where(is_firm, world.firms, world.people)
    one = random.integers("applicant", limit, *address)
    other = random.integers("other applicant", limit, *address)

    def stability(number: IntArray) -> FloatArray:
        of_firms = firm_stability(random, number)
        return np.where(is_firm, of_firms, people.person_stability(random, number))

    selects = random.uniform("selects", *address) < np.abs(quality)
    prefers_other = (stability(other) > stability(one)) == (quality > 0)
    return np.where(selects & prefers_other, other, one)


def _describe_applicants(
    world: World, day: date, is_firm: BoolArray, applicant: IntArray, address: Address
) -> tuple[Columns, Columns]:
    """Return the feed columns that come from the applicant, and the traits that decide."""
    firm, person = np.flatnonzero(is_firm), np.flatnonzero(~is_firm)
    day_number, number = address
    firm_columns, firm_traits = _describe_firms(
        world, day, applicant[firm], (day_number[firm], number[firm])
    )
    person_columns, person_traits = _describe_people(
        world, applicant[person], (day_number[person], number[person])
    )
    return (
        _merge(firm, firm_columns, person, person_columns),
        _merge(firm, firm_traits, person, person_traits),
    )


def _describe_firms(
    world: World, day: date, number: IntArray, address: Address
) -> tuple[Columns, Columns]:
    random = world.random
    described = firms.generate_firms(random, number)
    if world.has_shock(SECTOR_FALLS, day):
        described = firms.apply_sector_fall(described)
    columns = firms.identity_columns(random, described)
    columns |= firms.loan_request(random, described, address)
    columns |= {
        "region": REGIONS[described.region],
        "debt_monthly": np.round(described.debt / 12, -1),
        "bureau_score": described.score,
        "industry": firms.INDUSTRIES[described.industry],
        "established_on": described.established,
        "revenue_annual": described.revenue,
        "employees": described.employees,
        "tax_paid_annual": described.tax,
        "invoices_12m": described.invoices,
    }
    age_days = (np.datetime64(day) - described.established).astype(np.int64)
    chain = firms.chains_of(world).default_log_odds(number, month_number(day))
    return columns, {
        "region": described.region,
        "industry": described.industry,
        "idle": np.zeros(number.size, np.bool_),
        "age": np.floor(age_days / 365.2425),
        "income": described.revenue,
        "burden": described.debt / described.revenue * 10,
        "score": described.score,
        "stability": described.stability,
        "hidden": described.hidden,
        "chain": chain,
    }


def _describe_people(world: World, number: IntArray, address: Address) -> tuple[Columns, Columns]:
    described = people.generate_people(world.random, number)
    columns = people.identity_columns(world.random, described)
    columns |= people.loan_request(world.random, described, address)
    columns |= {
        "region": REGIONS[described.region],
        "employment": people.EMPLOYMENT[described.employment],
        "income_monthly": described.income,
        "debt_monthly": described.debt,
        "bureau_score": described.score,
        "housing": people.HOUSING[described.housing],
    }
    columns |= people.bureau_history(world.random, described)
    return columns, {
        "region": described.region,
        "industry": np.zeros(number.size, np.int64),
        "idle": np.isin(described.employment, (people.STUDENT, people.UNEMPLOYED)),
        "age": described.age,
        "income": described.income,
        "burden": described.debt / np.maximum(described.income, 100),
        "score": described.score,
        "stability": described.stability,
        "hidden": described.hidden,
        "chain": np.zeros(number.size),
    }


def _merge(one: IntArray, of_one: Columns, two: IntArray, of_two: Columns) -> Columns:
    """Return columns over the positions of both groups; values that a group lacks are missing."""
    merged: Columns = {}
    for name in [*of_one, *(name for name in of_two if name not in of_one)]:
        groups = [(at, part[name]) for at, part in ((one, of_one), (two, of_two)) if name in part]
        kind = np.result_type(*(values for _, values in groups))
        if len(groups) == 1 and kind.kind == "i":
            kind = np.dtype(np.float64)
        column = np.full(one.size + two.size, _missing_value(np.empty(0, kind)), kind)
        for at, values in groups:
            column[at] = values
        merged[name] = column
    return merged


def _missing_value(column: NDArray[Any]) -> Any:
    """Return the missing value of a column of this type."""
    return {"U": "", "f": np.nan, "M": np.datetime64("NaT"), "i": 0, "b": False}[column.dtype.kind]


def _capture_times(world: World, address: Address, ring: IntArray, day: date) -> TimeArray:
    random = world.random
    hour_key = np.where(ring >= 0, 10**9 + ring, address[1])
    hour = random.choice("hour", HOURS, address[0], hour_key)
    second = random.integers("second", 3600, *address)
    return world.start_of(day) + (hour * 3600 + second).astype("timedelta64[s]")


def _campaigns(world: World, channels: Channels, channel: IntArray, address: Address) -> TextArray:
    campaign = format_ids("-c", 1 + world.random.choice("campaign", [4, 3, 2, 1], *address), 1)
    return np.char.add(channels.name[channel], campaign)


def _impossible_phones(world: World, address: Address) -> TextArray:
    """Return phone numbers that cannot exist: no mobile number begins with 12."""
    return format_ids("+8612", world.random.integers("impossible phone", 10**9, *address), 9)


def _consent_roles(
    world: World, channel: IntArray, is_firm: BoolArray, address: Address
) -> TextArray:
    """Return who consented for each firm; empty of people, and where the channel doesn't ask."""
    random = world.random
    asks = random.uniform("channel asks who consents", channel) < CHANNELS_WITH_ROLE
    role = CONSENT_ROLES[random.choice("who consents", CONSENT_ROLE_WEIGHTS, *address)]
    return np.where(is_firm & asks, role, "")


def _consent(world: World, lenders: Lenders, address: Address, captured: TimeArray) -> Columns:
    random = world.random
    lender = np.arange(lenders.name.size)
    share = min(0.3, SCOPE_SIZE / lenders.name.size)
    scopes = np.array(
        [
            "|".join(lenders.name[random.uniform("scope", scope, lender) < share])
            for scope in range(SCOPES)
        ]
    )
    scopes = np.where(scopes == "", "all", scopes)
    scope = scopes[random.integers("consent list", SCOPES, *address)]
    before = 20 + random.integers("consent before", 600, *address)
    after = 60 + random.integers("withdrawn after", 7200, *address)
    is_withdrawn = random.uniform("withdrawn", *address) < 0.005
    withdrawn_at = captured + after.astype("timedelta64[s]")
    return {
        "consent_scope": np.where(random.uniform("consent to all", *address) < 0.92, "all", scope),
        "consent_at": captured - before.astype("timedelta64[s]"),
        "consent_version": np.full(captured.size, "2026-01"),
        "consent_withdrawn_at": np.where(is_withdrawn, withdrawn_at, np.datetime64("NaT")),
    }
