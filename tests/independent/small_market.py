"""Small markets in one home, each with a platform, two channels and two lenders of its own.

The markets share nothing but the home, so each can get its own edits in one run of the day.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from tests.independent.landed import Row
from tests.independent.restrictions import WEIGHTS, sha

BEFORE, DAY, NEXT = date(2026, 3, 3), date(2026, 3, 4), date(2026, 3, 5)
FORMATS = ("csv", "jsonl", "csv.gz", "parquet")
FIELDS = "full_name|id_number|phone|amount|term_months|consent_at"
EMPLOYMENT = ("employed", "self_employed", "retired", "student", "unemployed")
REGIONS = ("CN-BJ", "CN-GD", "CN-SC", "CN-SN")


@dataclass(frozen=True)
class MarketFile:
    """One file as its source means it."""

    market: int
    feed: str
    source: str
    day: date
    name: str
    rows: tuple[Row, ...]

    @property
    def path(self) -> str:
        return f"{self.feed}/{self.source}/{self.day}/{self.name}"

    @property
    def format(self) -> str:
        return self.name.partition(".")[2]

    def encode(self, rows: list[Row] | tuple[Row, ...] | None = None) -> bytes:
        return encode(list(self.rows if rows is None else rows), self.format)


def encode(rows: list[Row], file_format: str) -> bytes:
    """Return rows as the bytes of a file; every row has the columns of the first."""
    if file_format == "parquet":
        buffer = io.BytesIO()
        columns = {name: [row.get(name) or None for row in rows] for name in rows[0]}
        pq.write_table(pa.table({n: pa.array(v, pa.string()) for n, v in columns.items()}), buffer)
        return buffer.getvalue()
    if file_format.startswith("jsonl"):
        lines = [json.dumps({name: row[name] or None for name in row}) + "\n" for row in rows]
        data = "".join(lines).encode()
    else:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
    return gzip.compress(data, mtime=0) if file_format.endswith("gz") else data


def write_files(files: list[MarketFile], landing: Path) -> None:
    for file in files:
        path = landing / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode())


def make_market(market: int, seed: int) -> list[MarketFile]:
    """Return the files of one market: the day before, and the day with restrictions."""
    random = Random(f"{seed}/{market}")
    names = [f"lender{market}-{letter}" for letter in "ab"]
    kind = FORMATS[market % len(FORMATS)]

    def file(feed: str, source: str, day: date, rows: list[Row], name: str = "rows") -> MarketFile:
        suffix = kind if name == "rows" else "csv"
        return MarketFile(market, feed, source, day, f"{name}.{suffix}", tuple(rows))

    platform = f"platform{market}"
    files = [file("institutions", platform, BEFORE, [_institution(name) for name in names])]
    for name in names:
        products = [_product(number, random) for number in range(1, 4)]
        rules = [rule for product in products for rule in _rules(product, random, most=1)]
        files += [
            file("products", name, BEFORE, products),
            file("product_rules", name, BEFORE, rules or [_rule("loan-1", "amount", "ge", "1")]),
            file("products", name, DAY, _change_products(products, random)),
        ]
        rules = [rule for product in products for rule in _rules(product, random, most=3)]
        files.append(file("product_rules", name, DAY, rules))
    people = _People(market, random)
    channel, other = f"channel{market}-a", f"channel{market}-b"
    earlier = [people.lead(BEFORE, names) for _ in range(6)]
    leads = [people.lead(DAY, names) for _ in range(12)]
    others = [people.lead(DAY, names) for _ in range(8)]
    again = [_same_person(lead, random, number) for number, lead in enumerate(leads[:3])]
    files += [
        file("leads", channel, BEFORE, earlier),
        file("leads", channel, DAY, leads),
        file("leads", other, DAY, [*others, *again]),
        file("leads", channel, DAY, list(_withdrawals(earlier, leads)), "withdrawals"),
        file("suppressions", platform, DAY, list(_orders(channel, leads, others, names, random))),
        file("institutions", platform, DAY, _change_admissions(names, random)),
    ]
    return [file for file in files if file.rows]


@dataclass
class _People:
    market: int
    random: Random
    count: int = 0

    def lead(self, day: date, lenders: list[str]) -> Row:
        """Return the lead of a person who has no other one."""
        random = self.random
        self.count += 1
        number = self.market * 100 + self.count
        scope = random.choice(["all", "all", lenders[0], "|".join(lenders)])
        born = date(random.randint(1955, 2005), random.randint(1, 12), random.randint(1, 28))
        return {
            "lead_id": f"L{day:%d}-{number:05}",
            "captured_at": f"{day}T10:{self.count % 60:02}:00+08:00",
            "segment": "consumer",
            "full_name": f"Person {number:05}",
            "id_type": "prc_resident_id",
            "id_number": resident_id(born, number % 1000),
            "phone": f"+86138{number:08}",
            "device_id": f"device-{number:05}",
            "region": random.choice(REGIONS),
            "birth_date": f"{born}",
            "employment": random.choice(EMPLOYMENT),
            "income_monthly": f"{random.randint(2, 30) * 1000}",
            "debt_monthly": f"{random.randint(0, 5) * 500}",
            "bureau_score": f"{random.randint(450, 800)}",
            "housing": random.choice(["own", "rent", "family"]),
            "amount": f"{random.randint(3, 60) * 1000 + number % 1000}",
            "currency": "CNY",
            "term_months": random.choice(["6", "12", "24"]),
            "purpose": random.choice(["travel", "education", "stock"]),
            "consent_scope": scope,
            "consent_at": f"{day}T09:{self.count % 60:02}:00+08:00",
            "consent_version": "1",
            "consent_withdrawn_at": "",
        }


def resident_id(born: date, number: int) -> str:
    body = f"110101{born:%Y%m%d}{number:03}"
    total = sum(weight * int(digit) for weight, digit in zip(WEIGHTS, body, strict=True))
    return body + "10X98765432"[total % 11]


def _same_person(lead: Row, random: Random, number: int) -> Row:
    """Return another lead of a person, known by number, by phone or by both."""
    known_by = random.choice(["number", "phone", "both"])
    changes = {"lead_id": f"{lead['lead_id']}-again", "device_id": f"{lead['device_id']}-2"}
    if known_by == "number":
        changes["phone"] = f"+86139{lead['phone'][6:]}"
    elif known_by == "phone":
        changes |= {"id_type": "", "id_number": ""}
    return lead | changes | {"amount": f"{int(lead['amount']) + 17 + number}"}


def _withdrawals(earlier: list[Row], leads: list[Row]) -> Iterator[Row]:
    """Yield copies of leads that withdraw or narrow their consent."""
    for lead in (earlier[0], earlier[1], leads[5], leads[6], leads[7]):
        yield lead | {"consent_withdrawn_at": f"{DAY}T15:00:00+08:00"}
    for lead in (earlier[2], leads[8]):
        yield lead | {"consent_scope": "lender-of-nobody"}


def _orders(
    channel: str, leads: list[Row], others: list[Row], lenders: list[str], random: Random
) -> Iterator[Row]:
    named = [*leads[:5], leads[9], *others[:4]]
    for number, lead in enumerate(named):
        in_a = lead in leads
        kind = random.choice(["id_number", "phone", "lead"] if in_a else ["id_number", "phone"])
        subject = f"{channel}/{lead['lead_id']}" if kind == "lead" else sha(lead[kind])
        yield {
            "subject_type": kind,
            "subject": subject,
            "reason": random.choice(["erasure", "do_not_contact", "fraud", "existing_customer"]),
            "institution_id": random.choice(["", "all", lenders[0], lenders[1], lenders[1]]),
            "effective_at": f"{DAY + timedelta(days=3 if number == 9 else -2)}T00:00:00+08:00",
        }


def _institution(name: str, **changes: str) -> Row:
    return {
        "institution_id": name,
        "name": name,
        "kind": "bank",
        "admitted_from": "2025-01-01",
        "admitted_to": "",
        "delivery": "folder",
        "format": "csv" if name.endswith("a") else "parquet",
        "fields": FIELDS,
    } | changes


def _change_admissions(names: list[str], random: Random) -> list[Row]:
    rows = [_institution(name) for name in names]
    change = random.choice(["none", "none", "ended", "absent", "not yet"])
    if change == "ended":
        rows[1]["admitted_to"] = f"{BEFORE}"
    elif change == "not yet":
        rows[1]["admitted_from"] = f"{NEXT}"
    elif change == "absent":
        del rows[1]
    return rows


def _product(number: int, random: Random) -> Row:
    return {
        "product_id": f"loan-{number}",
        "name": f"Loan {number}",
        "segment": "consumer",
        "currency": "CNY",
        "amount_min": "1000",
        "amount_max": f"{random.choice([40000, 80000])}",
        "term_min_months": "3",
        "term_max_months": "36",
        "apr_min": "0.1",
        "apr_max": "0.22",
        "pd_min": "",
        "pd_max": "",
        "price_model": random.choice(["cpa", "cpl"]),
        "price": "300",
        "daily_quota": f"{random.choice([6, 12, 30])}",
        "daily_budget": random.choice(["", "9000"]),
        "status": "active",
        "valid_from": "2025-01-01",
        "valid_to": "",
    }


def _change_products(products: list[Row], random: Random) -> list[Row]:
    """Return the next catalogue, in which some products are restricted."""
    changes = [
        {"status": "paused"},
        {"valid_to": f"{BEFORE}"},
        {"valid_from": f"{NEXT}"},
        {"amount_max": "15000"},
        {"amount_min": "20000"},
        {"term_max_months": "12"},
        {"daily_quota": "2"},
        {"daily_budget": "600", "price_model": "cpl"},
        {"product_id": ""},
        {},
        {},
        {},
    ]
    rows = [product | random.choice(changes) for product in products]
    rows = [row for row in rows if row["product_id"]]
    return rows or products[:1]


def _rule(product_id: str, attribute: str, op: str, value: str) -> Row:
    return {"product_id": product_id, "attribute": attribute, "op": op, "value": value}


def _rules(product: Row, random: Random, most: int) -> Iterator[Row]:
    name = product["product_id"]
    rules = [
        _rule(name, "employment", "not_in", "student|unemployed"),
        _rule(name, "employment", "in", "employed|self_employed|retired"),
        _rule(name, "income_monthly", "ge", "6000"),
        _rule(name, "bureau_score", "ge", "560"),
        _rule(name, "age_years", "between", "22|60"),
        _rule(name, "debt_monthly", "le", "1500"),
        _rule(name, "region", "in", "CN-BJ|CN-GD|CN-SC"),
        _rule(name, "housing", "not_in", "family"),
        _rule(name, "bureau_score", "known", "true"),
    ]
    yield from random.sample(rules, random.randint(min(most, 1), most))
