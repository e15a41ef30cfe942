"""The schemas of the policies: the types that validate `expectations/policy/*.yml`."""

import hashlib
import re
from datetime import date, time
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from expectations.strict_model import StrictModel

Segment = Literal["consumer", "business"]
Kind = Literal["bank", "consumer_finance", "micro_lender", "other"]
Fraction = Annotated[float, Field(ge=0, le=1)]
LeakTest = Literal[
    "univariate_auc",
    "incremental_gain",
    "quasi_separation",
    "missingness_auc",
    "missing_label_overlap",
    "future_dates",
    "auc_decay",
    "look_ahead",
]


class _Strict(StrictModel):
    model_config = ConfigDict(populate_by_name=True)


class Decision(_Strict):
    """A policy of one entry: when it was decided, by which person, and on what ground."""

    decided_on: date
    source: str = Field(min_length=1)
    decided_by: str = ""
    """The person or board that answers for it; empty: not stated."""
    why: str = ""
    """The reason, where `source` doesn't say it."""


class Dated(_Strict):
    """An entry that holds from its first day until the next entry of its kind begins."""

    valid_from: date = Field(alias="from")
    source: str = Field(min_length=1)


class DatedRule(Dated):
    """A dated entry that a law may ask for."""

    jurisdiction: str = ""
    """Country (ISO 3166) or EU; empty: every one."""
    regulation: str = ""
    """The `id` in `regulations.yml` of the rule of law that it applies; empty: it is our own."""
    decided_by: str = ""
    why: str = ""


class Burst(_Strict):
    """More than `max_leads` within `window_days` from one device or phone are suspect."""

    max_leads: int = Field(ge=1)
    window_days: int = Field(ge=1)


class OwnedFirms(_Strict):
    """Whether the firms of one owner are one firm, and from how many the number is no owner's."""

    are: Literal["one", "several"]
    max_firms: int = Field(ge=1)
    """An owner's number that comes with more firms connects none of them."""
    window_days: int = Field(ge=1)
    """Days before the business date within which the firms of an owner are connected."""


class Identity(Dated):
    """Rules for leads of one person, and for suspicious bursts of leads from one place."""

    same_person_days: int = Field(ge=0)
    max_phones_per_person: int = Field(ge=1)
    """An identity number that comes with more phones connects no lead by phone."""
    # Policies of earlier versions, under which a replay computes a day, state none.
    firms_of_one_owner: OwnedFirms = OwnedFirms(are="several", max_firms=5, window_days=30)
    device_burst: Burst
    phone_burst: Burst


class Consent(DatedRule):
    """Rules by which a consent covers an institution."""

    every_institution: str
    """The word in `consent_scope` that covers every institution."""
    longest_days: int = Field(ge=1)
    """Age in days from which a consent no longer counts."""


class ConsentText(Dated):
    """The words of one version of a consent, in one jurisdiction and language."""

    version: str = Field(min_length=1, max_length=64)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the text's UTF-8 bytes."""
    valid_to: date | None = Field(default=None, alias="to")
    """Last day on which it was shown, inclusive."""
    jurisdiction: str = Field(min_length=2, max_length=16)
    language: str = Field(min_length=2, max_length=16)
    purpose: str = ""
    text: str = ""
    file: str = ""
    """Where the words are, if they are not in `text`."""

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise ValueError(f"ends on {self.valid_to}, before it begins on {self.valid_from}")
        if bool(self.text) == bool(self.file):
            raise ValueError("needs either `text` or `file`")
        if self.text and hashlib.sha256(self.text.encode()).hexdigest() != self.sha256:
            raise ValueError(f"`sha256` is not the hash of `text` of version {self.version}")
        return self


class ConsentTexts(Decision):
    """The register of consent texts, and what happens to a version without one."""

    unknown_version: Literal["close", "deliver"]
    texts: tuple[ConsentText, ...] = ()


class ConsentRole(Dated):
    """The roles that may consent for a business in one jurisdiction."""

    jurisdiction: str = Field(min_length=2, max_length=16)
    """Country (ISO 3166), or `default` for all others."""
    may_consent: tuple[str, ...] = Field(min_length=1)
    missing_role: Literal["allow", "close"]

    def allows(self, role: str) -> bool:
        """Return whether a lead that states `role`, or none, is consented for."""
        return role in self.may_consent if role else self.missing_role == "allow"


