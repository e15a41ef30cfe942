"""The policies in force: dated figures and rules that the code itself doesn't know.

The law, our own decisions and our assumptions lie in `expectations/policy/*.yml`, each entry with
its source. Code that applies one asks here for the version in force on a business date.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from expectations import contracts, yaml_lines
from expectations.contracts import Column
from expectations.delivery_policy_types import Deliveries, PersonRights, Retention, Returns
from expectations.policy_types import (
    AssumedRequests,
    Concentration,
    Consent,
    ConsentRole,
    ConsentRoles,
    ConsentTexts,
    Contradictions,
    Currencies,
    CurrencyCodes,
    Dated,
    Drift,
    Exploration,
    Exposure,
    Fairness,
    FinancingCosts,
    Guarantees,
    Identity,
    Leaks,
    LeastOdds,
    Limits,
    Outcomes,
    Pairs,
    Phones,
    Placeholders,
    PriceCap,
    Priors,
    Protected,
    Reason,
    Regulation,
    Regulations,
    RestrictingNames,
    RiskTier,
    RiskTiers,
    SignOffRules,
    Transport,
    Value,
    Verdict,
    VerdictRule,
)
from expectations.strict_model import ContractError

POLICY_FOLDER = "BANYAN_POLICY_FOLDER"
"""The variable that names another folder of policies; a replay sets it to the ones of its day."""
FOLDER = Path(os.environ.get(POLICY_FOLDER) or Path(__file__).parent / "policy")
"""The folder of the policies in force."""

MATCHING_POLICIES = ("value", "guarantees", "limits", "exploration")
"""Policies that scored pairs don't depend on: only the matching applies them, on every run."""

AFTER_MATCHING = (
    *("deliveries", "fairness", "person_rights", "regulations", "retention", "returns"),
    *("sign_off", "transport"),
)
"""Policies that decide nothing before a delivery, so they are no part of a day's version."""

Entry = TypeVar("Entry", bound=Dated)
Content = TypeVar("Content")


class PolicyError(ContractError):
    """A policy file is invalid; the message has the file, line and key of each mistake."""


@cache
def identity(day: date) -> Identity:
    """Return the identity policy in force on `day`."""
    return _in_force(_read("identity", tuple[Identity, ...]), day)


@cache
def consent(day: date) -> Consent:
    """Return the consent policy in force on `day`."""
    return _in_force(_read("consent", tuple[Consent, ...]), day)


@cache
def consent_texts() -> ConsentTexts:
    """Return the register of consent texts."""
    return _read("consent_texts", ConsentTexts)


@cache
def consent_roles() -> ConsentRoles:
    """Return who may consent for a business, on any date."""
    return _read("consent_roles", ConsentRoles)


@cache
def consent_roles_on(day: date) -> dict[str, ConsentRole]:
    """Return who may consent for a business on `day`, by jurisdiction; `default` for others."""
    return _consent_roles_on(consent_roles(), day)


def judge_consent_roles(roles: ConsentRoles, day: date) -> list[tuple[str, str, bool]]:
    """Return jurisdiction, role and whether it may consent for a business, of each known role.

    The role of a lead that states none is empty. The jurisdiction `default` is every one that no
    entry names, so it allows what all entries allow.
    """
    entries = _consent_roles_on(roles, day)
    return [
        (name, role, all(entry.allows(role) for entry in judged))
        for name, own in entries.items()
        for judged in (entries.values() if name == "default" else (own,),)
        for role in ("", *roles.known)
    ]


def _consent_roles_on(roles: ConsentRoles, day: date) -> dict[str, ConsentRole]:
    names = sorted({entry.jurisdiction for entry in roles.roles})
    return {
        name: _in_force(tuple(entry for entry in roles.roles if entry.jurisdiction == name), day)
        for name in names
    }


@cache
def contradictions(day: date) -> Contradictions:
    """Return from when the figures of a business contradict each other on `day`."""
    return _in_force(_read("contradictions", tuple[Contradictions, ...]), day)


