"""What a promise asks of single decisions: no arm dearer than the baseline, and the baseline's share of the vector.

Pure. Arrays are (n_queries, n_arms) unless said otherwise; ``promise.py`` says where a pledge comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.exploration import apply_floors
from banditd.core.types import BoolArray, FloatArray

DEARER: str = "dearer_than_baseline"


@dataclass(frozen=True, slots=True)
class Pledge:
    """A promise as it stands for one query.

    baseline : index of the arm. price_per_usd : what a dollar of predicted cost takes off the reward. share : of the
    traffic that the policy may decide, in [0, 1]; the rest is the baseline's. keep : share of the baseline's quality
    that is promised. state : how the promise stands.
    """

    baseline: int
    price_per_usd: float
    share: float
    keep: float = 0.95
    state: str = "learning"


def without_dearer(pledges: Sequence[Pledge | None], eligible: BoolArray, cost_usd: FloatArray) -> BoolArray:
    """The eligible arms that a promise can want: none that costs more than its baseline, where that may answer.

    ``eligible`` itself where it takes none out.
    """
    most_usd = [
        np.inf
        if pledge is None or not eligible[row, pledge.baseline]
        else cost_usd[row, pledge.baseline] * (1.0 + 1e-9)
        for row, pledge in enumerate(pledges)
    ]
    dearer = eligible & (cost_usd > np.array(most_usd)[:, None])
    return eligible & ~dearer if dearer.any() else eligible


def shares(
    pledges: Sequence[Pledge | None], allowed: BoolArray, budget_price_per_usd: Sequence[float] | FloatArray
) -> FloatArray:
    """The policy's own share of each vector, float64 (n_queries,): 1 without a promise, or where money rules.

    A budget is the harder limit: where its price is above the promise's, or the baseline cannot be paid for or may
    not answer, the promise has no say.

    budget_price_per_usd : of each query.
    """
    return np.array(
        [
            1.0
            if pledge is None or price > pledge.price_per_usd or not allowed[row, pledge.baseline]
            else pledge.share
            for row, (pledge, price) in enumerate(zip(pledges, budget_price_per_usd, strict=True))
        ]
    )


def blended(
    probability: FloatArray, pledges: Sequence[Pledge | None], share: FloatArray, least: FloatArray | None
) -> FloatArray:
    """Share x the policy's own vectors + (1 - share) x the baseline, then the operator's least shares on top.

    share : float64 (n_queries,), from ``shares``. least : what ``min_share`` grants, 0 where an arm may not answer;
    None for nothing.
    """
    # A query without a promise keeps its vector: its share is 1.
    mixed = probability * share[:, None]
    rest = (1.0 - share).tolist()
    for row, pledge in enumerate(pledges):
        if pledge is not None:
            mixed[row, pledge.baseline] += rest[row]
    if least is not None:
        rows = [row for row, pledge in enumerate(pledges) if pledge is not None]
        mixed[rows] = apply_floors(mixed[rows], least[rows])
    return mixed
