"""The estimates equal the estimates of the package obp on the same logs."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.evaluation.off_policy.estimate import (
    PolicyLog,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)

REFERENCE = json.loads((Path(__file__).parent / "data" / "obp.json").read_text("utf-8"))
"""Written by obp 0.4.1; `data/make_obp.py` says how."""


@pytest.mark.parametrize("number", range(6))
def test_estimates_equal_obp(number):
    logged = REFERENCE["logs"][number]
    given = {name: np.asarray(values) for name, values in logged["inputs"].items()}
    rounds, actions = given["expected"].shape
    is_made = np.eye(actions, dtype=bool)[given["action"]]
    log = PolicyLog(
        lead=np.repeat(np.arange(rounds), actions),
        propensity=given["behaviour"].ravel(),
        is_made=is_made.ravel(),
        reward=np.where(is_made, given["reward"][:, None], np.nan).ravel(),
        expected=given["expected"].ravel(),
    )
    target = given["target"].ravel()
    ours = {
        "inverse_propensity": inverse_propensity(log, target),
        "self_normalised": self_normalised(log, target),
        "doubly_robust": doubly_robust(log, target, ratio=1.0),
    }
    assert logged["value_per_round"].keys() == ours.keys()
    for name, theirs in logged["value_per_round"].items():
        assert theirs > 1
        assert ours[name].value / rounds == pytest.approx(theirs, abs=1e-9)
