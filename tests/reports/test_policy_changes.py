"""What changed in the policies since the matched day before is on the page, with who decided it."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from expectations import policy
from pipelines.core.evidence.kept_policies import keep_policies
from pipelines.core.evidence.publication_log import hash_bytes
from pipelines.core.home.schema_version import write_version
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.reports.publish_report import report
from tests.helpers.html import table_rows
from tests.helpers.published_day import DAY

DAY_BEFORE = DAY - timedelta(days=1)
CAP = """
- from: 2026-01-01
  kind: bank
  currency: CNY
  cap: 0.2
  source: test
  decided_by: Li Lei, risk committee
  why: 监管 asked for it
"""


def pin(settings: Settings, folder: Path, version: str | None) -> None:
    """State in the manifest of matches which policies they were made under."""
    path = folder / MANIFEST
    facts = json.loads(path.read_text("utf-8")) | {"policies": version}
    path.write_text(json.dumps(facts), "utf-8")


@pytest.fixture
def matched(settings: Settings) -> Settings:
    """Two matched days, both under the present policies."""
    write_version(settings)
    version = keep_policies(settings)
    today = settings.day_folder(settings.matches, DAY)
    before = settings.day_folder(settings.matches, DAY_BEFORE)
    shutil.copytree(today, before)
    for folder in (before, today):
        pin(settings, folder, version)
    return settings


def read_pages(settings: Settings) -> list[str]:
    report(settings, DAY)
    folder = settings.day_folder(settings.reports, DAY)
    return [path.read_text("utf-8") for path in sorted(folder.glob("index*.html"))]


def keep_changed(settings: Settings) -> str:
    """Keep a version of the policies with one more price cap; return it."""
    texts = {path.name: path.read_bytes() for path in policy.FOLDER.glob("*.yml")}
    texts["price_caps.yml"] += CAP.encode()
    hashes = {name: hash_bytes(text) for name, text in texts.items()}
    for name, text in texts.items():
        (settings.policies / "files" / f"{hashes[name]}.yml").write_bytes(text)
    version = policy.hash_files(texts)
    index = {"policy_version": "changed", "files": hashes}
    (settings.policies / f"{version}.json").write_text(json.dumps(index), "utf-8")
    return version


def test_the_policies_of_the_day_before_are_named(matched: Settings):
    english, chinese = read_pages(matched)
    assert f"They are the ones of {DAY_BEFORE}." in english
    assert f"与 {DAY_BEFORE} 的相同。" in chinese


def test_a_changed_entry_is_shown_with_who_decided_it_and_why(matched: Settings):
    pin(matched, matched.day_folder(matched.matches, DAY), keep_changed(matched))
    for page, change in zip(read_pages(matched), ("new", "新增"), strict=True):
        (row,) = [row for row in table_rows(page) if row.startswith("price_caps.yml")]
        assert row.split(" | ")[1] == change
        assert "cap 0.2" in row
        assert row.endswith("Li Lei, risk committee | 监管 asked for it")


def test_a_version_that_is_not_kept_is_said_to_be_lost(matched: Settings):
    pin(matched, matched.day_folder(matched.matches, DAY_BEFORE), None)
    english, _ = read_pages(matched)
    assert f"They differ from the ones of {DAY_BEFORE}, whose text is not kept." in english
    assert "Changes of the policies" not in english
