"""The errors that Banyan raises on purpose.

Each message says what happened, to what, how much, which limit applies and where it is set, what
was *not* done, where the evidence is, and what to do. None holds a person's data.
"""

INTERRUPTED = 130
"""The exit code that shells report for a process ended by Ctrl-C."""
STOPPED = "Stopped. Nothing was published in part; run it again."


class BanyanError(Exception):
    """Base of every error that this project raises on purpose; the command line shows its text."""


class UsageError(BanyanError):
    """The arguments of the command are invalid; exit code 2."""


class FileRejected(BanyanError):
    """One landed file cannot be read by its contract; the rest of the day continues."""

    def __init__(self, rule: str, message: str):
        super().__init__(message)
        self.rule = rule


class ImportRejected(BanyanError):
    """A foreign file, or its mapping, cannot be used; nothing was written."""


class InputMissing(BanyanError):
    """A step was run before the step whose output it reads."""


class PipeBroken(BanyanError):
    """A program that a step wrote to ended before it had read everything."""


class IntegrityError(BanyanError):
    """A guarantee about Banyan's own output does not hold; nothing was published."""


class DeadlineMissed(BanyanError):
    """The lead files of a date are not complete at the agreed time."""


class DayNotFit(BanyanError):
    """The day is published and counts add up, but its verdict is `not fit`."""


class DeliveryOnHold(BanyanError):
    """The lead files of a date wait for an officer's decision, or the officer refused them."""


class EngineUnavailable(BanyanError):
    """The engine that `BANYAN_ENGINE` names cannot be used now; nothing was published."""


class EngineFailed(BanyanError):
    """The cluster could not compute a portion of the leads; nothing was published."""
