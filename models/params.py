"""The parameters of the models, read and checked: `models/params.yml` is the only place of them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from expectations import policy
from expectations.contracts import contracts
from expectations.strict_model import StrictModel
from models.errors import ForbiddenFeature

FILE = Path(__file__).parent / "params.yml"

Group = Literal["lead", "product", "pair", "history", "effect", "offer"]
Label = Literal["approved", "funded", "defaulted", "charged_off"]
RejectMethod = Literal["none", "weighting", "augmentation", "parcelling"]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Features(StrictModel):
    """Columns by kind: numbers (and yes or no) as they are, categories by their vocabulary."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...] = ()
    rises_with: tuple[str, ...] = ()
    """Columns of which more never lowers what is predicted."""
    falls_with: tuple[str, ...] = ()
    """Columns of which more never raises it."""

    @model_validator(mode="after")
    def _directions_are_of_numbers(self) -> Self:
        stated = [*self.rises_with, *self.falls_with]
        wrong = set(stated) - set(self.numbers) | {n for n in stated if stated.count(n) > 1}
        if wrong:
            raise ValueError(
                f"rises_with and falls_with name numbers that the model reads, each once: {wrong}"
            )
        return self

    @property
    def directions(self) -> list[int]:
        """For each column: 1 where more never lowers the prediction, -1 never raises it, else 0."""
        return [int(n in self.rises_with) - int(n in self.falls_with) for n in self.names]

    @property
    def names(self) -> tuple[str, ...]:
        """Every column, numbers first: the order of the columns of a matrix."""
        return self.numbers + self.categories

    @property
    def told(self) -> dict[str, Any]:
        """What LightGBM is told beyond `boosting` of the parameters."""
        return {"monotone_constraints": self.directions} if any(self.directions) else {}

    def without(self, dropped: frozenset[str]) -> "Features":
        """Return these features without the columns in `dropped`."""
        return Features(
            numbers=tuple(name for name in self.numbers if name not in dropped),
            categories=tuple(name for name in self.categories if name not in dropped),
            rises_with=tuple(name for name in self.rises_with if name not in dropped),
            falls_with=tuple(name for name in self.falls_with if name not in dropped),
        )


class ModelSpec(StrictModel):
    """What one model predicts, which groups of features it looks at, and which way they count."""

    label: Label
    reads: tuple[Group, ...]
    rises_with: tuple[str, ...] = ()
    falls_with: tuple[str, ...] = ()


class RejectInference(StrictModel):
    """How the risk model is made to hold for those who got no loan; see `models.training.reject_inference`."""

    method: RejectMethod
    most_weight: float = Field(ge=1)
    """Of a loan that stands for many applicants, as a multiple of the average one."""
    most_others: int = Field(ge=1)
    """Of those who got no loan, so many at most are looked at."""
    odds_of_the_rejected: float = Field(gt=0)
    """Odds of default of someone who got no loan, over those of a like borrower."""


class Margins(StrictModel):
    """How much worse a challenger may seem, by figure, before it counts."""

    auc: float = Field(ge=0)
    log_loss: float = Field(ge=0)
    ece: float = Field(ge=0)
    value: float = Field(ge=0)


class Challenge(StrictModel):
    """When a challenger takes the champion's place."""

    least_rows: int = Field(ge=1)
    least_rows_of_a_class: int = Field(ge=1)
    most_rows: int = Field(ge=1)
    most_days: int = Field(ge=1)
    most_loans: int = Field(ge=1)
    most_days_of_loans: int = Field(ge=1)
    draws: int = Field(ge=50)
    margins: Margins
    calibration_band: float = Field(gt=0)
    growth_factor: float = Field(gt=1)
    most_past_lost: float = Field(ge=0, lt=1)


class Triggers(StrictModel):
    """When a training does not wait for the anchor weekday."""

    rest_days: int = Field(ge=1)
    standard_deviations: float = Field(gt=0)


class Odds(StrictModel):
    """Which matches the ledger of odds counts, and how many it takes to judge."""

    window_days: int = Field(ge=1)
    least_rows: int = Field(ge=1)
    told_in_steps_of: int = Field(ge=1)


class Uncertainty(StrictModel):
    """What is assumed of errors until they are seen, on the scale of log-odds."""

    product_variances: tuple[float, float, float, float, float]
    lead_variance: float = Field(gt=0)
    band_variance: float = Field(gt=0)
    few_pairs: float = Field(gt=0)
    few_matches: float = Field(gt=0)
    deviations: float = Field(gt=0)


