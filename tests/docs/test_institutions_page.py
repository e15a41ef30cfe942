"""The programs of the page for institutions work as printed, on the samples and on broken files."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.settings import PROJECT

SCHEMAS = PROJECT / "docs/reference/schemas"
PAGE = (PROJECT / "docs/institutions.md").read_text("utf-8")
READ, VERIFY, CHECK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RECEIPT = PAGE.partition("## Acknowledge a file")[2].partition("```csv\n")[2].partition("```")[0]
OUTCOMES = PAGE.partition("## Report outcomes")[2].partition("```csv\n")[2].partition("```")[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lead_file", "feeds/receipts", "feeds/outcomes", "outcome_receipt"):
        schema = SCHEMAS / f"{name}.schema.json"
        (tmp_path / schema.name).write_bytes(schema.read_bytes())
    return tmp_path


def check(folder: Path, schema: str, text: str) -> list[str]:
    """Return the lines that the page's program prints of a file."""
    (folder / "rows.csv").write_text(text, "utf-8")
    command = [sys.executable, "-c", CHECK, f"{schema}.schema.json", "rows.csv"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


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


def test_the_checking_program_accepts_the_samples_and_names_broken_lines(folder):
    assert check(folder, "lead_file", (SCHEMAS / "lead_file.sample.csv").read_text("utf-8")) == []
    assert check(folder, "receipts", RECEIPT) == []
    assert check(folder, "outcomes", OUTCOMES) == []
    found = check(folder, "outcomes", OUTCOMES.replace("funded", "fundet").replace("0.18", "18"))
    assert [line.split()[:2] for line in found] == [
        ["2", "$.apr"],
        ["3", "$.event"],
        ["3", "$.apr"],
    ]
    assert len(check(folder, "receipts", RECEIPT.replace(",", ";"))) >= 3 * 6
