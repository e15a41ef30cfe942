"""A changed, forged, replaced or removed file is named; a home as published has no problem."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from expectations import policy
from pipelines.cli.app import main
from pipelines.core.errors import InputMissing, IntegrityError, UsageError
from pipelines.core.evidence.kept_policies import keep_policies
from pipelines.core.evidence.merkle_tree import Frontier, verify_consistency, verify_inclusion
from pipelines.core.evidence.publication_log import (
    Head,
    Leaf,
    find_day_head,
    find_head,
    log_again,
    log_day,
    log_home,
    read_log,
)
from pipelines.core.evidence.sign_offs import sign_off_file
from pipelines.core.home.schema_version import REPLAY, write_version
from pipelines.core.publishing import MANIFEST, publishing, sha256, write_json
from pipelines.core.settings import Settings
from pipelines.ingest.landing import NOT_OPENED
from pipelines.operations.verify import verify_home, write_proof, write_time_stamp_request
from pipelines.reports.sign_off import record_sign_off
from pipelines.transport.records import SentFile, TransportRecord, record_path, write_record

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
ROOTS = ("lake/leads", "quarantine/leads", "marts", "pairs", "matches", "offers")


def publish(settings: Settings, day: date, text: str = "rows", *roots: str) -> None:
    """Publish folders of a day, or only `roots`, and log them as the steps do."""
    landed = settings.landing / "leads" / "search" / f"{day}" / "leads.csv"
    landed.parent.mkdir(parents=True, exist_ok=True)
    landed.write_text(f"lead_id\n{day}\n")
    entry = {
        **dict.fromkeys(("feed", "source", "landed_on", "known_on"), f"{day}"),
        "path": landed.relative_to(settings.landing).as_posix(),
        "version": 1,
        "sha256": sha256(landed),
        "bytes": landed.stat().st_size,
    }
    closed = settings.landing / "leads" / "closed" / f"{day}"  # it could not be listed, and now can
    closed.mkdir(parents=True, exist_ok=True)
    path = closed.relative_to(settings.landing).as_posix()
    entries = [entry, entry | {"path": path, "sha256": NOT_OPENED, "bytes": 0}]
    settings.ledger.mkdir(exist_ok=True)
    (settings.ledger / f"date={day}.jsonl").write_text(
        "".join(f"{json.dumps(each)}\n" for each in entries)
    )
    for root in roots or ROOTS:
        facts = {"ledger": entries} if root == "lake/leads" else {}
        if root == "matches":
            facts = {"policies": keep_policies(settings)}
        with publishing(settings.day_folder(settings.home / root, day), facts) as folder:
            (folder / "rows.txt").write_text(f"{text} of {root} on {day}")
    for name in ("bank-a", "bank-b"):
        with publishing(settings.day_folder(settings.outbox, day) / name, {}) as folder:
            (folder / "leads.csv").write_text(f"{text} for {name} on {day}")
    log_day(settings, day, with_report=False)
    head = find_day_head(settings, day)
    facts = {"log": {"size": head.size, "root": head.root}, "verdict": "fit"}
    with publishing(settings.day_folder(settings.reports, day), facts) as folder:
        (folder / "index.html").write_text(f"page of {day}, head {head}")
        write_json(folder / "quality.json", {"verdict": "fit"})
    log_day(settings, day)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of four dates with a model set, a statement and a decision."""
    settings = Settings(home=tmp_path_factory.mktemp("verify"))
    write_version(settings)
    with publishing(settings.registry / f"as_of={FIRST}", {}) as folder:
        (folder / "model.txt").write_text("trees")
    for day in DAYS:
        publish(settings, day)
    with publishing(settings.outbox / "statements" / "month=2026-02" / "bank-a", {}) as folder:
        (folder / "statement.csv").write_text("line\n")
    log_day(settings, DAYS[-1])
    record_sign_off(settings, DAYS[1], by="Li Lei", decision="fit", via="test")
    return settings.home


@pytest.fixture
def home(published: Path, tmp_path: Path) -> Settings:
    """A copy that a test may change."""
    return Settings(home=Path(shutil.copytree(published, tmp_path / "home")))


