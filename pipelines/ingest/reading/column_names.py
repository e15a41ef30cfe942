"""Misspelt names of optional columns that may not be lost unseen.

A file may leave out an optional column, and may have columns that no contract knows. But where a
column that restricts is absent and an unknown one resembles it (`daily_budgt`, `valid_until`,
`consentWithdrawnAt`), its limits would count as none. And where a policy completes what is missing
(`loan_amount` for `amount`), an assumption would replace what people stated.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher

from expectations.contracts import Contract
from pipelines.core.errors import FileRejected

SIMILAR = 0.7
"""Least similarity of two names, 1 for equal ones, without case and separators."""
SIMILAR_PART = 0.6
"""The same where the words of one name are all among the words of the other."""


def check_misspelt(contract: Contract, names: Collection[str], sent: Collection[str] = ()) -> None:
    """Reject a file in which a column that restricts or is completed is probably misspelt.

    It is an optional one that is missing, or one that is there and comes again in other letters.

    Args:
        contract: The columns.
        names: The names in the file.
        sent: Columns of the contract that the file has besides.
    """
    present = {*names, *sent}
    unknown = [name for name in names if name not in contract.names]
    letters = {
        _letters(column.name): column.name
        for column in contract.columns
        if column.restricts or column.assumed
    }
    for name in unknown:
        if letters.get(_letters(name)) in present:
            raise FileRejected(
                "header",
                f"two columns are named {letters[_letters(name)]}, but for case or separators, and "
                "nobody knows which of them counts",
            )
    for column in list_optional(contract):
        if column not in present and any(is_similar(name, column) for name in unknown):
            raise FileRejected(
                "header",
                f"the optional column {column}, without which something else would count, is "
                f"missing, and a column that the {contract.feed} contract does not know resembles "
                f"it; name it {column}, or give it a name that is unlike",
            )


def list_optional(contract: Contract) -> Iterable[str]:
    """Yield the optional columns whose loss opens something, or puts an assumption in its place."""
    for column in contract.columns:
        restricts = column.restricts and not column.means_every
        if (restricts or column.assumed) and not column.required:
            yield column.name


def is_similar(one: str, other: str) -> bool:
    """Return whether two names are probably meant to be the same."""
    similarity = SequenceMatcher(None, _letters(one), _letters(other), autojunk=False).ratio()
    parts, others = _words(one), _words(other)
    is_part = bool(parts) and (parts <= others or others <= parts)
    return similarity >= SIMILAR or (is_part and similarity >= SIMILAR_PART)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _words(name: str) -> set[str]:
    return set(split_words(name).split("_")) - {""}


def split_words(name: str) -> str:
    """Return the words of `daily_budget`, `Daily Budget` or `dailyBudget`, as `daily_budget`."""
    text = unicodedata.normalize("NFKC", name)
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    return re.sub(r"[\W_]+", "_", text).strip("_").lower()
