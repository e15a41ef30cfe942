"""What a day's report says, as plain values: gathered once, then shown and written as they are."""

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from models.fairness_proxies import Guessed
from pipelines.evaluation.drift.figures import Drift
from pipelines.matches.lead_reconciliation import LeadCounts
from pipelines.matches.shadow_price_text import ProductPrices

State = Literal["complete", "findings", "incomplete"]
"""All steps published and nothing to look at; all published, something to look at; a step
missing, stale or not adding up."""

Weight = Literal["incomplete", "act", "note"]
"""A finding makes the day incomplete, asks somebody to act, or is good to know."""


@dataclass(frozen=True)
class Finding:
    """One sentence that a reader should not miss, with where to look."""

    weight: Weight
    what: str
    evidence: str


@dataclass(frozen=True)
class Refusal:
    """A step that did not finish, in its own words."""

    step: str
    message: str


@dataclass(frozen=True)
class Step:
    """One step of the day: whether its result stands, and what proves it."""

    name: str
    folder: str
    """Below the home, with `/`."""
    state: Literal["published", "missing", "stale", "unreadable"]
    rows: int | None = None
    content: str | None = None
    """First 12 digits of the SHA-256 over the folder's content."""
    evidence: str = ""


@dataclass(frozen=True)
class Border:
    """Rows of one feed and source at the first border: received = loaded + set aside."""

    feed: str
    source: str
    files: int = 0
    refused_files: int = 0
    received: int = 0
    loaded: int = 0
    quarantined: int = 0
    duplicates: int = 0
    emptied_values: int = 0

    @property
    def adds_up(self) -> bool:
        """Return whether every row received is loaded or set aside, and only once."""
        return self.received == self.loaded + self.quarantined + self.duplicates


@dataclass(frozen=True)
class SetAside:
    """What one file has in quarantine under one rule."""

    feed: str
    source: str
    file: str
    """Below `landing/`."""
    column: str | None
    rule: str
    severity: str
    records: int
    """Rows, or values, that broke the rule; 1 for a file that was refused whole."""
    rows: int
    """Received rows that it accounts for: of a row that broke several rules only one counts,
    an emptied value counts none, a refused file counts all of its rows."""
    first_line: int | None
    message: str
    is_file: bool


@dataclass(frozen=True)
class LandedFile:
    """A file that was not simply new: late, a copy, a new version, or in an impossible place."""

    path: str
    """Below `landing/`."""
    is_late: bool
    is_refused: bool
    what: str


@dataclass(frozen=True)
class Expectation:
    """One Great Expectations result over everything of a feed that was received for the day."""

    feed: str
    rule: str
    expectation: str
    """Its type in Great Expectations; of rule `type` the parser's own name."""
    column: str
    severity: str
    evaluated: int
    unexpected: int


@dataclass(frozen=True)
class UnknownColumns:
    """Columns that a source sends and its contract doesn't know."""

    feed: str
    source: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Count:
    """How many of something bear one name, such as unmatched leads by stage."""

    name: str
    count: int
    detail: str = ""


@dataclass(frozen=True)
class Crossing:
    """Leads, or matches, at one border: what goes in equals the sum of what comes out."""

    border: str
    received: int
    parts: tuple[Count, ...]

    @property
    def adds_up(self) -> bool:
        """Return whether everything that went in came out, and only once."""
        return self.received == sum(part.count for part in self.parts)


@dataclass(frozen=True)
class Marts:
    """What the marts of the day say of themselves."""

    leads: int
    leads_to_match: int
    leads_excluded: tuple[Count, ...]
    outcomes: int
    """Outcomes known by the end of the day that name a lead we know."""
    outcomes_unlinked: tuple[Count, ...]
    """The others, by why."""


@dataclass(frozen=True)
class Model:
    """One model of the set that scored the day, with its figures out of time."""

    name: str
    is_prior: bool
    """Whether too little was known to train it, so that a stated prior stands in."""
    reason: str
    """Why it is a prior; empty for a trained model."""
    prior: str
    """What the prior says, in words."""
    rows: int
    """Labelled pairs that were known; the last of them in time are those `checked`."""
    rows_checked: int | None = None
    first_lead_on: str | None = None
    last_lead_on: str | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    ks: float | None = None
    brier: float | None = None
    ece: float | None = None
    base_rate: float | None = None
    card: str | None = None
    """The model's card, as a path from the page; None where there is none."""


@dataclass(frozen=True)
class Seat:
    """Who serves as one model, from when on, and how that was decided last."""

    model: str
    trained_as_of: str
    champion_since: str
    decision: str
    """`promoted` or `kept`."""
    reason: str
    is_refusal: bool
    """Whether a challenger was trained and refused."""


