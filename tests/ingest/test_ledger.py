"""The ledger: a file is identified by its content, and a file for a closed date is late."""

from datetime import date, timedelta

import pytest

from pipelines.core.publishing import read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from pipelines.ingest.landing import LandedFile
from pipelines.ingest.ledger import Ledger, read_ledger, register_files
from tests.helpers.landing import DAY, close_before, land, path_of, row
from tests.ingest.published import counts, loaded, published, quarantined

pytestmark = pytest.mark.usefixtures("remembered")

NEXT = DAY + timedelta(days=1)
BEFORE = DAY - timedelta(days=1)
FEED = "suppressions"
"""A feed of few columns, so that the gate takes little time."""


def ids(settings, day=DAY):
    return sorted(
        record["subject"].removeprefix("search/") for record in loaded(settings, FEED, day)
    )


def subjects(count, first=1):
    return [row(FEED, subject=f"search/L{i:05d}") for i in range(first, first + count)]


def file(path="leads/search/2026-11-20/a.csv", sha="A", day=DAY, problem=""):
    feed, source = path.split("/")[:2]
    return LandedFile(path, feed, source, day, 1, sha, problem)


def states(ledger):
    return {(e.path.split("/")[-1], e.version): (e.state, e.known_on) for e in ledger.entries}


@pytest.mark.parametrize(
    ("closed", "run", "known_on", "is_late"),
    [
        (None, NEXT, DAY, False),
        (BEFORE, DAY, DAY, False),
        (BEFORE, NEXT, DAY, False),
        (DAY, DAY, DAY, False),  # a date can be run again with new files
        (NEXT, DAY, DAY, False),
        (DAY, NEXT, NEXT, True),
        (NEXT, NEXT, NEXT, True),
        (
            NEXT + timedelta(days=5),
            NEXT,
            None,
            None,
        ),  # an earlier date is run again: the file waits
    ],
)
def test_a_file_counts_from_its_own_date_while_that_is_open_else_it_is_late(
    closed, run, known_on, is_late
):
    entries = register_files(Ledger((), closed), [file()], run).entries
    assert [(e.known_on, e.is_late) for e in entries] == (
        [(str(known_on), is_late)] if known_on else []
    )


def test_the_first_of_equal_contents_counts_and_the_others_are_copies():
    later = "leads/search/2026-11-21/a.csv"
    landed = [file(later, day=NEXT), file("leads/search/2026-11-20/b.csv"), file()]
    ledger = register_files(Ledger(), landed, NEXT)
    assert [(e.path, e.state) for e in ledger.entries] == [
        ("leads/search/2026-11-20/a.csv", "taken"),
        ("leads/search/2026-11-20/b.csv", "copy"),
        (later, "copy"),
    ]


def test_the_same_content_of_another_source_is_no_copy():
    landed = [file(), file("leads/social/2026-11-20/a.csv")]
    assert [e.state for e in register_files(Ledger(), landed, DAY).entries] == ["taken", "taken"]


def test_a_catalogue_sent_again_on_another_day_is_no_copy_since_terms_may_change_back():
    landed = [
        file("products/bank/2026-11-20/a.csv"),
        file("products/bank/2026-11-20/b.csv"),
        file("products/bank/2026-11-21/a.csv", day=NEXT),
    ]
    assert [e.state for e in register_files(Ledger(), landed, NEXT).entries] == [
        "taken",
        "copy",
        "taken",
    ]


def test_a_new_version_replaces_the_older_one_of_the_same_day():
    first = register_files(Ledger(), [file()], DAY)
    again = register_files(first, [file(sha="B")], DAY)
    assert states(again) == {
        ("a.csv", 1): ("replaced", str(DAY)),
        ("a.csv", 2): ("taken", str(DAY)),
    }


def test_a_version_that_comes_after_the_day_was_closed_is_late_and_replaces_nothing():
    first = Ledger(register_files(Ledger(), [file()], DAY).entries, DAY)
    later = register_files(first, [file(sha="B")], NEXT)
    assert states(later) == {
        ("a.csv", 1): ("taken", str(DAY)),
        ("a.csv", 2): ("taken", str(NEXT)),
    }


def test_a_copy_counts_once_its_original_is_replaced():
    first = register_files(Ledger(), [file(), file("leads/search/2026-11-20/b.csv")], DAY)
    again = register_files(first, [file(sha="B"), file("leads/search/2026-11-20/b.csv")], DAY)
    assert states(again)["b.csv", 1] == ("taken", str(DAY))


