"""What a promise does to single decisions: no arm dearer than the baseline, and the baseline's share of the vector.

Pure. Arrays are (n_queries, n_arms) unless said otherwise; ``promise.py`` determines the pledge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.exploration import apply_floors
from banditd.core.types import BoolArray, FloatArray, IntArray

DEARER: str = "dearer_than_baseline"


@dataclass(frozen=True, slots=True)
class Pledge:
    """A promise at present, for one query.

    baseline : index of the arm.
    price_per_usd : what a dollar of predicted cost takes off the reward.
    share : share of the traffic that the policy may decide, in [0, 1]; the rest goes to the baseline.
    keep : promised share of the baseline's quality.
    state : state of the promise.
    """

    baseline: int
    price_per_usd: float
    share: float
    keep: float = 0.95
    state: str = "learning"


@dataclass(frozen=True, slots=True, eq=False)
class Pledges:
    """The promises of a batch: of the queries ``rows``, which indexes axes of queries.

    Each field is one number if all queries have the same promise, else an array (n,) over the queries that have one.
    """

    rows: slice | IntArray
    baseline: int | IntArray
    price_per_usd: float | FloatArray
    share: float | FloatArray

    @staticmethod
    def of(pledges: Sequence[Pledge | None]) -> Pledges | None:
        """The pledges of each query; None if no query has one."""
        first = pledges[0]
        if pledges.count(first) == len(pledges):
            if first is None:
                return None
            return Pledges(slice(None), first.baseline, first.price_per_usd, first.share)
        rows, given = zip(*((row, one) for row, one in enumerate(pledges) if one is not None), strict=True)
        return Pledges(
            np.array(rows, dtype=np.intp),
            np.array([one.baseline for one in given], dtype=np.intp),
            np.array([one.price_per_usd for one in given]),
            np.array([one.share for one in given]),
        )

    @property
    def at(self) -> tuple[slice | IntArray, int | IntArray]:
        """Index of each pledge's baseline in an array (n_queries, n_arms)."""
        return self.rows, self.baseline


def without_dearer(pledges: Pledges | None, eligible: BoolArray, cost_usd: FloatArray) -> BoolArray:
    """The eligible arms without those that cost more than a promise's baseline, if that may answer.

    Returns ``eligible`` itself if nothing is excluded.
    """
    if pledges is None:
        return eligible
    rows, most_usd = pledges.rows, cost_usd[pledges.at] * (1.0 + 1e-9)
    dearer = (cost_usd[rows] > np.where(eligible[pledges.at], most_usd, np.inf)[:, None]) & eligible[rows]
    if not np.count_nonzero(dearer):
        return eligible
    wanted = eligible.copy()
    wanted[rows] &= ~dearer
    return wanted


def shares(pledges: Pledges | None, allowed: BoolArray, price_per_usd: FloatArray) -> FloatArray:
    """Weight of the policy's own vector, float64 (n_queries,): 1 without a promise or where a budget overrides it.

    A budget is the harder limit: if its price is above the promise's, or the baseline is unaffordable or not
    eligible, the promise has no effect.

    price_per_usd : utility cost of a dollar for each query, the highest that anything asks for.
    """
    if pledges is None:
        return np.ones(len(allowed))
    binds = allowed[pledges.at] & (price_per_usd[pledges.rows] <= pledges.price_per_usd)
    own_share = np.where(binds, pledges.share, 1.0)
    if isinstance(pledges.rows, slice):
        return own_share
    share = np.ones(len(allowed))
    share[pledges.rows] = own_share
    return share


def blended(
    probability: FloatArray, pledges: Pledges | None, share: FloatArray, least: FloatArray | None
) -> FloatArray:
    """Share x the policy's own vectors + (1 - share) x the baseline, then raised to the operator's least shares.

    share : float64 (n_queries,), from ``shares``.
    least : ``min_share`` of each arm, 0 where an arm may not answer; None if there are none.
    """
    if pledges is None:
        return probability
    # A query without a promise keeps its vector: its share is 1.
    mixed, rows = probability * share[:, None], pledges.rows
    mixed[pledges.at] += 1.0 - share[rows]
    if least is not None:
        mixed[rows] = apply_floors(mixed[rows], least[rows])
    return mixed
