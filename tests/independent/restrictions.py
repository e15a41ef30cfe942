"""What the landed files that are known at a moment forbid, by own rules."""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.independent.costs import find_annual_cost
from tests.independent.landed import LandedFile, Landing, Row

POLICY = Path(__file__).parents[2] / "expectations" / "policy"
ZONE = timezone(timedelta(hours=8))
"""The platform's time zone, by default Asia/Shanghai."""
EVERY = {"", "all", "*"}
OPERATORS = {"in", "not_in", "ge", "le", "between", "known"}
TEXT_ATTRIBUTES = {
    *("segment", "campaign_id", "id_type", "device_id", "region", "employment", "housing"),
    *("currency", "purpose", "industry", "loan_program", "occupancy", "dwelling"),
}
NUMBER_ATTRIBUTES = {
    *("income_monthly", "debt_monthly", "bureau_score", "amount", "term_months", "revenue_annual"),
    *("employees", "tax_paid_annual", "invoices_12m", "collateral_value", "loan_to_value"),
}
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
PERSON_DAYS = 7


@dataclass
class Policy:
    """The published limits of expectations/policy/."""

    not_judged: Counter[str] = field(default_factory=Counter)
    """Attribute of a rule that this check can't compute -> pairs."""

    @cached_property
    def max_offers(self) -> int:
        return int(_read_policy("value")["max_offers_per_lead"])

    @cached_property
    def consent_days(self) -> int:
        return int(_read_policy("consent")[-1]["longest_days"])

    @cached_property
    def max_phones(self) -> int:
        return int(_read_policy("identity")[-1]["max_phones_per_person"])

    @cached_property
    def owned_firms(self) -> dict[str, Any]:
        """Return whether the firms of one owner `are` one, and when they are no owner's."""
        stated: dict[str, Any] = _read_policy("identity")[-1]["firms_of_one_owner"]
        return stated

    @cached_property
    def price_caps(self) -> list[dict[str, Any]]:
        return list(_read_policy("price_caps"))

    def complete(self, lead: Row, channel: str, day: date) -> Row:
        """Return the lead with the currency and the amount that are assumed if it states none."""
        completed, assumed = dict(lead), _read_policy("assumed_requests")
        for name, entries in (("currency", "currencies"), ("amount", "amounts")):
            known = {"channel_id": channel, **completed}
            del known[name]
            fitting = [
                entry
                for entry in assumed[entries]
                if entry["from"] <= day <= entry.get("to", day)
                and all(entry.get(key, value) == value for key, value in known.items())
            ]
            fitting.sort(key=lambda entry: ("channel_id" in entry, entry["from"]))
            if fitting and not lead.get(name):
                completed[name] = f"{fitting[-1][name]}"
        return completed

    def consent_roles(self, day: date, region: str) -> list[dict[str, Any]]:
        """Return the entries that say who may consent for a business of a region on a day.

        A region of no listed jurisdiction has to satisfy all of them.
        """
        in_force = {
            entry["jurisdiction"]: entry
            for entry in sorted(_read_policy("consent_roles")["roles"], key=lambda e: e["from"])
            if entry["from"] <= day
        }
        own = in_force.get(region.partition("-")[0])
        return [own] if own else list(in_force.values())

    def cost_rule(self, day: date, **pair: str) -> dict[str, Any]:
        """Return how the whole cost of such a loan is stated and limited on a day."""
        found = [
            entry
            for entry in _read_policy("financing_cost")["rules"]
            if entry["from"] <= day <= (entry.get("to") or date.max)
            and all(entry.get(name) in {None, value} for name, value in pair.items())
        ]
        return max(found, key=lambda entry: (entry["from"], sum(name in entry for name in pair)))

    def cap(self, day: date, **pair: str) -> float | None:
        """Return the lowest price cap in force for kind, segment and currency."""
        caps = [
            entry["cap"]
            for entry in self.price_caps
            if entry["from"] <= day <= (entry.get("to") or date.max)
            and all(entry.get(name) in {None, value} for name, value in pair.items())
        ]
        return min(caps, default=None)