class ConsentRoles(Decision):
    """Who may consent for a business."""

    known: tuple[str, ...] = Field(min_length=1)
    """Every role that a lead may state; another one is a mistake."""
    roles: tuple[ConsentRole, ...]

    @model_validator(mode="after")
    def _check_roles(self) -> Self:
        if unknown := {role for each in self.roles for role in each.may_consent} - set(self.known):
            raise ValueError(f"`known` lacks {', '.join(sorted(unknown))}")
        if "default" not in {each.jurisdiction for each in self.roles}:
            raise ValueError("needs an entry of the jurisdiction `default`")
        return self

    @property
    def undisputed(self) -> tuple[str, ...]:
        """The roles that every entry allows, on every date and in every jurisdiction."""
        allowed = (set(each.may_consent) for each in self.roles)
        return tuple(sorted(set(self.known).intersection(*allowed)))


class Contradictions(Dated):
    """Limits from which the declared figures of a business contradict each other or its links."""

    max_tax_share: float = Field(gt=0)
    """Of the revenue."""
    max_sales_to_revenue: float = Field(ge=1)
    min_age_years: float = Field(ge=0)
    """Age from which sales are compared with the revenue of the last year."""
    min_revenue_per_invoice: float = Field(gt=0)
    """In the lead's currency."""
    max_revenue_without_employees: float = Field(gt=0)
    """In the base currency, as the next one."""
    max_revenue_per_employee: float = Field(gt=0)
    founding_tolerance_days: int = Field(ge=0)


class PriceCap(DatedRule):
    """Highest all-in annual cost allowed; an empty criterion holds for any value."""

    valid_to: date | None = Field(default=None, alias="to")
    """Last day of the cap, inclusive."""
    kind: Kind | None = None
    segment: Segment | None = None
    currency: str
    cap: float = Field(gt=0)

    def holds(self, kind: str, segment: str, currency: str, day: date) -> bool:
        """Return whether the cap binds such a loan on `day`."""
        return (
            self.valid_from <= day
            and (self.valid_to is None or day <= self.valid_to)
            and self.currency == currency
            and self.kind in {None, kind}
            and self.segment in {None, segment}
        )


class RiskPrior(_Strict):
    """Assumed probability of default of a band of bureau scores."""

    segment: Segment
    score_from: float | None = None
    """Lowest score of the band, inclusive; the band ends where the next begins. None: no score."""
    pd: Fraction


class Headroom(_Strict):
    """Factor on the odds of approval, by the share of the product's band that a pd takes up."""

    share_from: float = Field(ge=0)
    """Of the highest pd that the product is priced for, inclusive, up to where the next begins."""
    times: float = Field(gt=0)


class Priors(Decision):
    """Assumptions used while no outcome is known."""

    pd: tuple[RiskPrior, ...]
    approve: dict[Segment, Fraction]
    headroom: tuple[Headroom, ...]
    take_up: dict[Segment, Fraction]
    defaulted_by: tuple[Fraction, ...]
    """Of loans that default within the horizon, the share that has by each equal part of it."""
    roll_rates: dict[int, Fraction]
    """Days behind -> the share of loans so far behind that default in the end."""
    timing_counts_as: float = Field(gt=0)
    """Loans in default or arrears that weigh as much as the two before."""

    @model_validator(mode="after")
    def _require_cumulative_shares(self) -> Self:
        shares = (0.0, *self.defaulted_by)
        if any(later <= sooner for sooner, later in pairwise(shares)) or shares[-1] != 1:
            raise ValueError("priors.yml: `defaulted_by` must rise with each part, and end at 1")
        return self


