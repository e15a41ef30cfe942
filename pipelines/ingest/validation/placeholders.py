"""Placeholders: texts such as NULL or a device id of zeros that stand for a missing value.

The words are in `expectations/policy/placeholders.yml`, the patterns of single columns in their
contracts. A value that is one becomes null before anything is parsed.
"""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.contracts import Column

PLACEHOLDER = "placeholder"
"""The rule that a placeholder violates."""


def find_placeholders(column: Column, values: pa.Array) -> pa.Array:
    """Return whether each of the trimmed texts of `column` is a placeholder; false of null."""
    is_placeholder = pc.is_in(values, value_set=pa.array(list_words(column), pa.string()))
    if column.placeholder_pattern:
        pattern = rf"\A(?:{column.placeholder_pattern})\z"
        matches = pc.fill_null(pc.match_substring_regex(values, pattern), fill_value=False)
        is_placeholder = pc.or_(is_placeholder, matches)
    return is_placeholder


@cache
def list_words(column: Column) -> tuple[str, ...]:
    """Return the words that stand for a missing value in `column`.

    Where a value restricts, only the words of programs do: what a person meant by N/A is not known,
    nor whether a limit that is not a number is missing or was calculated wrongly.
    """
    if not column.placeholders:
        return ()
    words = policy.placeholders()
    listed = list(words.programs)
    if not (column.restricts and column.type in {"number", "integer"}):
        listed += words.numbers
    if not column.restricts:
        listed += words.people
    return tuple(word for word in listed if word not in column.allowed)
