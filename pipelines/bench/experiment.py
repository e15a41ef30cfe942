"""What a benchmark of models asks (how it is answered: pipelines/bench/evaluate.py)."""

from dataclasses import dataclass

from models.errors import UnknownFeature
from models.params import Features, Group, Label, params
from pipelines.core.errors import UsageError

LEAD_DAY = "business_date"
DAY_AS_NUMBER = "lead_day"
FEWEST_FOLDS = 2

CLOSED_BOOK: Label = "charged_off"
"""How loans ended is known years later: by any split only the quickest failures were. So on a
closed book a split tells apart the lending of two times, and every ending counts; `labels_known`
in the figures says so. For the other targets what was not known by the split doesn't count, unless
the question says so."""

MODELS: dict[Label, str] = {"approved": "approval", "funded": "take_up", "defaulted": "risk"}
"""Target -> the model whose features are used."""

READS_OF_A_BOOK: tuple[Group, ...] = ("lead", "product", "pair", "effect")
"""A closed book holds loans that were granted: whose they are counts, and there is no model of
the day for it. What lenders approved before says nothing where only approvals are told."""


@dataclass(frozen=True)
class Question:
    """What is to be measured: which label, on which rows, without which columns."""

    target: Label
    time: str | None = None
    """Column that splits the rows; None: at random, by folds."""
    split: str | None = None
    """Rows below it are learned from, the others are predicted; None: the last fifth is."""
    folds: int = 5
    drop: frozenset[str] = frozenset()
    with_day: bool = False
    """Whether the lead's day is looked at as well. No model of a day does that, since all that it
    is asked about is later; in random folds a day has rows on both sides."""
    knows_all: bool = False
    """Whether what happened to a row before the split counts even where it was told after it."""
    anew: int | None = None
    """Days after which another model is made, of what is known by then, as the pipeline does each
    week; None: one model predicts all."""
    unseen: str | None = None
    """Column of which a share of the values is kept out of training; only its rows are predicted.
    If it is the lender, then as one of which nothing is known on that day."""

    @property
    def features(self) -> Features:
        """The features of the target's model, without the dropped ones and what is made of them."""
        if self.target == CLOSED_BOOK:
            known = params().features_in(READS_OF_A_BOOK)
        else:
            known = params().features_of(MODELS[self.target])
        if unknown := sorted(self.drop - set(known.names)):
            raise UnknownFeature(unknown, known.names)
        levels = params().effects.levels
        made_of_them = {level.name for level in levels if self.drop & set(level.of)}
        kept = known.without(self.drop | made_of_them)
        days = (DAY_AS_NUMBER,) if self.with_day else ()
        return kept.model_copy(update={"numbers": (*kept.numbers, *days)})

    @property
    def is_as_of_split(self) -> bool:
        """Whether only labels count that were known by the split."""
        return self.time == LEAD_DAY and self.target != CLOSED_BOOK and not self.knows_all

    def check(self) -> None:
        """Refuse, before any work, what cannot be answered.

        Raises:
            UsageError: Options that don't go together.
            UnknownFeature: A column to drop is none of the model's.
        """
        if self.split is not None and self.time is None:
            raise UsageError("--split needs --time, the column to split by. Nothing was measured.")
        if self.with_day and self.time is not None:
            raise UsageError(
                "--with-day is for random folds, without --time. Nothing was measured."
            )
        if self.unseen is not None and self.time is None:
            raise UsageError(
                "--unseen needs --time: later rows are predicted. Nothing was measured."
            )
        if self.anew is not None and not (self.anew > 0 and self.is_as_of_split):
            raise UsageError(
                f"--anew is {self.anew}; it is a number of days from 1 on, with --time {LEAD_DAY}, "
                "without --knows-all and not of a closed book. Nothing was measured."
            )
        if self.knows_all and self.time is None:
            raise UsageError("--knows-all needs --time: folds know all. Nothing was measured.")
        if self.folds < FEWEST_FOLDS:
            raise UsageError(
                f"--folds is {self.folds}; it is at least {FEWEST_FOLDS}. Nothing was measured."
            )
        _ = self.features