def price_cap(kind: str, segment: str, currency: str, day: date) -> float | None:
    """Return the highest all-in annual cost (0.24 is 24%) allowed on `day`; None: no cap known."""
    caps = [entry.cap for entry in price_caps() if entry.holds(kind, segment, currency, day)]
    return min(caps, default=None)


@cache
def price_caps() -> tuple[PriceCap, ...]:
    """Return every price cap ever in force, for code that applies them by set."""
    return _read("price_caps", tuple[PriceCap, ...])


@cache
def financing_costs() -> FinancingCosts:
    """Return how the whole cost of loans is stated and limited, and the words of fees."""
    return _read("financing_cost", FinancingCosts)


@cache
def priors() -> Priors:
    """Return the assumptions used while no outcome is known."""
    return _read("priors", Priors)


@cache
def value() -> Value:
    """Return the value policy of a match."""
    return _read("value", Value)


def value_in(path: Path) -> Value:
    """Return the value policy of a file that is not in force.

    Raises:
        ValueError: The file isn't such a policy.
    """
    return TypeAdapter(Value).validate_python(yaml.safe_load(path.read_text("utf-8")))


@cache
def pairs() -> Pairs:
    """Return the platform's own rules on pairs, beyond law and the rules of institutions."""
    return _read("pairs", Pairs)


@cache
def guarantees() -> Guarantees:
    """Return what a plan guarantees to persons, institutions and the platform."""
    return _read("guarantees", Guarantees)


@cache
def least_odds(day: date) -> dict[str, LeastOdds]:
    """Return the least odds of an approval on `day` by jurisdiction; `default` for all others."""
    return _find_least_odds(guarantees(), day)


def _find_least_odds(stated: Guarantees, day: date) -> dict[str, LeastOdds]:
    entries = stated.least_odds
    names = sorted({entry.jurisdiction for entry in entries})
    return {
        name: _in_force(tuple(entry for entry in entries if entry.jurisdiction == name), day)
        for name in names
    }


@cache
def limits() -> Limits:
    """Return every floor, pacing, exposure and concentration limit ever stated.

    Raises:
        PolicyError: One names a protected attribute, which a plan may not use.
    """
    stated = _read("limits", Limits)
    by_column: dict[str, tuple[Exposure | Concentration, ...]] = {
        "exposure": stated.exposure,
        "concentration": stated.concentration,
    }
    for name, entries in by_column.items():
        for place, entry in enumerate(entries):
            if entry.column in protected():
                raise PolicyError(
                    f"expectations/policy/limits.yml, {name}.{place}.column: {entry.column} is a "
                    "protected attribute (protected.yml), kept apart from every plan; the fairness "
                    "report alone reads it. Name another column"
                )
    return stated


@cache
def assumed_requests() -> AssumedRequests:
    """Return what is assumed of a lead without an amount or a currency."""
    return _read("assumed_requests", AssumedRequests)


@cache
def exploration() -> Exploration:
    """Return the share of exploration, and the pairs among which it is drawn."""
    return _read("exploration", Exploration)


@cache
def risk_tiers() -> tuple[RiskTier, ...]:
    """Return the risk tiers, safest first."""
    return _read("risk_tiers", RiskTiers).tiers


def currencies(day: date) -> dict[str, float]:
    """Return the exchange rate of each currency on `day`, in units of `base_currency()`."""
    rates = _currencies().rates
    names = sorted({rate.currency for rate in rates})
    return {
        name: _in_force(tuple(rate for rate in rates if rate.currency == name), day).rate
        for name in names
    }


def base_currency() -> str:
    """Return the currency in which values of matches are weighed against each other."""
    return _currencies().base


@cache
def currency_codes() -> tuple[str, ...]:
    """Return the codes of ISO 4217, sorted."""
    return tuple(sorted(_read("iso_4217", CurrencyCodes).codes))


@cache
def placeholders() -> Placeholders:
    """Return the texts that stand for a missing value."""
    return _read("placeholders", Placeholders)


@cache
def phones() -> Phones:
    """Return how a phone that is not written in E.164 is read."""
    return _read("phones", Phones)


