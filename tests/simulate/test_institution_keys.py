"""Simulated institutions with a key pair open what is encrypted to them, and nothing else."""

import csv
from pathlib import Path

import pyrage
import pytest

from pipelines.core.settings import Settings
from pipelines.deliveries.sealing import SealingKey, seal
from pipelines.simulate import SimulationPlan, simulate
from pipelines.simulate.institution_keys import make_identity, open_file, write_identity
from tests.simulate.conftest import SIZE


def public_keys(settings: Settings) -> dict[str, str]:
    (file,) = settings.landing.glob("institutions/*/*/*.csv")
    with file.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    return {row["institution_id"]: row["public_key"] for row in rows if row["public_key"]}


def test_some_institutions_of_a_market_have_a_key_whose_private_half_is_in_the_truth(tmp_path):
    settings = Settings(home=tmp_path)
    simulate(settings, SimulationPlan(**SIZE | {"days": 1, "leads_per_day": 50}, sealed=0.5))
    keys = public_keys(settings)
    assert 1 < len(keys) < SIZE["institutions"]
    files = {path.stem: path.read_text("ascii") for path in (settings.truth / "keys").iterdir()}
    assert files.keys() == keys.keys()
    for name, text in files.items():
        identity = pyrage.x25519.Identity.from_str(text.split()[-1])
        assert f"{identity.to_public()}" == keys[name]


def test_a_key_is_a_function_of_seed_and_institution():
    keys = {f"{make_identity(seed, name)}" for seed in (1, 2) for name in ("a", "b")}
    assert len(keys) == 4
    assert f"{make_identity(1, 'a')}" in keys


@pytest.mark.parametrize("sealed_to", ["bank-a", "bank-b"])
@pytest.mark.parametrize("has_key", [True, False])
def test_a_file_opens_with_its_own_key_alone(tmp_path: Path, sealed_to: str, has_key: bool):
    settings = Settings(home=tmp_path)
    if has_key:
        write_identity(settings, "bank-a", make_identity(1, "bank-a"))
    public = f"{make_identity(1, sealed_to).to_public()}"
    plain = tmp_path / "leads.csv"
    plain.write_text("a lead")
    key = SealingKey("age", public, public)
    sealed = seal(settings, plain, key, settings.day_start(SIZE["start"]))
    with open_file(settings, "bank-a", sealed) as opened:
        if has_key and sealed_to == "bank-a":
            assert opened is not None
            assert (opened.name, opened.read_text()) == ("leads.csv", "a lead")
        else:
            assert opened is None
