"""A file is its content, a day is closed once, and what comes later is late."""

from datetime import date, timedelta

import pytest

from pipelines import ingest
from pipelines.core.publishing import read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.ingest.landing import Landed
from pipelines.ingest.ledger import Ledger, read_ledger, taken_in
from tests.helpers.landing import DAY, land, path_of, row
from tests.ingest.lake import counts, loaded, published, set_aside

NEXT = DAY + timedelta(days=1)
BEFORE = DAY - timedelta(days=1)
FEED = "suppressions"
"""A feed of few columns, so that the gate takes little time."""


def ids(settings, day=DAY):
    return sorted(record["subject"] for record in loaded(settings, FEED, day))


def subjects(count, first=1):
    return [row(FEED, subject=f"L{i:05d}") for i in range(first, first + count)]


def file(path="leads/search/2026-11-20/a.csv", sha="A", day=DAY, problem=""):
    feed, source = path.split("/")[:2]
    return Landed(path, feed, source, day, 1, sha, problem)


def states(ledger):
    return {(e.path.split("/")[-1], e.version): (e.state, e.known_on) for e in ledger.entries}


@pytest.mark.parametrize(
    ("closed", "run", "known_on", "is_late"),
    [
        (None, NEXT, DAY, False),
        (BEFORE, DAY, DAY, False),
        (BEFORE, NEXT, DAY, False),
        (DAY, DAY, DAY, False),  # a day may be run again with what has come since
        (NEXT, DAY, DAY, False),
        (DAY, NEXT, NEXT, True),
        (NEXT, NEXT, NEXT, True),
        (NEXT + timedelta(days=5), NEXT, None, None),  # an older day again: it waits
    ],
)
def test_a_file_is_known_on_its_own_day_while_that_is_open_else_it_is_late(
    closed, run, known_on, is_late
):
    found = taken_in(Ledger((), closed), [file()], run).entries
    assert [(e.known_on, e.is_late) for e in found] == (
        [(str(known_on), is_late)] if known_on else []
    )


def test_the_first_of_equal_contents_counts_and_the_others_are_copies():
    later = "leads/search/2026-11-21/a.csv"
    landed = [file(later, day=NEXT), file("leads/search/2026-11-20/b.csv"), file()]
    ledger = taken_in(Ledger(), landed, NEXT)
    assert [(e.path, e.state) for e in ledger.entries] == [
        ("leads/search/2026-11-20/a.csv", "taken"),
        ("leads/search/2026-11-20/b.csv", "copy"),
        (later, "copy"),
    ]


def test_the_same_content_of_another_source_is_no_copy():
    landed = [file(), file("leads/social/2026-11-20/a.csv")]
    assert [e.state for e in taken_in(Ledger(), landed, DAY).entries] == ["taken", "taken"]


def test_a_catalogue_sent_again_on_another_day_is_no_copy_since_terms_may_change_back():
    landed = [
        file("products/bank/2026-11-20/a.csv"),
        file("products/bank/2026-11-20/b.csv"),
        file("products/bank/2026-11-21/a.csv", day=NEXT),
    ]
    assert [e.state for e in taken_in(Ledger(), landed, NEXT).entries] == ["taken", "copy", "taken"]


def test_a_new_version_replaces_the_older_one_of_the_same_day():
    first = taken_in(Ledger(), [file()], DAY)
    again = taken_in(first, [file(sha="B")], DAY)
    assert states(again) == {
        ("a.csv", 1): ("replaced", str(DAY)),
        ("a.csv", 2): ("taken", str(DAY)),
    }


def test_a_version_that_comes_after_the_day_was_closed_is_late_and_replaces_nothing():
    first = Ledger(taken_in(Ledger(), [file()], DAY).entries, DAY)
    later = taken_in(first, [file(sha="B")], NEXT)
    assert states(later) == {
        ("a.csv", 1): ("taken", str(DAY)),
        ("a.csv", 2): ("taken", str(NEXT)),
    }


def test_a_copy_counts_once_its_original_is_replaced():
    first = taken_in(Ledger(), [file(), file("leads/search/2026-11-20/b.csv")], DAY)
    again = taken_in(first, [file(sha="B"), file("leads/search/2026-11-20/b.csv")], DAY)
    assert states(again)["b.csv", 1] == ("taken", str(DAY))


