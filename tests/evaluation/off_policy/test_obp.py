"""Our estimates agree with those of the package obp on the same logs."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.evaluation.off_policy.estimate import (
    Log,
    doubly_robust,
    inverse_propensity,
    self_normalised,
)

REFERENCE = json.loads((Path(__file__).parent / "data" / "obp.json").read_text("utf-8"))
"""Written by obp 0.4.1; `data/make_obp.py` says how."""


@pytest.mark.parametrize("number", range(6))
def test_estimates_are_those_of_obp(number):
    logged = REFERENCE["logs"][number]
    given = {name: np.asarray(values) for name, values in logged["inputs"].items()}
    rounds, actions = given["expected"].shape
    is_made = np.eye(actions, dtype=bool)[given["action"]]
    log = Log(
        lead=np.repeat(np.arange(rounds), actions),
        propensity=given["behaviour"].ravel(),
        is_made=is_made.ravel(),
        reward=np.where(is_made, given["reward"][:, None], np.nan).ravel(),
        expected=given["expected"].ravel(),
    )
    judged = given["judged"].ravel()
    ours = {
        "inverse_propensity": inverse_propensity(log, judged),
        "self_normalised": self_normalised(log, judged),
        "doubly_robust": doubly_robust(log, judged, ratio=1.0),
    }
    assert logged["worth_per_round"].keys() == ours.keys()
    for name, theirs in logged["worth_per_round"].items():
        assert theirs > 1
        assert ours[name].worth / rounds == pytest.approx(theirs, abs=1e-9)