@dataclass(frozen=True)
class ModelSet:
    """The models that scored the day; they know nothing from `as_of` on."""

    as_of: str | None = None
    models: tuple[Model, ...] = ()
    because: str = ""
    """What caused the training: the week, a young market, or what changed, in words."""
    is_triggered: bool = False
    """Whether something changed that did not wait for the next week."""
    seats: tuple[Seat, ...] = ()


@dataclass(frozen=True)
class OddsGiven:
    """What was predicted of a group of earlier matches, and what came of it."""

    model: str
    grouping: str
    group: str
    rows: int
    """Matches whose outcome is known."""
    happened: int
    predicted: float
    observed: float
    low: float
    high: float
    """95% interval of the rate behind what was observed."""
    state: str
    """`held`, `too high`, `too low`, or `few`."""


@dataclass(frozen=True)
class InstitutionMatches:
    """What one institution receives of the day."""

    institution_id: str
    products: int
    matches: int
    quota: int
    expected_value: float
    expected_cost: float
    p_approve: float | None
    pd: float | None


@dataclass(frozen=True)
class Delivery:
    """What stands in the outbox for one institution."""

    institution_id: str
    rows: int
    """Leads in its newest file."""
    version: int
    """Greater than 1 after a correction; 0 where nothing could be delivered yet."""
    held_back: int
    message: str
    """Why leads were held back; empty where none were."""
    withheld_fields: tuple[str, ...]
    """Columns that it asked for and may not have."""


@dataclass(frozen=True)
class ChannelMatches:
    """What became of one channel's leads of the day."""

    channel_id: str
    leads: int
    matched: int
    matches: int
    expected_value: float
    cost_per_lead: float | None
    currency: str | None


@dataclass(frozen=True)
class Invented:
    """A column whose values were made up, because the source doesn't have it."""

    feed: str
    column: str
    rule: str


@dataclass(frozen=True)
class Origin:
    """Something that Banyan itself put under `landing/`."""

    name: str
    kind: str
    """`import` of a foreign file, or `simulate`."""
    description: str
    invented: tuple[Invented, ...]


@dataclass(frozen=True)
class ShortFloor:
    """A least number of leads that was promised and that no plan was found to keep."""

    whom: str
    promised: int
    kept: int
    """The most that it can be with all other limits as they are."""


@dataclass(frozen=True)
class Matching:
    """The day's matching: counts, certificate and how it was spread."""

    leads: LeadCounts | None = None
    matches: int | None = None
    gap: float | None = None
    """Share of the proven bound that the plan falls short of it."""
    explored: int | None = None
    """Matches that were drawn by lot beside the plan."""
    explored_of_new: int | None = None
    """Those of them at products that too little is known of."""
    price_of_learning: float | None = None
    """What the plan would be worth more without them, in the base currency."""
    policy_version: str | None = None
    funnel: tuple[Count, ...] = ()
    """Pairs that remained after each stage, first to last."""
    stages: tuple[Count, ...] = ()
    """Unmatched leads by the stage at which their last hope ended."""
    institutions: tuple[InstitutionMatches, ...] = ()
    channels: tuple[ChannelMatches, ...] = ()
    silent_channels: tuple[str, ...] = ()
    """Channels that brought leads in the 30 days before, and none today."""
    deliveries: tuple[Delivery, ...] = ()
    products_open: int | None = None
    products_closed: tuple[Count, ...] = ()
    products_without_outcomes: int | None = None
    prices: tuple[ProductPrices, ...] = ()
    """What the limits of each open product cost."""
    floors_short: tuple[ShortFloor, ...] = ()
    least_shortfall: int = 0
    """Leads by which no plan misses the floors less, in all."""
    prefilter_loss: float | None = None
    """Share of the best worth that leaving pairs unscored can have cost; None: none was."""


@dataclass(frozen=True)
class Facts:
    """Everything that the report of one business date says."""

    day: date
    refusals: tuple[Refusal, ...] = ()
    steps: tuple[Step, ...] = ()
    borders: tuple[Border, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    landed_files: tuple[LandedFile, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    unknown_columns: tuple[UnknownColumns, ...] = ()
    marts: Marts | None = None
    crossings: tuple[Crossing, ...] = ()
    matching: Matching = field(default_factory=Matching)
    model_set: ModelSet = field(default_factory=ModelSet)
    odds: tuple[OddsGiven, ...] = ()
    guessed: tuple[Guessed, ...] = ()
    """How well features tell each protected attribute."""
    drift: Drift = field(default_factory=Drift)
    origins: tuple[Origin, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def state(self) -> State:
        """Return the state of the day, as the gravest finding has it."""
        weights = {finding.weight for finding in self.findings}
        if "incomplete" in weights:
            return "incomplete"
        return "findings" if "act" in weights else "complete"
