"""The Chinese pages have no untranslated sentence, and say the same as the English ones."""

import ast
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from expectations import policy
from expectations.contracts import contracts
from expectations.suites import list_columns, make_expectations
from pipelines.core.settings import PROJECT, Settings
from pipelines.core.translation import Catalogue, from_json, join, plural, text, to_json, words
from pipelines.ingest.validation.parse import REQUIREMENTS
from pipelines.reports.languages import LANGUAGES, read_texts
from pipelines.reports.publish_report import report
from tests.helpers.chinese import NAMES, SENTENCE, find_english
from tests.helpers.html import assert_self_contained, assert_well_formed, table_rows
from tests.helpers.published_day import DAY

CHINESE = LANGUAGES[1]
FIGURE = re.compile(r"\d[\d,.]*%?")


@pytest.fixture(scope="module")
def reports(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a published day; the home of the day itself is read only."""
    home = tmp_path_factory.mktemp("pages") / "home"
    shutil.copytree(published, home)
    report(Settings(home=home), DAY)
    return home / "reports"


def test_every_text_of_the_pages_is_in_the_catalogue():
    checks = runpy.run_path(f"{PROJECT / '.ci' / 'translations.py'}")
    assert checks["find_mistakes"](set(checks["list_messages"]()), checks["read_stored"]()) == []


def test_what_a_policy_rests_on_is_in_the_catalogue():
    chinese = read_texts(CHINESE)
    sources = [cap.source for cap in policy.price_caps()]
    sources += [law.law for law in policy.fairness().laws]
    sources += [period.source for kind in policy.retention().kinds for period in kind.periods]
    assert [source for source in sources if chinese.restate(source) == source] == []


@pytest.mark.parametrize(
    ("rule", "chinese"),
    [
        ("terms from 3 to 24 months", "期限 3 至 24 个月"),
        ("score of a licensed bureau of at least 580", "持牌征信机构评分不低于 580"),
        ("a probability of default from 0.0% to 3.3%", "违约概率 0.0% 至 3.3%"),
    ],
)
def test_the_rules_of_products_are_in_the_catalogue(rule: str, chinese: str):
    assert read_texts(CHINESE).restate(rule) == chinese


def test_no_page_has_an_untranslated_text(reports: Path):
    pages = sorted(reports.rglob("*.zh.html"))
    assert [page.relative_to(reports).as_posix() for page in pages] == [
        f"date={DAY}/index.zh.html",
        "index.zh.html",
        "months/2026-11.zh.html",
        "weeks/2026-W47.zh.html",
    ]
    for page in pages:
        html = page.read_text("utf-8")
        assert_well_formed(html)
        assert_self_contained(html, may_have_script=page.name == "index.zh.html")
        assert '<html lang="zh">' in html
        assert find_english(html) == set(), page


def _ingest_messages() -> Iterator[str]:
    """Yield what ingest writes about files and rows, with `7` for each figure."""
    for path in sorted((PROJECT / "pipelines" / "ingest").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "FileRejected":
                yield from _message_of(node.args[1])
            elif isinstance(node, ast.Dict) and path.name != "quarantine.py":
                for key, value in zip(node.keys, node.values, strict=True):
                    if getattr(key, "value", "") == "message":
                        yield from _message_of(value)
    yield from (f"7 {requirement}" for requirement in REQUIREMENTS.values())
    for contract in contracts():
        for expectation in make_expectations(contract):
            rule = expectation.configuration
            yield f"{list_columns(rule)[0]} {rule.notes}"


def _message_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
        yield node.value
    if isinstance(node, ast.JoinedStr):
        parts = (each.value if isinstance(each, ast.Constant) else "7" for each in node.values)
        message = "".join(map(str, parts))
        if re.search(r"[a-z]{2}", message):
            yield message


def test_what_ingest_writes_about_files_and_rows_is_restated():
    chinese = read_texts(CHINESE)
    messages = sorted(set(_ingest_messages()))
    assert len(messages) > 60
    rejected = "a.csv: it is empty; send it again, whole. None of its 1,200 rows was loaded; "
    rejected += "the other files were loaded. The file is unchanged in landing/. "
    rejected += "Ask the sender for a corrected file and put it in the same folder."
    messages.append(rejected)
    assert [m for m in messages if SENTENCE.search(NAMES.sub("", chinese.restate(m)))] == []


def test_english_is_found_where_it_is():
    page = "<p>The rows are late.</p><p translate='no'>Some data here</p><td>Leads</td>"
    assert find_english(page) == {"The rows are late.", "Leads"}


def test_both_languages_have_the_same_figures(reports: Path):
    folder = reports / f"date={DAY}"
    english, chinese = (
        table_rows((folder / language.file("index")).read_text("utf-8")) for language in LANGUAGES
    )
    assert len(english) == len(chinese) > 50
    for row, other in zip(english, chinese, strict=True):
        assert sorted(FIGURE.findall(row)) == sorted(FIGURE.findall(other))


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.code)
def test_a_page_leads_to_the_other_language_without_a_script(reports: Path, language):
    (other,) = (each for each in LANGUAGES if each is not language)
    page = (reports / f"date={DAY}" / language.file("index")).read_text("utf-8")
    assert f'<a href="{other.file("index")}" lang="{other.code}"' in page
    assert "<script" not in page


def test_a_text_survives_json_and_is_still_translated():
    lost = text("{lost} of {leads} ({share})", lost="2", leads=plural(9, "lead"), share="22.2%")
    stored = from_json(to_json(join([lost, words("no_product"), "data"])))
    assert stored == "2 of 9 leads (22.2%); no product; data"
    assert read_texts(CHINESE).translate(stored) == "9 条线索中的 2 条（22.2%）；无合适产品；data"


def test_what_a_catalogue_lacks_stays_english():
    empty = Catalogue("zh", {})
    assert empty.translate(text("so {many}", many=plural(2, "lead"))) == "so 2 leads"
    assert empty.restate("amount must be at least 5") == "amount must be at least 5"


def test_a_sentence_of_another_step_is_restated_with_its_figures():
    chinese = read_texts(CHINESE)
    assert chinese.restate("amount must be at least 0.01") == "amount 不得小于 0.01"
    assert chinese.restate("price must be at most 0.2 where `price_model` is cps") == (
        "`price_model` 为 cps 时 price 不得大于 0.2"
    )
    assert chinese.restate("all products closed: paused, rule of unknown product") == (
        "所有产品均已关闭：暂停，未知产品的规则"
    )
    assert chinese.restate("nobody wrote this") == "nobody wrote this"