def test_going_back_to_an_earlier_content_is_a_version_of_its_own():
    ledger = Ledger()
    for sha in "ABA":
        ledger = taken_in(ledger, [file(sha=sha)], DAY)
    assert [(e.version, e.state) for e in ledger.entries] == [
        (1, "replaced"),
        (2, "replaced"),
        (3, "taken"),
    ]


def test_nothing_new_changes_nothing():
    ledger = taken_in(Ledger(), [file()], DAY)
    assert taken_in(ledger, [file()], NEXT) == ledger


def test_the_same_file_twice_counts_once(settings):
    land(path_of(settings, FEED), subjects(3))
    land(path_of(settings, FEED, name="again.csv"), subjects(3))
    ingest.ingest(settings, DAY)
    assert ids(settings) == ["L00001", "L00002", "L00003"]
    found = counts(settings, FEED)["search"]
    assert (found["files"], found["copies"], found["received"]) == (1, 1, 3)


def test_each_file_without_a_byte_is_told_of(settings):
    """It holds nothing that another could hold as well, so none is a copy."""
    for day, name in ((DAY, "one.csv"), (DAY, "two.csv"), (NEXT, "one.csv")):
        land(path_of(settings, FEED, day=day, name=name), b"")
        ingest.ingest(settings, day)
    refused = [counts(settings, FEED, day=day)["search"]["refused_files"] for day in (DAY, NEXT)]
    assert refused == [2, 1]


def test_a_late_file_is_taken_in_marked_and_its_known_keys_are_duplicates(settings):
    land(path_of(settings, FEED), subjects(2))
    ingest.ingest(settings, DAY)
    land(path_of(settings, FEED), subjects(3))
    ingest.ingest(settings, NEXT)
    assert ids(settings) == ["L00001", "L00002"]
    late = loaded(settings, FEED, day=NEXT)
    assert [(record["subject"], record["is_late"], record["landed_on"]) for record in late] == [
        ("L00003", True, DAY)
    ]
    assert late[0]["known_at"] == settings.day_start(NEXT)
    found = counts(settings, FEED, day=NEXT)["search"]
    assert (found["received"], found["loaded"], found["duplicates"]) == (3, 1, 2)
    assert found["late_files"] == 1
    messages = {record["message"] for record in set_aside(settings, FEED, day=NEXT)}
    assert len(messages) == 1
    assert messages.pop().endswith("effective_at was loaded on an earlier day")


def test_a_day_run_again_takes_in_what_came_for_it_since(settings):
    land(path_of(settings, FEED), subjects(2))
    ingest.ingest(settings, DAY)
    land(path_of(settings, FEED), subjects(1, first=7))
    land(path_of(settings, FEED, name="more.csv"), subjects(1, first=8))
    ingest.ingest(settings, DAY)
    assert ids(settings) == ["L00007", "L00008"]


def test_what_comes_for_an_older_day_moves_the_duplicates_of_the_days_after_it(settings):
    land(path_of(settings, FEED, day=NEXT), subjects(2))
    ingest.ingest(settings, NEXT)
    land(path_of(settings, FEED, name="more.csv"), subjects(1))
    ingest.ingest(settings, DAY)
    assert (ids(settings), ids(settings, NEXT)) == (["L00001"], ["L00002"])


def test_a_first_run_builds_every_day_before_it(settings):
    for day in (BEFORE, DAY, NEXT):
        land(path_of(settings, FEED, day=day), subjects(1, first=day.day))
    ingest.ingest(settings, DAY)
    assert (ids(settings, BEFORE), ids(settings)) == (["L00019"], ["L00020"])
    assert not Settings.day_folder(settings.lake / FEED, NEXT).exists()
    assert read_ledger(settings).closed_through == DAY


def test_days_one_by_one_give_the_same_lake_as_all_at_once(settings, tmp_path):
    other = Settings(home=tmp_path / "other", threads=1, memory_limit="1GB")
    for home in (settings, other):
        for day in (BEFORE, DAY, NEXT):
            land(path_of(home, FEED, day=day), subjects(3, first=day.day))
            land(path_of(home, "products", "bank", day=day), [row("products")])
    for day in (BEFORE, DAY, NEXT):
        ingest.ingest(settings, day)
    ingest.ingest(other, NEXT)
    of_feeds = [
        {
            name: sha
            for name, sha in published(home).items()
            if f"/{FEED}/" in name or "bank" in name
        }
        for home in (settings, other)
    ]
    assert of_feeds[0] == of_feeds[1]


