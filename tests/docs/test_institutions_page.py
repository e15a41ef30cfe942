"""The programs of the page for institutions work as printed, on the samples and on broken files."""

import hashlib
import json
import re
import sys
from typing import Any, get_args

import pyrage
import pytest

from expectations.outbound_contracts import load_outbound
from pipelines.core.settings import PROJECT
from pipelines.deliveries.ledger.receipts import Judgement

SCHEMAS = PROJECT / "docs/reference/schemas"
PAGE = (PROJECT / "docs/institutions.md").read_text("utf-8")
READ, VERIFY, COUNT, OPEN, CHECK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RECEIPT = PAGE.partition("## Acknowledge a file")[2].partition("```csv\n")[2].partition("```")[0]
OUTCOMES = PAGE.partition("## Report outcomes")[2].partition("```csv\n")[2].partition("```")[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lead_file", "feeds/receipts", "feeds/outcomes", "outcome_receipt"):
        schema = SCHEMAS / f"{name}.schema.json"
        (tmp_path / schema.name).write_bytes(schema.read_bytes())
    return tmp_path


@pytest.fixture
def check(folder, monkeypatch, capsys):
    """Return a function that returns the lines which the page's program prints of a file."""

    def run(schema: str, text: str) -> list[str]:
        (folder / "rows.csv").write_text(text, "utf-8")
        monkeypatch.setattr(sys, "argv", ["check.py", f"{schema}.schema.json", "rows.csv"])
        exec(CHECK, {})
        return capsys.readouterr().out.splitlines()

    return run


def test_the_reading_program_keeps_what_looks_like_a_number(folder):
    names = "match_id,phone,full_name,consent_version,term_months,is_urban,consent_at"
    row = "007,+8613800138001,Null,2026.10,,true,2026-03-02T09:30:15Z"
    (folder / "leads.csv").write_text(f"{names}\n{row}\n", "utf-8-sig")
    found: dict[str, Any] = {}
    exec(READ, found)
    (lead,) = found["leads"].astype(object).to_dict("records")
    assert lead["match_id"] == "007"
    assert lead["phone"] == "+8613800138001"
    assert lead["full_name"] == "Null"
    assert lead["consent_version"] == "2026.10"
    assert lead["is_urban"] is True
    assert f"{lead['consent_at']}" == "2026-03-02 09:30:15+00:00"
    assert found["leads"]["term_months"].isna().all()


def test_the_verifying_program_finds_a_changed_file(folder):
    (folder / "leads.csv").write_text("as sent", "utf-8")
    digest = hashlib.sha256(b"as sent").hexdigest()
    manifest = {"files": {"leads.csv": {"bytes": 7, "sha256": digest}}}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    exec(VERIFY, {})
    (folder / "leads.csv").write_text("changed", "utf-8")
    with pytest.raises(AssertionError, match=r"leads\.csv"):
        exec(VERIFY, {})


@pytest.mark.parametrize("file", ["leads.csv", "leads.csv.age"])
def test_the_counting_program_finds_a_missing_row(folder, file):
    (folder / "leads.csv").write_text('match_id,purpose\n1,"two\nlines"\n2,\n', "utf-8-sig")
    manifest = {"deliveries": [{"file": "leads.old.csv", "rows": 9}, {"file": file, "rows": 2}]}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    exec(COUNT, {})
    (folder / "leads.csv").write_text("match_id,purpose\n1,\n", "utf-8")
    with pytest.raises(AssertionError, match=r"leads\.csv"):
        exec(COUNT, {})


def test_the_opening_program_opens_a_file_for_a_key_of_age(folder):
    identity = pyrage.x25519.Identity.generate()
    (folder / "key.txt").write_text(f"# public key: {identity.to_public()}\n{identity}\n")
    (folder / "leads.csv.age").write_bytes(pyrage.encrypt(b"as sent", [identity.to_public()]))
    exec(OPEN, {})
    assert (folder / "leads.csv").read_bytes() == b"as sent"


def test_every_reason_of_a_receipt_answer_is_on_the_page():
    (reason,) = [each for each in load_outbound("receipt_answer").columns if each.name == "reason"]
    listed = re.findall(r"[a-z_]{4,}(?=[,.]|$)", reason.description.partition(":")[2])
    stated = set(re.findall(r"\w+", reason.description))
    assert stated >= set(get_args(Judgement)) - {"received", "refused", "test", "foreign"}
    section = PAGE.partition("## Acknowledge a file")[2].partition("\n## ")[0]
    general = PAGE.partition("## What you receive")[0]
    names = [name for name in listed if "_" in name] + ["repeated", "duplicate", "fields", "copy"]
    assert [name for name in names if f"`{name}`" not in section] == []
    assert "first by name" in general


def test_the_checking_program_accepts_the_samples_and_names_broken_lines(check):
    assert check("lead_file", (SCHEMAS / "lead_file.sample.csv").read_text("utf-8")) == []
    assert check("receipts", RECEIPT) == []
    assert check("outcomes", OUTCOMES) == []
    found = check("outcomes", OUTCOMES.replace("funded", "fundet").replace("0.18", "18"))
    assert [line.split()[:2] for line in found] == [
        ["2", "$.apr"],
        ["3", "$.event"],
        ["3", "$.apr"],
    ]
    assert len(check("receipts", RECEIPT.replace(",", ";"))) >= 3 * 6
