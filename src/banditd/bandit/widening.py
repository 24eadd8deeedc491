"""Converts what was learned under a feature schema to one with further columns appended: padding with zeros, exactly.

A context without the new columns would have zeros there, and so would the sums. The new groups' scales are as before
any data.
"""

from __future__ import annotations

import json

import numpy as np

from banditd.bandit.posterior.hyperparameters import Hyperparameters
from banditd.bandit.posterior.statistics import ArmSums
from banditd.core.types import FeatureSchema, FloatArray


def widened_context(x: FloatArray, n_features: int) -> FloatArray:
    """The context padded with zeros: float64, shape (n_features,)."""
    wide = np.zeros(n_features)
    wide[: x.shape[0]] = x
    return wide


def widened_sums(packed: bytes, n_features: int) -> bytes:
    """Packed sums padded to ``n_features``. Raises InvariantError for damaged bytes."""
    old = ArmSums.unpack(packed)
    wide, d = ArmSums(n_features), old.n_features
    wide.gram[:d, :d] = old.gram
    wide.xr[:d] = old.xr
    wide.weight, wide.wr, wide.wrr, wide.n = old.weight, old.wr, old.wrr, old.n
    return wide.pack()


def widened_scales(hyperparameters: str, schema: FeatureSchema) -> str:
    """JSON of ``Hyperparameters``, with the missing groups added."""
    values, start = json.loads(hyperparameters), Hyperparameters.start(schema)
    values["shared"] = {**start.shared, **values["shared"]}
    values["own"] = {**start.own, **values["own"]}
    return json.dumps(values)


def widened_counters(learner: str, n_features: int) -> str:
    """The learner's counters, without the query-drift test, which would take new columns for a change.

    Alarms keep their age.
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