class Value(Decision):
    """The value of a match. Money in the base currency, rates as fractions a year."""

    person_weight: float = Field(ge=0)
    institution_weight: float = Field(ge=0)
    platform_weight: float = Field(ge=0)
    minimum_value: float
    max_offers_per_lead: int = Field(ge=1)
    declined_cost: float = Field(ge=0)
    """What an application that is declined costs the person."""
    application_cost: float = Field(ge=0)
    """What an application costs the institution, approved or not."""
    funding_cost: Fraction
    loss_given_default: Fraction
    amount_room_weight: Fraction
    """Share of the person's saving that is lost where the product lends no more than was asked."""
    term_room_weight: Fraction
    """The same where it runs no longer than was asked."""


class LeastOdds(DatedRule):
    """Least probability of approval, for the leads of a jurisdiction."""

    jurisdiction: str = Field(pattern="^([A-Z]{2}|default)$")
    offer: Fraction
    """For an offer that a person is shown."""
    delivery: Fraction
    """For sending a person's data to an institution."""

    @property
    def of_match(self) -> float:
        """Return the least odds of a match, which is shown as an offer and delivered."""
        return max(self.offer, self.delivery)


class Guarantees(Decision):
    """What a plan guarantees to persons, institutions and the platform."""

    least_odds: tuple[LeastOdds, ...]
    fees_to_cost: float = Field(ge=0)
    """Least expected fees of a day, as a share of what its leads cost."""
    highest_price_of_fees: float = Field(gt=0)
    """Value that the last unit of fees may cost; the floor on fees is lowered before it costs more.
    """
    approval_rate_as_drawn: bool
    """A product's expected approval rate is at least that of a random draw of its leads."""
    cost_per_funded_as_drawn: bool
    """Its expected fee per funded loan is at most that of a random draw."""

    @model_validator(mode="after")
    def _require_default_odds(self) -> Self:
        if all(entry.jurisdiction != "default" for entry in self.least_odds):
            raise ValueError("guarantees.yml: `least_odds` needs an entry for jurisdiction default")
        return self


class Exclusive(_Strict):
    """A person matched with the institution is shown at no other one for `days` from that date."""

    institution_id: str
    days: int = Field(ge=1)


class Candidates(_Strict):
    """Parameters of the prefilter, which selects pairs of a large day before they are scored."""

    max_pairs: int = Field(ge=0)
    """Eligible pairs up to which none is cut."""
    per_lead: int = Field(ge=1)
    """Pairs that leads keep on average, the most promising of all."""
    quota_times: float = Field(ge=0)
    """Pairs that each product keeps at least, in multiples of its quota."""
    sampled_leads: int = Field(ge=2)
    """Leads of which all pairs are scored: half to learn from, half to measure the loss on."""


class NearMisses(_Strict):
    """The near misses from which the cost of a rule to its product is estimated."""

    sampled_leads: int = Field(ge=0)
    """Leads in the random sample; 0: no rule cost is estimated."""
    max_pairs: int = Field(ge=0)
    """Pairs that are scored; of more leads than they reach for, the rest is left out."""


class Pairs(Decision):
    """The platform's own rules on pairs, beyond law and the rules of institutions."""

    same_product_again_days: int = Field(ge=0)
    """A person isn't shown a product within so many days after a match with it; 0: no such rule."""
    exclusive: tuple[Exclusive, ...]
    candidates: Candidates
    near_misses: NearMisses

    @property
    def earlier_days(self) -> int:
        """Return how many days back earlier matches matter."""
        return max([self.same_product_again_days, *(each.days for each in self.exclusive)])


class Limit(Dated):
    """A limit on the plan of each day from `from` to `to`; without `to` it has no end."""

    valid_to: date | None = Field(default=None, alias="to")
    """Last day, inclusive."""

    @model_validator(mode="after")
    def _require_ordered_dates(self) -> Self:
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise ValueError(f"ends on {self.valid_to}, before it begins on {self.valid_from}")
        return self

    def holds(self, day: date) -> bool:
        """Return whether it binds on `day`."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


class Floor(Limit):
    """A least number of leads a day, promised to an institution or to one product of it."""

    institution_id: str
    product_id: str | None = None
    leads_a_day: int = Field(ge=1)


class Pacing(Limit):
    """At most `share` of a product's quota from one channel; the entry that names most counts."""

    institution_id: str | None = None
    """None: every product."""
    product_id: str | None = None
    """None: every product of the institution."""
    share: float = Field(gt=0, le=1)

    @model_validator(mode="after")
    def _require_institution_of_product(self) -> Self:
        if self.product_id is not None and self.institution_id is None:
            raise ValueError("a product_id needs the institution_id that it belongs to")
        return self


