"""The effect of each key of a mapping on the values of a foreign file."""

import gzip

import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import ImportRejected, UsageError
from pipelines.importing import import_file
from tests.importing.conftest import landed


def column(rows, name):
    return [row[name] for row in rows]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_chinese_text_of_each_encoding_arrives(leads_of, encoding):
    rows, _ = leads_of(
        "id,名\n1,张伟\n2,李娜\n".encode(encoding),
        file=f"{{format: csv, encoding: {encoding}}}",
        full_name="{from: 名}",
    )
    assert column(rows, "full_name") == ["张伟", "李娜"]


def test_latin_1_arrives(leads_of):
    rows, _ = leads_of(
        "id,name\n1,Zoë\n".encode("latin-1"),
        file="{format: csv, encoding: latin-1}",
        full_name="{from: name}",
    )
    assert column(rows, "full_name") == ["Zoë"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(leads_of):
    rows, _ = leads_of(b"\xef\xbb\xbfid\n7\n")
    assert column(rows, "lead_id") == ["7"]


def test_a_compressed_file_is_decompressed(leads_of):
    rows, _ = leads_of(gzip.compress(b"id\n7\n"), name="foreign.csv.gz")
    assert column(rows, "lead_id") == ["7"]


def test_delimiter_skipped_lines_and_names_without_a_header(leads_of):
    rows, _ = leads_of(
        "report of March\nprinted on Sunday\n7;CN-BJ\n",
        file="{format: csv, delimiter: ;, skip_lines: 2, header: false, names: [id, place]}",
        region="{from: place}",
    )
    assert [(row["lead_id"], row["region"]) for row in rows] == [("7", "CN-BJ")]


def test_json_lines_give_the_named_keys_and_other_lines_are_quarantined(leads_of, settings):
    rows, result = leads_of(
        '{"id": 1, "place": "CN-BJ", "more": [1]}\n{"id": 2}\nnot json\n{"id": 3, "place": null}\n',
        file="{format: jsonl, names: [id, place]}",
        region="{from: place}",
    )
    assert column(rows, "lead_id") == ["1", "2", "3"]
    assert column(rows, "region") == ["CN-BJ", "", ""]
    records = pq.read_table(
        settings.home / result["quarantine_folder"] / "quarantine.parquet"
    ).to_pylist()
    assert [(row["line"], row["rule"], row["received"]) for row in records] == [
        (3, "format", "not json")
    ]


def test_values_are_trimmed_translated_and_emptied(leads_of):
    rows, _ = leads_of(
        "id,job\n1, staff \n2,boss\n3,N/A\n4,-\n5,\n",
        extra="missing: '-'",
        employment="{from: job, values: {staff: employed}, missing: N/A, default: other}",
    )
    assert column(rows, "employment") == ["employed", "boss", "other", "other", "other"]


def test_several_columns_are_joined_without_the_empty_ones(leads_of):
    rows, _ = leads_of(
        "id,first,last\n1,Ann,Lee\n2,Ann,\n3,,\n",
        full_name="{from: [first, last], separator: ' '}",
    )
    assert column(rows, "full_name") == ["Ann Lee", "Ann", ""]


def test_a_number_is_scaled_and_other_text_is_unchanged(leads_of):
    rows, _ = leads_of("id,k\n1,12\n2,0.5\n3,n.a.\n4,-3\n", amount="{from: k, scale: 1000/12}")
    assert column(rows, "amount") == ["1000", "41.666666666666664", "n.a.", "-250"]


@pytest.mark.parametrize(("pivot", "birth"), [(49, "1949-05-31"), (50, "2049-05-31")])
def test_years_from_the_pivot_on_are_in_the_last_century(leads_of, pivot, birth):
    rows, _ = leads_of(
        "id,born\n1,31-May-49\n", birth_date=f"{{from: born, format: '%d-%b-%y', pivot: {pivot}}}"
    )
    assert column(rows, "birth_date") == [birth]


def test_dates_with_several_patterns_and_one_without_a_match(leads_of):
    rows, _ = leads_of(
        "id,born\n1,2/28/1997\n2,1997-02-28\n3,2/30/1997\n",
        birth_date="{from: born, format: ['%m/%d/%Y', '%Y-%m-%d']}",
    )
    assert column(rows, "birth_date") == ["1997-02-28", "1997-02-28", "2/30/1997"]


def test_a_time_without_offset_is_in_the_zone(leads_of):
    rows, _ = leads_of(
        "id,day,time\n1,2026-03-01,08:30\n",
        consent_withdrawn_at=(
            "{from: [day, time], format: '%Y-%m-%d %H:%M', zone: America/New_York}"
        ),
    )
    assert column(rows, "consent_withdrawn_at") == ["2026-03-01T13:30:00.000000Z"]


def test_expressions_use_columns_and_earlier_definitions(leads_of):
    rows, _ = leads_of(
        "id,a,b\n1,6,4\n2,1,\n",
        extra="define: {total: try_cast(a as int) + try_cast(b as int), double: total * 2}",
        amount="{expression: double, default: '5'}",
    )
    assert column(rows, "amount") == ["20", "5"]


def test_the_row_hash_does_not_depend_on_the_order_of_rows_and_columns(leads_of):
    rows, _ = leads_of("id,a\n1,x\n2,y\n", campaign_id="{expression: 'row_sha256[1:12]'}")
    again, _ = leads_of("a,id\ny,2\nx,1\n", campaign_id="{expression: 'row_sha256[1:12]'}")
    assert rows == again
    assert len(set(column(rows, "campaign_id"))) == 2


def test_a_row_without_a_valid_date_is_quarantined_with_its_line(leads_of, settings):
    rows, result = leads_of(
        'id,day,note\n1,2026-03-02,"two\nlines"\n2,soon,\n3,,\n4,2026-03-02,\n',
        date="{from: day}",
    )
    landed = [("1", "2026-03-02"), ("4", "2026-03-02")]
    assert [(row["lead_id"], row["landed"]) for row in rows] == landed
    records = pq.read_table(
        settings.home / result["quarantine_folder"] / "quarantine.parquet"
    ).to_pylist()
    assert [(row["feed"], row["line"], row["rule"]) for row in records] == [
        ("leads", 4, "date"),
        ("leads", 5, "date"),
    ]
    assert '"id":"2"' in records[0]["received"]
    assert result["feeds"]["leads"]["quarantined"] == 2


def test_a_record_with_too_many_fields_is_quarantined_with_its_line(leads_of, settings):
    rows, result = leads_of("id,a\n1,x\n\n2,x,surplus\n3,y\n")
    assert column(rows, "lead_id") == ["1", "3"]
    records = pq.read_table(
        settings.home / result["quarantine_folder"] / "quarantine.parquet"
    ).to_pylist()
    assert [(row["line"], row["rule"], row["message"]) for row in records] == [
        (4, "fields", "has 3 fields, not 2")
    ]
    assert result["read"] == 3
    assert result["unreadable"] == 1


def test_a_row_with_bytes_of_another_encoding_is_quarantined(leads_of):
    rows, result = leads_of(b"id,a\n1,ok\n2,\xff\xfe\n3,ok\n")
    assert column(rows, "lead_id") == ["1", "3"]
    assert result["quarantined"] == {"any: encoding": 1}


def test_a_file_of_another_encoding_is_rejected_and_nothing_is_written(leads_of, settings):
    content = "id,name\n" + "".join(f"{number},张伟\n" for number in range(9))
    with pytest.raises(ImportRejected, match=r"9 of 9 rows .* 50% \(BANYAN_MAX_REJECT_SHARE\)"):
        leads_of(content.encode("gb18030"))
    assert landed(settings, "leads") == []


@pytest.mark.parametrize(
    ("content", "name"),
    [(gzip.compress(b"id\n" + b"7\n" * 999, mtime=0)[:-9], "cut.csv.gz"), (b"", "empty.csv")],
    ids=["truncated", "empty"],
)
def test_a_truncated_or_empty_file_is_rejected(leads_of, content, name):
    with pytest.raises(ImportRejected, match="Nothing was written"):
        leads_of(content, name=name)


def test_a_file_that_is_no_parquet_is_rejected(leads_of):
    with pytest.raises(ImportRejected, match="can't be read as parquet"):
        leads_of(b"id\n1\n", file="{format: parquet}")


def test_a_missing_file_is_a_usage_error(settings, tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        import_file(settings, "hmda", tmp_path / "nowhere.parquet")


def test_a_quoted_field_with_another_delimiter_keeps_line_breaks_and_line_numbers(leads_of):
    rows, _ = leads_of(
        'id;name\n1;"Ann;\nLee"\n2;Bob\n',
        file="{format: csv, delimiter: ;}",
        full_name="{from: name}",
        campaign_id="{expression: row_line}",
    )
    assert column(rows, "full_name") == ["Ann;\nLee", "Bob"]
    assert column(rows, "campaign_id") == ["2", "4"]


def test_a_broken_quote_quarantines_its_own_line_only(leads_of):
    rows, result = leads_of('id,a\n1,"x\n2,y\n3,z\n')
    assert column(rows, "lead_id") == ["2", "3"]
    assert result["quarantined"] == {"any: quote": 1}
