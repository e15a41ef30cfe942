"""Onboarding drafts a valid mapping of files as they come, asks what is open, lands nothing."""

import csv
import gzip
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from expectations import mapping
from pipelines.cli.commands import banyan
from pipelines.core.errors import ImportRejected, UsageError
from pipelines.core.settings import PROJECT, Settings
from pipelines.importing import import_file
from pipelines.importing.onboarding.onboard import onboard
from tests.helpers.representatives import keep

NAMES = [
    "申请编号",
    "申请时间",
    "姓名",
    "身份证号",
    "手机号",
    "职业",
    "月收入(万元)",
    "申请金额",
    "期限",
]
JOBS = ("受雇", "自雇", "退休", "小时工")
SECRETS = ("欧阳锋", "31010119800307", "1380013")


def resident_id(number: int) -> str:
    digits = f"3101011980030{number % 10}{number % 1000:03}"
    weights = [pow(2, 17 - place, 11) for place in range(17)]
    rest = (12 - sum(int(d) * w for d, w in zip(digits, weights, strict=True))) % 11
    return digits + "0123456789X"[rest]


ROWS = [
    [
        f"A{number:04}", f"2026/03/0{1 + number % 5} 09:{number % 60:02}", "欧阳锋",
        resident_id(number), f"1380013{number:04}", JOBS[number % 4],
        f"{0.5 + number / 100:.2f}", f"{1 + number % 30},000", ("12", "24", "")[number % 3],
    ]
    for number in range(120)
]  # fmt: skip


def write_csv(path: Path, rows: list[list[str]], encoding: str = "utf-8", **options: Any) -> Path:
    text = io.StringIO()
    csv.writer(text, **options).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def onboard_file(tmp_path: Path, file: Path, **options: Any) -> dict[str, Any]:
    home = tmp_path / "home"
    arguments = {"feed": "leads", "source": "shop", "out": tmp_path / "draft.yml"} | options
    return onboard(Settings(home=home), file, **arguments, force=True)


@pytest.mark.parametrize("encoding", keep((0, 2), ["gb18030", "utf-8-sig", "utf-16"]))
def test_a_chinese_file_is_understood_and_its_draft_imports(tmp_path, encoding):
    file = write_csv(tmp_path / "export.csv", [NAMES, *ROWS], encoding)
    found = onboard_file(tmp_path, file)
    assert found["format"]["encoding"] == encoding.removesuffix("-sig")
    assert {name: column["from"] for name, column in found["columns"].items()} == dict(
        zip(
            ("lead_id", "captured_at", "full_name", "id_number", "phone", "employment",
             "income_monthly", "amount", "term_months"),
            NAMES,
            strict=True,
        )
    )  # fmt: skip
    draft = mapping.load(str(tmp_path / "draft.yml")).mapping.routes[0].columns
    assert draft["income_monthly"].scale == 10_000
    assert draft["employment"].values == {
        "受雇": "employed",
        "自雇": "self_employed",
        "退休": "retired",
    }
    questions = "\n".join(found["questions"])
    assert "小时工" in questions
    assert "states no time zone" in questions
    run = found["dry_run"]
    # consent is not in the file: no row arrives until somebody states it
    assert (run["read"], run["arriving"], run["quarantined"]) == (120, 0, 120)
    assert run["quarantined_by_values"] == 0
    assert {r["column"] for r in run["reasons"] if r["open_question"]} == {
        "consent_scope", "consent_at", "consent_version",
    }  # fmt: skip


WEEK = [
    [
        f"KD{number:05}", f"0{1 + number % 7}.03.2026 09:{number % 60:02}", resident_id(number),
        f"{3 + number / 10:.1f}", f"{1 + number % 30}", ("1年", "18个月", "24期")[number % 3],
    ]
    for number in range(200)
]  # fmt: skip
WEEK_NAMES = ["客户编号", "申请时间", "身份证号", "年收入(万元)", "申请金额(万元)", "期限"]


def test_what_names_and_texts_state_reaches_the_draft(tmp_path):
    rows = [*WEEK, WEEK[3], ["合计", "", "", "", "", ""]]
    file = write_csv(tmp_path / "week.csv", [WEEK_NAMES, *rows], "gb18030", delimiter=";")
    found = onboard_file(tmp_path, file)
    draft = mapping.load(str(tmp_path / "draft.yml")).mapping.routes[0].columns
    # a doubled line and a total do not hide the column that names a lead
    assert draft["lead_id"].from_ == ("客户编号",)
    # 万元 of a year
    assert draft["income_monthly"].scale == Fraction(10_000, 12)
    assert draft["amount"].scale == 10_000
    assert draft["term_months"].values == {"1年": "12", "18个月": "18", "24期": "24"}
    assert draft["id_type"].default == "prc_resident_id"
    assert draft["currency"].default == "CNY"
    questions = "\n".join(found["questions"])
    for words in ("In 1 of 202 rows 客户编号", "of a year", "units of 10000", "in CNY"):
        assert words in questions
    row = found["dry_run"]["rows"][0]
    assert row["captured_at"].startswith("2026-03-01 01:00:00")
    assert row["term_months"] in ("12", "18", "24")


