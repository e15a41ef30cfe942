"""Random edits of a file on its way: dropped, repeated, reordered, delayed, misspelt, cut off."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from tests.independent.landed import Row
from tests.independent.small_market import MarketFile, encode

KINDS = ("misspell", "truncate", "delay", "repeat", "reorder", "drop")

HARMLESS = {"drop", "delay", "repeat", "reorder"}
"""Edits after which every value can be read."""

WORDS = {
    "op": {"ge": "gte", "le": "=<", "in": "one of", "not_in": "not in", "between": "from-to"},
    "status": {"active": "Actve", "paused": "Paused"},
    "subject_type": {"id_number": "id", "phone": "tel", "lead": "Lead-id"},
}
IDS = ("product_id", "attribute", "reason")
DATES = ("admitted_from", "admitted_to", "valid_from", "valid_to")
TIMES = ("effective_at", "consent_withdrawn_at", "consent_at")
NUMBERS = ("amount_min", "amount_max", "term_max_months", "daily_quota", "daily_budget", "apr_max")
COLUMNS = {
    "institutions": ("admitted_from", "admitted_to", "institution_id"),
    "products": ("status", *NUMBERS, "valid_from", "valid_to", "product_id"),
    "product_rules": ("product_id", "attribute", "op", "value"),
    "suppressions": ("subject_type", "subject", "reason", "institution_id", "effective_at"),
    "leads": ("consent_withdrawn_at", "consent_scope", "consent_at", "consent_version"),
}
"""Restricting columns of each feed that are misspelt."""


@dataclass(frozen=True)
class Edit:
    """One edit of one file of a market; `seed` draws its details."""

    kind: str
    file: int
    """Number of the file among the market's files of the day."""
    seed: int


@dataclass
class Arrival:
    """What arrives of a file: (name, bytes) in time, and (name, bytes) after the first run."""

    file: MarketFile
    now: list[tuple[str, bytes]]
    later: list[tuple[str, bytes]]
    edits: tuple[str, ...] = ()


def arrive(file: MarketFile, edits: list[Edit], *, may_hold: bool) -> Arrival:
    """Return how a file arrives after its edits.

    Args:
        file: The file as it was meant.
        edits: The edits of this file.
        may_hold: Whether a list of orders may become unreadable as a whole, which holds every
            delivery of the home.
    """
    state = _State(file, list(file.rows), may_hold)
    for edit in edits:
        random = Random(edit.seed)
        cannot = edit.kind == "truncate" and file.feed == "suppressions" and not may_hold
        getattr(state, "misspell" if cannot else edit.kind)(random)
    return state.arrival(sent_again=bool(edits) and Random(edits[-1].seed).random() < 0.5)


@dataclass
class _State:
    """A file on its way."""

    file: MarketFile
    rows: list[Row]
    may_hold: bool
    cut: float | None = None
    header: tuple[str, str] | None = None
    encoding: str | None = None
    flags: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    def drop(self, _random: Random) -> None:
        self._mark("drop")

    def delay(self, _random: Random) -> None:
        self._mark("delay")

    def repeat(self, random: Random) -> None:
        self._mark("repeat")
        self.rows += random.sample(self.rows, random.randint(0, len(self.rows)))

    def reorder(self, random: Random) -> None:
        self._mark("reorder")
        random.shuffle(self.rows)
        names = random.sample(list(self.rows[0]), len(self.rows[0]))
        self.rows = [{name: row[name] for name in names} for row in self.rows]

    def truncate(self, random: Random) -> None:
        self._mark("truncate")
        self.cut = random.random()

    def misspell(self, random: Random) -> None:
        self.rows, kind, header, encoding = misspell(
            self.file, self.rows, random, may_hold=self.may_hold
        )
        self.header, self.encoding = header or self.header, encoding or self.encoding
        self._mark(kind)

    def _mark(self, kind: str) -> None:
        self.flags.add(kind)
        self.done.append(kind)

    def arrival(self, *, sent_again: bool) -> Arrival:
        """Return what arrives in time and what later; a damaged file may be sent again, whole."""
        name = self.file.name
        arrived = [(name, self._encode())]
        if "repeat" in self.flags and not self._holds():
            arrived.append((f"again-{name}", arrived[0][1]))
        now, later = arrived, list[tuple[str, bytes]]()
        if "delay" in self.flags:
            now, later = arrived[:-1], arrived[-1:]
        if "drop" in self.flags:
            return Arrival(self.file, [], [], tuple(self.done))
        is_damaged = self.cut is not None or bool(self.header or self.encoding)
        if self._holds() or (sent_again and is_damaged):
            later = [*later, (name, self.file.encode())]
            self.done.append("sent again")
        return Arrival(self.file, now, later, tuple(self.done))

    def _holds(self) -> bool:
        """Return whether it may hold every delivery until it is sent again, so that it must be."""
        return self.may_hold and self.file.feed == "suppressions" and bool(self.flags - HARMLESS)

    def _encode(self) -> bytes:
        data = _write(self.file, self.rows, self.header)
        if self.encoding and self.file.format in {"csv", "jsonl"}:
            data = data.decode().encode(self.encoding)
        return data if self.cut is None else _cut(data, self.cut, self.file.format)