def test_a_published_day_stands_when_its_file_has_been_overwritten(settings, caplog):
    land(path_of(settings, FEED), subjects(2))
    ingest.ingest(settings, DAY)
    stood = sha256(Settings.day_folder(settings.lake / FEED, DAY) / f"{FEED}.parquet")
    land(path_of(settings, FEED), subjects(1, first=9))
    ingest.ingest(settings, NEXT)  # the new content is late, so the old one is nowhere any more
    land(path_of(settings, FEED, name="more.csv"), subjects(1, first=50))
    result = ingest.ingest(settings, DAY)
    assert result["standing"] == 1
    assert sha256(Settings.day_folder(settings.lake / FEED, DAY) / f"{FEED}.parquet") == stood
    assert "lake/suppressions/date=2026-11-20 is not built again" in caplog.text
    later = NEXT + timedelta(days=1)
    ingest.ingest(settings, later)
    assert ids(settings, later) == ["L00050"]


def test_a_lost_partition_is_built_again_from_the_ledger(settings):
    land(path_of(settings, FEED), subjects(2))
    ingest.ingest(settings, DAY)
    before = published(settings)
    (Settings.day_folder(settings.lake / FEED, DAY) / "manifest.json").unlink()
    ingest.ingest(settings, NEXT)
    again = {name: sha for name, sha in published(settings).items() if name in before}
    again.pop("ledger/closed.json")
    before.pop("ledger/closed.json")
    assert again == before


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("suppressions/Bad Source/2026-11-20/rows.csv", "a source matches"),
        ("suppressions/search/2026-13-20/rows.csv", "the folder is no date"),
        ("suppressions/search/2026-11-20/rows.xlsx", "its name ends in none of"),
        ("suppressions/search/2026-11-20/deep/rows.csv", "a file lies at landing/FEED/SOURCE"),
        ("suppressions/rows.csv", "a file lies at landing/FEED/SOURCE"),
    ],
)
def test_a_file_in_an_impossible_place_is_refused_and_said_so(settings, path, says):
    land(settings.landing / path, subjects(2))
    land(path_of(settings, FEED), subjects(1))
    ingest.ingest(settings, DAY)
    assert ids(settings) == ["L00001"]
    refused = [record for record in set_aside(settings, FEED) if record["rule"] == "name"]
    assert [says in record["message"] for record in refused] == [True]


def test_a_file_outside_of_every_feed_is_counted_and_kept_in_the_ledger(settings):
    land(settings.landing / "leeds/search/2026-11-20/rows.csv", subjects(2))
    assert ingest.ingest(settings, DAY)["misplaced"] == 1
    assert [entry.state for entry in read_ledger(settings).entries] == ["refused"]


def test_a_file_that_is_still_being_written_is_left_alone(settings):
    land(path_of(settings, FEED, name="rows.csv.part"), subjects(2))
    land(path_of(settings, FEED, name=".rows.csv.x7Ab"), subjects(2))
    ingest.ingest(settings, DAY)
    assert read_ledger(settings).entries == ()


def test_a_catalogue_that_comes_late_does_not_replace_a_later_one(settings):
    land(path_of(settings, "products", "bank"), [row("products", product_id="new")])
    ingest.ingest(settings, DAY)
    older = path_of(settings, "products", "bank", day=BEFORE)
    land(older, [row("products", product_id="old")])
    ingest.ingest(settings, NEXT)
    assert loaded(settings, "products", NEXT) == []
    assert [r["rule"] for r in set_aside(settings, "products", NEXT)] == ["superseded"]


def test_a_file_that_changes_between_plan_and_reading_is_refused_until_the_next_run(settings):
    path = land(path_of(settings, FEED), subjects(2))
    shards = ingest.plan(settings, DAY)
    land(path, subjects(3))
    for shard in shards:
        ingest.ingest_shard(settings, DAY, shard)
    ingest.collect(settings, DAY)
    assert [record["rule"] for record in set_aside(settings, FEED)] == ["changed"]
    ingest.ingest(settings, DAY)
    assert len(loaded(settings, FEED)) == 3


def test_the_manifest_names_the_files_of_the_partition(settings):
    path = land(path_of(settings, FEED), subjects(2))
    ingest.ingest(settings, DAY)
    manifest = read_manifest(Settings.day_folder(settings.lake / FEED, DAY))
    assert [entry["sha256"] for entry in manifest["ledger"]] == [sha256(path)]
    assert date.fromisoformat(manifest["ledger"][0]["known_on"]) == DAY
