"""Text in English that can be written in another language, and the catalogues of translations.

A sentence with figures is a `Text`: a string in English that remembers its template and figures.
Programs read the English; a page in another language translates the template and fills it again.
Catalogues are gettext's .po files.
"""

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

from pipelines.core.formats import count, long_date

NUMBER, WORD, STORED = "number", "word", "stored"
"""Contexts (msgctxt): nouns after a number, `lead`; names from the code as text, `no product`;
sentences that other steps stored, `{column} must be filled in`."""


SEPARATOR = "; "
"""Between the sentences of one text."""
NESTED = frozenset({"reason", "reasons", "figures", "decision", "advice", "sender"})
"""Figures of stored sentences that are text themselves; the others are data."""
DIGITS = frozenset({"rows", "number", "count", "line"})
"""Figures of stored sentences that are whole numbers."""


class _Figures(dict[str, Any]):
    """The figures of a template; one that is not stated shows as such."""

    def __missing__(self, name: str) -> str:
        return f"({name} not stated)"


class Text(str):
    """A sentence or label in English, with what it takes to write it in another language."""

    template: str = ""
    figures: Mapping[str, object] = {}

    @classmethod
    def fill(cls, template: str, figures: Mapping[str, object]) -> Self:
        """Return `template` with its figures."""
        made = cls(template.format_map(_Figures(figures)) if "{" in template else template)
        made.template, made.figures = template, figures
        return made

    def write(self, catalogue: "Catalogue") -> str:
        """Return the text in the language of `catalogue`."""
        template = catalogue.gettext(self.template or str(self))
        figures = {name: catalogue.translate(value) for name, value in self.figures.items()}
        return template.format_map(_Figures(figures)) if "{" in template else template


class Number(Text):
    """A number with its noun: 3 leads."""

    value: int = 0
    noun: str = ""

    def write(self, catalogue: "Catalogue") -> str:
        """Return the number with its noun in the language of `catalogue`."""
        return catalogue.number(self.value, self.noun, str(self))


class Word(Text):
    """A name from the code as text."""

    def write(self, catalogue: "Catalogue") -> str:
        """Return the name in the language of `catalogue`; itself if it is none of its words."""
        return catalogue.word(str(self))


class Joined(Text):
    """Several texts with a separator between them."""

    parts: tuple[str, ...] = ()
    separator: str = ""

    def write(self, catalogue: "Catalogue") -> str:
        """Return the texts in the language of `catalogue`, with its own separator."""
        separator = catalogue.gettext(self.separator)
        return separator.join(
            str(catalogue.translate(part)) if isinstance(part, Text) else catalogue.restate(part)
            for part in self.parts
        )


def text(template: str, /, **figures: object) -> Text:
    """Return a translatable text: `template` with `{name}` replaced by the figures."""
    return Text.fill(template, figures)


def plural(value: int, one: str, many: str | None = None) -> Number:
    """Return `value` with its noun: 1 file, 2 files."""
    made = Number(f"{count(value)} {one if value == 1 else many or one + 's'}")
    made.value, made.noun = value, one
    return made


def words(name: str) -> Word:
    """Return a name from the code as text: `no_product` -> no product."""
    return Word(name.replace("_", " "))


def join(parts: Iterable[str], separator: str = SEPARATOR, *, limit: int | None = None) -> Joined:
    """Return the texts that are not empty, one after the other; beyond `limit` their number."""
    every = [part for part in parts if part]
    listed = every if limit is None else every[:limit]
    if len(listed) < len(every):
        listed = [*listed, text("and {number} more", number=count(len(every) - len(listed)))]
    made = Joined(separator.join(listed))
    made.parts, made.separator = tuple(listed), separator
    return made


def to_json(value: object) -> object:
    """Return a text as plain JSON that `from_json` reads; another value as it is."""
    if isinstance(value, Number):
        return {"number": value.value, "noun": value.noun, "english": str(value)}
    if isinstance(value, Word):
        return {"word": str(value)}
    if isinstance(value, Joined):
        return {"parts": [to_json(part) for part in value.parts], "separator": value.separator}
    if isinstance(value, Text):
        figures = {name: to_json(figure) for name, figure in value.figures.items()}
        return {"text": value.template or str(value), "figures": figures}
    return value


def from_json(stored: Any) -> Any:
    """Return the text that `to_json` stored."""
    if not isinstance(stored, dict):
        return stored
    if "number" in stored:
        made = Number(stored["english"])
        made.value, made.noun = stored["number"], stored["noun"]
        return made
    if "word" in stored:
        return Word(stored["word"])
    if "parts" in stored:
        return join([from_json(part) for part in stored["parts"]], stored["separator"])
    figures = {name: from_json(figure) for name, figure in stored["figures"].items()}
    return Text.fill(stored["text"], figures)