@pytest.mark.parametrize(
    ("name", "currency"),
    keep(
        (1, 2, 4),
        [
            ("amount (US$)", "USD"),
            ("金额(美元)", "USD"),
            ("amount €", "EUR"),
            ("贷款金额(元)", "CNY"),
            ("amount", None),
        ],
    ),
)
def test_the_currency_of_a_file_is_named_or_asked_for(tmp_path, name, currency):
    file = write_csv(tmp_path / "a.csv", [["id", name], *([str(n), "1000"] for n in range(30))])
    found = onboard_file(tmp_path, file)
    draft = mapping.load(str(tmp_path / "draft.yml")).mapping.routes[0].columns
    assert (draft["currency"].default if currency else draft.get("currency")) == currency
    words = f"in {currency}" if currency else "In which currency"
    assert any(words in question for question in found["questions"])


def test_the_answered_draft_lands_the_rows_that_the_dry_run_promised(tmp_path):
    rows = [*ROWS[:40], [*ROWS[40][:7], "12.5.3", "12"]]
    file = write_csv(tmp_path / "export.csv", [NAMES, *rows])
    run = onboard_file(tmp_path, file)["dry_run"]
    assert run["quarantined_by_values"] == 1
    assert any((r["column"], r["rule"], r["rows"]) == ("amount", "type", 1) for r in run["reasons"])
    draft = tmp_path / "draft.yml"
    text = draft.read_text("utf-8")
    for name, value in (("scope", "all"), ("at", "'2026-03-01T08:00:00+08:00'"), ("version", "v1")):
        text = text.replace(f'consent_{name}: {{expression: "null"}}', f"consent_{name}: {value}")
    draft.write_text(text, "utf-8")
    settings = Settings(home=tmp_path / "home")
    assert import_file(settings, str(draft), file)["feeds"]["leads"]["written"] == 41
    assert len(list(settings.landing.glob("leads/shop/*/*.csv"))) == 5


def test_nothing_lands_and_no_person_is_shown(tmp_path):
    file = write_csv(tmp_path / "export.csv", [NAMES, *ROWS])
    found = onboard_file(tmp_path, file)
    shown = json.dumps(found, ensure_ascii=False) + (tmp_path / "draft.yml").read_text("utf-8")
    assert not [secret for secret in SECRETS if secret in shown]
    assert len(found["dry_run"]["rows"]) == 10
    assert list((tmp_path / "home").iterdir()) == []


def test_a_column_that_restricts_and_has_no_place_closes_every_row(tmp_path):
    header = [
        "id",
        "amount",
        "consent_scope",
        "consent_at",
        "consent_version",
        "captured_at",
        "opt_out",
    ]
    time = "2026-03-01T08:00:00+08:00"
    rows = [[str(n), "1000", "all", time, "v1", time, "no"] for n in range(5)]
    file = write_csv(tmp_path / "leads.csv", [header, *rows])
    found = onboard_file(tmp_path, file)
    assert found["dry_run"]["arriving"] == 0
    assert any("opt_out" in question and "restricts" in question for question in found["questions"])
    file = write_csv(tmp_path / "leads.csv", [header[:-1], *(row[:-1] for row in rows)])
    assert onboard_file(tmp_path, file)["dry_run"]["arriving"] == 5


def test_a_german_spreadsheet_with_titles(tmp_path):
    header = ["Id", "Date", "Mobile", "Income", "Amount"]
    rows = [[str(n), f"0{1 + n % 9}.03.26", f"+49151{n:08}", f"{1000 + n},50", str(5000 + n)]
            for n in range(50)]  # fmt: skip
    file = write_csv(
        tmp_path / "excel.csv", [["Lead export"], ["of March"], header, *rows], delimiter=";"
    )
    found = onboard_file(tmp_path, file)
    assert (found["format"]["delimiter"], found["format"]["skip_lines"]) == (";", 2)
    row = found["dry_run"]["rows"][0]
    assert (row["date"], row["income_monthly"]) == ("2026-03-01", "1000.5")
    assert any("comma" in question for question in found["questions"])


def test_a_date_that_can_be_read_in_two_ways_is_a_question(tmp_path):
    rows = [[str(n), f"0{1 + n % 9}/03/2026"] for n in range(30)]
    file = write_csv(tmp_path / "dates.csv", [["id", "date"], *rows])
    (question,) = [q for q in onboard_file(tmp_path, file)["questions"] if "can be read as" in q]
    assert "%m/%d/%Y" in question
    assert "%d/%m/%Y" in question


