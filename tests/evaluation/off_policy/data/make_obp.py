"""Write `obp.json`: small random logs, and the estimates of the package obp from them.

Runs in an environment of its own, since obp needs torch, which the project does not use:

    python -m venv obp && obp/bin/pip install obp==0.4.1
    cd tests/evaluation/off_policy/data && python make_obp.py > obp.json

Each log has rounds (leads), of which the logged policy picks one action (product) each, with its
`behaviour` probability; `target` is the probability of each under the target policy.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
from obp.ope import (
    DoublyRobust,
    InverseProbabilityWeighting,
    SelfNormalizedInverseProbabilityWeighting,
)

ROUNDS, ACTIONS, LOGS = 40, 4, 6


def of_log(seed: int) -> dict[str, object]:
    random = np.random.default_rng(seed)
    behaviour = np.maximum(random.dirichlet(np.ones(ACTIONS), ROUNDS), 0.05)
    behaviour /= behaviour.sum(axis=1, keepdims=True)
    action = np.array([random.choice(ACTIONS, p=row) for row in behaviour])
    expected = random.gamma(2.0, 20.0, (ROUNDS, ACTIONS))
    if seed % 2:  # a plan; else a policy that draws, too
        target = np.eye(ACTIONS)[random.integers(0, ACTIONS, ROUNDS)]
    else:
        target = random.dirichlet(np.ones(ACTIONS), ROUNDS)
    reward = expected[np.arange(ROUNDS), action] * random.exponential(1.0, ROUNDS)
    seen = {
        "reward": reward,
        "action": action,
        "pscore": behaviour[np.arange(ROUNDS), action],
        "action_dist": target[:, :, None],
    }
    estimates = {
        "inverse_propensity": InverseProbabilityWeighting().estimate_policy_value(**seen),
        "self_normalised": SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(
            **seen
        ),
        "doubly_robust": DoublyRobust().estimate_policy_value(
            **seen, estimated_rewards_by_reg_model=expected[:, :, None]
        ),
    }
    inputs = {"behaviour": behaviour, "action": action, "reward": reward}
    inputs |= {"expected": expected, "target": target}
    return {
        "inputs": {name: values.tolist() for name, values in inputs.items()},
        "value_per_round": {name: float(value) for name, value in estimates.items()},
    }


made_by = {name: version(name) for name in ("obp", "numpy", "torch")}
made_by |= {"python": sys.version.split()[0], "command": "python make_obp.py > obp.json"}
logs = ",\n".join(json.dumps(of_log(seed)) for seed in range(LOGS))
sys.stdout.write(f'{{"made_by": {json.dumps(made_by)},\n"logs": [\n{logs}\n]}}\n')
