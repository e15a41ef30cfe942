"""Each institution gets its own leads and columns, with consent; delivered files never change."""

import csv
import json
import shutil
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.publishing import SIGNATURE, publishing, read_manifest, sha256, write_parquet
from pipelines.core.settings import Settings
from pipelines.deliveries import deliver, lead_file
from pipelines.deliveries.last_gate.gate import LastGate
from pipelines.deliveries.signatures import ALLOWED_SIGNERS
from tests.helpers.day import write_lake_catalogue, write_lake_leads
from tests.helpers.lake import at, sha, write_feed
from tests.helpers.matched_day import DAY
from tests.helpers.representatives import keep

pytestmark = pytest.mark.usefixtures("remembered")

CSV_BANK, PARQUET_BANK = "bank-000", "bank-001"


def deliver_all(settings: Settings) -> dict[str, Any]:
    (shard,) = deliver.plan_shards(settings, DAY)
    return deliver.deliver(settings, DAY, shard)


def folder_of(settings: Settings, institution: str) -> Path:
    return settings.day_folder(settings.outbox, DAY) / institution


def hash_files(settings: Settings) -> dict[str, str]:
    hashes = {
        path.relative_to(settings.outbox).as_posix(): sha256(path)
        for path in sorted(settings.outbox.rglob("*"))
        if path.is_file() and path.name not in {SIGNATURE, ALLOWED_SIGNERS}  # by the home's own key
    }
    assert hashes
    return hashes


def matches_of(settings: Settings, institution: str) -> list[dict[str, Any]]:
    table = pq.read_table(settings.day_folder(settings.matches, DAY) / "matches.parquet")
    return table.filter(pc.equal(table["institution_id"], institution)).to_pylist()


def replace_mart(settings: Settings, name: str, column: str, value: Any, institution: str) -> None:
    """Publish the marts again with another value in one column of an institution's rows."""
    marts = settings.day_folder(settings.marts, DAY)
    tables = {path.stem: pq.read_table(path) for path in marts.glob("*.parquet")}
    rows = tables[name].to_pylist()
    for row in rows:
        if row["institution_id"] == institution:
            row[column] = value
    tables[name] = pa.Table.from_pylist(rows, tables[name].schema)
    with publishing(marts, {}) as folder:
        for stem, table in tables.items():
            write_parquet(table, folder / f"{stem}.parquet")


def filter_matches(settings: Settings, keep: Any) -> None:
    """Publish the matches again with the rows for which `keep` holds."""
    folder = settings.day_folder(settings.matches, DAY)
    table = pq.read_table(folder / "matches.parquet")
    kept = pa.Table.from_pylist([row for row in table.to_pylist() if keep(row)], table.schema)
    with publishing(folder, {}) as fresh:
        for file in folder.glob("*.parquet"):
            shutil.copyfile(file, fresh / file.name)
        write_parquet(kept, fresh / "matches.parquet")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "INSTITUTIONS_PER_SHARD", 2)


