"""What a replay's own log says of other policies, beside the truth that only a replay knows. No playing here.

A check of the propensities: were they not the true frequencies of the draws, these estimates would miss the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import FloatArray, IntArray
from banditd.ope.estimators import Estimate, clipped_ips, diagnose, importance_weights, ips, snips
from banditd.replay.references import column_means, known_mean

AGREES_WITHIN: Final = 3.0  # standard errors

# (rows in the order played, arm of each, the vectors they were drawn from) of one seed
Log = tuple[IntArray, IntArray, FloatArray | None]


def off_policy(score: FloatArray, arms: Sequence[str], logs: Sequence[Log]) -> dict[str, object] | None:
    """Estimates of every fixed arm's mean score and of uniform play, the rounds of all seeds together.

    Parameters
    ----------
    score : float64, shape (n_rows, K), NaN where there is none; rounds without a score are left out.

    Returns
    -------
    ``off_policy`` of the report, or None when a decider did not hand out its probability vectors.
    """
    vectors = [vector for _, _, vector in logs if vector is not None]
    if len(vectors) < len(logs) or not logs:
        return None
    rows, chosen = np.concatenate([one[0] for one in logs]), np.concatenate([one[1] for one in logs])
    reward, logged = score[rows, chosen], np.concatenate(vectors)
    known = np.isfinite(reward)
    k = len(arms)
    truth = column_means(score[rows])
    wanted = [(arm, np.eye(k)[i], float(truth[i])) for i, arm in enumerate(arms)]
    wanted.append(("uniform", np.full(k, 1.0 / k), float(truth.mean())))
    return {
        "rounds": int(known.sum()),
        "mean_reward": known_mean(reward),
        "policies": [
            {"policy": name, **_judged(logged[known], chosen[known], reward[known], probability, value)}
            for name, probability, value in wanted
        ],
    }


def _judged(
    logged: FloatArray, chosen: IntArray, reward: FloatArray, wanted: FloatArray, truth: float
) -> dict[str, object]:
    fields: dict[str, object] = {
        "snips": None, "ips": None, "clipped_ips": None, "effective_sample_size": None, "largest_weight_share": None,
        "ground_truth": truth if math.isfinite(truth) else None, "agrees": None, "reason": None,
    }  # fmt: skip
    try:
        weight = importance_weights(logged, chosen, wanted)
        normalised = snips(weight, reward)
    except InvalidInputError as error:
        return {**fields, "reason": f"not enough data: {error}"}
    found = diagnose(weight)
    agrees = None
    if found.objection is None and math.isfinite(truth):
        agrees = abs(normalised.value - truth) <= AGREES_WITHIN * normalised.standard_error + 1e-9
    return {
        **fields,
        "snips": _fields(normalised),
        "ips": _fields(ips(weight, reward)),
        "clipped_ips": _fields(clipped_ips(weight, reward, math.sqrt(weight.shape[0]))),
        "effective_sample_size": found.effective,
        "largest_weight_share": found.largest_share,
        "agrees": agrees,
        "reason": found.objection,
    }


def _fields(estimate: Estimate) -> dict[str, object]:
    error = estimate.standard_error
    return {"value": estimate.value, "standard_error": error if math.isfinite(error) else None}