@dataclass(frozen=True, eq=False)
class Lead:
    """One landed row of a lead."""

    values: Row
    file: LandedFile

    @cached_property
    def name(self) -> str:
        return f"{self.file.source}/{self.values.get('lead_id', '')}"

    @cached_property
    def id_number(self) -> str:
        return normalise_id(self.values.get("id_number", ""))

    @cached_property
    def phone(self) -> str:
        return normalise_phone(self.values.get("phone", ""))

    @cached_property
    def owner(self) -> str:
        """The number of the owner, or legal representative, that a row states."""
        return normalise_id(self.values.get("owner_id_number", ""))

    @cached_property
    def owner_of_firm(self) -> str:
        """The owner of a firm whose number may connect it with others."""
        is_mistyped = self.values.get("owner_id_type") == "prc_resident_id" and not is_resident_id(
            self.owner
        )
        is_firm = self.values.get("segment") == "business" and self.owner != self.id_number
        return self.owner if is_firm and not is_mistyped else ""

    @cached_property
    def withdrawn(self) -> str:
        return self.values.get("consent_withdrawn_at", "")

    @cached_property
    def consent_at(self) -> datetime | None:
        return read_moment(self.values.get("consent_at", ""))

    @cached_property
    def subjects(self) -> set[tuple[str, str]]:
        """The subjects of orders that name this row."""
        found = {("lead", self.name)}
        if self.id_number:
            found.add(("id_number", sha(self.id_number)))
        if self.owner:
            found.add(("id_number", sha(self.owner)))
        if self.phone:
            found |= {("phone", sha(text)) for text in (self.phone, f"+{self.phone.lstrip('+')}")}
        return found

    def attribute(self, name: str) -> str | float | None:
        """Return the value that a product's rule compares; None if it is unknown."""
        if name in TEXT_ATTRIBUTES:
            return self.values.get(name) or None
        if name in NUMBER_ATTRIBUTES:
            return number_or_none(self.values.get(name, ""))
        if name == "age_years":
            return self._age()
        if name == "business_age_years":
            founded = date_or_none(self.values.get("established_on", ""))
            return (self.file.landed_on - founded).days / 365.25 if founded else None
        raise KeyError(name)

    def _age(self) -> float | None:
        captured = read_moment(self.values.get("captured_at", ""))
        born = date_or_none(self.values.get("birth_date", ""))
        if self.values.get("id_type") == "prc_resident_id" and is_resident_id(self.id_number):
            digits = self.id_number[6:14]
            born = date_or_none(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}")
        if born is None or captured is None:
            return None
        on = captured.astimezone(ZONE).date()
        return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


class LeadIndex:
    """All landed rows of leads, by the values that identify them."""

    def __init__(self, files: list[LandedFile]) -> None:
        self.by_amount: defaultdict[float | None, list[Lead]] = defaultdict(list)
        self.by_name: defaultdict[str, list[Lead]] = defaultdict(list)
        self.by_id: defaultdict[str, list[Lead]] = defaultdict(list)
        self.by_phone: defaultdict[str, list[Lead]] = defaultdict(list)
        self.by_owner: defaultdict[str, list[Lead]] = defaultdict(list)
        for file in files:
            for row in file.rows:
                lead = Lead(row, file)
                self.by_amount[number_or_none(row.get("amount", ""))].append(lead)
                self.by_name[lead.name].append(lead)
                if lead.id_number:
                    self.by_id[lead.id_number].append(lead)
                if lead.phone:
                    self.by_phone[lead.phone].append(lead)
                if lead.owner_of_firm:
                    self.by_owner[lead.owner_of_firm].append(lead)


