"""A lead that is lost, doubled or invented stops the day."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import publishing, read_manifest
from pipelines.core.settings import Settings
from pipelines.matches.lead_reconciliation import LEAD, count_leads
from tests.helpers.matched_day import DAY


def places(settings: Settings) -> dict[str, pa.Table]:
    roots = {"matches": settings.matches, "unmatched": settings.unmatched}
    return {
        name: pq.read_table(settings.day_folder(root, DAY) / f"{name}.parquet")
        for name, root in roots.items()
    }


def test_the_counts_add_up(matched_home):
    counts = count_leads(matched_home, DAY, **places(matched_home)).as_dict()
    received = counts.pop("received")
    assert received == sum(counts.values()) > 0


def test_a_lost_lead_is_noticed(matched_home):
    tables = places(matched_home)
    tables["unmatched"] = tables["unmatched"].slice(1)
    with pytest.raises(
        IntegrityError, match="60 leads were in the marts, but 59 are given a place"
    ):
        count_leads(matched_home, DAY, **tables)


def test_a_lead_that_is_both_matched_and_unmatched_is_noticed(matched_home):
    tables = places(matched_home)
    matched = tables["matches"].slice(0, 1).select(LEAD)
    for name in ("stage", "detail"):
        matched = matched.append_column(name, pa.array(["quota"]))
    tables["unmatched"] = pa.concat_tables([tables["unmatched"], matched])
    with pytest.raises(
        IntegrityError, match="61 leads were given a place, but 60 are different ones"
    ):
        count_leads(matched_home, DAY, **tables)


def test_a_lead_from_nowhere_is_noticed(matched_home):
    tables = places(matched_home)
    rows = tables["unmatched"].to_pylist()
    rows[0]["lead_id"] = "invented"
    tables["unmatched"] = pa.Table.from_pylist(rows, tables["unmatched"].schema)
    with pytest.raises(
        IntegrityError, match="60 leads were given a place, but 59 are leads of the day"
    ):
        count_leads(matched_home, DAY, **tables)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("loaded", "61 leads were loaded by ingest, but 60 are in the marts"),
        ("received", "66 leads were received, but 65 are accounted for"),
        ("quarantined", "65 leads were received, but 66 are accounted for"),
    ],
)
def test_a_count_of_the_gate_that_does_not_fit_is_noticed(matched_copy, changed, message):
    folder = matched_copy.day_folder(matched_copy.lake / "leads", DAY)
    counts = read_manifest(folder)["counts"]["every-channel"]
    with publishing(folder, {"counts": {"c": counts | {changed: counts[changed] + 1}}}):
        pass
    with pytest.raises(IntegrityError, match=message):
        count_leads(matched_copy, DAY, **places(matched_copy))
