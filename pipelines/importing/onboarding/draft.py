"""Write the draft of a mapping as YAML; what could not be decided is a question in it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from expectations.contracts import Column, Contract
from pipelines.importing.mapping_sql import quote
from pipelines.importing.onboarding.candidates import (
    Candidate,
    list_alternatives,
    load_synonyms,
)
from pipelines.importing.onboarding.file_format import Guess
from pipelines.importing.onboarding.profile import FEW_VALUES, MOST, ColumnProfile, mask_digits
from pipelines.ingest.reading.restricting_names import find_meaning

UNANSWERED = '{expression: "null"}'
"""The value of a required column that nobody may guess; until it is set, no row is loaded."""
ID_TYPES = {"resident_id": "prc_resident_id", "uscc": "prc_uscc", "ein": "us_ein"}
"""Pattern of an identity number -> its type in the contract; the narrower pattern first."""
CURRENCIES = {
    "CNY": re.compile(r"(?<![美港日欧])元|[¥￥]|人民币|rmb|cny", re.IGNORECASE),
    "USD": re.compile(r"美元|(?<![a-z])(us)?\$|usd", re.IGNORECASE),
    "EUR": re.compile(r"欧元|€|(?<![a-z])eur(?![a-z])|euro", re.IGNORECASE),
}
"""Currency -> the part of a column's name that states it."""
MONEY = (
    *("amount", "income_monthly", "debt_monthly", "revenue_annual", "tax_paid_annual"),
    *("collateral_value", "amount_min", "amount_max", "spend"),
)
"""Columns of contracts that hold money."""
UNITS = {"万": "10000", "千": "1000", "thousand": "1000", "(k)": "1000", "million": "1000000"}
"""A part of a name -> factor of its money."""
MAX_SHARE = 100
"""A number whose maximum in the contract is at most this is a share or a ratio."""
MAX_NAMES = 50
"""Names of columns without a place that the draft lists."""
MAX_WORDS = 8
"""Values without a translation that a question lists."""


@dataclass
class Draft:
    """The draft of a mapping: its text, and what is open in it."""

    text: str
    questions: list[str]
    unanswered: tuple[str, ...]
    """Required columns that every row lacks until somebody decides."""


@dataclass
class _Value:
    """One line of the draft, with the reason for it and its questions."""

    text: str
    evidence: str = ""
    questions: list[str] = field(default_factory=list)


