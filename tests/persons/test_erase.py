"""An erased person is in no file, the others are as they were, and it is proven."""

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import InputMissing, IntegrityError, UsageError
from pipelines.core.evidence.publication_log import log_day, read_log
from pipelines.core.home.erasures import read_tombstones
from pipelines.core.home.person_ledger import append_entry, ledger_path, read_ledger
from pipelines.core.publishing import check_file, read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.ledger.events import ledger_folder, load_events, load_states
from pipelines.deliveries.ledger.receipts import judge_receipts
from pipelines.deliveries.withdrawal_notices import NOTICES, find_notices
from pipelines.operations.verify import verify_home
from pipelines.persons.erase import ErasureIncomplete, erase, erase_ordered, resume
from pipelines.persons.journal import Journal, list_open
from tests.helpers.delivered_home import FIRST, receipt, write_quiet_day
from tests.helpers.identifier_key import keyed
from tests.helpers.lake import at, write_feed
from tests.helpers.person_home import (
    LEADS,
    NEXT,
    id_number,
    lead,
    list_matches,
    list_values,
    phone,
    write_home,
)
from tests.helpers.raw_search import find_values

NOTICE = r"persons/erasures/.*\.notices\.parquet"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return write_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def settings(template: Settings, tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    return Settings(home=home, threads=1)


def erase_one(settings: Settings, number: int = 2) -> dict:
    return erase(settings, "phone", [phone(number)], by="ann", reason="ticket 12")


def find_left(settings: Settings, *numbers: int) -> dict[str, list[str]]:
    """Return the files that have a value of the persons, without the notices of their erasure."""
    values = {value for number in numbers for value in list_values(number)}
    found = find_values(settings.home, values)
    return {path: hits for path, hits in found.items() if ".notices." not in path}


def test_the_template_has_the_person_in_every_place(template: Settings):
    places = {path.split("/")[0] for path in find_left(template, 2)}
    assert places == {
        *("delivered", "lake", "landing", "later", "ledger", "logs", "matches", "offers"),
        *("outbox", "pairs", "quarantine", "warehouse.duckdb"),
    }


def find_others(settings: Settings) -> dict[str, list[str]]:
    """Return where the values of another person are; a batch is named by a hash of its bytes."""
    found = find_values(settings.home, list_values(1))
    return {
        path.rpartition("/")[0] if path.startswith("ledger/deliveries/") else path: hits
        for path, hits in found.items()
    }


def test_no_byte_of_an_erased_person_is_left_and_the_others_are_there(settings: Settings):
    before = find_others(settings)
    proof = erase_one(settings)
    assert find_left(settings, 2) == {}
    assert find_others(settings) == {
        place: hits for place, hits in before.items() if place != "warehouse.duckdb"
    }
    assert proof["persons"] == proof["leads"] == 1
    assert proof["institutions"] == {"bank-a": 1, "bank-b": 1}


def test_an_owner_is_erased_from_the_leads_of_its_firms(settings: Settings):
    """The number of an erased firm's owner names nobody in an order: only who asks is named."""
    day = NEXT + timedelta(days=20)
    firms = [
        lead(firm, segment="business", owner_id_number=id_number(owner),
             owner_id_number_sha256=keyed(id_number(owner)))
        for firm, owner in ((6, 5), (7, 9), (8, 9))
    ]  # fmt: skip
    write_feed(settings, "leads", day, firms)
    proof = erase(settings, "id_number", [id_number(6)], by="ann", reason="ticket 12")
    assert proof["leads"] == 1
    assert find_left(settings, 5, 6) == {}
    (order,) = settings.landing.glob("suppressions/*/*/*.csv")
    assert hashlib.sha256(id_number(6).encode()).hexdigest() in order.read_text()
    assert hashlib.sha256(id_number(5).encode()).hexdigest() not in order.read_text()
    proof = erase(settings, "id_number", [id_number(9)], by="ann", reason="ticket 13")
    assert proof["leads"] == 2
    assert find_left(settings, 7, 8, 9) == {}


def test_rows_of_others_keep_their_bytes_and_the_counts_of_a_file_stay(settings: Settings):
    folder = settings.day_folder(settings.outbox, FIRST) / "bank-a"
    before = (folder / "leads.csv").read_text("utf-8").splitlines()
    erase_one(settings)
    after = (folder / "leads.csv").read_text("utf-8").splitlines()
    changed = [n for n in range(len(before)) if before[n] != after[n]]
    assert len(changed) == 1
    assert after[changed[0]].startswith('"erased-')
    manifest = read_manifest(folder)
    (version,) = manifest["deliveries"]
    assert manifest["rows"] == version["rows"] == len(LEADS)
    assert version["sha256"] == sha256(folder / "leads.csv")
    states = load_states(settings, FIRST)
    assert set(states["state"].to_pylist()) == {"sent"}
    assert set(states["match_id"].to_pylist()) == {
        row for name in ("bank-a", "bank-b")
        for row in lead_file.read(folder.parent / name / "leads.csv")["match_id"].to_pylist()
    }  # fmt: skip


def test_manifests_state_the_present_files_and_what_was_lost(settings: Settings):
    content = read_manifest(settings.day_folder(settings.pairs, FIRST))["content_sha256"]
    proof = erase_one(settings)
    touched = 0
    for path in settings.home.rglob("manifest.json"):
        manifest = read_manifest(path.parent)
        for name, facts in manifest["files"].items():
            assert check_file(path.parent / name, facts["sha256"]) == ""
        touched += any(each["id"] == proof["id"] for each in read_tombstones(path.parent))
    assert touched >= 7
    manifest = read_manifest(settings.day_folder(settings.pairs, FIRST))
    assert manifest["content_sha256"] == content
    assert manifest["counts"] == {"leads": len(LEADS)}
    (tombstone,) = manifest["erasures"]
    assert tombstone["files"]["pairs.parquet"]["rows"] == len(LEADS)


def test_the_proof_has_every_changed_file_with_its_hashes(settings: Settings):
    hashes = {path: sha256(path) for path in settings.home.rglob("*") if path.is_file()}
    result = erase_one(settings)
    proof = json.loads(Path(result["proof"]).read_text("utf-8"))
    stated = {settings.home / each["path"]: each for each in proof["files"]}
    for path, before in hashes.items():
        after = sha256(path) if path.is_file() else None
        if before != after and not path.name.startswith("manifest.json.sig"):
            assert stated[path]["sha256_before"] == before
            assert stated[path]["sha256_after"] == after
    assert proof["searched"]["found"] == 0
    assert len(proof["not_reached"]) >= 3
    assert proof["places"]["lake"]["rows"] == 1
    (entry,) = read_ledger(settings)
    assert entry["proof_sha256"] == sha256(Path(result["proof"]))
    assert not list(settings.persons.glob("open/*"))


def test_every_institution_that_had_the_person_is_noticed_once(settings: Settings):
    erase_one(settings)
    write_quiet_day(settings, NEXT)
    notices = find_notices(settings, NEXT, NOTICES.empty_table().select(["match_id", "kind"]))
    expected = {row["match_id"] for row in list_matches(2)}
    assert set(notices["match_id"].to_pylist()) == expected
    assert set(notices["kind"].to_pylist()) == {"erasure"}
    assert set(notices["effective_on"].to_pylist()) == {NEXT}
    assert not find_notices(settings, FIRST, notices.slice(0, 0)).num_rows
    assert not find_notices(settings, NEXT, notices.select(["match_id", "kind"])).num_rows


def test_a_batch_of_the_ledger_is_named_by_what_it_has_now(settings: Settings):
    folder = ledger_folder(settings, FIRST)
    before = sorted(path.name for path in folder.iterdir())
    events = load_events(settings, FIRST).num_rows
    proof = erase_one(settings)
    after = sorted(path.name for path in folder.iterdir())
    assert [name[:7] for name in after] == [name[:7] for name in before]
    assert before != after
    assert {path.stem[7:] for path in folder.iterdir()} == {
        sha256(path)[:16] for path in folder.iterdir()
    }
    assert load_events(settings, FIRST).num_rows == events
    stated = {each["path"]: each for each in json.loads(Path(proof["proof"]).read_text())["files"]}
    for name in set(after) - set(before):
        path = folder / name
        assert stated[path.relative_to(settings.home).as_posix()]["sha256_after"] == sha256(path)


def test_dates_that_were_never_logged_stay_unlogged(settings: Settings):
    write_quiet_day(settings, NEXT)
    log_day(settings, NEXT)
    erase_one(settings)
    assert {segment.group for segment in read_log(settings)} == {f"date={NEXT}"}
    assert verify_home(settings).problems == {}


def test_a_receipt_for_the_file_as_it_was_sent_is_accepted(settings: Settings):
    sent = receipt(settings, FIRST, "bank-a")
    erase_one(settings)
    present = receipt(settings, FIRST, "bank-b")
    write_feed(settings, "receipts", NEXT, [sent, present])
    assert {each.judgement for each in judge_receipts(settings, NEXT, set)} == {"received"}


def test_an_order_keeps_the_person_from_coming_again(settings: Settings):
    proof = erase_one(settings)
    lines = (settings.home / proof["order"]).read_text("utf-8").splitlines()
    assert len(lines) == 3
    assert {line.split(",")[0] for line in lines[1:]} == {"id_number", "phone"}
    assert all(",erasure," in line for line in lines[1:])


class Killed(BaseException):
    """Ends a test's erasure as a kill would."""


def test_an_erasure_that_is_killed_anywhere_is_completed(template, tmp_path, monkeypatch):
    whole = erase_one(_copy(template, tmp_path / "whole"))
    records = whole["files"]
    original = Journal.record
    for stop in range(0, records, 5):
        settings = _copy(template, tmp_path / f"{stop}")
        left = iter(range(stop))

        def record(self: Journal, *facts, left=left) -> None:
            original(self, *facts)
            if next(left, None) is None:
                raise Killed

        monkeypatch.setattr(Journal, "record", record)
        with pytest.raises(Killed):
            erase_one(settings)
        monkeypatch.setattr(Journal, "record", original)
        (proof,) = resume(settings)
        assert find_left(settings, 2) == {}, stop
        assert proof["institutions"] == {"bank-a": 1, "bank-b": 1}
        assert not list_open(settings)
        assert len(read_ledger(settings)) == 1


def _copy(template: Settings, to: Path) -> Settings:
    shutil.copytree(template.home, to)
    return Settings(home=to, threads=1)


def test_a_place_that_can_not_be_erased_fails_and_is_named(settings: Settings):
    (settings.home / "airflow").mkdir()
    (settings.home / "airflow" / "rows.db").write_bytes(b"SQLite" + phone(2).encode())
    with pytest.raises(ErasureIncomplete, match=r"airflow/rows\.db \(1\)"):
        erase_one(settings)
    assert list_open(settings)


def test_persons_that_an_order_asks_to_erase_are_erased_together(settings: Settings):
    orders = [
        {"subject_type": "phone", "subject": keyed(phone(1)), "reason": "erasure"},
        {"subject_type": "id_number", "subject": keyed(id_number(3)), "reason": "erasure"},
        {"subject_type": "phone", "subject": keyed(phone(2)), "reason": "do_not_contact"},
    ]
    times = {"effective_at": at("2026-03-02 09:00")}
    write_feed(settings, "suppressions", FIRST, [order | times for order in orders])
    assert erase_ordered(settings, by="ann", reason="orders of March")["persons"] == 2
    # the hashes of the orders stay, so that the persons are not matched when they come again
    left = find_left(settings, 1, 3)
    assert set(left) == {f"lake/suppressions/date={FIRST}/suppressions.parquet"}
    assert "lake" in {path.split("/")[0] for path in find_left(settings, 2)}
    assert erase_ordered(settings, by="ann", reason="again")["persons"] == 0


@pytest.mark.parametrize(
    "reason", [f"she called from {phone(2)}", f"number {id_number(2).lower()}"]
)
def test_a_reason_that_names_the_person_is_refused(settings: Settings, reason: str):
    kind, value = ("phone", phone(2)) if "called" in reason else ("id_number", id_number(2))
    with pytest.raises(UsageError, match="The reason names the person"):
        erase(settings, kind, [value], by="ann", reason=reason)
    assert not settings.persons.exists()


def test_an_unknown_person_changes_nothing(settings: Settings):
    with pytest.raises(InputMissing, match="None of the 1 person is known"):
        erase(settings, "phone", ["+8613999999999"], by="ann", reason="ticket")
    assert not settings.persons.exists()


def test_a_row_of_a_file_that_waits_is_never_sent(tmp_path: Path):
    settings = write_home(tmp_path / "home", transport="sftp")
    erase_one(settings)
    folder = settings.day_folder(settings.outbox, FIRST) / "bank-a"
    assert len(lead_file.read(folder / "leads.csv")) == len(LEADS) - 1
    manifest = read_manifest(folder)
    assert (manifest["rows"], manifest["held_reasons"]) == (len(LEADS) - 1, {"erased": 1})


def test_a_changed_line_of_the_ledger_is_found(settings: Settings):
    append_entry(settings, {"verb": "restrict", "id": "r1", "known_on": f"{FIRST}"})
    append_entry(settings, {"verb": "restrict", "id": "r2", "known_on": f"{FIRST}"})
    path = ledger_path(settings)
    path.write_text(path.read_text("utf-8").replace('"r1"', '"r9"'), "utf-8")
    with pytest.raises(IntegrityError, match="line 2 does not follow the others"):
        read_ledger(settings)


def test_matches_stay_without_the_person(settings: Settings):
    erase_one(settings)
    path = settings.day_folder(settings.matches, FIRST) / "matches.parquet"
    rows = pq.read_table(path, partitioning=None).to_pylist()
    assert len(rows) == len(LEADS) * 2
    own = [row for row in rows if row["match_id"].startswith("erased-")]
    assert {row["institution_id"] for row in own} == {"bank-a", "bank-b"}
    assert len({row["lead_id"] for row in own}) == 1