def test_without_a_header_the_values_alone_find_phone_and_identity(tmp_path):
    found = onboard_file(tmp_path, write_csv(tmp_path / "raw.csv", ROWS))
    assert not found["format"]["header"]
    assert {name: column["from"] for name, column in found["columns"].items()} == {
        "id_number": "column_4",
        "phone": "column_5",
    }
    assert any("no header" in question for question in found["questions"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("blank.csv", b"\xef\xbb\xbf\r\n \n", "is empty"),
        ("zero.csv", bytes(range(256)) * 20, "is no text"),
        ("book.xlsx", b"PK\x03\x04" + b"x" * 50, "Excel workbook"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)[:40], "can't be read"),
        ("cut.parquet", b"PAR1" + b"x" * 50, "as Parquet"),
        ("named.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "compressed by gzip"),
    ],
)
def test_a_file_that_is_no_data_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportRejected, match=message):
        onboard_file(tmp_path, tmp_path / name)
    assert not (tmp_path / "draft.yml").exists()


@pytest.mark.parametrize(
    ("text", "rows"),
    keep(
        (1, 2, 4),
        [
            ("a,b\n", 0),
            ("id,name,name,\n1,a,b,\n2,c,d,\n", 2),
            ("id,\"a: {b}\n# c\",'x''y\",amount\n1,2,3,4\n5,6,7,8\n", 2),
            ('id,"it""s: #1 {x}",amount\n1,2,3\n5,6,7\n', 2),
            ("row_line,amount\n1,2\n3,4", 2),
            ("one\n1\n2\n", 2),
        ],
    ),
)
def test_odd_files_give_a_valid_draft(tmp_path, text, rows):
    (tmp_path / "odd.csv").write_text(text, "utf-8")
    found = onboard_file(tmp_path, tmp_path / "odd.csv")
    assert found["sample"]["rows"] == rows
    assert mapping.load(found["draft"])


def test_a_large_file_is_profiled_by_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.importing.onboarding.onboard.SAMPLE_BYTES", 2_000)
    file = write_csv(tmp_path / "large.csv", [NAMES, *ROWS])
    sample = onboard_file(tmp_path, file)["sample"]
    assert not sample["is_whole"]
    assert 5 < sample["rows"] < len(ROWS)
    packed = tmp_path / "large.csv.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert onboard_file(tmp_path, packed)["sample"]["rows"] == sample["rows"]


def test_parquet_keeps_its_types(tmp_path):
    table = pa.table(
        {"id": ["1", "2"], "born": pa.array([1, 2], pa.date32()), "amount": [1.5, 2.5]}
    )
    pq.write_table(table, tmp_path / "leads.parquet")
    found = onboard_file(tmp_path, tmp_path / "leads.parquet")
    assert {name: c["from"] for name, c in found["columns"].items()} == {
        "lead_id": "id", "birth_date": "born", "amount": "amount",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feed": "lead"}, "no feed is named"),
        ({"source": "My Shop"}, "its pattern is"),
        ({"out": Path("draft.txt")}, "ends in .yml"),
    ],
)
def test_wrong_use(tmp_path, options, message):
    file = write_csv(tmp_path / "a.csv", [["a", "b"], ["1", "2"]])
    with pytest.raises(UsageError, match=message):
        onboard_file(tmp_path, file, **options)


def test_a_draft_is_not_overwritten_unless_forced(tmp_path):
    file = write_csv(tmp_path / "a.csv", [["a", "b"], ["1", "2"]])
    (tmp_path / "draft.yml").write_text("mine")
    settings = Settings(home=tmp_path)
    with pytest.raises(UsageError, match="exists; nothing was written"):
        onboard(settings, file, "leads", None, tmp_path / "draft.yml", force=False)
    assert (tmp_path / "draft.yml").read_text() == "mine"


def test_the_command_prints_text_or_json(tmp_path):
    sample = PROJECT / "expectations" / "mappings" / "samples" / "sba_7a_loans.csv.gz"
    arguments = ["onboard", str(sample), "--home", str(tmp_path), "--force", "--out"]
    arguments.append(str(tmp_path / "sba.yml"))
    text = CliRunner().invoke(banyan, arguments, standalone_mode=False)
    assert "GrAppv" in text.output
    assert f"`banyan import {tmp_path / 'sba.yml'} {sample}`" in text.output
    assert "becomes" in text.output
    figures = CliRunner().invoke(banyan, [*arguments, "--json"], standalone_mode=False)
    found = json.loads(figures.output)
    columns = {name: column["from"] for name, column in found["columns"].items()}
    assert columns["amount"] == "GrAppv"
    assert columns["captured_at"] == "ApprovalDate"
    assert columns["industry"] == "NAICS"
    assert columns["employees"] == "NoEmp"