class DraftWriter:
    """Writes the draft of one file for one feed."""

    def __init__(  # noqa: PLR0913 - each is a finding of its own
        self,
        contract: Contract,
        guess: Guess,
        profiles: Mapping[str, ColumnProfile],
        chosen: Mapping[str, Candidate],
        candidates: list[Candidate],
        *,
        file_name: str,
        source: str,
        day: date,
        zone: str,
    ):
        """Take the findings on the file; `day` and `zone` are used where it states none."""
        self.contract, self.guess, self.profiles = contract, guess, profiles
        self.chosen, self.candidates = chosen, candidates
        self.file_name, self.source, self.day, self.zone = file_name, source, day, zone
        self._questions: list[str] = []
        self._unanswered: list[str] = []

    def write(self) -> Draft:
        """Return the draft."""
        lines = [
            f"# Draft by `banyan onboard` of {' '.join(self.file_name.split())}.",
            "# Answer each QUESTION, then import it.",
            "description: " + _yaml(f"{self.contract.feed} of {self.source}."),
            "origin: " + _yaml(f"{self.file_name}; its origin and its licence are unknown."),
            "",
            *self._file_lines(),
            f"missing: {self._missing()}",
            "routes:",
            f"  - feed: {self.contract.feed}",
            f"    source: {_yaml(self.source)}",
            *self._date_lines(),
            "    columns:",
        ]
        for column in self.contract.columns:
            lines += self._column_lines(column)
        lines += ["", *self._left_over_lines()]
        return Draft("\n".join(lines).rstrip() + "\n", self._questions, tuple(self._unanswered))

    def _ask(self, question: str, indent: str = "") -> str:
        self._questions.append(question)
        return f"{indent}# QUESTION: {' '.join(question.split())}"

    def _file_lines(self) -> Iterator[str]:
        spec = self.guess.spec
        yield from (self._ask(question) for question in self.guess.questions)
        for key, why in self.guess.evidence.items():
            yield f"# {key}: {why}"
        facts = [f"format: {spec.format}"]
        if spec.format != "parquet":
            facts.append(f"encoding: {spec.encoding}")
        if spec.format == "csv":
            facts += [f"delimiter: {_yaml(spec.delimiter)}", f"header: {str(spec.header).lower()}"]
        if spec.skip_lines:
            facts.append(f"skip_lines: {spec.skip_lines}")
        yield "file:"
        yield from (f"  {fact}" for fact in facts)
        if spec.names:
            yield f"  names: [{', '.join(map(_yaml, spec.names))}]"

    def _missing(self) -> str:
        words = sorted({word for profile in self.profiles.values() for word in profile.missing})
        return f"[{', '.join(map(_yaml, words))}]"

    def _date_lines(self) -> Iterator[str]:
        candidate = self.chosen.get(self.contract.recorded_at or "captured_at")
        if candidate is None:
            yield self._ask(
                f"Which column has the business date of a row? Until it is named, every row counts "
                f"for {self.day}.",
                "    ",
            )
            yield "    date: {expression: " + _yaml(f"date '{self.day}'") + "}"
            return
        profile = self.profiles[candidate.source]
        name = quote(candidate.source)
        if profile.formats:
            parts = f"from: {_yaml(candidate.source)}, format: {_yaml(profile.formats[0])}"
            yield f"    date: {{{parts}}}"
        elif profile.type.startswith(("DATE", "TIMESTAMP")) and "ZONE" not in profile.type:
            yield f"    date: {{expression: {_yaml(f'cast({name} as date)')}}}"
        else:
            moment = f"cast(timezone('{self.zone}', try_cast({name} as timestamptz)) as date)"
            yield f"    date: {{expression: {_yaml(moment)}}}"

    def _column_lines(self, column: Column) -> Iterator[str]:
        value = self._value(column)
        if value.evidence:
            yield f"      # {' '.join(value.evidence.split())}"
        yield from (self._ask(question, "      ") for question in value.questions)
        if value.text:
            yield f"      {column.name}: {value.text}"

    def _value(self, column: Column) -> _Value:
        """Return the line of a column; without text if it stays empty."""
        restricting = self._list_restricting()
        if restricting and column.name == "consent_scope":
            self._unanswered.append(column.name)
            question = (
                f"{', '.join(restricting)} says by its name that it restricts, and no column of "
                "the contract takes it. Which leads does it close? Until that is mapped (to "
                "consent_withdrawn_at, or by `where`), every row is quarantined."
            )
            return _Value(UNANSWERED, "", [question])
        candidate = self.chosen.get(column.name)
        if candidate is not None:
            value = self._convert(column, self.profiles[candidate.source])
            value.evidence = f"{candidate.source}: {candidate.evidence}"
            return value
        if column.name == "id_type" and (id_type := self._find_id_type()):
            return id_type
        if column.currency and (currency := self._find_currency(column)):
            return currency
        taken = [chosen.source for chosen in self.chosen.values()]
        others = list_alternatives(column.name, self.candidates, taken)
        names = ", ".join(f"{other.source} ({other.evidence})" for other in others)
        if column.required:
            return self._fill_required(column, names)
        return _Value("", "", [f"Is {column.name} one of {names}?"] if names else [])

    def _find_id_type(self) -> _Value | None:
        """Return the type that the identity numbers themselves have, if nearly all have one."""
        number = self.chosen.get("id_number")
        if number is None:
            return None
        shares = {name: self.profiles[number.source].share(name) for name in ID_TYPES}
        kind = next((name for name, share in shares.items() if share >= MOST), None)
        if kind is None:
            return None
        evidence = f"{number.source}: {shares[kind]:.0%} of its values have this form"
        return _Value(ID_TYPES[kind], evidence)

    def _find_currency(self, column: Column) -> _Value | None:
        """Return the currency that names of columns of money state, always with a question."""
        money = [self.chosen[name].source for name in MONEY if name in self.chosen]
        if not money:
            return None
        found = {
            code: name for code, part in CURRENCIES.items() for name in money if part.search(name)
        }
        if len(found) == 1:
            ((code, name),) = found.items()
            question = f"Is all money of a row in {code}, as the name of {name} says?"
            return _Value(code, "", [question])
        if column.required:
            return None
        question = (
            f"In which currency are {', '.join(money)}? The file does not state it. A lead without "
            "one fits no product, unless expectations/policy/assumed_requests.yml has the currency "
            "of its channel."
        )
        return _Value("", "", [question])

    def _fill_required(self, column: Column, names: str) -> _Value:
        if column.name == "lead_id":
            text = '{expression: "row_sha256[1:32]"}'
            question = (
                "No column has a value of its own in each row. What names a lead? Until then a "
                "hash of the row does, so equal rows are one lead."
            )
            return _Value(text, "", [question])
        if column.name == "segment":
            business = {"business_name", "revenue_annual", "established_on"} & self.chosen.keys()
            if not business:
                return _Value("consumer", "", ["Are all applicants persons, as is assumed here?"])
        self._unanswered.append(column.name)
        hint = f" Candidates: {names}." if names else ""
        consent = (
            " Consent can't be assumed: ask the channel for it."
            if column.name.startswith("consent_")
            else ""
        )
        question = (
            f"{self.contract.feed} requires {column.name} ({column.description.rstrip('.')}), and "
            f"no column of the file is it for certain.{hint}{consent} Every row is quarantined "
            "until this is set."
        )
        return _Value(UNANSWERED, "", [question])

    def _convert(self, column: Column, profile: ColumnProfile) -> _Value:
        """Return the value of a column that has a source."""
        if column.type in ("date", "timestamp"):
            return self._convert_time(column, profile)
        if column.type in ("number", "integer"):
            return self._convert_number(column, profile)
        parts = [f"from: {_yaml(profile.name)}"]
        questions: list[str] = []
        if column.name == "lead_id" and not profile.is_unique:
            questions.append(
                f"In {profile.known - profile.distinct:,} of {profile.known:,} rows {profile.name} "
                "has the value of another row. Rows with one value are one lead: is that meant?"
            )
        if column.allowed or column.type == "boolean":
            translation, unknown = _translate(column, profile)
            if translation:
                pairs = ", ".join(f"{_yaml(old)}: {_yaml(new)}" for old, new in translation.items())
                parts.append(f"values: {{{pairs}}}")
            if unknown:
                allowed = ", ".join(column.allowed or ("true", "false"))
                listed = ", ".join(map(mask_digits, unknown[:MAX_WORDS]))
                questions.append(
                    f"Which of {allowed} is each of: {listed}"
                    f"{' and others' if len(unknown) > MAX_WORDS else ''}? Add them to `values`."
                )
            elif profile.distinct > FEW_VALUES:
                questions.append(
                    f"{profile.name} has {profile.distinct} different values. Translate."
                )
        if column.restricts and not column.allowed and column.name == "consent_scope":
            questions.append("Does each value name institutions by their ids here, or `all`?")
        if profile.share("scientific") >= 0.5 and column.personal:  # noqa: PLR2004 - half
            questions.append(
                f"{profile.name} is written as 1.38E+10: a spreadsheet lost its digits. Ask for "
                "the file again, with the column as text."
            )
        return _Value(f"{{{', '.join(parts)}}}", "", questions)

    def _convert_time(self, column: Column, profile: ColumnProfile) -> _Value:
        parts, questions = [f"from: {_yaml(profile.name)}"], []
        if profile.formats:
            first = profile.formats[0]
            parts.append(f"format: {_yaml(first)}")
            if len(profile.formats) > 1:
                questions.append(
                    f"Every value of {profile.name} can be read as "
                    f"{' and as '.join(profile.formats)}. Which is meant?"
                )
            if "%y" in first:
                parts.append(f"pivot: {(self.day.year + 1) % 100}")
                questions.append("Are two-digit years from the pivot on 19yy, as is assumed here?")
            if column.type == "timestamp":
                parts.append(f"zone: {self.zone}")
                questions.append(f"{profile.name} states no time zone. Is it {self.zone}?")
        return _Value(f"{{{', '.join(parts)}}}", "", questions)

    def _convert_number(self, column: Column, profile: ColumnProfile) -> _Value:
        name = quote(profile.name)
        questions: list[str] = []
        if column.name.endswith("_months") and not profile.is_numeric and profile.months:
            pairs = ", ".join(f"{_yaml(text)}: {n}" for text, n in profile.months.items())
            return _Value(f"{{from: {_yaml(profile.name)}, values: {{{pairs}}}}}")
        scale = self._find_scale(column, profile, questions)
        if profile.share("decimal_comma") >= 0.5:  # noqa: PLR2004 - half
            text = f"replace(replace({name}, '.', ''), ',', '.')"
            questions.append(
                f"Is the comma the decimal sign in {profile.name}, as is assumed here?"
            )
        elif profile.share("grouped", "percent") > 0:
            text = f"regexp_replace(cast({name} as varchar), '[¥￥$€£%, ]', '', 'g')"
        else:
            parts = [f"from: {_yaml(profile.name)}"]
            parts += [f"scale: {scale}"] if scale else []
            return _Value(f"{{{', '.join(parts)}}}", "", questions)
        if scale:
            text = f"try_cast({text} as double) * {scale.replace('/', '.0 / ')}"
        return _Value(f"{{expression: {_yaml(text)}}}", "", questions)

    def _find_scale(
        self, column: Column, profile: ColumnProfile, questions: list[str]
    ) -> str | None:
        """Return the factor that the name or the values speak for; ask about it."""
        lower = profile.name.lower()
        factor = next((factor for word, factor in UNITS.items() if word in lower), "")
        is_yearly = re.search(r"annual|year|年", lower) is not None
        if factor:
            questions.append(f"Is {profile.name} in units of {factor}, as its name says?")
        if column.name.endswith("_monthly") and is_yearly:
            questions.append(
                f"Is {profile.name} of a year, as its name says, so a month a twelfth?"
            )
            return f"{factor or 1}/12"
        if factor:
            return factor
        is_share = (
            column.type == "number" and column.maximum is not None and column.maximum <= MAX_SHARE
        )
        if is_share and profile.share("percent") >= MOST:
            return "0.01"
        if is_share and profile.median is not None and profile.median > 2:  # noqa: PLR2004
            questions.append(
                f"The median of {profile.name} is {profile.median:g}, so it is taken as a "
                "percentage. Is it?"
            )
            return "0.01"
        return None

    def _list_left_over(self) -> list[str]:
        used = {candidate.source for candidate in self.chosen.values()}
        return [name for name in self.profiles if name not in used]

    def _list_restricting(self) -> list[str]:
        """Return the columns without a place whose names say that they restrict."""
        return [name for name in self._list_left_over() if find_meaning(self.contract.feed, name)]

    def _left_over_lines(self) -> Iterator[str]:
        """Yield the names of the columns that the draft omits."""
        left = self._list_left_over()
        if left:
            more = len(left) - MAX_NAMES
            shown = ", ".join(left[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
            yield f"# Not mapped: {' '.join(shown.split())}"


def _translate(column: Column, profile: ColumnProfile) -> tuple[dict[str, str], list[str]]:
    """Return the translation of the values of a category, and the values without one."""
    words = load_synonyms().values.get(column.name, {})
    if column.type == "boolean":
        words = {"yes": "true", "y": "true", "1": "true", "是": "true", "true": "true"}
        words |= {"no": "false", "n": "false", "0": "false", "否": "false", "false": "false"}
    allowed = column.allowed or ("true", "false")
    translation: dict[str, str] = {}
    unknown: list[str] = []
    for value, _ in profile.values:
        lower = value.strip().lower()
        meant = lower if lower in allowed else words.get(lower)
        if meant is None:
            unknown.append(value)
        elif meant != value:
            translation[value] = meant
    return translation, unknown


def _yaml(text: str) -> str:
    """Return a text as YAML writes it on one line."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./]*", text)
    return text if plain else json.dumps(text, ensure_ascii=False)
