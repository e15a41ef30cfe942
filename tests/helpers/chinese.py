"""Find English in a Chinese page: sentences, and texts that the catalogue translates."""

import re
from html.parser import HTMLParser

from pipelines.reports.languages import LANGUAGES, read_texts
from tests.helpers.html import VOID_TAGS

DATA_TAGS = {"code", "style", "script"}
ATTRIBUTES = {"aria-label", "placeholder", "title"}
SENTENCE = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
NAMES = re.compile(r"Great Expectations|banyan \w+|Banyan|[\w./-]+\.(?:yml|parquet|json|csv)")
"""Names that stay as they are."""


class _Texts(HTMLParser):
    """The texts of a page outside of data: what `translate="no"` and code do not cover."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[bool] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        stated = dict(attributes)
        is_data = tag in DATA_TAGS or stated.get("translate") == "no" or any(self.open[-1:])
        if not is_data:
            self.texts += [value for name, value in attributes if name in ATTRIBUTES and value]
        if tag not in VOID_TAGS:
            self.open.append(is_data)

    def handle_endtag(self, tag: str) -> None:
        if self.open:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if (text := " ".join(data.split())) and not any(self.open[-1:]):
            self.texts.append(text)


def find_english(page: str) -> set[str]:
    """Return the texts of a Chinese page that are not translated."""
    reader = _Texts()
    reader.feed(page)
    reader.close()
    translated = {
        english
        for (_, english), chinese in read_texts(LANGUAGES[1]).messages.items()
        if chinese != english
    }
    return {
        text for text in reader.texts if text in translated or SENTENCE.search(NAMES.sub("", text))
    }
