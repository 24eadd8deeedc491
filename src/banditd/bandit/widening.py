"""What was learned under a feature schema, under one that has more columns behind: padded with zeros, exactly.

A context without the new columns has zeros there, so have the sums; the new groups' scales are as before any data.
"""

from __future__ import annotations

import json

import numpy as np

from banditd.bandit.posterior.hyperparameters import Hyperparameters
from banditd.bandit.posterior.statistics import ArmSums
from banditd.core.types import FeatureSchema, FloatArray


def widened_context(x: FloatArray, n_features: int) -> FloatArray:
    """float64, shape (n_features,)."""
    wide = np.zeros(n_features)
    wide[: x.shape[0]] = x
    return wide


def widened_sums(packed: bytes, n_features: int) -> bytes:
    """Packed sums of more features. Raises InvariantError for damaged bytes."""
    old = ArmSums.unpack(packed)
    wide, d = ArmSums(n_features), old.n_features
    wide.gram[:d, :d] = old.gram
    wide.xr[:d] = old.xr
    wide.weight, wide.wr, wide.wrr, wide.n = old.weight, old.wr, old.wrr, old.n
    return wide.pack()


def widened_scales(hyperparameters: str, schema: FeatureSchema) -> str:
    """JSON of ``Hyperparameters`` with the groups that it lacks."""
    values, start = json.loads(hyperparameters), Hyperparameters.start(schema)
    values["shared"] = {**start.shared, **values["shared"]}
    values["own"] = {**start.own, **values["own"]}
    return json.dumps(values)


def widened_counters(learner: str, n_features: int) -> str:
    """What a learner keeps beside the sums. Whether queries change is watched anew: new columns look like it.

    An alarm stays as old as it was.
    """
    values = json.loads(learner)
    watch = values.get("regimes")
    if watch is not None:
        seen = int(watch.pop("drift", [0])[0])
        for changed in watch["changed"].values():
            coefficients = changed["test"][0]
            coefficients += [0.0] * (n_features - len(coefficients))
            changed["seen"] = int(changed.get("seen", 0)) - seen
    return json.dumps(values)