class Exposure(Limit):
    """Share of the offers that goes to leads of one group: leads with `group` in `column`."""

    column: str
    group: str
    min_share: float | None = Field(default=None, gt=0, le=1)
    """Of as many matches as the plan has without this limit."""
    max_share: float | None = Field(default=None, gt=0, le=1)
    """Of each product's quota."""

    @model_validator(mode="after")
    def _require_feasible_shares(self) -> Self:
        if self.min_share is None and self.max_share is None:
            raise ValueError("says neither min_share nor max_share")
        if self.min_share and self.max_share and self.min_share > self.max_share:
            raise ValueError(f"min_share {self.min_share} exceeds max_share {self.max_share}")
        return self


class Concentration(Limit):
    """At most `max_matches` a day with the leads of any one group of `column`, such as a chain."""

    column: str
    max_matches: int = Field(ge=1)
    institution_id: str | None = None
    """None: of all institutions together."""


class Limits(Decision):
    """Limits on a day's plan besides quotas, budgets and offers a lead."""

    floors: tuple[Floor, ...] = ()
    pacing: tuple[Pacing, ...] = ()
    exposure: tuple[Exposure, ...] = ()
    concentration: tuple[Concentration, ...] = ()

    def on(self, day: date) -> "Limits":
        """Return the same with the entries that bind on `day`."""
        kept = {
            name: tuple(entry for entry in getattr(self, name) if entry.holds(day))
            for name in ("floors", "pacing", "exposure", "concentration")
        }
        return self.model_copy(update=kept)


class Exploration(Decision):
    """Exploration: the share of the quota that is drawn at random among near-best pairs."""

    share: Fraction
    near_best: Fraction
    max_candidates_per_draw: int = Field(ge=2)
    max_drawn_per_lead: int = Field(ge=1)
    new_product_decisions: int = Field(ge=0)
    new_product_times: float = Field(ge=1)
    max_loss: Fraction
    min_support: Fraction
    min_model_support: Fraction


class RiskTier(_Strict):
    """A tier holds probabilities of default below `pd_below`; the last tier has no bound."""

    tier: str
    pd_below: float | None = None


class RiskTiers(Decision):
    """The tiers, safest first."""

    tiers: tuple[RiskTier, ...]

    @model_validator(mode="after")
    def _require_rising_bounds(self) -> Self:
        bounds = [tier.pd_below for tier in self.tiers]
        closed = [bound for bound in bounds[:-1] if bound is not None]
        if bounds[-1] is not None or len(closed) != len(bounds) - 1 or closed != sorted(closed):
            raise ValueError("risk_tiers.yml: `pd_below` must rise, and only the last be absent")
        return self


class Rate(Dated):
    """Value of one unit of a currency in the base currency."""

    currency: str
    rate: float = Field(gt=0)


class Currencies(_Strict):
    """All rates ever stated."""

    base: str
    rates: tuple[Rate, ...]


CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class ChannelCurrency(Dated):
    """The currency of every amount of a channel that states none."""

    channel_id: str = Field(min_length=1)
    currency: CurrencyCode


class AssumedAmount(Dated):
    """The amount at which leads without one are matched; without a channel, of all channels."""

    channel_id: str | None = None
    segment: Segment
    currency: CurrencyCode
    amount: float = Field(gt=0, le=1e10)


class AssumedRequests(_Strict):
    """Every assumption on leads without an amount or a currency."""

    currencies: tuple[ChannelCurrency, ...] = ()
    amounts: tuple[AssumedAmount, ...] = ()

    @property
    def newest_first(self) -> "AssumedRequests":
        """The entries, of a named channel first, the later before the earlier."""

        def rank(entry: ChannelCurrency | AssumedAmount) -> tuple[bool, int]:
            return entry.channel_id is None, -entry.valid_from.toordinal()

        return AssumedRequests(
            currencies=tuple(sorted(self.currencies, key=rank)),
            amounts=tuple(sorted(self.amounts, key=rank)),
        )


