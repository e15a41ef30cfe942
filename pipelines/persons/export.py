"""Write what is held about a person as JSON, and as one page in the person's words.

The page has both languages; a switch without a script shows one of them. It requests nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from expectations import policy
from pipelines.core import translation
from pipelines.core.errors import BanyanError
from pipelines.core.publishing import write_json
from pipelines.core.rendering.html import environment
from pipelines.core.settings import Settings
from pipelines.core.translation import read_catalogue
from pipelines.matches.stage_labels import describe_detail
from pipelines.pairs.eligibility.reference_rules import MET
from pipelines.persons.collect import Row
from pipelines.reports.languages import CATALOGUES

LANGUAGES = {"en": "English", "zh": "中文"}
TEMPLATES = Path(__file__).parent / "templates"
WORDING = Path(__file__).with_name("wording.yml")
CHOSEN = {"chosen", "explored", "displaced"}

Words = Mapping[str, Any]


class ExportRefused(BanyanError):
    """An export can't be written to the given place."""


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Part:
    """What is held about one request, or beside the requests."""

    title: str
    summary: str
    tables: tuple[Table, ...]


def write_export(settings: Settings, person: Row, folder: Path) -> list[Path]:
    """Write `person.json` and `person.html` into `folder`; return their paths.

    Raises:
        ExportRefused: The folder lies in the home, or has an export already.
    """
    if folder.resolve().is_relative_to(settings.home.resolve()):
        raise ExportRefused(
            f"{folder} lies in the home {settings.home}. Nothing was exported: a copy there would "
            "have to be erased as well. Give a folder outside of it."
        )
    paths = [folder / "person.json", folder / "person.html"]
    if existing := [path for path in paths if path.exists()]:
        raise ExportRefused(f"{existing[0]} exists. Nothing was exported. Give another folder.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(paths[0], person)
    paths[1].write_text(render(person), "utf-8")
    return paths


def render(person: Row) -> str:
    """Return the page."""
    pages = {
        language: {
            "name": name,
            "words": _in_language(load_wording(), language),
            "parts": list(_list_parts(person, language)),
        }
        for language, name in LANGUAGES.items()
    }
    return (
        environment(TEMPLATES)
        .get_template("person.html")
        .render(pages=pages, made_on=person["made_on"])
    )


@cache
def load_wording() -> Words:
    """Return the words of the page: key -> language -> text, nested."""
    words: Words = yaml.safe_load(WORDING.read_text("utf-8"))
    return words


def label_column(name: str, language: str) -> str:
    """Return what a column of a lead is called to its person; its own name if it has no words."""
    if words := load_wording()["columns"].get(name):
        return str(words[language])
    return _feature_words(language).get(name, name)


@cache
def _feature_words(language: str) -> dict[str, str]:
    return {
        feature: str(getattr(reason.person, language))
        for reason in policy.reasons()
        for feature in reason.features
    }


def _in_language(words: Any, language: str) -> Any:
    """Return the words of one language."""
    if isinstance(words, dict) and set(words) == set(LANGUAGES):
        return words[language]
    return {key: _in_language(value, language) for key, value in words.items()}


def _list_parts(person: Row, language: str) -> Iterator[Part]:
    words = _in_language(load_wording(), language)
    for lead in person["leads"]:
        title = words["request"].format(
            date=lead["date"], lead=lead["lead_id"], channel=lead["channel_id"]
        )
        outcome = lead["explanation"].get("outcome", "waiting")
        summary = words["outcomes"].get(outcome, outcome)
        yield Part(title, summary, tuple(_lead_tables(lead, words, language)))
    beside = (
        _rows("rejected", [row | {"file": _place(row)} for row in person["rejected"]],
              ("file", "rule", "received"), words),
        _rows("orders", person["orders"], ("platform_id", "reason", "institution_id",
                                           "effective_at"), words),
        _rows("requests", person["requests"], ("at", "verb", "id", "result"), words),
    )  # fmt: skip
    yield Part(words["sections"]["beside"], "", tuple(beside))


def _place(row: Row) -> str:
    """Return file and line of a row that was refused."""
    return f"{row['file']}:{row['line']}" if "line" in row else f"{row['file']}"


def _lead_tables(lead: Row, words: Words, language: str) -> Iterator[Table]:
    fields = words["fields"]
    yield _values("received", lead["received"], words, language)
    yield _rows("checks", _list_checks(lead, language), ("rule", "value"), words)
    for row in lead["features"][:1]:
        yield _values("features", row, words, language)
    offers = [
        {
            "institution": row.get("institution_name", row.get("institution_id", "")),
            "product": row.get("product_name", row.get("product_id", "")),
            "value": row.get("words" if language == "en" else f"words_{language}", ""),
        }
        for row in lead["offers"]
    ]
    yield _rows("offers", offers, ("institution", "product", "value"), words)
    reasons = [
        {"institution": row.get("institution_id", ""), "product": row.get("product_id", ""),
         "reason": row.get(f"person_{language}", "")}
        for row in (*lead["reasons"], *lead["refusals"])
    ]  # fmt: skip
    yield _rows("reasons", reasons, ("institution", "product", "reason"), words)
    yield _scores(lead, words, language)
    yield _consent(lead, words, language)
    deliveries = [
        {"institution": row["institution_id"], "date": row["date"],
         "delivery": row["delivery_id"] or "", "state": row["state"] or "",
         "columns": ", ".join(label_column(name, language) for name in row["columns"]),
         "consent": lead["received"].get("consent_version", "")}
        for row in lead["deliveries"]
    ]  # fmt: skip
    columns = ("institution", "date", "delivery", "state", "columns", "consent")
    yield _rows("deliveries", deliveries, columns, words)
    outcomes = ("institution_id", "product_id", "event", "event_at", "amount", "currency", "reason")
    yield _rows("outcomes", lead["outcomes"], outcomes, words)
    notices = ("institution_id", "kind", "effective_on", "deadline")
    yield _rows("notices", lead["notices"], notices, words)
    if missing := lead["explanation"].get("missing"):
        yield Table(words["sections"]["outcome"], (fields["reason"],), ((missing,),))


def _list_checks(lead: Row, language: str) -> list[Row]:
    """Return what was checked: validity of number and phone, quarantine, and the outcome."""
    received, explanation = lead["received"], lead["explanation"]
    checks = [
        {"rule": label_column(name, language), "value": received[name]}
        for name in ("is_id_valid", "is_phone_valid")
        if name in received
    ]
    records = explanation.get("records", ())
    checks += [{"rule": row["rule"], "value": row["column"] or ""} for row in records]
    if explanation.get("stage"):
        texts = read_catalogue(language, CATALOGUES)
        detail = describe_detail(explanation.get("detail") or "")
        checks.append(
            {
                "rule": texts.translate(translation.words(explanation["stage"])),
                "value": texts.translate(detail),
            }
        )
    return checks


def _describe_why(row: Row, words: Words, language: str) -> str:
    """Return why a product was offered or not, in the person's words."""
    failed = [check for check in row.get("checks", ()) if check["answer"] != MET]
    whys = [
        words["why"][check["step"]].format(
            what=label_column(f"{check['rule']}".split(" ", 1)[0], language)
        )
        for check in failed
        if check["step"] in words["why"]
    ]
    if not whys and row.get("decision") in words["why"]:
        whys = [words["why"][row["decision"]]]
    return str(words["separator"]).join(dict.fromkeys(whys))


def _scores(lead: Row, words: Words, language: str) -> Table:
    fields, decisions = words["fields"], words["decisions"]
    names = ("institution", "product", "decision", "reason", "approval", "default", "apr")
    rows = tuple(
        (
            f"{row.get('institution_id', '')}",
            f"{row.get('product_id', '')}",
            decisions[row["decision"] if row.get("decision") in CHOSEN else "other"],
            _describe_why(row, words, language),
            _share(row.get("p_approve")),
            _share(row.get("pd")),
            _share(row.get("suggested_apr")),
        )
        for row in lead["explanation"].get("products") or lead["scores"]
    )
    return Table(words["sections"]["scores"], tuple(fields[name] for name in names), rows)


def _consent(lead: Row, words: Words, language: str) -> Table:
    fields = words["fields"]
    consent = lead["explanation"].get("consent") or {}
    names = ("version", "given_at", "withdrawn_at", "scope", "purpose", "evidence")
    rows = [(fields[name], _to_text(consent[name], words)) for name in names if consent.get(name)]
    texts = consent.get("texts", ())
    own = [text for text in texts if text["language"].startswith(language)] or texts
    rows += [(fields["text"], f"{text['text'] or text['file']}") for text in own]
    return Table(words["sections"]["consent"], (fields["kind"], fields["value"]), tuple(rows))


def _values(section: str, row: Row, words: Words, language: str) -> Table:
    """Return the values of one row, one a line."""
    fields = words["fields"]
    rows = tuple(
        (label_column(name, language), _to_text(value, words)) for name, value in row.items()
    )
    return Table(words["sections"][section], (fields["source"], fields["value"]), rows)


def _rows(section: str, rows: list[Row], names: tuple[str, ...], words: Words) -> Table:
    """Return some columns of rows."""
    labels = tuple(words["fields"].get(HEADINGS.get(name, name), name) for name in names)
    values = tuple(tuple(_to_text(row.get(name), words) for name in names) for row in rows)
    return Table(words["sections"][section], labels, values)


HEADINGS = {
    "institution_id": "institution",
    "product_id": "product",
    "event_at": "date",
    "effective_on": "date",
    "effective_at": "date",
    "at": "date",
    "platform_id": "source",
    "received": "value",
    "verb": "kind",
    "id": "delivery",
    "currency": "currency",
}
"""Column -> key of its heading in the words of the page."""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _to_text(value: object, words: Words) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(words["yes" if value else "no"])
    if isinstance(value, list | tuple):
        return ", ".join(_to_text(each, words) for each in value)
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return f"{value}"