@dataclass(frozen=True)
class Catalogue:
    """The texts of one language; English has none of its own."""

    language: str = "en"
    """As in HTML's `lang`."""
    messages: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(Context, English) -> translation."""

    @property
    def is_english(self) -> bool:
        """Return whether texts stay as they are."""
        return self.language == "en"

    def gettext(self, message: str) -> str:
        """Return the translation of `message`; itself if there is none."""
        return self.messages.get(("", message), message)

    def ngettext(self, one: str, many: str, number: int) -> str:
        """Return the translation for `number`; only English has two forms here."""
        if self.is_english:
            return one if number == 1 else many
        return self.gettext(one)

    def number(self, value: int, noun: str, english: str) -> str:
        """Return `value` with its noun."""
        template = self.messages.get((NUMBER, noun))
        return template.format(number=count(value)) if template else english

    def translate(self, value: object) -> object:
        """Return a text in this language; anything else as it is."""
        if self.is_english or not isinstance(value, Text):
            return value
        return value.write(self)

    def label(self, value: str) -> object:
        """Return a text or a plain word of the code in this language."""
        return self.translate(value) if isinstance(value, Text) else self.gettext(value)

    @cached_property
    def _stored(self) -> dict[bool, list[tuple[re.Pattern[str], str]]]:
        """The sentences that other steps store, as patterns with their translations.

        The one with the most words of its own comes first. True: several sentences at once.
        """
        stored = [
            (english, translation)
            for (context, english), translation in sorted(self.messages.items())
            if context == STORED
        ]
        stored.sort(key=lambda pair: -len(re.sub(r"\{\w+\}", "", pair[0])))
        return {
            is_whole: [
                (_as_pattern(english), translation)
                for english, translation in stored
                if (SEPARATOR in english) is is_whole
            ]
            for is_whole in (False, True)
        }

    def word(self, name: str) -> str:
        """Return a name from the code, or a list of names; what the catalogue lacks stays."""
        if known := self.messages.get((WORD, name)):
            return known
        parts = name.split(", ")
        restated = [self.messages.get((WORD, part)) or self.restate(part) for part in parts]
        is_list = parts[1:] and all(map(operator.ne, restated, parts))
        return self.gettext(", ").join(restated) if is_list else self.restate(name)

    def restate(self, stored: str) -> str:
        """Return what was stored in English, sentence by sentence; unknown ones as they are."""
        sentences = stored.split(SEPARATOR)
        if sentences[1:] and (whole := self._restate(stored, is_whole=True)) != stored:
            return whole
        restated = [self._restate(sentence) for sentence in sentences]
        return stored if restated == sentences else self.gettext(SEPARATOR).join(restated)

    def _restate(self, sentence: str, *, is_whole: bool = False) -> str:
        for pattern, translation in self._stored[is_whole]:
            if found := pattern.fullmatch(sentence):
                figures = found.groupdict()
                nested = {name: self.word(figures[name]) for name in NESTED & figures.keys()}
                return translation.format(**figures | nested)
        return sentence

    def long_date(self, day: date) -> str:
        """Return a date in long form."""
        if self.is_english:
            return long_date(day)
        weekday = self.gettext(long_date(day).partition(",")[0])
        return f"{day.year}年{day.month}月{day.day}日 {weekday}"


ENGLISH = Catalogue()


@cache
def read_catalogue(language: str, folder: Path) -> Catalogue:
    """Return the catalogue `LANGUAGE.po` of `folder`; English needs none."""
    if language == "en":
        return ENGLISH
    from babel.messages.pofile import read_po  # noqa: PLC0415  only a page in another language

    with (folder / f"{language}.po").open("rb") as file:
        stored = read_po(file, locale=language)
    messages = {
        (message.context or "", _first(message.id)): _first(message.string)
        for message in stored
        if message.id and message.string and not message.fuzzy
    }
    return Catalogue(language, messages)


def _as_pattern(template: str) -> re.Pattern[str]:
    """Return the pattern of a sentence whose figures are in braces."""
    escaped = re.sub(r"\\\{(\w+)\\\}", _as_group, re.escape(template))
    return re.compile(escaped, re.DOTALL)


def _as_group(figure: re.Match[str]) -> str:
    name = figure[1]
    return rf"(?P<{name}>[\d,]+)" if name in DIGITS else f"(?P<{name}>.+?)"


def _first(forms: str | tuple[str, ...] | list[str]) -> str:
    """Return the singular; a language without plurals has this form alone."""
    return forms if isinstance(forms, str) else forms[0]