class CurrencyCodes(Decision):
    """The currencies that a file may name."""

    codes: frozenset[CurrencyCode]


class Placeholders(Decision):
    """Texts that stand for "no value"."""

    programs: tuple[str, ...]
    numbers: tuple[str, ...]
    people: tuple[str, ...]


class Phones(Decision):
    """How a phone that is not written in E.164 is read."""

    region: str = Field(pattern=r"^[A-Z]{2}$")
    channels: dict[str, Annotated[str, Field(pattern=r"^[A-Z]{2}$")]] = Field(default_factory=dict)
    extensions: tuple[str, ...]


class RestrictingColumns(_Strict):
    """Patterns of the names of unknown columns of a feed that restrict."""

    restricts: tuple[str, ...]
    """A value closes the row, unless it is a negative one."""
    permits: tuple[str, ...]
    """A negative value closes the row."""


class RestrictingNames(Decision):
    """Names that say that something restricts, though no contract knows them."""

    columns: dict[str, RestrictingColumns]
    """By feed."""
    negative_values: frozenset[str]
    order_lists: tuple[str, ...]
    """Patterns of folders and files that hold orders."""

    @model_validator(mode="after")
    def _require_patterns(self) -> Self:
        parts = [(*each.restricts, *each.permits) for each in self.columns.values()]
        for pattern in (*self.order_lists, *(one for part in parts for one in part)):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return self


class Protected(Decision):
    """Attributes that are never a feature and never a product's rule."""

    attributes: frozenset[str]


class FairnessLaw(Dated):
    """A law that protects people from being treated otherwise because of an attribute."""

    law: str = Field(min_length=1)
    jurisdiction: str = Field(pattern="^[A-Z]{2}$")
    countries: frozenset[Annotated[str, Field(pattern="^[A-Z]{2}$")]] = Field(min_length=1)
    valid_to: date | None = Field(default=None, alias="to")
    """Last day, inclusive; None: no end."""
    attributes: frozenset[str] = Field(min_length=1)
    standard: Literal["treatment", "effects"]
    read_by_lawyer: bool

    def holds(self, day: date) -> bool:
        """Return whether the law is in force on `day`."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


class Fairness(Decision):
    """How the fairness section compares groups, and where which attribute is protected."""

    window_days: int = Field(ge=1)
    max_people: int = Field(ge=1000)
    min_group: int = Field(ge=10)
    age_bands: tuple[int, ...] = Field(min_length=1)
    """The first year of each band but the youngest."""
    controls: tuple[str, ...] = Field(min_length=1)
    control_bins: int = Field(ge=2)
    max_strata: int = Field(ge=1)
    people_per_stratum: int = Field(ge=2)
    listed_lenders: int = Field(ge=1)
    laws: tuple[FairnessLaw, ...]

    @model_validator(mode="after")
    def _require_rising_bands(self) -> Self:
        if list(self.age_bands) != sorted(set(self.age_bands)):
            raise ValueError(f"the age bands {self.age_bands} must rise")
        return self


class ConfirmedChange(_Strict):
    """A change of a lender's approval rate that somebody confirmed with the lender."""

    institution_id: str
    valid_from: date = Field(alias="from")
    """First date on which the changed outcomes were known."""
    valid_to: date = Field(alias="to")
    """Last date, inclusive."""
    confirmed_on: date
    source: str = Field(min_length=1)
    """Who confirmed it, and on what ground."""

    @model_validator(mode="after")
    def _ends_after_it_began(self) -> Self:
        if self.valid_to < self.valid_from:
            raise ValueError(f"ends on {self.valid_to}, before it begins on {self.valid_from}")
        return self


