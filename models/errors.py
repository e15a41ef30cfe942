"""Errors of the models, with the message for the person who must act."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.core.errors import BanyanError


class ForbiddenFeature(BanyanError):
    """A feature list names a column that a model must never see."""

    def __init__(self, names: Sequence[str]):
        super().__init__(
            f"models/params.yml names {len(names)} feature(s) that a model must never see: "
            f"{', '.join(names)}. Protected attributes are listed in "
            "expectations/policy/protected.yml, protected and personal columns in "
            "expectations/contracts/. Nothing was trained or scored. Take them out of "
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
    """A table lacks columns that a model looks at."""

    def __init__(self, names: Sequence[str]):
        super().__init__(
            f"the table to be scored or trained on lacks {len(names)} column(s) that the models "
            f"look at: {', '.join(names)}. Nothing was scored or trained. They are named in "
            "`features` of models/params.yml and come from the marts (dbt_project/models/marts): "
            "rebuild the marts of the day, or train again if the columns were removed on purpose."
        )


class UnknownFeature(BanyanError):
    """Someone asked to drop a feature that no model has."""

    def __init__(self, names: Sequence[str], known: Sequence[str]):
        super().__init__(
            f"no feature is named {', '.join(names)}; nothing was run. The features of this "
            f"model are: {', '.join(known)}."
        )


class TooFewRows(BanyanError):
    """A benchmark has too little to learn from or to check on."""

    def __init__(self, target: str, reason: object):
        super().__init__(
            f"too little to measure `{target}` on: {reason}. Nothing was measured. Take a larger "
            "file, another split, or lower the limit."
        )
