"""A feature column is one declaration in the contract; everything else follows from it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from expectations import contracts, dbt_files, policy
from expectations.contracts import parse_contract
from expectations.derive import ROOT
from expectations.strict_model import ContractError
from models import params

LEADS = contracts.FOLDER / "leads.yml"
NEW = """\
  - name: savings
    type: number
    feature: number
    minimum: 0
    severity: warning
    description: Savings with any bank.
    wording:
      person: {en: your savings, zh: 您的存款}
      analyst: {en: savings, zh: 存款}
      levels: {high: {en: your savings are high, zh: 您的存款较多}}
derived:
"""


def declare(text: str) -> str:
    """Return the contract of leads with a column, declared at its end."""
    return LEADS.read_text("utf-8").replace("derived:\n", text, 1)


@pytest.fixture
def contract_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the contract of leads in a copy of the contracts that every reader uses."""
    copy = shutil.copytree(contracts.FOLDER, tmp_path / "contracts")
    monkeypatch.setattr(contracts, "FOLDER", copy)
    cached = (
        contracts.load, contracts.feeds, policy.reasons, policy.reason_by_code,
        policy.reason_codes, params.params, params.forbidden_columns,
    )  # fmt: skip
    for function in cached:
        function.cache_clear()
    yield copy / "leads.yml"
    monkeypatch.undo()
    for function in cached:
        function.cache_clear()


def test_one_declaration_reaches_dbt_models_and_reasons(contract_copy: Path):
    contract_copy.write_text(declare(NEW), "utf-8")
    derived = dbt_files.render_all(ROOT, contracts.contracts())
    line = "{name: savings, data_type: double, description: \"{{ doc('leads__savings') }}\"}"
    for name in dbt_files.MARTS:
        assert line in derived[name]
    assert '"savings",' in derived[dbt_files.ATTRIBUTES]
    assert "leads__savings" in derived[dbt_files.DOCS]
    assert "{name: savings, data_type: double" in derived[dbt_files.SOURCES]
    assert params.params().features["lead"].numbers[-1] == "savings"
    assert policy.reason_codes()["savings"] == "SAVINGS"
    reason = policy.reason_by_code()["SAVINGS"]
    assert reason.wording("savings", "high").zh == "您的存款较多"
    assert reason.wording("savings", "low").en == "your savings"


def test_files_that_were_not_derived_again_are_named_with_the_column(contract_copy: Path):
    contract_copy.write_text(declare(NEW), "utf-8")
    with pytest.raises(ContractError, match=r"dbt_project/.* lacks .*savings.*make docs"):
        dbt_files.check_derived(ROOT, contracts.contracts())


def test_the_files_on_disk_are_up_to_date():
    dbt_files.check_derived(ROOT, contracts.contracts())


def test_a_feature_without_words_is_named_with_its_file(contract_copy: Path):
    wordless = NEW.split("    wording:", maxsplit=1)[0] + "derived:\n"
    contract_copy.write_text(declare(wordless), "utf-8")
    with pytest.raises(
        ContractError, match=r"contracts/leads\.yml, column savings: .*without words"
    ):
        params.params()


def test_a_feature_with_two_wordings_is_named(contract_copy: Path):
    text = LEADS.read_text("utf-8")
    words = "wording: {person: {en: a, zh: b}, analyst: {en: a, zh: b}}, "
    changed = text.replace("{name: income_monthly, ", f"{{name: income_monthly, {words}", 1)
    contract_copy.write_text(changed, "utf-8")
    with pytest.raises(ContractError, match=r"column income_monthly: has a wording here and"):
        policy.reasons()


def test_a_feature_for_rules_alone_reaches_no_model(contract_copy: Path):
    rule = (
        NEW.split("    wording:", maxsplit=1)[0].replace("feature: number", "feature: rule")
        + "derived:\n"
    )
    contract_copy.write_text(declare(rule), "utf-8")
    assert "savings" not in params.params().features["lead"].names
    assert '"savings",' in dbt_files.render_attributes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("feature: number", "feature: category", "column savings: savings has type number, and"),
        ("feature: number", "feature: true", "column savings, feature: "),
        ("zh: 您的存款}", "}", "column savings, wording.person.zh: Field required"),
        ("    feature: number\n", "", "column savings: savings has a wording, which only"),
        ("    feature: number\n", "    feature: number\n    protected: true\n", "so it can't be a"),
        ("    type: number\n", "    typ: number\n", "column savings, type: Field required"),
    ],
)
def test_a_mistake_names_file_and_column(old: str, new: str, message: str):
    assert old in NEW
    with pytest.raises(ContractError) as caught:
        parse_contract(declare(NEW.replace(old, new, 1)), "leads")
    assert "expectations/contracts/leads.yml" in str(caught.value)
    assert message in str(caught.value)


def test_what_is_no_yaml_names_the_file():
    with pytest.raises(ContractError, match=r"contracts/leads\.yml is no YAML"):
        parse_contract("feed: [leads\n", "leads")


def test_dependants_reach_neither_models_nor_rules():
    assert "dependants" in contracts.load("leads").names
    assert "dependants" not in {column.name for column in contracts.load("leads").features}
    assert {"dependants", "familial_status"} <= policy.protected()
