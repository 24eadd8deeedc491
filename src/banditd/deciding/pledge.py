"""What a promise asks of single decisions: no arm dearer than the baseline, and the baseline's share of the vector.

Pure. Arrays are (n_queries, n_arms) unless said otherwise; ``promise.py`` says where a pledge comes from.
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


@dataclass(frozen=True, slots=True, eq=False)
class Pledges:
    """The promises of a batch, side by side: of the queries ``rows``, which indexes axes of queries.

    Where all have the same one there is one number of each, else an array (n,) of those that have one.
    """

    rows: slice | IntArray
    baseline: int | IntArray
    price_per_usd: float | FloatArray
    share: float | FloatArray

    @staticmethod
    def of(pledges: Sequence[Pledge | None]) -> Pledges | None:
        """Of each query; None where nobody has one."""
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
        """Index of each one's baseline in an array (n_queries, n_arms)."""
        return self.rows, self.baseline


def without_dearer(pledges: Pledges | None, eligible: BoolArray, cost_usd: FloatArray) -> BoolArray:
    """The eligible arms that a promise can want: none that costs more than its baseline, where that may answer.

    ``eligible`` itself where it takes none out.
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
    """The policy's own share of each vector, float64 (n_queries,): 1 without a promise, or where money rules.

    A budget is the harder limit: where its price is above the promise's, or the baseline cannot be paid for or may
    not answer, the promise has no say.

    price_per_usd : what a dollar takes off the utility of each query, the highest that is asked by anybody.
    """
    if pledges is None:
        return np.ones(len(allowed))
    binds = allowed[pledges.at] & (price_per_usd[pledges.rows] <= pledges.price_per_usd)
    mine = np.where(binds, pledges.share, 1.0)
    if isinstance(pledges.rows, slice):
        return mine
    share = np.ones(len(allowed))
    share[pledges.rows] = mine
    return share


def blended(
    probability: FloatArray, pledges: Pledges | None, share: FloatArray, least: FloatArray | None
) -> FloatArray:
    """Share x the policy's own vectors + (1 - share) x the baseline, then the operator's least shares on top.

    share : float64 (n_queries,), from ``shares``. least : what ``min_share`` grants, 0 where an arm may not answer;
    None for nothing.
    """
    if pledges is None:
        return probability
    # A query without a promise keeps its vector: its share is 1.
    mixed, rows = probability * share[:, None], pledges.rows
    mixed[pledges.at] += 1.0 - share[rows]
    if least is not None:
        mixed[rows] = apply_floors(mixed[rows], least[rows])
    return mixed