def test_a_csv_has_the_platform_columns_then_the_permitted_ones(delivered_copy):
    with (folder_of(delivered_copy, CSV_BANK) / "leads.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    platform = ["match_id", "product_id", "rank", "suggested_apr"]
    permitted = ["full_name", "phone", "amount", "term_months"]
    assert list(rows[0]) == [*platform, *permitted, "schema_version"]
    assert {row["schema_version"] for row in rows} == {"3"}
    expected = matches_of(delivered_copy, CSV_BANK)
    assert sorted(row["match_id"] for row in rows) == sorted(m["match_id"] for m in expected)
    assert all(row["phone"].startswith("+86138") for row in rows)
    assert all(row["full_name"].startswith("Person, No. ") for row in rows)


def test_parquet_has_typed_columns(delivered_copy):
    table = pq.read_table(folder_of(delivered_copy, PARQUET_BANK) / "leads.parquet")
    assert table.num_rows == len(matches_of(delivered_copy, PARQUET_BANK)) > 0
    assert table.schema.field("amount").type == pa.float64()
    assert table.schema.metadata[b"schema_version"] == b"3"
    assert set(table["schema_version"].to_pylist()) == {3}


def test_the_manifest_states_version_rows_and_hash(delivered_copy):
    manifest = read_manifest(folder_of(delivered_copy, CSV_BANK))
    file = folder_of(delivered_copy, CSV_BANK) / "leads.csv"
    rows = len(matches_of(delivered_copy, CSV_BANK))
    assert manifest["deliveries"] == [
        {
            "version": 1,
            "file": "leads.csv",
            "rows": rows,
            "sha256": sha256(file),
            "content_sha256": sha256(file),
            "schema_version": 3,
            "judged_as_of": f"{DAY}",
            "retracted": [],
        }
    ]
    assert (manifest["state"], manifest["held_back"], manifest["findings"]) == ("delivered", 0, [])
    assert (manifest["version"], manifest["rows"]) == (1, rows)
    assert (manifest["delivery_id"], manifest["schema_version"]) == (f"20261120-{CSV_BANK}", 3)
    assert manifest["inputs"].keys() == {f"matches/date={DAY}", f"lake/leads/date={DAY}"}


def test_delivering_again_changes_no_file(delivered_copy):
    before = hash_files(delivered_copy)
    again = deliver_all(delivered_copy)
    assert hash_files(delivered_copy) == before
    assert (again["delivered"], again["unchanged"]) == (0, again["institutions"])


def test_equal_days_give_equal_bytes(matched_copy, matched_home, tmp_path):
    other = Settings(home=tmp_path / "other", threads=1)
    shutil.copytree(matched_home.home, other.home)
    deliver_all(matched_copy)
    deliver_all(other)
    assert hash_files(matched_copy) == hash_files(other)


def test_another_result_is_a_new_version_beside_the_old_file(delivered_copy):
    first = (folder_of(delivered_copy, CSV_BANK) / "leads.csv").read_bytes()
    removed = matches_of(delivered_copy, CSV_BANK)[0]["match_id"]
    filter_matches(delivered_copy, lambda row: row["match_id"] != removed)
    deliver_all(delivered_copy)
    manifest = read_manifest(folder_of(delivered_copy, CSV_BANK))
    assert [delivery["file"] for delivery in manifest["deliveries"]] == [
        "leads.csv",
        "leads.v2.csv",
    ]
    assert manifest["version"] == 2
    assert (folder_of(delivered_copy, CSV_BANK) / "leads.csv").read_bytes() == first
    assert removed not in (folder_of(delivered_copy, CSV_BANK) / "leads.v2.csv").read_text()
    assert manifest["retracted"] == manifest["deliveries"][1]["retracted"] == [removed]
    assert manifest["findings"] == [{"id": "delivery_corrected", "count": 1, "sources": [CSV_BANK]}]
    assert read_manifest(folder_of(delivered_copy, PARQUET_BANK))["version"] == 1


def test_an_institution_that_lost_all_its_matches_gets_an_empty_correction(delivered_copy):
    filter_matches(delivered_copy, lambda row: row["institution_id"] != CSV_BANK)
    deliver_all(delivered_copy)
    corrected = folder_of(delivered_copy, CSV_BANK) / "leads.v2.csv"
    assert lead_file.read(corrected).num_rows == 0


def stopped(settings: Settings, institution: str = CSV_BANK) -> str:
    """Deliver; return the violations of an institution whose file the last gate stopped."""
    assert deliver_all(settings)["held_back"] >= 1
    manifest = read_manifest(folder_of(settings, institution))
    (finding,) = manifest["findings"]
    assert (manifest["state"], finding["id"]) == ("held", "delivery_stopped")
    assert not list(folder_of(settings, institution).glob("leads*"))
    return str(finding["detail"])


def test_consent_withdrawn_after_matching_stops_the_file(matched_copy):
    withdrawn = matches_of(matched_copy, CSV_BANK)[0]["lead_id"]
    write_lake_leads(
        matched_copy, DAY, **{withdrawn: {"consent_withdrawn_at": at("2026-11-20 20:00")}}
    )
    assert stopped(matched_copy) == f"{CSV_BANK}: consent withdrawn 1"


def test_a_stopped_file_does_not_stop_the_others(matched_copy):
    lead = matches_of(matched_copy, CSV_BANK)[0]["lead_id"]
    write_lake_leads(matched_copy, DAY, **{lead: {"consent_scope": [PARQUET_BANK]}})
    assert stopped(matched_copy) == f"{CSV_BANK}: consent does not cover it 1"
    assert (folder_of(matched_copy, PARQUET_BANK) / "leads.parquet").is_file()


@pytest.mark.parametrize(
    ("changes", "kind"),
    keep(
        (0, 1),
        [
            ({"consent_scope": ["bank-999"]}, "consent does not cover it"),
            ({"consent_at": at("2025-11-19 12:00")}, "consent expired"),
            ({"consent_at": at("2026-11-21 00:00")}, "consent not given yet"),
        ],
    ),
)
def test_every_kind_of_missing_consent_stops_the_file(matched_copy, changes, kind):
    lead = matches_of(matched_copy, CSV_BANK)[0]["lead_id"]
    write_lake_leads(matched_copy, DAY, **{lead: changes})
    assert stopped(matched_copy) == f"{CSV_BANK}: {kind} 1"


@pytest.mark.parametrize("institution_id", keep((0,), [None, CSV_BANK]))
@pytest.mark.parametrize("subject_type", ["phone", "lead"])
def test_a_suppression_after_matching_stops_the_file(matched_copy, subject_type, institution_id):
    match = matches_of(matched_copy, CSV_BANK)[0]
    leads = pq.read_table(
        matched_copy.day_folder(matched_copy.lake / "leads", DAY) / "leads.parquet"
    ).to_pylist()
    lead = next(lead for lead in leads if lead["lead_id"] == match["lead_id"])
    subjects = {"phone": sha(lead["phone"]), "lead": f"{lead['channel_id']}/{lead['lead_id']}"}
    order = {
        "subject_type": subject_type,
        "subject": subjects[subject_type],
        "institution_id": institution_id,
        "effective_at": at("2026-11-20 23:00"),
    }
    write_feed(matched_copy, "suppressions", DAY, [order])
    assert stopped(matched_copy) == f"{CSV_BANK}: suppressed 1"


def test_suppressions_of_later_days_or_other_institutions_change_nothing(matched_copy):
    lead = matches_of(matched_copy, CSV_BANK)[0]
    subject = {"subject_type": "lead", "subject": f"{lead['channel_id']}/{lead['lead_id']}"}
    for_another = subject | {"institution_id": "bank-999", "effective_at": at("2026-01-01 00:00")}
    tomorrow = subject | {"effective_at": at("2026-11-21 00:00")}
    write_feed(matched_copy, "suppressions", DAY, [for_another, tomorrow])
    later = subject | {"effective_at": at("2026-01-01 00:00")}
    write_feed(matched_copy, "suppressions", DAY + timedelta(days=1), [later])
    assert deliver_all(matched_copy)["delivered"] > 0


def test_a_row_with_another_persons_phone_stops_the_file(matched_copy, monkeypatch):
    write = lead_file.write

    def write_mixed(table: pa.Table, path: Path, **options: Any) -> None:
        phones = table["phone"].to_pylist()
        phones = [*phones[1:], phones[0]]
        position = table.column_names.index("phone")
        write(table.set_column(position, "phone", pa.array(phones)), path, **options)

    monkeypatch.setattr(lead_file, "write", write_mixed)
    assert deliver_all(matched_copy)["delivered"] == 0
    (finding,) = read_manifest(folder_of(matched_copy, CSV_BANK))["findings"]
    assert "columns of another person" in finding["detail"]


def test_the_finding_has_no_personal_data(matched_copy):
    withdrawn = matches_of(matched_copy, CSV_BANK)[0]["lead_id"]
    write_lake_leads(
        matched_copy, DAY, **{withdrawn: {"consent_withdrawn_at": at("2026-11-20 20:00")}}
    )
    stopped(matched_copy)
    manifest = (folder_of(matched_copy, CSV_BANK) / "manifest.json").read_text()
    assert "Person" not in manifest
    assert "+86" not in manifest


def test_withheld_columns_are_stated_and_not_sent(matched_copy):
    requested = ["phone", "gender", "known_at", "shoe_size"]
    replace_mart(matched_copy, "products", "fields", requested, CSV_BANK)
    deliver_all(matched_copy)
    manifest = read_manifest(folder_of(matched_copy, CSV_BANK))
    assert manifest["columns"] == ["phone"]
    assert manifest["withheld_fields"] == ["gender", "known_at", "shoe_size"]
    header = (folder_of(matched_copy, CSV_BANK) / "leads.csv").read_text().splitlines()[0]
    assert header == '"match_id","product_id","rank","suggested_apr","phone","schema_version"'


@pytest.mark.usefixtures("small_shards")
def test_shards_hold_every_institution_once(matched_copy):
    shards = deliver.plan_shards(matched_copy, DAY)
    names = [name for shard in shards for name in shard["institutions"]]
    assert names == sorted(set(names))
    assert len(shards) == -(-len(names) // 2) > 1
    json.dumps(shards)


def test_nothing_can_be_delivered_before_matching(tmp_path):
    with pytest.raises(InputMissing, match="matches"):
        deliver.plan_shards(Settings(home=tmp_path), DAY)


def test_leftovers_of_a_killed_run_are_repaired(delivered_copy):
    before = hash_files(delivered_copy)
    folder = folder_of(delivered_copy, CSV_BANK)
    folder.rename(folder.with_name(f".{CSV_BANK}.previous"))
    half_written = folder.with_name(f".{PARQUET_BANK}.new")
    half_written.mkdir()
    (half_written / "manifest.json").write_text("{}")
    scratch = folder.with_name(f".{CSV_BANK}.scratch")
    scratch.mkdir()
    (scratch / "leads.csv").write_text("half a li")
    result = deliver_all(delivered_copy)
    shutil.rmtree(half_written)
    assert result["unchanged"] == result["institutions"]
    assert hash_files(delivered_copy) == before


@pytest.mark.parametrize("version", keep((0,), [1, 2]))
def test_a_delivery_of_an_earlier_schema_version_is_not_corrected(matched_copy, version):
    """None stated its version; the first had microseconds, and no hash of the content."""
    replace_mart(matched_copy, "products", "fields", ["phone", "captured_at"], CSV_BANK)
    write_lake_catalogue(matched_copy, DAY)
    folder, write = folder_of(matched_copy, CSV_BANK), lead_file.write

    with pytest.MonkeyPatch.context() as patch:
        unit = "us" if version == 1 else "s"
        patch.setattr(
            lead_file, "write", lambda table, path, **_: write(table, path, time_unit=unit)
        )
        patch.setattr(LastGate, "check_outgoing", lambda *_: defaultdict(list))
        deliver_all(matched_copy)
    for path in folder.parent.glob("*/manifest.json"):
        manifest = read_manifest(path.parent)
        for entry in manifest["deliveries"]:
            entry["schema_version"] = version
            for name in ("content_sha256", "schema_version") if version == 1 else ():
                del entry[name]
        path.write_text(json.dumps(manifest), "utf-8")
    text = (folder / "leads.csv").read_text()
    assert (".000000Z" in text, "schema_version" in text) == (version == 1, False)
    assert deliver_all(matched_copy)["delivered"] == 0
    assert read_manifest(folder)["version"] == 1


def test_no_scratch_folder_remains(delivered_copy):
    folders = {path.parent for path in delivered_copy.outbox.rglob("leads.*")}
    assert folders
    assert not [folder for folder in folders if folder.name.startswith(".")]


def test_a_key_added_later_leaves_the_delivered_file_unchanged(delivered_copy):
    first = (folder_of(delivered_copy, CSV_BANK) / "leads.csv").read_bytes()
    replace_mart(delivered_copy, "products", "public_key", "age1example", CSV_BANK)
    assert deliver_all(delivered_copy)["held_back"] == 1
    assert (folder_of(delivered_copy, CSV_BANK) / "leads.csv").read_bytes() == first
    assert read_manifest(folder_of(delivered_copy, CSV_BANK))["version"] == 1