class Level(StrictModel):
    """One level of the lenders' effects: whose they are, and how hard they shrink."""

    name: str
    of: tuple[str, ...] = Field(min_length=1)
    """Columns whose values together make a cell; numbers count by bands."""
    below: str | None = None
    """The level that this one starts from, named before it; None: from nothing."""
    strength: float = Field(gt=0)
    """Rows of even odds that speak for no effect."""


class EffectParams(StrictModel):
    """How the lenders' effects are learned; what each entry means is said in `params.yml`."""

    margin_reads: tuple[Group, ...]
    margin_trees: int = Field(ge=1)
    margin: dict[str, Any]
    folds: int = Field(ge=2)
    bands: int = Field(ge=2)
    strangers: float = Field(ge=0, lt=1)
    levels: tuple[Level, ...]

    @model_validator(mode="after")
    def _levels_stand_on_those_before(self) -> Self:
        named: set[str] = set()
        for level in self.levels:
            if level.below is not None and level.below not in named:
                raise ValueError(
                    f"{level.name} lies below {level.below}, which is no level before it"
                )
            named.add(level.name)
        return self


class Stage(StrictModel):
    """One of the stages that a model is boosted in, each from where the one before it ends."""

    most_trees: int = Field(ge=1)
    grows: bool
    """Whether more rows carry more trees, in proportion."""
    boosting: dict[str, Any]
    """What LightGBM is told beyond `boosting` of the parameters."""


class Shape(StrictModel):
    """How a model is made: the members that it is the mean of, and the stages of each."""

    members: tuple[dict[str, Any], ...] = Field(min_length=1)
    """What LightGBM is told of each beyond what its stage says."""
    stages: tuple[Stage, ...] = Field(min_length=1)


class Params(StrictModel):
    """The content of `params.yml`; what each entry means is said there."""

    anchor_weekday: Literal[
        "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
    ]
    features: dict[Group, Features]
    effects: EffectParams
    models: dict[str, ModelSpec]
    reject_inference: RejectInference
    decision_maturity_days: int = Field(ge=0)
    young_days: int = Field(ge=0)
    decision_maturity_days_when_young: int = Field(ge=0)
    min_rows: int = Field(ge=1)
    min_rows_of_a_class: int = Field(ge=1)
    min_rows_of_a_category: int = Field(ge=1)
    half_life_days: float = Field(gt=0)
    cuts: tuple[float, ...] = Field(min_length=2)
    challenge: Challenge
    triggers: Triggers
    odds: Odds
    uncertainty: Uncertainty
    shapes: dict[str, Shape] = Field(min_length=1)
    early_stopping_rounds: int = Field(ge=1)
    boosting: dict[str, Any]
    most_reasons: int = Field(ge=1)
    least_share_of_a_reason: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _cuts_rise_within_the_rows(self) -> Self:
        if list(self.cuts) != sorted(set(self.cuts)) or not 0 < self.cuts[0] <= self.cuts[-1] < 1:
            raise ValueError(f"cuts must rise strictly between 0 and 1: {list(self.cuts)}")
        return self

    def features_of(self, model: str) -> Features:
        """Return the features that `model` looks at, group by group."""
        spec = self.models[model]
        found = self.features_in(spec.reads)
        return found.model_copy(
            update={"rises_with": spec.rises_with, "falls_with": spec.falls_with}
        )

    def features_in(self, groups: Sequence[Group]) -> Features:
        """Return the features of some groups, group by group."""
        found = [self._features_of_group(group) for group in groups]
        return Features(
            numbers=tuple(name for group in found for name in group.numbers),
            categories=tuple(name for group in found for name in group.categories),
        )

    def _features_of_group(self, group: Group) -> Features:
        if group == "effect":
            return Features(numbers=tuple(level.name for level in self.effects.levels))
        return self.features[group]


@cache
def params() -> Params:
    """Return the parameters of `params.yml`."""
    return parse(FILE.read_text("utf-8"))


def parse(text: str) -> Params:
    """Return the parameters that YAML `text` states.

    Raises:
        ForbiddenFeature: A feature is a protected attribute or says who a person is.
        ValidationError: A parameter is missing, unknown or out of its range.
    """
    found = Params.model_validate(yaml.safe_load(text))
    named = {name for group in found.features.values() for name in group.names}
    named |= {name for level in found.effects.levels for name in level.of}
    if refused := sorted(named & forbidden()):
        raise ForbiddenFeature(refused)
    return found


@cache
def forbidden() -> frozenset[str]:
    """Return the columns that are never a feature: by policy, and by what the contracts mark."""
    marked = {
        column.name
        for contract in contracts()
        for column in (*contract.columns, *contract.derived)
        if column.protected or column.personal
    }
    return policy.protected() | marked
