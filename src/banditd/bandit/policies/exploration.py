"""From a probability vector to a draw: floors and the inverse CDF. No policy and no generator here."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Final

import numpy as np

from banditd.core.errors import InvariantError
from banditd.core.types import FloatArray

LEAST_TOTAL: Final = 0.7  # of floors and probes together; the rest is for what new arms are granted


def draw(probability: FloatArray, uniform: float) -> int:
    """Index i with cdf[i-1] <= uniform < cdf[i].

    Parameters
    ----------
    probability : float64, shape (n,), non-negative, sum 1 within rounding.
    uniform : in [0, 1).

    An index of probability 0 is never returned, whatever the rounding of the sum.
    """
    cdf = list(accumulate(probability.tolist()))
    index = bisect_right(cdf, uniform * cdf[-1])
    if index >= len(cdf):  # uniform * total rounded up to the total
        index = int(np.flatnonzero(probability)[-1])
    return index


def apply_floors(probability: FloatArray, floors: FloatArray) -> FloatArray:
    """Mix: p = (1 - sum f) p + f, so that every entry is at least its floor.

    Parameters
    ----------
    probability : float64, shape (n,), sum 1. floors : float64, shape (n,), non-negative.

    Raises
    ------
    InvariantError : floors that sum to more than 1 or to less than 0.
    """
    total = sum(floors.tolist())  # of a few arms: a fraction of an array's sum
    if total == 0.0:
        return probability
    if not 0.0 < total <= 1.0 + 1e-12:
        raise InvariantError(f"Floors must be non-negative and sum to at most 1, got {total}.")
    mixed: FloatArray = np.float64(1.0 - total) * probability  # numpy is slower with a plain number
    mixed += floors
    return mixed


def dollar_floors(cost_usd: FloatArray, total_floor: float) -> FloatArray:
    """Spread an exploration floor so that dear arms do not eat the money.

    An arm's floor is ``total_floor / n`` for arms up to the median cost and falls in proportion to
    median / cost above it: forced exploration then spends on no arm more than on the median arm.

    Parameters
    ----------
    cost_usd : float64, shape (n,), >= 0, expected cost of each eligible arm.
    total_floor : in [0, 1).

    Returns
    -------
    float64, shape (n,); its sum is at most ``total_floor``.
    """
    n = cost_usd.shape[0]
    if total_floor <= 0.0 or n < 2:
        return np.zeros(n)
    share = total_floor / n
    median = float(np.sort(cost_usd)[n // 2])
    return share * np.minimum(1.0, median / np.maximum(cost_usd, 1e-300)) if median > 0 else np.full(n, share)


def least_shares(cost_usd: FloatArray, total_floor: float, probe_share: FloatArray | None) -> FloatArray:
    """``dollar_floors``, raised for arms that are probed (``Snapshot.probe_share``), which money limits alike.

    Parameters
    ----------
    cost_usd : float64, shape (n,). probe_share : float64, shape (n,), or None for none.

    Returns
    -------
    float64, shape (n,); its sum is at most ``LEAST_TOTAL``, or ``total_floor`` where that is more.
    """
    floors = dollar_floors(cost_usd, total_floor)
    if probe_share is None or not probe_share.any() or cost_usd.shape[0] < 2:
        return floors
    median = float(np.sort(cost_usd)[cost_usd.shape[0] // 2])
    limit = np.minimum(1.0, median / np.maximum(cost_usd, 1e-300)) if median > 0 else 1.0
    more = np.maximum(probe_share * limit - floors, 0.0)
    room = max(0.0, LEAST_TOTAL - float(floors.sum()))
    return floors + more * min(1.0, room / max(float(more.sum()), 1e-300))


def onehot(n: int, index: int) -> FloatArray:
    """Probability 1 for one index: float64, shape (n,)."""
    vector = np.zeros(n)
    vector[index] = 1.0
    return vector
