"""Other values of gender and ethnicity change no score by a single bit.

A market long enough to train a model runs from landed files to scored pairs by the real steps: as
sent, and again with the protected columns of its lead files dropped, shuffled or constant. The test
is slow, since only the whole run passes through every step that could read them.
"""

import csv
import gzip
import io
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.champion import registry
from models.train_models import train
from pipelines.core.settings import Settings
from pipelines.ingest.ingest_day import ingest
from pipelines.pairs.score_day import score
from pipelines.simulate import SimulationPlan, simulate
from pipelines.transform.build import transform

PLAN = SimulationPlan(date(2026, 3, 2), 8, 600, 12, 4, 3, corruption=0)
DAY = PLAN.dates[-1]
PROTECTED = ("gender", "ethnicity")

Rows = list[dict[str, str | None]]


def dropped(rows: Rows) -> Rows:
    return [{name: row[name] for name in row if name not in PROTECTED} for row in rows]


def shuffled(rows: Rows) -> Rows:
    changed = [dict(row) for row in rows]
    for name in PROTECTED:
        values = [row.get(name) for row in rows]
        random.Random(f"{len(rows)} {name}").shuffle(values)
        for row, value in zip(changed, values, strict=True):
            row[name] = value
    return changed


def constant(rows: Rows) -> Rows:
    return [row | dict.fromkeys(PROTECTED, "other") for row in rows]


CHANGES: tuple[Callable[[Rows], Rows], ...] = (dropped, shuffled, constant)


def rewrite(path: Path, change: Callable[[Rows], Rows]) -> None:
    """Rewrite a lead file in its own format with `change` applied to its rows."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        types = {name: table.schema.field(name) for name in PROTECTED}
        changed = change(table.select(list(PROTECTED)).to_pylist())
        rewritten = table.drop_columns(list(PROTECTED))
        for name in [name for name in PROTECTED if name in changed[0]]:
            values = pa.array([row[name] for row in changed], types[name].type)
            rewritten = rewritten.append_column(types[name], values)
        pq.write_table(rewritten, path)
        return
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    written = io.StringIO()
    if ".jsonl" in path.suffixes:
        rows = change([json.loads(line) for line in text.splitlines()])
        written.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        rows = change(list(csv.DictReader(io.StringIO(text, newline=""))))
        writer = csv.DictWriter(written, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    data = written.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def run(settings: Settings) -> None:
    for step in (ingest, transform, train, score):
        step(settings, DAY)


pytestmark = pytest.mark.prove


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Settings]:
    """The market as sent, and the same with other protected attributes; both run."""
    original = Settings(home=tmp_path_factory.mktemp("original"))
    changed_home = Settings(home=tmp_path_factory.mktemp("changed") / "home")
    simulate(original, PLAN)
    shutil.copytree(original.home, changed_home.home)
    files = sorted(changed_home.landing.glob("leads/*/*/*"))
    kinds = Counter()
    for number, path in enumerate(files):
        rewrite(path, CHANGES[number % len(CHANGES)])
        kinds[CHANGES[number % len(CHANGES)]] += 1
    assert len(kinds) == len(CHANGES)
    for settings in (original, changed_home):
        run(settings)
    return original, changed_home


def lake(settings: Settings) -> pa.Table:
    days = [
        settings.day_folder(settings.lake / "leads", day) / "leads.parquet" for day in PLAN.dates
    ]
    return pa.concat_tables([pq.read_table(path) for path in days])


def test_the_protected_attributes_differ(homes):
    original, changed_home = (lake(settings) for settings in homes)
    assert original.num_rows == changed_home.num_rows > 3000
    other_columns = [
        name for name in original.column_names if name not in {*PROTECTED, "file", "line"}
    ]
    assert original.select(other_columns).equals(changed_home.select(other_columns))
    for name in PROTECTED:
        pairs = zip(original[name].to_pylist(), changed_home[name].to_pylist(), strict=True)
        assert sum(one != other for one, other in pairs) > original.num_rows / 2


def test_the_same_models_are_trained_byte_for_byte(homes):
    as_of = registry.find_active_set(homes[0], DAY)
    assert registry.load_metadata(homes[0], as_of)["approval"]["source"] == "model"
    models = []
    for settings in homes:
        folder = registry.set_folder(settings, as_of)
        models.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("model.*")})
    assert len(models[0]) >= 4
    assert models[0] == models[1]


def test_the_same_pairs_are_scored_byte_for_byte(homes):
    names = ("pairs.parquet", "funnel.parquet", "closed_products.parquet")
    for name in names:
        one, other = (s.day_folder(s.pairs, DAY) / name for s in homes)
        assert one.read_bytes() == other.read_bytes(), f"{name} differs"
    scored = pq.read_table(homes[0].day_folder(homes[0].pairs, DAY) / "pairs.parquet")
    assert scored.num_rows > 300
    assert len(set(scored["p_approve"].to_pylist())) > 100  # by a model, not a prior
