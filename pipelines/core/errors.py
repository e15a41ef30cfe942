"""What can go wrong, in the words of whoever must act on it.

Every message says what, how much, which limit and where it is set, what was *not* done, where
the evidence lies, and what to do. None holds a person's data.
"""


class BanyanError(Exception):
    """Base of every error that this project raises on purpose; the command line shows its text."""


class WrongUse(BanyanError):
    """The command was called with something that cannot be meant; exit code 2."""


class FileRefused(BanyanError):
    """One landed file cannot be read as its contract says; the rest of the day goes on."""

    def __init__(self, rule: str, message: str):
        super().__init__(message)
        self.rule = rule


class ImportRefused(BanyanError):
    """A foreign file, or the mapping that it was read by, can't be used; nothing was written."""


class InputMissing(BanyanError):
    """A step was asked for before the step that it reads from."""


class Broken(BanyanError):
    """A promise that Banyan makes about its own output does not hold; nothing was published."""