class SuddenChange(_Strict):
    """From when a lender's reported approval rate has changed too much to train on unconfirmed."""

    window_days: int = Field(ge=1)
    """The decisions of the date, and of so many days up to it, are compared with earlier ones."""
    least_decisions: int = Field(ge=1)
    """Decisions in the window, below which chance explains any rate."""
    reference_decisions: int = Field(ge=1)
    """Accepted decisions before, below which there is no rate to compare with."""
    odds_factor: float = Field(gt=1)
    """The odds of approval must rise or fall by this factor,"""
    chance: float = Field(gt=0, lt=1)
    """and chance alone must be less likely than this to make a count so far off."""
    prediction_odds_factor: float = Field(gt=1)
    """The same, where a lender with too few decisions is compared with the predictions."""
    trained_decisions: int = Field(ge=1)
    """Decisions of all lenders, a week before a match, from which on its prediction counts."""
    confirmed: tuple[ConfirmedChange, ...]


class OutcomeShare(_Strict):
    """A number and a share of the outcomes that one lender sent for a day."""

    least_rows: int = Field(ge=1)
    least_share: float = Field(gt=0, le=1)


class Outcomes(Decision):
    """How outcomes become labels and rates, and which of them count."""

    take_up_maturity_days: dict[Segment, int]
    """Days in which an approval is funded or else counts as not taken up."""
    default_horizon_months: dict[Segment, int]
    smoothing_decisions: float = Field(ge=0)
    amount_tolerance: float = Field(ge=0)
    """Share by which an amount may lie outside the product's limits (rounding, fees included)."""
    rate_tolerance: float = Field(ge=0)
    """By how much a rate may exceed the cap (rounding)."""
    findings: OutcomeShare
    """From when outcomes that don't count are a finding: the number or the share is reached."""
    unfounded_report: OutcomeShare
    """From when none of a lender's outcomes of the day counts, because so many are about leads that
    it did not receive: the number and the share are reached."""
    sudden_change: SuddenChange


class Levels(_Strict):
    """Thresholds from which a figure is watched, and from which it counts as drift."""

    watch: float = Field(gt=0)
    drift: float = Field(gt=0)


class DriftThresholds(_Strict):
    """Drift thresholds by kind of figure; `drift.yml` states the scale of each."""

    stability: Levels
    volume: Levels
    cost: Levels
    approval: Levels
    changed: Levels
    offer: Levels


class Drift(Decision):
    """The windows that are compared, and the thresholds from which drift is reported."""

    current_days: int = Field(ge=1)
    reference_days: int = Field(ge=2)
    min_reference_days: int = Field(ge=2)
    min_rows: int = Field(ge=1)
    bins: int = Field(ge=2)
    min_expected: float = Field(gt=0)
    max_categories: int = Field(ge=1)
    new_model_weight: float = Field(gt=0)
    # Policies of earlier versions, under which a replay computes a day, state neither.
    institution_weight: float = Field(default=2, gt=0)
    min_institutions: int = Field(default=1, ge=1)
    false_discoveries: Levels
    lines: DriftThresholds


class LeakLimits(_Strict):
    """Limits of the leak tests; `leaks.yml` has the unit of each."""

    univariate_auc: Fraction
    incremental_gain: Fraction
    incremental_gain_min_auc: Fraction
    quasi_separation: Fraction
    missingness_auc: Fraction
    missing_label_overlap: Fraction
    future_dates: Fraction
    auc_decay: Fraction
    look_ahead: Fraction


class AllowedLeak(_Strict):
    """A column that may be used although it fails these tests."""

    column: str
    tests: frozenset[LeakTest] = Field(min_length=1)
    by: str = Field(min_length=1)
    why: str = Field(min_length=1)
    decided_on: date
    until: date
    """Last day on which it is allowed."""

    def holds(self, column: str, test: str, day: date) -> bool:
        """Return whether `column` may fail `test` on `day`."""
        in_force = self.decided_on <= day <= self.until
        return in_force and column == self.column and test in self.tests


class Leaks(Decision):
    """The limits of the leak check, and the columns that are allowed nevertheless."""

    limits: LeakLimits
    deviations: float = Field(gt=0)
    min_rows_of_a_class: int = Field(ge=2)
    max_rows: int = Field(ge=2)
    allowed: tuple[AllowedLeak, ...]


UNKNOWN = "unknown"
"""The level of a missing value."""


