"""The simulated market answers the deliveries, and the pipeline never reads its truth."""

import re
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dags.steps import run_whole_step
from pipelines.core.errors import InputMissing
from pipelines.core.home.shared_marts import list_mart_files, read_mart
from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.settings import PROJECT, Settings
from pipelines.deliveries.deliver import deliver, plan_shards
from pipelines.simulate import respond
from pipelines.simulate.institution_keys import make_identity, write_identity
from pipelines.transform.build import transform
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import AGAIN, MONDAY, SUNDAY, run
from tests.e2e.published_bytes import published

MAY_READ_TRUTH = {
    "pipelines/bench",
    "pipelines/evaluation/scorecard",
    "pipelines/simulate",
    "pipelines/cli/commands.py",
    "dags/local/season.py",
}
"""Modules that may read the truth; none of them is a step of the day."""


def read_landing(home: Path) -> dict[str, bytes]:
    folder = home / "landing"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def answered(ran: CompletedRun, tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """Return a function that answers a day in a copied home and returns the files that it added."""
    home = copy_home(ran.home, tmp_path / "home")

    def answer(day: date = MONDAY, last: date | None = None) -> dict[str, bytes]:
        before = read_landing(home)
        respond(Settings(home=home), day, last)
        after = read_landing(home)
        assert before.items() <= after.items()  # no landed file was changed
        return {name: after[name] for name in after.keys() - before.keys()}

    return answer


def read_rows(home: Path, table: str, file: str) -> str:
    return f"read_parquet('{home}/{table}/date={MONDAY}/{file}.parquet', hive_partitioning = false)"


def test_every_delivered_pair_is_answered_with_its_match_id(ran: CompletedRun, tmp_path: Path):
    home = copy_home(ran.home, tmp_path / "home")
    counts = respond(Settings(home=home), MONDAY)
    assert counts["delivered"] == ran.figures[f"{MONDAY}"]["matches"]
    matches = read_rows(home, "matches", "matches")
    again = f"select count(*) from {matches} where channel_id = '{AGAIN}'"
    assert duckdb.sql(again).fetchall() == [(counts["unknown"],)]
    assert counts["rows"] > 0
    ((pairs, leads),) = duckdb.sql(
        f"""
        select count(*), count(distinct lead_id)
        from {read_rows(home, "truth", "responses")} as answered
        join {matches} as matches using (match_id, channel_id, lead_id, rank)
        """
    ).fetchall()
    assert pairs == counts["delivered"] - counts["unknown"] - counts["already_shown"]
    assert leads > 20


def test_the_pipeline_ingests_the_answers_and_links_them(ran: CompletedRun, tmp_path: Path):
    home = copy_home(ran.home, tmp_path / "home")
    settings = Settings(home=home)
    respond(settings, MONDAY)
    tuesday = MONDAY + timedelta(days=1)
    run_whole_step("ingest", settings, tuesday)
    transform(settings, tuesday)
    marts = settings.day_folder(settings.marts, tuesday)
    matches = read_rows(home, "matches", "matches")
    ((linked,),) = duckdb.sql(
        f"""
        select count(*)
        from read_parquet({list_mart_files(marts, "outcomes")}) as outcomes semi join {matches}
            using (channel_id, lead_id, institution_id, product_id)
        where event_at >= timestamptz '{settings.day_start(tuesday)}'
        """
    ).fetchall()
    assert linked > 20
    assert read_mart(marts, "unlinked_outcomes").num_rows == 0


def test_answers_land_on_the_dates_after_the_day_when_they_are_sent(answered):
    dates = {date.fromisoformat(name.split("/")[2]) for name in answered()}
    assert min(dates) == MONDAY + timedelta(days=1)
    assert max(dates) > MONDAY + timedelta(days=60)


def test_a_second_answer_adds_nothing_and_a_last_date_only_omits(answered):
    until = MONDAY + timedelta(days=3)
    first = answered(last=until)
    rest = answered()
    assert first
    assert {name.split("/")[2] <= f"{until}" for name in first} == {True}
    assert {name.split("/")[2] > f"{until}" for name in rest} == {True}
    assert answered() == {}


def test_every_day_has_its_own_answer_files(answered):
    sunday, monday = answered(SUNDAY), answered(MONDAY)
    assert all(f"answers-{SUNDAY}" in name for name in sunday)
    assert all(f"answers-{MONDAY}" in name for name in monday)
    assert {name.rpartition("/")[0] for name in sunday} & {
        name.rpartition("/")[0] for name in monday
    }


def test_a_corrected_delivery_is_answered_in_new_files(ran: CompletedRun, tmp_path: Path, answered):
    answered()
    settings = Settings(home=tmp_path / "home")
    _drop_half(settings.day_folder(settings.matches, MONDAY))
    for shard in plan_shards(settings, MONDAY):
        assert deliver(settings, MONDAY, shard)["delivered"] > 0
    corrected = answered()
    assert corrected
    assert respond(settings, MONDAY)["delivered"] < ran.figures[f"{MONDAY}"]["matches"]


def test_institutions_with_a_key_open_their_files_and_answer_the_same(
    ran: CompletedRun, tmp_path: Path
):
    plain, sealed = (Settings(home=copy_home(ran.home, tmp_path / name)) for name in ("a", "b"))
    expected = respond(plain, MONDAY)
    products = sealed.day_folder(sealed.marts, MONDAY) / "products.parquet"
    table = pq.read_table(products, partitioning=None)
    names = table["institution_id"].to_pylist()
    identities = {name: make_identity(1, name) for name in sorted(set(names))}
    keys = pa.array([f"{identities[name].to_public()}" for name in names])
    position = table.column_names.index("public_key")
    write_parquet(table.set_column(position, "public_key", keys), products)
    shutil.rmtree(sealed.day_folder(sealed.outbox, MONDAY))
    for shard in plan_shards(sealed, MONDAY):
        deliver(sealed, MONDAY, shard)
    files = {path.suffix for path in sealed.outbox.glob(f"date={MONDAY}/*/leads.*")}
    assert files == {".age"}
    assert respond(sealed, MONDAY)["unopened"] > 0
    assert respond(sealed, MONDAY)["delivered"] == 0
    for name, identity in identities.items():
        write_identity(sealed, name, identity)
    assert respond(sealed, MONDAY) == expected
    landed = read_landing(sealed.home)
    assert read_landing(plain.home).items() <= landed.items()


def _drop_half(folder: Path) -> None:
    facts = {
        name: fact
        for name, fact in read_manifest(folder).items()
        if name not in ("files", "content_sha256", "code_version")
    }
    matches = duckdb.sql(f"from '{folder}/matches.parquet'").to_arrow_table()
    half = matches.filter(pa.array([row % 2 == 0 for row in range(matches.num_rows)]))
    with publishing(folder, facts) as fresh:
        for file in folder.glob("*.parquet"):
            shutil.copyfile(file, fresh / file.name)
        write_parquet(half, fresh / "matches.parquet")


def test_a_day_that_was_not_delivered_is_not_answered(ran: CompletedRun):
    with pytest.raises(InputMissing, match="Nothing was delivered on 2026-03-09"):
        respond(Settings(home=ran.home), date(2026, 3, 9))


@pytest.mark.prove  # the next test shows it of the code
def test_a_day_has_the_same_bytes_without_the_truth(landed: Path, ran: CompletedRun, tmp_path):
    home = copy_home(landed, tmp_path / "home")
    shutil.rmtree(home / "truth")
    run(home, SUNDAY, SUNDAY)
    without = {name: digest for name, digest in published(home).items() if f"date={SUNDAY}" in name}
    assert len(without) > 20
    assert without.items() <= published(ran.home).items()


def test_no_step_of_the_day_reads_the_truth_or_the_simulator():
    files = [
        path.relative_to(PROJECT).as_posix()
        for folder in ("dags", "pipelines", "models", "expectations", "dbt_project")
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in (".py", ".sql") and "target" not in path.parts
    ]
    readers = {
        name
        for name in files
        if re.search(r"settings\.truth|pipelines\.simulate", (PROJECT / name).read_text("utf-8"))
    }
    assert len(files) > 100
    assert {name for name in readers if not name.startswith(tuple(MAY_READ_TRUTH))} == set()
    assert readers >= {"pipelines/cli/commands.py", "dags/local/season.py"}
