"""The meaning of a column is the one of the table that it belongs to, and dbt says the same."""

from pathlib import Path

import pytest

from expectations.contracts import load
from expectations.tables import load_tables
from models.features.encoder import PAIR_FEATURES
from models.features.feature_definitions import COMPUTED, describe_features
from models.params import params
from pipelines.core.settings import Settings
from pipelines.transform.warehouse import LAYERS, parse_project
from tests.helpers.landing import DAY


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, str]]]:
    """Return layer -> table -> column -> description, of dbt's own manifest."""
    project = parse_project(Settings(home=tmp_path_factory.mktemp("home")), DAY)
    tables: dict[str, dict[str, dict[str, str]]] = {layer: {} for layer in LAYERS}
    for node in project.nodes.values():
        if node.resource_type == "model" and node.columns:
            layer = Path(node.original_file_path).parts[0]
            columns = {name: column.description for name, column in node.columns.items()}
            tables[layer][node.name] = columns
    return tables


@pytest.mark.parametrize("layer", LAYERS)
def test_tables_have_the_columns_and_descriptions_of_dbts_manifest(layer, manifest):
    read = {
        table: {name: column.description for name, column in columns.items()}
        for table, columns in load_tables(layer).items()
    }
    assert read == manifest[layer]


@pytest.mark.parametrize("model", ["risk", "approval", "take_up"])
def test_a_feature_has_the_meaning_of_the_mart_that_models_read(model, manifest):
    names = params().model_features(model).names
    described = describe_features(names)
    columns = manifest["marts"]["training_pairs"]
    assert {name: described[name] for name in names if name in columns} == {
        name: columns[name] for name in names if name in columns
    }
    assert [name for name, meaning in described.items() if not meaning] == []


def test_the_requested_amount_is_not_described_as_the_granted_one():
    requested, granted = load("leads")["amount"], load("outcomes")["amount"]
    assert describe_features(["amount"]) == {"amount": requested.description}
    marts = load_tables("marts")
    assert marts["outcomes"]["amount"].description == granted.description
    assert granted.description != requested.description


def test_every_lead_column_of_the_marts_has_the_text_of_the_contract(manifest):
    for column in load("leads").features:
        for table in ("lead_features", "leads", "training_pairs"):
            assert manifest["marts"][table][column.name] == column.description


def test_every_computed_feature_is_described():
    assert set(COMPUTED) == {*PAIR_FEATURES, "pd"}
