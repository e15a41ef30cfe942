"""A lead that is lost, counted twice or unknown stops the day."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import IntegrityError
from pipelines.core.home.erasures import TOMBSTONES
from pipelines.core.publishing import MANIFEST, publishing, read_manifest, write_json
from pipelines.core.settings import Settings
from pipelines.matches.lead_reconciliation import LEAD_KEY, reconcile_leads
from tests.helpers.matched_day import DAY


def load_tables(settings: Settings) -> dict[str, pa.Table]:
    roots = {"matches": settings.matches, "unmatched": settings.unmatched}
    return {
        name: pq.read_table(settings.day_folder(root, DAY) / f"{name}.parquet")
        for name, root in roots.items()
    }


def test_counts_add_up(matched_home):
    counts = reconcile_leads(matched_home, DAY, **load_tables(matched_home)).as_dict()
    received = counts.pop("received")
    assert received == sum(counts.values()) > 0


def test_lost_lead_is_an_error(matched_home):
    tables = load_tables(matched_home)
    tables["unmatched"] = tables["unmatched"].slice(1)
    with pytest.raises(IntegrityError, match="60 leads were in the marts, but 59 are counted"):
        reconcile_leads(matched_home, DAY, **tables)


def test_lead_both_matched_and_unmatched_is_an_error(matched_home):
    tables = load_tables(matched_home)
    matched = tables["matches"].slice(0, 1).select(LEAD_KEY)
    for name in ("stage", "detail"):
        matched = matched.append_column(name, pa.array(["quota"]))
    tables["unmatched"] = pa.concat_tables([tables["unmatched"], matched])
    with pytest.raises(IntegrityError, match="61 leads were counted, but 60 are distinct"):
        reconcile_leads(matched_home, DAY, **tables)


def test_unknown_lead_is_an_error(matched_home):
    tables = load_tables(matched_home)
    rows = tables["unmatched"].to_pylist()
    rows[0]["lead_id"] = "invented"
    tables["unmatched"] = pa.Table.from_pylist(rows, tables["unmatched"].schema)
    with pytest.raises(IntegrityError, match="60 leads were counted, but 59 are leads of the day"):
        reconcile_leads(matched_home, DAY, **tables)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("loaded", "61 leads were loaded by ingest, but 60 are in the marts"),
        ("received", "66 leads were received, but 65 are accounted for"),
        ("quarantined", "65 leads were received, but 66 are accounted for"),
    ],
)
def test_intake_count_that_does_not_add_up_is_an_error(matched_copy, changed, message):
    folder = matched_copy.day_folder(matched_copy.lake / "leads", DAY)
    counts = read_manifest(folder)["counts"]["every-channel"]
    with publishing(folder, {"counts": {"c": counts | {changed: counts[changed] + 1}}}):
        pass
    with pytest.raises(IntegrityError, match=message):
        reconcile_leads(matched_copy, DAY, **load_tables(matched_copy))


def test_leads_that_were_erased_since_are_not_lost(matched_copy):
    lake = matched_copy.day_folder(matched_copy.lake / "leads", DAY)
    marts = matched_copy.day_folder(matched_copy.marts, DAY)
    tables = load_tables(matched_copy)
    gone = set(tables["unmatched"]["lead_id"].to_pylist()[:2])
    counts = reconcile_leads(matched_copy, DAY, **tables)
    leads = pq.read_table(marts / "leads.parquet")
    pq.write_table(without(leads, gone), marts / "leads.parquet")
    tables["unmatched"] = without(tables["unmatched"], gone)
    with pytest.raises(IntegrityError, match="60 leads were loaded by ingest, but 58"):
        reconcile_leads(matched_copy, DAY, **tables)
    facts = {"leads.parquet": {"treatment": "remove", "changed": 2}}
    manifest = read_manifest(lake) | {TOMBSTONES: [{"id": "e1", "files": facts}]}
    write_json(lake / MANIFEST, manifest)
    left = reconcile_leads(matched_copy, DAY, **tables)
    assert left.received == counts.received - 2


def without(rows: pa.Table, gone: set[str]) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows["lead_id"], pa.array(sorted(gone)))))