def test_a_return_to_an_earlier_content_is_a_new_version():
    ledger = Ledger()
    for sha in "ABA":
        ledger = register_files(ledger, [file(sha=sha)], DAY)
    assert [(e.version, e.state) for e in ledger.entries] == [
        (1, "replaced"),
        (2, "replaced"),
        (3, "taken"),
    ]


def test_nothing_new_changes_nothing():
    ledger = register_files(Ledger(), [file()], DAY)
    assert register_files(ledger, [file()], NEXT) == ledger


def test_the_same_file_twice_counts_once(settings):
    land(path_of(settings, FEED), subjects(3))
    land(path_of(settings, FEED, name="again.csv"), subjects(3))
    ingest_day.ingest(settings, DAY)
    assert ids(settings) == ["L00001", "L00002", "L00003"]
    search = counts(settings, FEED)["search"]
    assert (search["files"], search["copies"], search["received"]) == (1, 1, 3)


def test_each_empty_file_is_rejected_and_none_is_a_copy(settings):
    for day, name in ((DAY, "one.csv"), (DAY, "two.csv"), (NEXT, "one.csv")):
        land(path_of(settings, FEED, day=day, name=name), b"")
        ingest_day.ingest(settings, day)
    rejected = [counts(settings, FEED, day=day)["search"]["rejected_files"] for day in (DAY, NEXT)]
    assert rejected == [2, 1]


def test_a_late_file_is_register_files_marked_and_its_known_keys_are_duplicates(settings):
    land(path_of(settings, FEED), subjects(2))
    ingest_day.ingest(settings, DAY)
    land(path_of(settings, FEED), subjects(3))
    ingest_day.ingest(settings, NEXT)
    assert ids(settings) == ["L00001", "L00002"]
    late = loaded(settings, FEED, day=NEXT)
    assert [(record["subject"], record["is_late"], record["landed_on"]) for record in late] == [
        ("search/L00003", True, DAY)
    ]
    assert late[0]["known_at"] == settings.day_start(NEXT)
    search = counts(settings, FEED, day=NEXT)["search"]
    assert (search["received"], search["loaded"], search["duplicates"]) == (3, 1, 2)
    assert search["late_files"] == 1
    messages = {record["message"] for record in quarantined(settings, FEED, day=NEXT)}
    assert len(messages) == 1
    assert messages.pop().endswith("effective_at was loaded on an earlier day")


def test_a_date_run_again_loads_its_new_files(settings):
    land(path_of(settings, FEED), subjects(2))
    ingest_day.ingest(settings, DAY)
    land(path_of(settings, FEED), subjects(1, first=7))
    land(path_of(settings, FEED, name="more.csv"), subjects(1, first=8))
    ingest_day.ingest(settings, DAY)
    assert ids(settings) == ["L00007", "L00008"]


def test_new_rows_of_an_earlier_date_make_later_rows_duplicates(settings):
    land(path_of(settings, FEED, day=NEXT), subjects(2))
    ingest_day.ingest(settings, NEXT)
    land(path_of(settings, FEED, name="more.csv"), subjects(1))
    ingest_day.ingest(settings, DAY)
    assert (ids(settings), ids(settings, NEXT)) == (["L00001"], ["L00002"])


def test_a_first_run_builds_every_earlier_date(settings):
    for day in (BEFORE, DAY, NEXT):
        land(path_of(settings, FEED, day=day), subjects(1, first=day.day))
    ingest_day.ingest(settings, DAY)
    assert (ids(settings, BEFORE), ids(settings)) == (["L00019"], ["L00020"])
    assert not Settings.day_folder(settings.lake / FEED, NEXT).exists()
    assert read_ledger(settings).closed_through == DAY


def test_dates_run_one_by_one_give_the_same_lake_as_all_at_once(settings, tmp_path):
    other = Settings(home=tmp_path / "other", threads=1, memory_limit="1GB")
    for home in (settings, other):
        for day in (BEFORE, DAY, NEXT):
            land(path_of(home, FEED, day=day), subjects(3, first=day.day))
            land(path_of(home, "products", "bank", day=day), [row("products")])
    for day in (BEFORE, DAY, NEXT):
        ingest_day.ingest(settings, day)
    ingest_day.ingest(other, NEXT)
    hashes = [
        {
            name: sha
            for name, sha in published(home).items()
            if f"/{FEED}/" in name or "bank" in name
        }
        for home in (settings, other)
    ]
    assert hashes[0] == hashes[1]