@cache
def restricting_names() -> RestrictingNames:
    """Return the names of columns, folders and files that restrict though no contract has them."""
    return _read("restricting_names", RestrictingNames)


@cache
def protected() -> frozenset[str]:
    """Return the names of attributes that are never a feature and never a product's rule."""
    return _read("protected", Protected).attributes


@cache
def fairness() -> Fairness:
    """Return how groups are compared, and the laws that protect attributes.

    Raises:
        PolicyError: A control is a protected attribute.
    """
    stated = _read("fairness", Fairness)
    if wrong := sorted(set(stated.controls) & protected()):
        raise PolicyError(
            f"expectations/policy/fairness.yml, controls: {', '.join(wrong)}: a protected "
            "attribute (protected.yml) is no legitimate reason for a difference. Remove it"
        )
    return stated


@cache
def outcomes() -> Outcomes:
    """Return how outcomes become labels and rates."""
    return _read("outcomes", Outcomes)


@cache
def deliveries() -> Deliveries:
    """Return the rules for receipts of deliveries and notices of withdrawals."""
    return _read("deliveries", Deliveries)


@cache
def returns() -> Returns:
    """Return the rules for returns and disputes, and the disputes that were decided."""
    return _read("returns", Returns)


@cache
def person_rights() -> PersonRights:
    """Return until when a person's request is answered."""
    return _read("person_rights", PersonRights)


@cache
def retention() -> Retention:
    """Return how long each kind of data is kept."""
    return _read("retention", Retention)


@cache
def drift() -> Drift:
    """Return the thresholds of drift between a day's figures and the reference days."""
    return _read("drift", Drift)


@cache
def leaks() -> Leaks:
    """Return the limits of the leak check, and the columns that are allowed nevertheless."""
    return _read("leaks", Leaks)


@cache
def reasons() -> tuple[Reason, ...]:
    """Return every reason code with its text: of the policy, then of the contract of leads.

    A feature with a wording in the contract has a code of its own, its name in capitals.

    Raises:
        PolicyError: A feature of the contract has no wording, or two.
    """
    stated = _read("reasons", tuple[Reason, ...])
    worded = {feature for reason in stated for feature in reason.features}
    contract = contracts.load("leads")
    file = "expectations/contracts/leads.yml"
    for column in contract.features:
        if column.is_model_feature and column.name not in worded and column.wording is None:
            raise PolicyError(
                f"{file}, column {column.name}: is a feature without words. Add `wording` (person "
                "and analyst, each en and zh) beside it, or declare it `feature: rule`"
            )
        if column.name in worded and column.wording:
            raise PolicyError(
                f"{file}, column {column.name}: has a wording here and a reason in "
                "expectations/policy/reasons.yml. Remove one of them"
            )
    return (*stated, *(_make_reason(column) for column in contract.worded_features))


def _make_reason(column: Column) -> Reason:
    """Return the reason of a feature that the contract words."""
    if column.wording is None:
        raise ValueError(f"{column.name} has no wording")
    return Reason(
        code=column.name.upper(),
        features=(column.name,),
        levels={column.name: dict(column.wording.levels)} if column.wording.levels else {},
        person=column.wording.person,
        analyst=column.wording.analyst,
    )


@cache
def reason_by_code() -> dict[str, Reason]:
    """Return code -> reason."""
    return {reason.code: reason for reason in reasons()}


@cache
def reason_codes() -> dict[str, str]:
    """Return feature -> reason code."""
    return {feature: reason.code for reason in reasons() for feature in reason.features}


@cache
def transport() -> Transport:
    """Return how files reach institutions."""
    return _read("transport", Transport)


@cache
def regulations() -> tuple[Regulation, ...]:
    """Return the register of rules of law."""
    return _read("regulations", Regulations).regulations


@cache
def sign_off() -> SignOffRules:
    """Return which days need a decision before their delivery."""
    return _read("sign_off", SignOffRules)


