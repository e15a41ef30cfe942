"""A change of policy is judged on the recorded matches, and its text can be read for good."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from expectations import policy
from expectations.policy import PolicyError
from pipelines.cli.app import main
from pipelines.core.errors import InputMissing, IntegrityError, UsageError
from pipelines.core.evidence.kept_policies import (
    export_policies,
    find_kept,
    keep_policies,
    list_kept,
)
from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.operations.policy_diff import PolicyDiff, compare_policies, list_versions
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.matched_day import DAY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the policies in force that a test may change."""
    return Path(shutil.copytree(policy.FOLDER, tmp_path / "changed"))


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / f"{name}.yml"
    text = path.read_text("utf-8")
    assert re.search(old, text)
    path.write_text(re.sub(old, new, text), "utf-8")


def compare(settings: Settings, before: Path | str, after: Path | str) -> PolicyDiff:
    return compare_policies(settings, f"{before}", f"{after}", DAY, DAY + timedelta(days=2))


def read(settings: Settings, root: str, name: str) -> pa.Table:
    folder = settings.day_folder(settings.home / root, DAY)
    return pq.read_table(folder / f"{name}.parquet", partitioning=None)


def count_matches(settings: Settings, is_hit: Callable[[dict, dict], bool]) -> int:
    """Count the matches that a change should touch, row by row and without SQL."""
    products = {
        (row["institution_id"], row["product_id"]): row
        for row in read(settings, "marts", "products").to_pylist()
    }
    matches = read(settings, "matches", "matches").to_pylist()
    return sum(is_hit(m, products[m["institution_id"], m["product_id"]]) for m in matches)


def test_equal_policies_touch_nothing(matched_home: Settings, folder: Path):
    found = compare(matched_home, "current", folder)
    assert (found.touched_matches, found.touched_days, found.rules) == (0, 0, {})
    assert found.changed_files == {}
    assert found.matches == read(matched_home, "matches", "matches").num_rows > 20
    assert list(found.days) == [f"{DAY}"]


def test_a_lower_cap_names_the_matches_above_it(matched_home: Settings, folder: Path):
    edit(folder, "price_caps", r"(?m)^  cap: 0\.24$", "  cap: 0.15")
    found = compare(matched_home, "current", folder)
    assert found.changed_files == {"price_caps.yml": "changed"}
    assert found.not_judged == []
    closed = count_matches(matched_home, lambda m, p: p["apr_min"] > 0.15 + 1e-9)
    dearer = count_matches(
        matched_home,
        lambda m, p: p["apr_min"] <= 0.15 + 1e-9 and m["suggested_apr"] > 0.15 + 1e-9,
    )
    assert closed + dearer > 5
    rules = {name: (e.forbidden, e.allowed) for name, e in found.rules.items()}
    expected = {"price_cap": (closed, 0), "rate_shown": (dearer, 0)}
    assert rules == {name: counts for name, counts in expected.items() if counts[0]}
    assert found.touched_matches == closed + dearer
    matches = read(matched_home, "matches", "matches")
    for effect in found.rules.values():
        assert 1 <= len(effect.examples) <= 5
        assert set(effect.examples) <= set(matches["match_id"].to_pylist())
    back = compare(matched_home, folder, "current")
    assert {name: (e.allowed, e.forbidden) for name, e in back.rules.items()} == rules


def test_who_decided_a_changed_entry_and_why_is_stated(matched_home: Settings, folder: Path):
    path = folder / "price_caps.yml"
    lower = {"from": DAY, "kind": "bank", "currency": "CNY", "cap": 0.2, "source": "Ours."}
    answers = {"decided_by": "Ann, risk committee", "why": "A cap of our own."}
    entries = [*yaml.safe_load(path.read_text("utf-8")), lower | answers]
    path.write_text(yaml.safe_dump(entries, sort_keys=False), "utf-8")
    value = folder / "value.yml"
    stored = yaml.safe_load(value.read_text("utf-8"))
    name = next(key for key in stored if key.startswith("min"))
    value.write_text(yaml.safe_dump(stored | {name: 7, "decided_by": "Bob"}), "utf-8")
    found = compare(matched_home, "current", folder)
    (entry,) = (each for each in found.entries if each.file == "price_caps.yml")
    assert (entry.is_new, entry.decided_by, entry.why) == (True, *answers.values())
    assert entry.text == f"from {DAY}, kind bank, currency CNY, cap 0.2, source Ours."
    changed = [each for each in found.entries if each.file == "value.yml"]
    assert [(each.is_new, each.decided_by) for each in changed] == [(False, ""), (True, "Bob")]
    assert changed[1].text == f"{name} 7"