def test_a_published_partition_stays_when_its_landed_file_was_overwritten(settings, caplog):
    land(path_of(settings, FEED), subjects(2))
    ingest_day.ingest(settings, DAY)
    before = sha256(Settings.day_folder(settings.lake / FEED, DAY) / f"{FEED}.parquet")
    land(path_of(settings, FEED), subjects(1, first=9))
    ingest_day.ingest(settings, NEXT)  # the new content is late, and the old content is lost
    land(path_of(settings, FEED, name="more.csv"), subjects(1, first=50))
    result = ingest_day.ingest(settings, DAY)
    assert result["frozen"] == 1
    assert sha256(Settings.day_folder(settings.lake / FEED, DAY) / f"{FEED}.parquet") == before
    assert "lake/suppressions/date=2026-11-20 is not rebuilt" in caplog.text
    later = NEXT + timedelta(days=1)
    ingest_day.ingest(settings, later)
    assert ids(settings, later) == ["L00050"]


def test_a_lost_partition_is_rebuilt_from_the_ledger(settings):
    land(path_of(settings, FEED), subjects(2))
    ingest_day.ingest(settings, DAY)
    before = published(settings)
    (Settings.day_folder(settings.lake / FEED, DAY) / "manifest.json").unlink()
    ingest_day.ingest(settings, NEXT)
    again = {name: sha for name, sha in published(settings).items() if name in before}
    again.pop("ledger/closed.json")
    before.pop("ledger/closed.json")
    assert again == before


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("suppressions/Bad Source/2026-11-20/rows.csv", "a source matches"),
        ("suppressions/search/2026-13-20/rows.csv", "the folder is no date"),
        ("suppressions/search/2026-11-20/rows.xlsx", "its name ends in none of"),
        (
            "suppressions/search/2026-11-20/deep/rows.csv",
            "the path of a file is landing/FEED/SOURCE",
        ),
        ("suppressions/rows.csv", "the path of a file is landing/FEED/SOURCE"),
    ],
)
def test_a_file_with_an_invalid_path_is_rejected_with_its_problem(settings, path, problem):
    land(settings.landing / path, subjects(2))
    land(path_of(settings, FEED), subjects(1))
    ingest_day.ingest(settings, DAY)
    assert ids(settings) == ["L00001"]
    rejected = [record for record in quarantined(settings, FEED) if record["rule"] == "name"]
    assert [problem in record["message"] for record in rejected] == [True]


def test_a_file_outside_of_every_feed_is_counted_and_in_the_ledger(settings):
    close_before(settings)
    land(settings.landing / "leeds/search/2026-11-20/rows.csv", subjects(2))
    assert ingest_day.ingest(settings, DAY)["misplaced"] == 1
    assert [entry.state for entry in read_ledger(settings).entries] == ["rejected"]


def test_a_file_that_is_still_being_written_is_ignored(settings):
    close_before(settings)
    land(path_of(settings, FEED, name="rows.csv.part"), subjects(2))
    land(path_of(settings, FEED, name=".rows.csv.x7Ab"), subjects(2))
    ingest_day.ingest(settings, DAY)
    assert read_ledger(settings).entries == ()


def test_a_catalogue_that_comes_late_does_not_replace_a_later_one(settings):
    land(path_of(settings, "products", "bank"), [row("products", product_id="new")])
    ingest_day.ingest(settings, DAY)
    older = path_of(settings, "products", "bank", day=BEFORE)
    land(older, [row("products", product_id="old")])
    ingest_day.ingest(settings, NEXT)
    assert loaded(settings, "products", NEXT) == []
    assert [r["rule"] for r in quarantined(settings, "products", NEXT)] == ["superseded"]


def test_a_file_that_changes_between_plan_and_reading_is_rejected_until_the_next_run(settings):
    path = land(path_of(settings, FEED), subjects(2))
    shards = ingest_day.plan(settings, DAY)
    land(path, subjects(3))
    for shard in shards:
        ingest_day.ingest_shard(settings, DAY, shard)
    ingest_day.collect(settings, DAY)
    assert [record["rule"] for record in quarantined(settings, FEED)] == ["changed"]
    ingest_day.ingest(settings, DAY)
    assert len(loaded(settings, FEED)) == 3


def test_the_manifest_names_the_files_of_the_partition(settings):
    path = land(path_of(settings, FEED), subjects(2))
    ingest_day.ingest(settings, DAY)
    manifest = read_manifest(Settings.day_folder(settings.lake / FEED, DAY))
    assert [entry["sha256"] for entry in manifest["ledger"]] == [sha256(path)]
    assert date.fromisoformat(manifest["ledger"][0]["known_on"]) == DAY