@cache
def verdict_rules() -> dict[str, VerdictRule]:
    """Return the rules of the verdict: id of a finding -> its severity and words."""
    return {rule.id: rule for rule in _read("verdict", Verdict).rules}


@cache
def version(*without: str) -> str:
    """Return a short hash over all policy files: it names the policies that decided a day.

    Args:
        without: Policies that don't count, such as `value` for what doesn't depend on it.
    """
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.yml")):
        if path.stem not in (*without, *AFTER_MATCHING):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def full_version() -> str:
    """Return the SHA-256 over the names and bytes of all policy files: it pins their text."""
    return hash_files({path.name: path.read_bytes() for path in FOLDER.glob("*.yml")})


def hash_files(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over names and contents, in the order of the names."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class JudgedPolicies:
    """The policies by which a match that was made can be judged again."""

    price_caps: tuple[PriceCap, ...]
    consent: tuple[Consent, ...]
    guarantees: Guarantees
    value: Value
    pairs: Pairs
    protected: Protected
    consent_roles: ConsentRoles | None
    """None: an earlier version, which had no such policy."""

    def consent_on(self, day: date) -> Consent:
        """Return the consent policy in force on `day`."""
        return _in_force(self.consent, day)

    def least_odds_on(self, day: date) -> dict[str, LeastOdds]:
        """Return the least odds by jurisdiction in force on `day`."""
        return _find_least_odds(self.guarantees, day)

    def judge_consent_roles(self, day: date) -> list[tuple[str, str, bool]]:
        """Return who may consent for a business on `day`, as the function of that name does."""
        return judge_consent_roles(self.consent_roles, day) if self.consent_roles else []


def read_folder(folder: Path) -> JudgedPolicies:
    """Return the policies of another folder, by which matches can be judged.

    Raises:
        PolicyError: A file is missing or invalid.
    """
    return JudgedPolicies(
        price_caps=_read("price_caps", tuple[PriceCap, ...], folder),
        consent=_read("consent", tuple[Consent, ...], folder),
        guarantees=_read("guarantees", Guarantees, folder),
        value=_read("value", Value, folder),
        pairs=_read("pairs", Pairs, folder),
        protected=_read("protected", Protected, folder),
        consent_roles=_read("consent_roles", ConsentRoles, folder)
        if (folder / "consent_roles.yml").exists()
        else None,
    )


JUDGED = tuple(field.name for field in fields(JudgedPolicies))
"""Names of the policies that `read_folder` reads."""


def _read(name: str, kind: type[Content], folder: Path | None = None) -> Content:
    path = (folder or FOLDER) / f"{name}.yml"
    file = f"{folder}/{name}.yml" if folder else f"expectations/policy/{name}.yml"
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise PolicyError(f"{file} can't be read ({type(error).__name__})") from None
    try:
        return TypeAdapter(kind).validate_python(yaml.load(text, yaml.CSafeLoader))
    except (yaml.YAMLError, ValidationError) as error:
        raise PolicyError("\n".join(_mistakes(error, text, file))) from None


def _mistakes(error: Exception, text: str, file: str) -> Iterator[str]:
    """Yield each mistake of a policy file with its line and key."""
    try:
        _, lines = yaml_lines.read(text, file)
    except yaml_lines.YamlError as mistake:
        yield str(mistake)
        return
    for item in error.errors() if isinstance(error, ValidationError) else ():
        place = item["loc"]
        key = ".".join(map(str, place))
        yield f"{file}, line {yaml_lines.find_line(place, lines)}, {key}: {item['msg']}"


@cache
def _currencies() -> Currencies:
    return _read("currencies", Currencies)


def _in_force(entries: tuple[Entry, ...], day: date) -> Entry:
    begun = [entry for entry in entries if entry.valid_from <= day]
    if not begun:
        raise LookupError(
            f"no {type(entries[0]).__name__} policy holds on {day}: the first entry of "
            f"expectations/policy begins on {min(entry.valid_from for entry in entries)}. "
            "Add an entry that covers the day."
        )
    return max(begun, key=lambda entry: entry.valid_from)