_INDEXES: dict[
    int, tuple[Landing, LeadIndex, dict[tuple[str, str], list[tuple[LandedFile, Row]]]]
] = {}


def _index(landing: Landing) -> tuple[Landing, LeadIndex, Any]:
    if id(landing) not in _INDEXES:
        orders: defaultdict[tuple[str, str], list[tuple[LandedFile, Row]]] = defaultdict(list)
        for file in landing.orders:
            for row in file.rows:
                kind, subject = row.get("subject_type", ""), row.get("subject", "")
                orders[kind, subject if kind == "lead" else subject.lower()].append((file, row))
        if len(_INDEXES) > 1:
            _INDEXES.clear()
        _INDEXES[id(landing)] = (landing, LeadIndex(landing.leads), orders)
    return _INDEXES[id(landing)]


@dataclass(frozen=True)
class Knowledge:
    """The landed files that a lead file of `day`, judged as of `as_of`, had to obey."""

    landing: Landing
    day: date
    as_of: date
    written: float
    """Seconds since the epoch; a file that arrived later is not known."""
    policy: Policy
    links: Landing
    """The files by which leads are one person's: `landing`, or the files as they arrived."""

    def is_known(self, file: LandedFile, until: date | None = None) -> bool:
        return file.landed_on <= (until or self.as_of) and file.arrived <= self.written

    def _known(self, leads: list[Lead]) -> list[Lead]:
        return [lead for lead in leads if self.is_known(lead.file)]

    def candidates(self, row: Row) -> list[Lead]:
        """Return the known leads with the amount, or else the phone, of a delivered row."""
        index = _index(self.landing)[1]
        found = (
            index.by_amount[number_or_none(row["amount"])]
            if row.get("amount")
            else index.by_phone[normalise_phone(row.get("phone", ""))]
        )
        return [lead for lead in found if self.is_known(lead.file, self.day)]

    def named(self, name: str) -> list[Lead]:
        """Return the known rows of CHANNEL/LEAD: a sealed lead file shows no values of a lead."""
        found = _index(self.landing)[1].by_name[name]
        return [lead for lead in found if self.is_known(lead.file, self.day)]

    # the person

    def related(self, lead: Lead) -> list[Lead]:
        """Return the known rows of the lead's person: one identity number with its phones."""
        index = _index(self.links)[1]
        same_phone = self._recent(index.by_phone[lead.phone]) if lead.phone else []
        found = [
            other
            for other in same_phone
            if not (other.id_number and lead.id_number and other.id_number != lead.id_number)
        ]
        ids = {lead.id_number} if lead.id_number else {o.id_number for o in same_phone}
        for number in ids - {""}:
            of_number = self._recent(index.by_id[number])
            phones = {other.phone for other in of_number} - {""}
            if len(phones) > self.policy.max_phones and number != lead.id_number:
                continue
            found += of_number
            if len(phones) <= self.policy.max_phones:
                for phone in phones:
                    others = self._recent(index.by_phone[phone])
                    found += [other for other in others if not other.id_number]
        found += self._known(_index(self.landing)[1].by_name[lead.name])
        return [*found, *self._obeyed_by_firm(lead, found)]

    def _obeyed_by_firm(self, lead: Lead, person: list[Lead]) -> Iterator[Lead]:
        """Yield the known rows of a firm's owners, and of the other firms of each."""
        index = _index(self.links)[1]
        own = [other for other in person if other.id_number == lead.id_number or other is lead]
        for owner in {other.owner for other in own} - {""}:
            for other in self._recent(index.by_id[owner]):
                if other.values.get("id_type") == "prc_resident_id" and is_resident_id(owner):
                    yield other
        stated = self.policy.owned_firms
        if stated["are"] != "one":
            return
        for owner in {other.owner_of_firm for other in own} - {""}:
            firms = self._recent(index.by_owner[owner], int(stated["window_days"]))
            names = {firm.id_number or firm.phone or firm.name for firm in firms}
            if len(names) <= int(stated["max_firms"]):
                yield from self._recent(firms)
                for number in {firm.id_number for firm in firms} - {""}:
                    yield from self._recent(index.by_id[number])

    def _recent(self, leads: list[Lead], days: int = PERSON_DAYS) -> list[Lead]:
        since = self.day - timedelta(days=days)
        return [lead for lead in self._known(leads) if lead.file.landed_on >= since]

    def check_person(self, lead: Lead, institution: str) -> Iterator[str]:
        related = self.related(lead)
        copies = [other for other in related if other.name == lead.name]
        if any(other.withdrawn for other in copies):
            yield "consent withdrawn"
        elif any(_withdraws(other, lead, self.day) for other in related):
            yield "consent withdrawn on another lead of the person"
        scopes = [set(copy.values.get("consent_scope", "").split("|")) for copy in copies]
        if not all(scope & {"all", institution} for scope in scopes):
            yield "consent does not cover the institution"
        if any(copy.values.get("segment") == "business" for copy in copies):
            yield from self._check_role(lead, copies)
        if self._is_suppressed(related, institution):
            yield "suppressed"

    def _check_role(self, lead: Lead, copies: list[Lead]) -> Iterator[str]:
        """Yield what the role of the person who consented for a business forbids."""
        stated = (copy.values.get("consent_by_role", "") for copy in copies)
        roles = {"_".join(role.lower().split()) for role in stated} - {""}
        region = lead.values.get("region", "") if len(roles) <= 1 else ""
        entries = self.policy.consent_roles(self.day, region)
        if any(roles - set(entry["may_consent"]) for entry in entries):
            yield "consent by a role that may not consent"
        if not roles and any(entry["missing_role"] == "close" for entry in entries):
            yield "consent without a role"

    def _is_suppressed(self, related: list[Lead], institution: str) -> bool:
        orders = _index(self.landing)[2]
        end = datetime.combine(self.as_of + timedelta(days=1), time(), ZONE)
        for subject in set().union(*(lead.subjects for lead in related)):
            for file, row in orders.get(subject, ()):
                effective = read_moment(row.get("effective_at", ""))
                concerns = row.get("institution_id", "").lower() in {*EVERY, institution}
                if concerns and self.is_known(file) and (effective is None or effective < end):
                    return True
        return False

    def check_consent_age(self, lead: Lead) -> Iterator[str]:
        start = datetime.combine(self.as_of, time(), ZONE)
        end = datetime.combine(self.day + timedelta(days=1), time(), ZONE)
        given = lead.consent_at
        if given is None:
            yield "consent without a time"
        elif given >= end:
            yield "consent not given yet"
        elif given < start - timedelta(days=self.policy.consent_days):
            yield "consent expired"

    # the institution and its products

    def check_admission(self, institution: str) -> Iterator[str]:
        for day in {self.day, self.as_of}:
            if not self._is_admitted(institution, day):
                yield "institution not admitted"
                return

    def _is_admitted(self, institution: str, day: date) -> bool:
        listed: list[date] = []
        removed: list[date] = []
        by_source: defaultdict[str, list[LandedFile]] = defaultdict(list)
        for file in self.landing.institutions:
            if self.is_known(file, day):
                by_source[file.source].append(file)
        for files in by_source.values():
            lists = {file.landed_on for file in files}
            for on in sorted(lists):
                rows = _rows_of(files, on, institution_id=institution)
                if on == max(lists) and rows:
                    if not all(
                        _is_within(row, "admitted_from", "admitted_to", day) for row in rows
                    ):
                        return False
                    listed.append(on)
                elif on == max(lists) and any(
                    _rows_of(files, before, institution_id=institution) for before in lists
                ):
                    removed.append(on)
        return bool(listed) and max(listed) > max(removed, default=date.min)

    def check_open(self, institution: str, product: str, day: date) -> Iterator[str]:
        rows = self._catalogue(self.landing.products, institution, product, day)
        if not rows:
            yield "product not in the catalogue"
        for row in rows:
            if row.get("status") != "active":
                yield "product paused"
            if not _is_within(row, "valid_from", "valid_to", day):
                yield "product not valid"

    def check_terms(self, lead: Lead, institution: str, delivered: Row) -> Iterator[str]:
        product = delivered["product_id"]
        for row in self._catalogue(self.landing.products, institution, product, self.day):
            asked = self.policy.complete(lead.values, lead.file.source, self.day)
            yield from _check_limits(asked, row)
            loan = {"kind": self._kind(institution)}
            loan |= {name: row[name] for name in ("segment", "currency")}
            cap = self.policy.cap(self.day, **loan)
            yield from self._check_costs(asked, institution, row, cap, loan)
            lowest, rate = (
                number_or_none(row["apr_min"]),
                number_or_none(delivered["suggested_apr"]),
            )
            if cap is not None and (lowest is None or lowest > cap + 1e-9):
                yield "product above the price cap"
            highest = min(number_or_none(row["apr_max"]) or 0, cap if cap is not None else 10)
            if rate is not None and rate > highest + 1e-9:
                yield "rate above the product's or the cap"
        for rule in self._catalogue(self.landing.rules, institution, product, self.day):
            if not self._is_met(lead, rule):
                yield f"rule {rule.get('attribute')} {rule.get('op')}"

    def _check_costs(
        self, asked: Row, institution: str, product: Row, cap: float | None, loan: Row
    ) -> Iterator[str]:
        """Yield what the whole cost at the highest rate, or a missing line of fees, forbids."""
        rule = self.policy.cost_rule(self.day, **loan)
        name = product["product_id"]
        fees = self._catalogue(self.landing.fees, institution, name, self.day)
        kinds = {fee["is_contingent"].lower() in {"true", "1"} for fee in fees}
        required = {line == "contingent" for line in rule.get("fee_lines", ())}
        if not required <= kinds:
            yield "costs not stated"
        amount = number_or_none(asked.get("amount", ""))
        if rule["cap_compares"] != "whole_cost" or cap is None or amount is None:
            return
        term = number_or_none(asked.get("term_months", ""))
        lent = range(int(product["term_min_months"]), int(product["term_max_months"]) + 1)
        rate = number_or_none(product["apr_max"]) or 0
        repayment = product.get("repayment", "")
        for months in lent if term is None else [int(term)]:
            if find_annual_cost(amount, months, rate, repayment, fees) > cap + 1e-7:
                yield "whole cost above the price cap"
                return

    def check_quota(self, institution: str, product: str, count: int) -> Iterator[str]:
        for day in {self.day, self.as_of}:
            for row in self._catalogue(self.landing.products, institution, product, day):
                quota = number_or_none(row.get("daily_quota", ""))
                budget = number_or_none(row.get("daily_budget", ""))
                if quota is None or count > quota:
                    yield f"quota: {count} rows"
                cost = count * (number_or_none(row["price"]) or 0)
                if row["price_model"] == "cpl" and budget is not None and cost > budget + 1e-6:
                    yield f"budget: {count} rows"

    def _kind(self, institution: str) -> str:
        rows = [
            row["kind"]
            for file in self.landing.institutions
            if self.is_known(file, self.day)
            for row in file.rows
            if row.get("institution_id") == institution
        ]
        return rows[-1] if rows else ""

    def _catalogue(
        self, files: list[LandedFile], institution: str, product: str, day: date
    ) -> list[Row]:
        """Return a product's rows in the institution's newest catalogue up to `day`."""
        known = [f for f in files if f.source == institution and self.is_known(f, day)]
        if not known:
            return []
        newest = max(file.landed_on for file in known)
        return _rows_of(known, newest, product_id=product)

    def _is_met(self, lead: Lead, rule: Row) -> bool:
        op, stated = rule.get("op", ""), rule.get("value", "")
        try:
            value = lead.attribute(rule.get("attribute", ""))
        except KeyError:
            self.policy.not_judged[rule.get("attribute", "")] += 1
            return True
        if op not in OPERATORS:
            return False
        if value is None:
            return op == "not_in"
        return _compare(op, stated, value)


