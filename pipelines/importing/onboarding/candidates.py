"""Propose for each column of a contract the columns of a foreign file, with the evidence."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

import expectations
from expectations.contracts import Column, Contract
from expectations.strict_model import StrictModel
from pipelines.importing.onboarding.profile import MOST, ColumnProfile

SYNONYMS = Path(expectations.__file__).parent / "synonyms.yml"
ACCEPTED = 0.6
"""Score from which on a candidate is written into the draft; a lower one is only a question."""
MENTIONED = 0.35
"""Score from which on a candidate is named in a question."""
SHORTEST_PART = 4
"""Letters (of Chinese two) from which on a synonym counts as a part of a longer name."""


class Synonyms(StrictModel):
    """The content of `expectations/synonyms.yml`."""

    columns: dict[str, dict[str, tuple[str, ...]]]
    """Feed -> column -> names in foreign files."""
    values: dict[str, dict[str, str]]
    """Column -> foreign word -> value of the contract."""


@cache
def load_synonyms() -> Synonyms:
    """Return the names and words of foreign files."""
    return Synonyms.model_validate(yaml.safe_load(SYNONYMS.read_text("utf-8")))


@dataclass(frozen=True)
class Candidate:
    """A column of the file that may be a column of the contract."""

    column: str
    source: str
    score: float
    evidence: str


def propose_columns(
    contract: Contract, profiles: Mapping[str, ColumnProfile]
) -> tuple[dict[str, Candidate], list[Candidate]]:
    """Return the best assignment (one source for each column), and every candidate, best first."""
    found = [
        candidate
        for column in contract.columns
        for profile in profiles.values()
        if (candidate := _judge(contract.feed, column, profile)) is not None
    ]
    found.sort(key=lambda c: (-c.score, contract.names.index(c.column), c.source))
    chosen: dict[str, Candidate] = {}
    taken: set[str] = set()
    for candidate in found:
        if candidate.score < ACCEPTED:
            break
        if candidate.column not in chosen and candidate.source not in taken:
            chosen[candidate.column] = candidate
            taken.add(candidate.source)
    return chosen, found


def _judge(feed: str, column: Column, profile: ColumnProfile) -> Candidate | None:
    """Return the candidate of one pair of columns, or None if nothing speaks for it."""
    by_name, named = _score_name(feed, column, profile.name)
    by_value, valued = _score_values(column, profile)
    if column.name in ("phone", "id_number") and by_value >= MOST:
        score = max(ACCEPTED + 0.05, by_name)
    elif by_name == 0 or not profile.known:
        return None
    elif by_value == 0:
        score = 0.4 * by_name
    else:
        score = 0.8 * by_name + 0.2 * by_value
    if score < MENTIONED:
        return None
    evidence = "; ".join(text for text in (named, valued) if text)
    return Candidate(column.name, profile.name, round(score, 3), evidence)


def normalise_name(name: str) -> str:
    """Return a name as names are compared: lower case, letters and digits only."""
    plain = unicodedata.normalize("NFKC", name).lower()
    return re.sub(r"[^a-z0-9\u4e00-\u9fff]+", "", plain)


def _score_name(feed: str, column: Column, name: str) -> tuple[float, str]:
    plain = normalise_name(name)
    if plain == normalise_name(column.name):
        return 1.0, "has the contract's name"
    synonyms = load_synonyms().columns.get(feed, {}).get(column.name, ())
    # A unit in brackets, as in 月收入(万元), is no part of the name.
    bare = normalise_name(re.sub(r"[(\[].*?[)\]]", "", unicodedata.normalize("NFKC", name)))
    if {plain, bare} & {normalise_name(synonym) for synonym in synonyms}:
        return 0.95, "its name is a known synonym"
    for part in (column.name, *synonyms):
        short = normalise_name(part)
        is_chinese = any("\u4e00" <= letter <= "\u9fff" for letter in short)
        if len(short) >= (2 if is_chinese else SHORTEST_PART) and short in plain:
            return 0.65, f"its name contains {part}"
    return 0.0, ""


def _score_values(  # noqa: PLR0911 - one answer for each kind of column
    column: Column, profile: ColumnProfile
) -> tuple[float, str]:
    """Return how well the values fit the type and rules of the column; 0: they contradict it."""
    if column.name == "phone":
        return _by_share(profile.share("phone"), "look like phone numbers")
    if column.name in ("id_number", "owner_id_number"):
        share = profile.share("resident_id", "uscc", "ein")
        return _by_share(share, "look like identity numbers")
    if column.name == "lead_id":
        return _score_uniqueness(profile)
    if column.allowed:
        words = {*column.allowed, *load_synonyms().values.get(column.name, {})}
        known = sum(n for value, n in profile.values if value.strip().lower() in words)
        share = known / profile.known if profile.values else 0.0
        if share == 0 and len(profile.values) > 0:
            return 0.3, "its values need a translation"
        return _by_share(share, "are allowed values")
    if column.type in ("date", "timestamp"):
        is_native = profile.type.startswith(("DATE", "TIMESTAMP"))
        is_date = is_native or bool(profile.formats) or profile.share("offset_time") >= MOST
        return (1.0, "its values are dates or times") if is_date else (0.0, "no dates")
    if column.type in ("number", "integer"):
        return _score_number(column, profile)
    if column.type == "boolean":
        return _by_share(profile.share("boolean"), "are yes or no")
    if column.currency:
        return _by_share(profile.share("currency"), "are currency codes")
    return 0.5, ""


def _score_uniqueness(profile: ColumnProfile) -> tuple[float, str]:
    if profile.is_unique:
        return 1.0, "each row has its own"
    if profile.is_nearly_unique:
        return 0.9, "nearly each row has its own"
    return 0.0, "values repeat"


def _score_number(column: Column, profile: ColumnProfile) -> tuple[float, str]:
    if profile.is_numeric:
        return 1.0, "its values are numbers"
    if column.name.endswith("_months") and profile.months:
        return 1.0, "its values are months and years"
    return 0.0, "no numbers"


def _by_share(share: float, what: str) -> tuple[float, str]:
    return (share if share >= 0.5 else 0.0), f"{share:.0%} of its values {what}"  # noqa: PLR2004


def list_alternatives(
    column: str, candidates: Iterable[Candidate], taken: Iterable[str]
) -> list[Candidate]:
    """Return the best three candidates of a column whose source is not taken by another."""
    used = set(taken)
    return [c for c in candidates if c.column == column and c.source not in used][:3]