class LocalizedText(_Strict):
    """One phrase in each language that Banyan speaks."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class FinancingCost(Dated):
    """How the whole cost of a loan is stated and limited; an empty criterion is any value."""

    valid_to: date | None = Field(default=None, alias="to")
    """Last day, inclusive."""
    kind: Kind | None = None
    segment: Segment | None = None
    currency: str | None = None
    annualisation: Literal["simple", "compound"]
    """Twelve times the monthly rate, or with interest on interest."""
    cap_compares: Literal["rate", "whole_cost"]
    """What a price cap is compared with: the lowest stated rate, or the annual cost at the highest
    stated rate with all fees that are charged in any case."""
    fee_lines: tuple[Literal["certain", "contingent"], ...] = ()
    """Lines of fees without which a product is not offered."""

    @property
    def criteria(self) -> tuple[str | None, ...]:
        """Return the values that a loan must have."""
        return self.kind, self.segment, self.currency

    def holds(self, kind: str, segment: str, currency: str, day: date) -> bool:
        """Return whether the entry concerns such a loan on `day`."""
        is_in_force = self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)
        pairs = zip(self.criteria, (kind, segment, currency), strict=True)
        return is_in_force and all(own in {None, value} for own, value in pairs)


class FinancingCosts(Decision):
    """The rules on the whole cost of loans, and the words of fees."""

    rules: tuple[FinancingCost, ...]
    names: dict[str, LocalizedText] = Field(default_factory=dict)
    """Name of a fee in the feed -> its words."""

    @model_validator(mode="after")
    def _require_a_rule_of_any_loan(self) -> Self:
        if all(rule.valid_to or any(rule.criteria) for rule in self.rules):
            raise ValueError("financing_cost.yml: `rules` needs an endless entry of any loan")
        return self

    def rule(self, kind: str, segment: str, currency: str, day: date) -> FinancingCost:
        """Return the rule on such a loan on `day`: the latest one, then the one that names most."""
        found = [rule for rule in self.rules if rule.holds(kind, segment, currency, day)]
        return max(found, key=lambda rule: (rule.valid_from, -rule.criteria.count(None)))


class Reason(_Strict):
    """A reason code, its text, and its features."""

    code: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    features: tuple[str, ...] = Field(min_length=1)
    levels: dict[str, dict[str, LocalizedText]] = Field(default_factory=dict)
    """Feature -> level of its value -> the phrase for a person."""
    person: LocalizedText
    analyst: LocalizedText

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if unknown := sorted(set(self.levels) - set(self.features)):
            raise ValueError(f"{self.code} has levels of features it does not name: {unknown}")
        return self

    def wording(self, feature: str, level: str) -> LocalizedText:
        """Return the phrase for a person if the value of `feature` is at `level`."""
        if phrase := self.levels.get(feature, {}).get(level):
            return phrase
        if level == UNKNOWN:
            return LocalizedText(
                en=f"we do not know {self.person.en}", zh=f"尚不了解{self.person.zh}"
            )
        return self.person


Severity = Literal["fit", "remark", "not_fit"]
"""A finding is for information, is a remark on the day, or makes the day not fit."""


class Tries(_Strict):
    """When an upload is repeated, and when it is given up."""

    attempts: int = Field(ge=1, le=100)
    first_pause_seconds: float = Field(ge=0)
    longest_pause_seconds: float = Field(ge=0)
    seconds_per_institution: float = Field(gt=0)
    """No attempt begins after it, and one that is at work ends."""
    silence_seconds: float = Field(gt=0)
    """A server that is silent for so long counts as a cut link."""
    parallel: int = Field(ge=1, le=500)


class KeyStrength(_Strict):
    """The weakest key of an institution that its file is encrypted to."""

    least_rsa_bits: int = Field(ge=1024)


GoingLive = Literal["required", "off"]


class Agreement(_Strict):
    """What one institution agreed on its deliveries."""

    institution_id: str
    delivery_from: time | None = None
    delivery_until: time | None = None
    banking_days: str | None = Field(default=None, pattern="^[A-Z]{2}$")
    """The country (ISO 3166) on whose banking days it takes files; None: on each day."""
    csv_bom: bool = False
    going_live: GoingLive | None = None
    """Whether it must acknowledge a test delivery first; None: as its transport says."""

    @model_validator(mode="after")
    def _require_a_window(self) -> Self:
        if (self.delivery_from is None) != (self.delivery_until is None):
            raise ValueError("state both delivery_from and delivery_until, or neither")
        if self.delivery_from and self.delivery_until and self.delivery_from >= self.delivery_until:
            raise ValueError("delivery_from must be before delivery_until, on the same day")
        return self


class Transport(Decision):
    """How files reach institutions."""

    going_live: dict[Literal["folder", "sftp"], GoingLive]
    """Transport -> whether a test delivery must be acknowledged first."""
    tries: Tries
    keys: KeyStrength
    agreements: tuple[Agreement, ...]

    @model_validator(mode="after")
    def _one_agreement_an_institution(self) -> Self:
        names = [each.institution_id for each in self.agreements]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"more than one agreement of {', '.join(repeated)}")
        return self

    def requires_test(self, institution_id: str, transport: str) -> bool:
        """Return whether an institution must acknowledge a test delivery before a real file."""
        usual = {f"{name}": state for name, state in self.going_live.items()}.get(transport, "off")
        return (self.agreement(institution_id).going_live or usual) == "required"

    def agreement(self, institution_id: str) -> Agreement:
        """Return what the institution agreed; without an entry no window and no byte order mark."""
        found = (each for each in self.agreements if each.institution_id == institution_id)
        return next(found, Agreement(institution_id=institution_id))


class Regulation(_Strict):
    """A rule of law that concerns the platform, and what applies it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(min_length=1)
    jurisdiction: str = Field(pattern=r"^[A-Z]{2}$")
    valid_from: date = Field(alias="from")
    """First day on which it applies, as far as public sources say."""
    valid_to: date | None = Field(default=None, alias="to")
    requires: str = Field(min_length=1)
    """What it asks of the platform, in a sentence or two; never its text."""
    state: Literal["applied", "in_part", "watched"]
    """Whether the platform applies it; `watched`: nothing does, or it is not in force yet."""
    applied_by: tuple[str, ...] = ()
    """Files and keys of policies, or steps, that apply it."""
    sources: tuple[str, ...] = Field(min_length=1)
    """Public sources: an address, or a citation that can be looked up."""
    is_text_seen: bool
    """Whether a source is the text itself, and not a report about it."""
    read_by_lawyer: str = ""
    """Who has read the text for the platform, and when; empty: to be read by a lawyer."""

    @model_validator(mode="after")
    def _names_what_applies_it(self) -> Self:
        if (self.state == "watched") == bool(self.applied_by):
            raise ValueError(f"{self.id} is {self.state}, with applied_by {self.applied_by!r}")
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise ValueError(f"ends on {self.valid_to}, before it begins on {self.valid_from}")
        return self