def _write(file: MarketFile, rows: list[Row], header: tuple[str, str] | None) -> bytes:
    if header:
        old, new = header
        rows = [{new if name == old else name: row[name] for name in row} for row in rows]
    return encode(rows, file.format)


def _cut(data: bytes, share: float, file_format: str) -> bytes:
    """Return the beginning of a file; never up to a line's end, where nobody could see it."""
    if file_format in {"csv", "jsonl"}:
        starts = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
        end = starts[0] + int(share * (len(data) - starts[0] - 3)) + 1
        while {data[end - 1 : end], data[end : end + 1]} & {b"\n", b"}"}:
            end -= 1
        return data[: max(end, 2)]
    return data[: max(10, int(share * (len(data) - 10)))]


def misspell(
    file: MarketFile, rows: list[Row], random: Random, *, may_hold: bool
) -> tuple[list[Row], str, tuple[str, str] | None, str | None]:
    """Return rows with a misspelt value; its name; or a misspelt header; or an encoding."""
    columns = COLUMNS[file.feed]
    whole_file = random.random() < 0.2 and (file.feed != "suppressions" or may_hold)
    if whole_file and random.random() < 0.5:
        return rows, "another encoding", None, "utf-16"
    if whole_file:
        column = random.choice(columns)
        return rows, f"header {column}", (column, _swap(column, random)), None
    candidates = [
        (number, column)
        for number, row in enumerate(rows)
        for column in columns
        if row[column] and (may_hold or column != "subject" or len(row["institution_id"]) > 3)
    ]
    number, column = random.choice(candidates)
    value = _misspell_value(column, rows[number][column], random)
    rows = [dict(row) for row in rows]
    rows[number][column] = value
    return rows, f"{column} {value}", None, None


def _misspell_value(column: str, value: str, random: Random) -> str:
    options: list[Callable[[], str]]
    if column in WORDS:
        return WORDS[column].get(value, f"{value}_")
    if column in DATES:
        options = [lambda: value.replace("-", "/"), lambda: f"{value[8:]}.{value[5:7]}.{value[:4]}",
                   lambda: value[:5] + "13" + value[7:], lambda: "N/A"]  # fmt: skip
    elif column in TIMES:
        options = [lambda: value[:10], lambda: value.replace("T", "  at "), lambda: "yesterday",
                   lambda: value[:5] + "13" + value[7:]]  # fmt: skip
    elif column in NUMBERS:
        options = [lambda: value.replace("0", "O") if "0" in value else f"{value}k",
                   lambda: f"{value},-", lambda: f"CNY {value}", lambda: "-"]  # fmt: skip
    elif column == "subject":
        options = [lambda: value[:-1], lambda: f"sha256:{value}", lambda: value.replace("/", "//")]
    elif column == "value":
        options = list(_misspell_rule_value(value, random))
    else:
        options = [lambda: _swap(value, random), lambda: f"{value} x", lambda: f"{value}ß"]
    return random.choice(options)()


def _misspell_rule_value(value: str, random: Random) -> Iterator[Callable[[], str]]:
    if "|" in value:
        yield lambda: value.replace("|", ",")
        yield lambda: value.replace("|", " / ")
    if any(letter.isalpha() for letter in value):
        yield lambda: _swap(value, random)
    else:
        yield lambda: value.replace("0", "O", 1) if "0" in value else f"{value}x"
    yield lambda: ""


def _swap(text: str, random: Random) -> str:
    """Return a text with two different neighbours exchanged."""
    places = [
        i for i in range(len(text) - 1) if text[i] != text[i + 1] and text[i : i + 2].isalpha()
    ]
    if not places:
        return f"{text}x"
    place = random.choice(places)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
