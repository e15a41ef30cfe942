"""What the models refuse, in the words of whoever must act on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.core.errors import BanyanError


class ForbiddenFeature(BanyanError):
    """A model was told to look at what it must not see."""

    def __init__(self, names: Sequence[str]):
        super().__init__(
            f"models/params.yml names {len(names)} feature(s) that a model must never see: "
            f"{', '.join(names)}. Protected attributes are listed in "
            "expectations/policy/protected.yml, protected and personal columns in "
            "expectations/contracts/. Nothing was trained or scored. Take them out of "
            "`features` in models/params.yml."
        )


class LeakingFeatures(BanyanError):
    """A model would learn from what could be known only after the outcome."""

    def __init__(self, model: str, leaks: Sequence[Mapping[str, Any]]):
        names = sorted({leak["name"] for leak in leaks})
        told = "; ".join(
            f"{leak['name']}: {leak['words']} (test `{leak['test']}`: {leak['figure']:.3f}, "
            f"limit {leak['limit']})"
            for leak in leaks
        )
        super().__init__(
            f"the {model} model was not trained: {len(names)} of its features would know what is "
            f"known only after the outcome: {told}. The limits are set in "
            "expectations/policy/leaks.yml. Nothing of it was published; the champion before it, "
            "if there is one, stands. Take the features out of models/params.yml, mend how they "
            "come about, or have them allowed by name and until a date in leaks.yml."
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