def flip(path: Path, at: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def forge(folder: Path, file: str, text: str) -> None:
    """Replace a file and its manifest, as the publisher would have written them."""
    manifest = json.loads((folder / MANIFEST).read_text())
    with publishing(folder, manifest) as fresh:
        for path in folder.glob("*"):
            if path.name != MANIFEST:
                shutil.copyfile(path, fresh / path.name)
        (fresh / file).write_text(text)


def forge_log(settings: Settings, name: str) -> None:
    """Give the log the present hash of `name`, and make every later head fit."""
    present = hashlib.sha256((settings.home / name).read_bytes()).hexdigest()
    frontier = Frontier()
    for segment in list(read_log(settings)):
        leaves = [Leaf(n, present if n == name else s) for n, s in map(vars_of, segment.leaves)]
        for leaf in leaves:
            frontier.append(leaf.hash)
        content = {
            "first": segment.first,
            "leaves": [[leaf.name, leaf.sha256] for leaf in leaves],
            "size": frontier.size,
            "root": frontier.root.hex(),
            "frontier": [each.hex() for each in frontier.hashes],
        }
        write_json(segment.path, content)


def vars_of(leaf: Leaf) -> tuple[str, str]:
    return leaf.name, leaf.sha256


def test_a_home_as_it_was_published_has_no_problem(home: Settings):
    found = verify_home(home)
    assert (found.problems, found.notes) == ({}, {})
    assert found.folders == len(DAYS) * (len(ROOTS) + 3) + 2
    assert found.heads == len(DAYS)
    assert found.decisions == 1
    assert found.leaves == found.folders + len(DAYS) + 1  # ledgers, and the decision
    assert found.head == find_head(home)
    one = verify_home(home, DAYS[1])
    assert (one.problems, one.folders, one.decisions) == ({}, len(ROOTS) + 3, 1)
    assert one.leaves == found.leaves


def is_of_many_days(name: str) -> bool:
    """Whether it is a page of all days, of a week or a month, which is written again each day."""
    return name.startswith("reports/") and not name.startswith("reports/date=")


def test_a_date_of_which_nothing_was_published_proves_nothing(home: Settings):
    with pytest.raises(InputMissing, match="Nothing of 2026-04-01 was published"):
        verify_home(home, date(2026, 4, 1))
    with_another_head = verify_home(home, date(2026, 4, 1), [Head(1, "0" * 64)])
    assert with_another_head.problems


def test_one_flipped_byte_anywhere_is_named(home: Settings):
    skipped = {"evidence/.lock", "policies/.lock", "home.json"}
    paths = [path for path in sorted(home.home.rglob("*")) if path.is_file()]
    names = [path.relative_to(home.home).as_posix() for path in paths]
    names = [name for name in names if name not in skipped and not is_of_many_days(name)]
    assert len(names) > 100
    unnamed = []
    for name in names:
        path = home.home / name
        content = path.read_bytes()
        flip(path, len(content) // 2)
        found = verify_home(home)
        if not any(name in f"{place} {how}" for place, how in found.problems.items()):
            unnamed.append((name, found.problems))
        path.write_bytes(content)
    assert unnamed == []
    assert verify_home(home).problems == {}


def test_a_forged_manifest_is_named(home: Settings):
    folder = home.day_folder(home.matches, DAYS[1])
    forge(folder, "rows.txt", "other rows")
    name = f"matches/date={DAYS[1]}/{MANIFEST}"
    assert verify_home(home).problems == {
        name: "is not what was published: it was changed or replaced"
    }
    assert verify_home(home, DAYS[1]).problems.keys() == {name}
    assert verify_home(home, DAYS[2]).problems == {}


def test_a_forged_log_differs_from_the_heads_of_reports_and_of_people(home: Settings):
    kept = find_head(home)
    folder = home.day_folder(home.matches, DAYS[1])
    forge(folder, "rows.txt", "other rows")
    forge_log(home, f"matches/date={DAYS[1]}/{MANIFEST}")
    problems = verify_home(home).problems
    assert problems.keys() == {f"reports/date={DAYS[1]}"}
    assert "2 later heads as well" in problems[f"reports/date={DAYS[1]}"]
    for day in DAYS:  # with every page forged too, only a head kept elsewhere is left
        path = home.day_folder(home.reports, day) / MANIFEST
        manifest = json.loads(path.read_text())
        del manifest["log"]
        write_json(path, manifest)
        forge_log(home, path.relative_to(home.home).as_posix())
    assert verify_home(home).problems == {}
    assert verify_home(home, kept=[kept]).problems.keys() == {f"head {kept}"}


def test_a_removed_day_and_a_removed_folder_are_named(home: Settings):
    for folder in [*home.home.glob(f"*/date={DAYS[2]}"), *home.home.glob(f"*/*/date={DAYS[2]}")]:
        shutil.rmtree(folder)
    (home.ledger / f"date={DAYS[2]}.jsonl").unlink()
    shutil.rmtree(home.day_folder(home.outbox, DAYS[1]) / "bank-a")
    problems = verify_home(home).problems
    assert problems == {
        f"date={DAYS[2]}": f"the day was removed: {len(ROOTS) + 4} publications",
        f"outbox/date={DAYS[1]}/bank-a/{MANIFEST}": "was removed after it was published",
    }


def remove_middle(segments: list[Path]) -> None:
    segments[3].unlink()


def remove_end(segments: list[Path]) -> None:
    for path in segments[-5:]:
        path.unlink()


def remove_all(segments: list[Path]) -> None:
    for path in segments:
        path.unlink()


@pytest.mark.parametrize(
    ("remove", "words"),
    [
        (remove_middle, "segments of the publication log were removed"),
        (remove_end, "its end was removed"),
        (remove_all, "its end was removed"),
    ],
)
def test_a_log_that_was_cut_is_named(home: Settings, remove: Callable, words: str):
    remove(sorted((home.evidence / "log").glob("*.json")))
    assert any(words in how for how in verify_home(home).problems.values())


def test_an_added_file_folder_and_date_are_named(home: Settings):
    (home.day_folder(home.offers, DAYS[0]) / "more.csv").write_text("x")
    with publishing(home.day_folder(home.outbox, DAYS[0]) / "bank-c", {}) as folder:
        (folder / "leads.csv").write_text("x")
    with publishing(home.day_folder(home.offers, date(2026, 4, 1)), {}) as folder:
        (folder / "rows.txt").write_text("x")
    found = verify_home(home)
    assert found.problems.keys() == {
        f"offers/date={DAYS[0]}/more.csv",
        f"outbox/date={DAYS[0]}/bank-c/{MANIFEST}",
    }
    assert found.notes.keys() == {"date=2026-04-01"}


def test_an_earlier_publication_that_is_put_back_is_named(home: Settings):
    folder = home.day_folder(home.offers, DAYS[0])
    shutil.copytree(folder, home.home / "kept")
    publish(home, DAYS[0], "corrected", "offers")
    assert verify_home(home).problems == {}
    shutil.rmtree(folder)
    (home.home / "kept").rename(folder)
    (how,) = verify_home(home).problems.values()
    assert how == "is an earlier publication that was put back"


def test_decisions_that_are_changed_removed_or_added_are_named(home: Settings):
    path = sign_off_file(home, DAYS[1])
    (line,) = path.read_text().splitlines()
    for text, how in (
        (f"{line.replace('Li Lei', 'Li Bai')}\n", "the decision was changed"),
        ("", "the decision was removed"),
        (f"{line}\n{line}\n", "the decision is not in the publication log: it was added"),
    ):
        path.write_text(text)
        assert list(verify_home(home).problems.values()) == [how]


def test_a_record_of_transport_that_states_other_bytes_is_named(home: Settings):
    day = DAYS[0]
    folder = home.day_folder(home.outbox, day) / "bank-a"
    sent = tuple(
        SentFile(path.name, sha256(path), path.stat().st_size, "2026-03-02T09:00:00+00:00")
        for path in sorted(folder.iterdir())
    )
    record = TransportRecord("d", "bank-a", f"{day}", 1, "sent", "folder", files=sent)
    write_record(home, day, record)
    files = verify_home(home).files
    assert verify_home(home).problems == {}
    waiting = SentFile("leads.v2.csv", "0" * 64, 1)
    write_record(home, day, replace(record, files=(*sent, waiting)))
    assert verify_home(home, day).problems == {}
    for number, file in enumerate(sent):
        other = replace(file, sha256="0" * 64)
        write_record(home, day, replace(record, files=(*sent[:number], other, *sent[number + 1 :])))
        (name,) = verify_home(home, day).problems
        assert name == f"transport/date={day}/bank-a.json"
        assert verify_home(home, DAYS[1]).problems == {}
    path = record_path(home, day, "bank-a")
    path.write_text(path.read_text("utf-8")[:-20], "utf-8")
    assert verify_home(home).problems == {f"transport/date={day}/bank-a.json": "is damaged"}
    path.unlink()
    assert verify_home(home).files == files - 1


def test_a_manifest_that_was_sent_and_published_again_since_is_no_problem(home: Settings):
    day = DAYS[0]
    folder = home.day_folder(home.outbox, day) / "bank-a"
    moment = "2026-03-02T09:00:00+00:00"
    sent = SentFile(MANIFEST, sha256(folder / MANIFEST), 1, moment)
    write_record(home, day, TransportRecord("d", "bank-a", f"{day}", 1, "sent", "", files=(sent,)))
    publish(home, day, "other rows")
    assert verify_home(home, day).problems == {}


def test_publishing_the_same_again_adds_no_leaf_and_moves_no_head(home: Settings):
    before, head = find_head(home), find_day_head(home, DAYS[1])
    publish(home, DAYS[1])
    log_again(home, DAYS[1])
    log_home(home)
    assert find_head(home) == before
    assert find_day_head(home, DAYS[1]) == head
    publish(home, DAYS[1], "other rows", "offers")
    assert find_head(home).size > before.size
    assert find_day_head(home, DAYS[1]).size > head.size
    assert verify_home(home, kept=[before]).problems == {}


def test_a_replay_logs_nothing_and_states_the_published_head(home: Settings):
    head = find_head(home)
    write_json(home.ledger / REPLAY, {"log": {"size": 7, "root": "ab"}})
    publish(home, date(2026, 3, 20))
    assert find_day_head(home, date(2026, 3, 20)) == Head(7, "ab")
    write_json(home.ledger / REPLAY, {"log": None})
    assert find_day_head(home, DAYS[0]) is None
    (home.ledger / REPLAY).unlink()
    assert find_head(home) == head


def test_a_damaged_segment_takes_no_leaf(home: Settings):
    newest = max((home.evidence / "log").glob("*.json"))
    newest.write_text("{}")
    with pytest.raises(IntegrityError, match="is damaged"):
        publish(home, date(2026, 3, 20))


def test_a_home_from_before_is_logged_whole(home: Settings):
    shutil.rmtree(home.evidence / "log")
    log_home(home)
    found = verify_home(home)
    assert found.leaves == found.folders + len(DAYS)
    reports = {name for name in found.problems if name.startswith("reports/")}
    # its pages state heads of the log that is gone, and its decision has no leaf
    assert len(found.problems) == len(reports) + 1


def test_a_proof_holds_without_the_home(home: Settings, tmp_path: Path):
    write_proof(home, DAYS[1], tmp_path / "proof.json")
    proof = json.loads((tmp_path / "proof.json").read_text())
    head, earlier = (
        Head(proof[name]["size"], proof[name]["root"]) for name in ("head", "earlier_head")
    )
    assert head == find_head(home)
    assert len(proof["leaves"]) == len(ROOTS) + 5  # with the ledger and the decision
    assert verify_consistency(
        *(earlier.size, head.size, bytes.fromhex(earlier.root), bytes.fromhex(head.root)),
        [bytes.fromhex(each) for each in proof["consistency"]],
    )
    for leaf in proof["leaves"]:
        path, _, line = leaf["name"].partition("#")
        content = (home.home / path).read_bytes()
        digest = hashlib.sha256(content.splitlines()[int(line) - 1] if line else content)
        assert leaf["sha256"] == digest.hexdigest()
        text = f"{digest.hexdigest()}  {leaf['name']}\n"
        hashed = hashlib.sha256(b"\x00" + text.encode()).digest()
        steps = [bytes.fromhex(each) for each in leaf["proof"]]
        root = bytes.fromhex(head.root)
        assert verify_inclusion(leaf["index"], head.size, hashed, steps, root)
    with pytest.raises(UsageError, match="has nothing of"):
        write_proof(home, date(2026, 4, 1), tmp_path / "other.json")


def test_a_time_stamp_request_is_read_by_openssl(home: Settings, tmp_path: Path):
    head = write_time_stamp_request(home, tmp_path / "head.tsq")
    content = (tmp_path / "head.tsq").read_bytes()
    assert len(content) == 59
    assert content[24:56].hex() == head.root
    if openssl := shutil.which("openssl"):
        command = [openssl, "ts", "-query", "-in", str(tmp_path / "head.tsq"), "-text"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "Hash Algorithm: sha256" in shown
        assert "Certificate required: yes" in shown
    with pytest.raises(UsageError, match="exists"):
        write_time_stamp_request(home, tmp_path / "head.tsq")


def test_the_verb_names_problems_and_ends_with_1(home: Settings, tmp_path: Path, capsys):
    verb = ["verify", "--home", str(home.home)]
    head = f"{find_head(home)}"
    assert main([*verb, "--date", "all", "--head", head]) == 0
    output = capsys.readouterr().out
    assert "Nothing published was changed, replaced or removed." in output
    assert f"Head: {head}" in output
    files = ["--proof", str(tmp_path / "p"), "--time-stamp-request", str(tmp_path / "t")]
    assert main([*verb, "--date", f"{DAYS[0]}", *files]) == 0
    assert (tmp_path / "p").is_file()
    assert (tmp_path / "t").is_file()
    flip(home.day_folder(home.pairs, DAYS[0]) / "rows.txt")
    assert main([*verb, "--json"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["problems"] == {
        f"pairs/date={DAYS[0]}/rows.txt": "was changed after it was published"
    }
    assert main([*verb, "--date", f"{DAYS[0]}"]) == 1
    assert f"WRONG  pairs/date={DAYS[0]}/rows.txt" in capsys.readouterr().out
    assert main([*verb, "--head", "12"]) == 2
    assert main([*verb, "--proof", str(tmp_path / "q")]) == 2


def test_the_text_of_pinned_policies_is_looked_for(home: Settings):
    (home.policies / f"{policy.full_version()}.json").unlink()
    (how,) = verify_home(home).problems.values()
    assert f"matches/date={DAYS[-1]} pins it" in how