def test_other_least_odds_touch_the_unlikely_and_open_to_others(
    matched_home: Settings, folder: Path
):
    odds = read(matched_home, "matches", "matches")["p_approve"].to_pylist()
    limit = sorted(odds)[len(odds) // 3] + 1e-9
    edit(folder, "guarantees", r"offer: 0\.05, delivery: 0\.05", f"offer: 0.01, delivery: {limit}")
    found = compare(matched_home, "current", folder)
    assert found.rules["least_odds"].forbidden == sum(each < limit for each in odds)
    persons = {
        row["lead_id"]
        for row in read(matched_home, "matches", "matches").to_pylist()
        if row["p_approve"] < limit
    }
    assert found.touched_persons == len(persons)
    details = read(matched_home, "unmatched", "unmatched")["detail"].to_pylist()
    back = compare(matched_home, folder, "current")
    assert back.rules["least_odds"].allowed == found.rules["least_odds"].forbidden
    assert back.rules["least_odds"].may_open == details.count("odds_below_minimum")


def test_consent_value_offers_and_protected_attributes_are_judged(
    matched_copy: Settings, folder: Path
):
    lake = matched_copy.day_folder(matched_copy.lake / "leads", DAY)
    leads = pq.read_table(lake / "leads.parquet", partitioning=None)
    matches = read(matched_copy, "matches", "matches")
    old = matches["lead_id"][0].as_py()
    month_ago = matched_copy.day_start(DAY - timedelta(days=40))
    at = leads.schema.get_field_index("consent_at")
    moment = pa.scalar(month_ago.astimezone(UTC), leads.schema.field(at).type)
    given = pc.if_else(pc.equal(leads["lead_id"], old), moment, leads["consent_at"])
    leads = leads.set_column(at, "consent_at", given)
    with publishing(lake, read_manifest(lake)) as fresh:
        write_parquet(leads, fresh / "leads.parquet")
    marts = matched_copy.day_folder(matched_copy.marts, DAY)
    product = {name: matches[name][0].as_py() for name in ("institution_id", "product_id")}
    rule = dict.fromkeys(SCHEMAS["product_rules"].names) | product | {"attribute": "housing"}
    write_parquet(
        pa.Table.from_pylist([rule], SCHEMAS["product_rules"]), marts / "product_rules.parquet"
    )
    edit(folder, "consent", "longest_days: 365", "longest_days: 30")
    edit(folder, "value", "minimum_value: 1.0", "minimum_value: 500.0")
    edit(folder, "value", "max_offers_per_lead: 5", "max_offers_per_lead: 2")
    edit(folder, "protected", "ethnicity,", "ethnicity, housing,")
    found = compare(matched_copy, "current", folder)
    rows = matches.to_pylist()
    assert {name: effect.forbidden for name, effect in found.rules.items()} == {
        "consent_age": sum(row["lead_id"] == old for row in rows),
        "minimum_value": sum(row["expected_value"] < 500 for row in rows),
        "offers_per_lead": sum(row["rank"] > 2 for row in rows),
        "protected_attribute": sum(row.items() >= product.items() for row in rows),
    }


def test_who_may_consent_for_a_business_is_judged(matched_copy: Settings, folder: Path):
    lake = matched_copy.day_folder(matched_copy.lake / "leads", DAY)
    leads = pq.read_table(lake / "leads.parquet", partitioning=None)
    firms = {
        row["lead_id"]
        for row in read(matched_copy, "marts", "leads").to_pylist()
        if row["segment"] == "business"
    }
    matched = [row["lead_id"] for row in read(matched_copy, "matches", "matches").to_pylist()]
    assert firms & set(matched)
    assert set(matched) - firms
    roles = pa.array([" Authorised agent"] * leads.num_rows, pa.string())
    if "consent_by_role" in leads.column_names:
        leads = leads.drop_columns("consent_by_role")
    with publishing(lake, read_manifest(lake)) as fresh:
        write_parquet(leads.append_column("consent_by_role", roles), fresh / "leads.parquet")
    old = "may_consent: .owner, legal_representative, authorised_agent."
    edit(folder, "consent_roles", old, "may_consent: [owner]")
    found = compare(matched_copy, "current", folder)
    assert found.not_judged == []
    assert {name: effect.forbidden for name, effect in found.rules.items()} == {
        "consent_role": sum(lead in firms for lead in matched)
    }
    (folder / "consent_roles.yml").unlink()  # of an earlier version
    assert compare(matched_copy, folder, "current").touched_matches == 0


def test_repeated_and_exclusive_offers_are_judged(matched_copy: Settings, folder: Path):
    matches = read(matched_copy, "matches", "matches")
    names = ("channel_id", "lead_id", "institution_id", "product_id")
    first = {name: matches[name][0].as_py() for name in names}
    marts = matched_copy.day_folder(matched_copy.marts, DAY)
    earlier = dict.fromkeys(SCHEMAS["earlier_offers"].names) | first
    earlier["offered_on"] = DAY - timedelta(days=20)
    table = pa.Table.from_pylist([earlier], SCHEMAS["earlier_offers"])
    write_parquet(table, marts / "earlier_offers.parquet")
    edit(folder, "pairs", "same_product_again_days: 14", "same_product_again_days: 30")
    promise = f"exclusive: [{{institution_id: {first['institution_id']}, days: 25}}]"
    edit(folder, "pairs", r"exclusive: \[\]", promise)
    found = compare(matched_copy, "current", folder)
    rivals = [
        row
        for row in matches.to_pylist()
        if row["lead_id"] == first["lead_id"] and row["institution_id"] != first["institution_id"]
    ]
    counts = {name: effect.forbidden for name, effect in found.rules.items()}
    assert counts == {"same_product_again": 1} | ({"exclusive": len(rivals)} if rivals else {})


def test_what_cannot_be_judged_is_named(matched_home: Settings, folder: Path):
    edit(folder, "exploration", "share: 0.02", "share: 0.05")
    (folder / "sign_off.yml").unlink()
    found = compare(matched_home, "current", folder)
    assert found.changed_files == {"exploration.yml": "changed", "sign_off.yml": "removed"}
    assert found.not_judged == ["exploration.yml", "sign_off.yml"]
    assert found.touched_matches == 0


def test_unknown_versions_and_days_are_refused(matched_home: Settings, folder: Path):
    with pytest.raises(UsageError, match="keeps no policies of that version"):
        compare(matched_home, "current", "abcdef012345")
    with pytest.raises(InputMissing, match="has no matches"):
        compare_policies(matched_home, "current", "current", date(2020, 1, 1), date(2020, 1, 2))
    edit(folder, "consent", "longest_days: 365", "longest_days: 0")
    with pytest.raises(PolicyError, match=r"consent\.yml, line"):
        compare(matched_home, "current", folder)
    (folder / "consent.yml").unlink()
    with pytest.raises(PolicyError, match="can't be read"):
        compare(matched_home, "current", folder)


def test_the_text_of_each_version_is_kept_and_read_again(
    matched_copy: Settings, folder: Path, tmp_path: Path, monkeypatch
):
    first = keep_policies(matched_copy)
    assert keep_policies(matched_copy) == first == policy.full_version()
    manifest = read_manifest(matched_copy.day_folder(matched_copy.matches, DAY))
    assert manifest["policies"] == first
    edit(folder, "value", "minimum_value: 1.0", "minimum_value: 2.0")
    with monkeypatch.context() as patch:
        patch.setattr(policy, "FOLDER", folder)
        patch.setattr(policy, "full_version", policy.full_version.__wrapped__)
        patch.setattr(policy, "version", policy.version.__wrapped__)
        second = keep_policies(matched_copy)
    assert {kept.version for kept in list_kept(matched_copy)} == {first, second}
    files = {path.name for path in (matched_copy.policies / "files").iterdir()}
    assert len(files) == len(list(folder.glob("*.yml"))) + 1  # one file differs
    kept = find_kept(matched_copy, manifest["policy_version"])
    exported = export_policies(matched_copy, kept, tmp_path / "exported")
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == {
        path.name: path.read_bytes() for path in policy.FOLDER.glob("*.yml")
    }
    found = compare(matched_copy, first[:8], second[:8])
    assert found.changed_files == {"value.yml": "changed"}
    versions = {each.version: each for each in list_versions(matched_copy)}
    assert (versions[first].days, versions[second].days) == (1, 0)
    assert versions[second].changed_files == ("value.yml",)
    assert versions[first].is_current
    with pytest.raises(UsageError, match="names no single version"):
        find_kept(matched_copy, "")
    (matched_copy.policies / "files" / f"{kept.files['value.yml']}.yml").write_text("changed")
    with pytest.raises(IntegrityError, match=r"isn't the text of value\.yml any more"):
        export_policies(matched_copy, kept, tmp_path / "other")
    with pytest.raises(UsageError, match="is not empty"):
        export_policies(matched_copy, kept, exported)


def test_the_verbs_compare_list_and_export(
    matched_copy: Settings, folder: Path, tmp_path: Path, capsys
):
    keep_policies(matched_copy)
    home = ["--home", str(matched_copy.home)]
    span = ["--from", f"{DAY}", "--to", f"{DAY}"]
    edit(folder, "price_caps", r"(?m)^  cap: 0\.24$", "  cap: 0.15")
    assert main(["policy", "diff", "current", str(folder), *span, *home]) == 0
    shown = capsys.readouterr().out
    assert "price_caps.yml changed\n    gone  from " in shown
    assert "          decided by: not stated\n" in shown
    assert f"  {DAY}  " in shown
    assert main(["policy", "diff", "current", str(folder), *span, "--json", *home]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["touched_matches"] == figures["days"][f"{DAY}"]["touched"] > 0
    assert main(["policy", "list", *home]) == 0
    assert f"{policy.full_version()[:12]}  1 days, {DAY} to {DAY}" in (
        listed := capsys.readouterr().out
    )
    assert f"on pages as {policy.version()}  (in force)" in listed
    assert main(["policy", "list", "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out)[0]["is_current"]
    target = str(tmp_path / "exported")
    assert main(["policy", "export", policy.full_version()[:12], target, *home]) == 0
    assert main(["policy", "export", "ffffffffffff", str(tmp_path / "x"), *home]) == 2