def fold(text: str) -> str:
    """Return a text without differences of case, width and white space."""
    return unicodedata.normalize("NFKC", text).casefold().replace(" ", "")


def _compare(op: str, stated: str, value: str | float) -> bool:
    if op == "known":
        return stated.lower() == "true"
    parts = [part.strip() for part in stated.split("|")]
    if op in {"in", "not_in"}:
        is_number = isinstance(value, int | float)
        members = {number_or_none(part) if is_number else fold(part) for part in parts}
        return ((value if is_number else fold(f"{value}")) in members) == (op == "in")
    ends = [number_or_none(part) for part in parts]
    if None in ends or not isinstance(value, int | float):
        return False
    low = ends[0] if op in {"ge", "between"} else None
    high = ends[-1] if op in {"le", "between"} else None
    return (low is None or value >= low) and (high is None or value <= high)


def _withdraws(other: Lead, lead: Lead, day: date) -> bool:
    """Return whether a row of the same person withdraws the consent of `lead`."""
    if not other.withdrawn or other.name == lead.name:
        return False
    if other.file.landed_on == lead.file.landed_on == day:
        return True
    withdrawn = read_moment(other.withdrawn)
    return withdrawn is None or lead.consent_at is None or lead.consent_at <= withdrawn


def _check_limits(lead: Row, product: Row) -> Iterator[str]:
    for name in ("segment", "currency"):
        if lead.get(name) != product[name]:
            yield f"another {name}"
    amount, term = number_or_none(lead["amount"]), number_or_none(lead.get("term_months", ""))
    low, high = number_or_none(product["amount_min"]), number_or_none(product["amount_max"])
    if None in {amount, low, high} or not low <= amount <= high:
        yield "amount outside the product's"
    low, high = (number_or_none(product[f"term_{end}_months"]) for end in ("min", "max"))
    if term is not None and (None in {low, high} or not low <= term <= high):
        yield "term outside the product's"


