"""An invalid mapping is rejected with file, line and key, and nothing is written."""

import pytest

from expectations import mapping
from pipelines.core.errors import ImportRejected
from pipelines.importing import import_file

GOOD = """\
description: A test.
origin: Made up.
file: {format: csv}
define:
  half: try_cast(sum as double) / 2
routes:
  - feed: channel_spend
    where: half > 1
    source: shop
    date: {from: day}
    columns:
      date: {from: day, format: '%Y-%m-%d'}
      spend: {from: sum}
      currency: CNY
    invented:
      spend: Half of it.
"""


def load(tmp_path, text):
    path = tmp_path / "wrong.yml"
    path.write_text(text, "utf-8")
    return mapping.load(str(path))


def test_the_mapping_without_a_mistake_is_valid(tmp_path):
    loaded = load(tmp_path, GOOD)
    assert loaded.mapping.routes[0].columns["currency"].default == "CNY"


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("{format: csv}", "{format: xls}", "line 3, file.format"),
        ("{format: csv}", "{format: csv, encoding: big5}", "line 3, file.encoding"),
        ("{format: csv}", "{format: jsonl}", "line 3, file: .*needs `names`"),
        ("{format: csv}", "{format: csv, header: false}", "line 3, file: .*either"),
        ("feed: channel_spend", "feed: spend", "line 7, routes.0.feed: no feed is named 'spend'"),
        ("    source: shop\n", "", "line 7, routes.0.source: Field required"),
        ("      currency: CNY\n", "", "line 11, routes.0.columns: channel_spend requires currency"),
        ("spend: {from: sum}", "spent: {from: sum}", "line 13, routes.0.columns.spent: .*no such"),
        ("{from: sum}", "{form: sum}", "line 13, routes.0.columns.spend.form"),
        ("{from: sum}", "{from: sum, scale: tenth}", "line 13, .*neither a number nor a fraction"),
        ("{from: sum}", "{from: sum, scale: 1/0}", "line 13, .*neither a number nor a fraction"),
        ("{from: sum}", "{from: sum, expression: '1'}", "line 13, .*give `from` or `expression`"),
        ("{from: sum}", "{from: sum, format: '%Y'}", "line 13, .*`format` is for dates"),
        ("{from: sum}", "{from: sum, pivot: 50}", "line 13, .*needs a `format` with %y"),
        ("{from: sum}", "{missing: x}", "line 13, .*give `from`, `expression` or `default`"),
        ("spend: Half", "spent: Half", "line 16, routes.0.invented.spent: nothing of that name"),
        (
            "      currency: CNY",
            "      spend: CNY",
            "line 14, .*spend: repeated; first on line 13",
        ),
        ("currency: CNY", "currency: [CNY", r"line 1[45]: not YAML"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_key(tmp_path, right, wrong, message):
    assert right in GOOD
    with pytest.raises(mapping.MappingError, match=f"(?m)^wrong.yml, {message}"):
        load(tmp_path, GOOD.replace(right, wrong, 1))


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "{from: sum}",
            "{from: total}",
            "line 13, routes.0.columns.spend.from: no column is named",
        ),
        ("{from: sum}", "{expression: sum +}", "line 13, routes.0.columns.spend: .*syntax error"),
        ("{from: sum}", "{expression: nope(sum)}", "line 13, routes.0.columns.spend: .*nope"),
        (
            "{from: sum}",
            "{expression: 'sum::date'}",
            "line 13, routes.0.columns.spend: .*Conversion",
        ),
        ("half > 1", "hlf > 1", "line 8, routes.0.where: .*hlf"),
        ("half: try", "SUM: try", "line 5, define.SUM: the file has a column of this name"),
        ("half: try_cast(sum as double)", "half: nope(sum)", "line 5, define.half: .*nope"),
        ("half: try_cast(sum as double)", "half: day::int", "line 5, define.half: .*Conversion"),
    ],
)
def test_a_mistake_that_only_the_file_reveals_is_reported_too(
    tmp_path, settings, right, wrong, message
):
    assert right in GOOD
    path = tmp_path / "wrong.yml"
    path.write_text(GOOD.replace(right, wrong, 1), "utf-8")
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("day,sum\n2026-03-01,7.5\n")
    with pytest.raises(ImportRejected, match=f"(?s)^wrong.yml, {message}.*Nothing was written"):
        import_file(settings, str(path), foreign)
    assert not settings.landing.exists()


def test_an_unknown_mapping_is_rejected_with_a_list_of_mappings():
    with pytest.raises(
        mapping.MappingError, match="'nope'; there are: give_me_some_credit, hmda, sba"
    ):
        mapping.load("nope")


def test_the_example_in_the_readme_is_a_valid_mapping(tmp_path):
    readme = (mapping.FOLDER / "README.md").read_text("utf-8")
    example = readme.split("```yaml\n")[1].split("```")[0]
    assert load(tmp_path, example).mapping.routes[0].columns["birth_date"].pivot == 30
