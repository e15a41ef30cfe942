"""The parameters of the models, read from `models/params.yml` and validated."""

from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from expectations import policy
from expectations.contracts import contracts, load
from expectations.strict_model import StrictModel
from models.errors import ForbiddenFeature

PARAMS_FILE = Path(__file__).parent / "params.yml"

FeatureGroup = Literal["lead", "chain", "product", "pair", "history", "effect", "offer"]
Label = Literal["approved", "funded", "defaulted", "charged_off"]
RejectMethod = Literal["none", "weighting", "augmentation", "parcelling"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Features(StrictModel):
    """Columns by kind: numbers (and booleans) as they are, categories by their vocabulary."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...] = ()
    monotone_increasing: tuple[str, ...] = ()
    """Columns in which the prediction never falls."""
    monotone_decreasing: tuple[str, ...] = ()
    """Columns in which the prediction never rises."""

    @model_validator(mode="after")
    def _constrain_numbers_only(self) -> Self:
        constrained = [*self.monotone_increasing, *self.monotone_decreasing]
        repeated = {name for name in constrained if constrained.count(name) > 1}
        if wrong := set(constrained) - set(self.numbers) | repeated:
            raise ValueError(
                "monotone_increasing and monotone_decreasing name numbers among the features, "
                f"each once: {wrong}"
            )
        return self

    @property
    def monotone_constraints(self) -> list[int]:
        """For each column 1 (increasing), -1 (decreasing) or 0 (unconstrained)."""
        return [
            int(name in self.monotone_increasing) - int(name in self.monotone_decreasing)
            for name in self.names
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """Every column, numbers first: the order of the columns of a matrix."""
        return self.numbers + self.categories

    @property
    def lightgbm_kwargs(self) -> dict[str, Any]:
        """LightGBM parameters that depend on the features."""
        constraints = self.monotone_constraints
        return {"monotone_constraints": constraints} if any(constraints) else {}

    def without(self, dropped: frozenset[str]) -> "Features":
        """Return these features without the columns in `dropped`."""
        return Features(
            numbers=tuple(name for name in self.numbers if name not in dropped),
            categories=tuple(name for name in self.categories if name not in dropped),
            monotone_increasing=tuple(n for n in self.monotone_increasing if n not in dropped),
            monotone_decreasing=tuple(n for n in self.monotone_decreasing if n not in dropped),
        )


class ModelSpec(StrictModel):
    """The label of one model, its groups of features, and its monotone constraints."""

    label: Label
    feature_groups: tuple[FeatureGroup, ...]
    monotone_increasing: tuple[str, ...] = ()
    monotone_decreasing: tuple[str, ...] = ()
    optional_features: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Groups of features, by name, that a training keeps only if they lower its log loss."""


class OptionalFeatureParams(StrictModel):
    """Parameters of `models.training.optional_features`."""

    folds: int = Field(ge=2)
    """Of the cross-validation."""
    max_rows: int = Field(ge=1)
    """About the largest number of rows that are used."""
    trees: int = Field(ge=1)
    """Trees of the group's columns that correct the model without them."""
    boosting: dict[str, Any]
    """LightGBM parameters of them, which override `boosting` of the parameters."""


class RejectInferenceParams(StrictModel):
    """Parameters of `models.training.reject_inference`."""

    method: RejectMethod
    max_weight: float = Field(ge=1)
    """Largest weight of a loan, as a multiple of the average one (weighting)."""
    max_rejected: int = Field(ge=1)
    """Largest number of applicants without a loan that are used."""
    rejected_odds_factor: float = Field(gt=0)
    """Odds of default of an applicant without a loan, over the odds of a similar borrower."""


class Tolerances(StrictModel):
    """The loss of each metric up to which a challenger counts as no worse."""

    auc: float = Field(ge=0)
    log_loss: float = Field(ge=0)
    ece: float = Field(ge=0)
    value: float = Field(ge=0)


class ChallengeParams(StrictModel):
    """The rule by which a challenger replaces the champion."""

    min_rows: int = Field(ge=1)
    min_rows_of_a_class: int = Field(ge=1)
    max_rows: int = Field(ge=1)
    window_days: int = Field(ge=1)
    max_loans: int = Field(ge=1)
    loan_window_days: int = Field(ge=1)
    bootstrap_draws: int = Field(ge=50)
    tolerances: Tolerances
    calibration_band: float = Field(gt=0)
    growth_factor: float = Field(gt=1)
    max_history_loss: float = Field(ge=0, lt=1)


class TriggerParams(StrictModel):
    """Parameters of the triggers of a training before the next anchor weekday."""

    cooldown_days: int = Field(ge=1)
    standard_deviations: float = Field(gt=0)


class CalibrationMonitorParams(StrictModel):
    """Window, minimum rows and step of the calibration monitor."""

    window_days: int = Field(ge=1)
    min_rows: int = Field(ge=1)
    disclosed_step: int = Field(ge=1)


class UncertaintyParams(StrictModel):
    """Prior variances of prediction errors, on the scale of log-odds."""

    product_variances: tuple[float, float, float, float, float]
    lead_variance: float = Field(gt=0)
    band_variance: float = Field(gt=0)
    prior_pairs: float = Field(gt=0)
    prior_matches: float = Field(gt=0)
    deviations: float = Field(gt=0)


class EffectLevel(StrictModel):
    """One level of the hierarchy of lender effects."""

    name: str
    columns: tuple[str, ...] = Field(min_length=1)
    """Columns whose values together make a group; numbers count by quantile bin."""
    parent: str | None = None
    """The level toward which this one shrinks, named before it; None: toward zero."""
    prior_rows: float = Field(gt=0)
    """Strength of the shrinkage: rows of even odds with as much information as the prior."""


class LenderEffectParams(StrictModel):
    """Parameters of the estimation of lender effects; `params.yml` explains each entry."""

    base_feature_groups: tuple[FeatureGroup, ...]
    base_trees: int = Field(ge=1)
    base_boosting: dict[str, Any]
    folds: int = Field(ge=2)
    bins: int = Field(ge=2)
    unseen_lender_share: float = Field(ge=0, lt=1)
    levels: tuple[EffectLevel, ...]

    @model_validator(mode="after")
    def _name_parents_first(self) -> Self:
        named: set[str] = set()
        for level in self.levels:
            if level.parent is not None and level.parent not in named:
                raise ValueError(f"{level.name} has the parent {level.parent}, no level before it")
            named.add(level.name)
        return self


class Stage(StrictModel):
    """One stage of boosting; each begins where the one before it ends."""

    max_trees: int = Field(ge=1)
    scales_with_rows: bool
    """True if the number of trees grows in proportion to the rows."""
    boosting: dict[str, Any]
    """LightGBM parameters, which override `boosting` of the parameters."""


class EnsembleSpec(StrictModel):
    """The members of an ensemble and the stages of each; the model is the members' mean."""

    members: tuple[dict[str, Any], ...] = Field(min_length=1)
    """LightGBM parameters of each member, which override its stage's."""
    stages: tuple[Stage, ...] = Field(min_length=1)


class Params(StrictModel):
    """The content of `params.yml`, which explains each entry."""

    anchor_weekday: Weekday
    features: dict[FeatureGroup, Features]
    lender_effects: LenderEffectParams
    models: dict[str, ModelSpec]
    optional_features: OptionalFeatureParams
    reject_inference: RejectInferenceParams
    decision_maturity_days: int = Field(ge=0)
    young_market_days: int = Field(ge=0)
    young_market_maturity_days: int = Field(ge=0)
    min_rows: int = Field(ge=1)
    min_rows_of_a_class: int = Field(ge=1)
    min_rows_of_a_category: int = Field(ge=1)
    half_life_days: float = Field(gt=0)
    time_split_cuts: tuple[float, ...] = Field(min_length=2)
    challenge: ChallengeParams
    triggers: TriggerParams
    calibration_monitor: CalibrationMonitorParams
    uncertainty: UncertaintyParams
    ensembles: dict[str, EnsembleSpec] = Field(min_length=1)
    early_stopping_rounds: int = Field(ge=1)
    boosting: dict[str, Any]
    max_reasons: int = Field(ge=1)
    min_reason_share: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _sort_cuts_within_the_rows(self) -> Self:
        cuts = self.time_split_cuts
        if list(cuts) != sorted(set(cuts)) or not 0 < cuts[0] <= cuts[-1] < 1:
            raise ValueError(
                f"time_split_cuts must rise strictly between 0 and 1, but are {list(cuts)}"
            )
        return self

    def model_features(self, model: str) -> Features:
        """Return the features of `model` with its monotone constraints, group by group."""
        spec = self.models[model]
        return self.group_features(spec.feature_groups).model_copy(
            update={
                "monotone_increasing": spec.monotone_increasing,
                "monotone_decreasing": spec.monotone_decreasing,
            }
        )

    def group_features(self, groups: Sequence[FeatureGroup]) -> Features:
        """Return the features of some groups, group by group."""
        by_group = [self._one_group(group) for group in groups]
        return Features(
            numbers=tuple(name for features in by_group for name in features.numbers),
            categories=tuple(name for features in by_group for name in features.categories),
        )

    def _one_group(self, group: FeatureGroup) -> Features:
        if group == "effect":
            return Features(numbers=tuple(level.name for level in self.lender_effects.levels))
        return self.features[group]


@cache
def params() -> Params:
    """Return the parameters of `params.yml`.

    Raises:
        PolicyError: A feature has no words for a reason.
    """
    parsed = parse_params(params_text())
    named = [name for model in parsed.models for name in parsed.model_features(model).names]
    if wordless := sorted(set(named) - set(policy.reason_codes())):
        raise policy.PolicyError(
            f"models/params.yml names the feature {wordless[0]}, which has no words. Add its "
            "reason to expectations/policy/reasons.yml, or declare it with `wording` in "
            "expectations/contracts/leads.yml"
        )
    return parsed


_replacements: list[str] = []
"""The text that `replace_params` has put in the place of the file's, if any."""


def params_text() -> str:
    """Return the YAML of the parameters that this process uses."""
    return _replacements[-1] if _replacements else PARAMS_FILE.read_text("utf-8")


def replace_params(text: str) -> None:
    """Use the parameters that YAML `text` states in this process from now on.

    For a study that compares parameters. It runs in a process of its own, because what was computed
    by the former parameters stays as it is.

    Raises:
        ForbiddenFeature, ValidationError: See `parse_params`.
    """
    parse_params(text)
    _replacements.append(text)
    params.cache_clear()


def exclude_features(text: str, excluded: Collection[str]) -> str:
    """Return the YAML `text` of parameters without some features, in every group and constraint."""
    stated = yaml.safe_load(text)
    named = [*stated["features"].values(), *stated["models"].values()]
    lists = [(entry, kind) for entry in named for kind in Features.model_fields if kind in entry]
    optional = [entry.get("optional_features", {}) for entry in stated["models"].values()]
    lists += [(groups, name) for groups in optional for name in groups]
    for entry, kind in lists:
        entry[kind] = [name for name in entry[kind] if name not in excluded]
    return yaml.safe_dump(stated, sort_keys=False)


def parse_params(text: str) -> Params:
    """Return the parameters that YAML `text` states.

    The group `lead` also has every feature that the contract of leads words, after the listed ones.

    Raises:
        ForbiddenFeature: A feature is a protected attribute or identifies a person.
        ValidationError: A parameter is missing, unknown or out of its range.
        ValueError: An optional feature is none of its model, or is named twice.
    """
    stated = Params.model_validate(yaml.safe_load(text))
    lead = add_contract_features(stated.features["lead"])
    parsed = stated.model_copy(update={"features": stated.features | {"lead": lead}})
    _require_optional_features(parsed)
    named = {name for group in parsed.features.values() for name in group.names}
    named |= {name for level in parsed.lender_effects.levels for name in level.columns}
    if refused := sorted(named & forbidden_columns()):
        raise ForbiddenFeature(refused)
    return parsed


def _require_optional_features(parsed: Params) -> None:
    """Raise ValueError if an optional feature is none of its model's, or is in two groups."""
    for model, spec in parsed.models.items():
        named = [name for group in spec.optional_features.values() for name in group]
        repeated = {name for name in named if named.count(name) > 1}
        if wrong := sorted(set(named) - set(parsed.model_features(model).names) | repeated):
            raise ValueError(
                f"optional_features of {model} name features of the model, each once: {wrong}"
            )


def add_contract_features(listed: Features) -> Features:
    """Return `listed` with the features that only the contract of leads words."""
    new = [
        column for column in load("leads").worded_features if column.name not in set(listed.names)
    ]
    return listed.model_copy(
        update={
            kind: (*getattr(listed, kind), *(c.name for c in new if c.feature == feature))
            for kind, feature in (("numbers", "number"), ("categories", "category"))
        }
    )


@cache
def forbidden_columns() -> frozenset[str]:
    """Return the columns that are never a feature, by policy and by the marks of the contracts."""
    marked = {
        column.name
        for contract in contracts()
        for column in (*contract.columns, *contract.derived)
        if column.protected or column.personal
    }
    return policy.protected() | marked
