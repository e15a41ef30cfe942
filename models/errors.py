"""Errors of the models, with the message for the person who must act."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.core.errors import BanyanError


class ForbiddenFeature(BanyanError):
    """A feature list names a column that a model must never see."""

    def __init__(self, names: Sequence[str]):
        self.names = names
        super().__init__(
            f"models/params.yml names {len(names)} feature(s) that a model must never see: "
            f"{', '.join(names)}. Protected attributes are listed in "
            "expectations/policy/protected.yml, protected and personal columns in "
            "expectations/contracts/. Nothing was trained or scored. Remove them from "
            "`features` in models/params.yml."
        )


class LeakingFeatures(BanyanError):
    """Features of a model contain information from after the outcome."""

    def __init__(self, model: str, leaks: Sequence[Mapping[str, Any]]):
        self.leaks = leaks
        names = sorted({leak["name"] for leak in leaks})
        failed = "; ".join(
            f"{leak['name']}: {leak['description']} (test `{leak['test']}`: {leak['value']:.3f}, "
            f"limit {leak['limit']})"
            for leak in leaks
        )
        super().__init__(
            f"the {model} model was not trained: {len(names)} of its features contain information "
            f"that is known only after the outcome: {failed}. The limits are set in "
            "expectations/policy/leaks.yml. Nothing of the model was published; the champion "
            "before it, if there is one, stays active. Remove the features from "
            "models/params.yml, correct how they are computed, or allow them by name and until a "
            "date in leaks.yml."
        )


class MissingColumns(BanyanError):
    """A table lacks columns that a model reads."""

    def __init__(self, names: Sequence[str]):
        self.names = names
        super().__init__(
            f"the table to score or train on lacks {len(names)} column(s) that the models read: "
            f"{', '.join(names)}. Nothing was scored or trained. They are named in `features` of "
            "models/params.yml and come from the marts (dbt_project/marts): build the marts of the "
            "day again, or train again if the columns were removed on purpose."
        )


class UnknownFeature(BanyanError):
    """A feature to drop is not a feature of the model."""

    def __init__(self, names: Sequence[str], known: Sequence[str]):
        self.names = names
        super().__init__(
            f"no feature has the name {', '.join(names)}; nothing was run. The features of this "
            f"model are: {', '.join(known)}."
        )


class TooFewRows(BanyanError):
    """A benchmark has too few rows to train or validate on."""

    def __init__(self, target: str, reason: object):
        super().__init__(
            f"too few rows to measure `{target}`: {reason}. Nothing was measured. Use a larger "
            "file or another split, or lower the limit."
        )