class Regulations(Decision):
    """The register of rules of law."""

    regulations: tuple[Regulation, ...]

    @model_validator(mode="after")
    def _one_entry_an_id(self) -> Self:
        ids = [entry.id for entry in self.regulations]
        if repeated := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"regulations.yml: more than one entry for {', '.join(repeated)}")
        return self


class SignOffRules(Decision):
    """Which days need an officer's decision before their lead files are delivered."""

    hold: Literal["off", "on_not_fit", "always"]

    @field_validator("hold", mode="before")
    @classmethod
    def _require_quotes(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError(  # noqa: TRY004 - pydantic adds a ValueError to its message
                "YAML reads off without quotes as false: write hold: 'off'"
            )
        return value


class VerdictRule(Decision):
    """How severe a finding is, and the words for it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    severity: Severity
    importance: int = Field(default=3, ge=1, le=4)
    """Order among findings of one severity; 1 comes first."""
    wording: str = Field(min_length=1)
    """The title; it may name figures in braces, such as `{count}`."""
    action: str = Field(min_length=1)
    limits: dict[str, float] = Field(default_factory=dict)
    """The figures from which a finding is made."""


class Verdict(_Strict):
    """The rules of all findings."""

    rules: tuple[VerdictRule, ...]

    @model_validator(mode="after")
    def _one_rule_a_finding(self) -> Self:
        ids = [rule.id for rule in self.rules]
        if repeated := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"verdict.yml: more than one rule for {', '.join(repeated)}")
        return self