def _rows_of(files: list[LandedFile], landed_on: date, **key: str) -> list[Row]:
    return [
        row
        for file in files
        if file.landed_on == landed_on
        for row in file.rows
        if all(row.get(name) == value for name, value in key.items())
    ]


def _is_within(row: Row, first: str, last: str, day: date) -> bool:
    """Return whether `day` lies in a row's period; an end that can't be read is over."""
    begins = date_or_none(row.get(first, ""))
    ends = date_or_none(row[last]) if row.get(last) else date.max
    return begins is not None and ends is not None and begins <= day <= ends


def normalise_id(text: str) -> str:
    return re.sub(r"[\s-]", "", text).upper()


def normalise_phone(text: str) -> str:
    """Return a phone in E.164; a bare Chinese number gets its country code."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"[^0-9+]", "", text)
    if text.startswith("00"):
        text = f"+{text[2:]}"
    if re.fullmatch(r"1[3-9]\d{9}", text):
        return f"+86{text}"
    return text if text.startswith("+") or not text else f"+{text}"


def is_resident_id(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{17}[0-9X]", text):
        return False
    total = sum(weight * int(digit) for weight, digit in zip(WEIGHTS, text, strict=False))
    return "10X98765432"[total % 11] == text[17]


def number_or_none(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def date_or_none(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if re.match(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


def read_moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def sha(text: str) -> str:
    """Return the SHA-256 of a text, as partners' lists have it."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _read_policy(name: str) -> Any:
    return yaml.safe_load((POLICY / f"{name}.yml").read_text("utf-8"))
