"""From probability vectors to draws: floors and the inverse CDF. No policy and no random generator here.

Arrays are (n_queries, n_arms) unless said otherwise; arms that may not be chosen are masked by ``allowed``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from banditd.core.errors import InvariantError
from banditd.core.types import BoolArray, FloatArray, IntArray

LEAST_TOTAL: Final = 0.7  # most that floors and probes may sum to; the rest is for new arms' quotas


def draw(probability: FloatArray, uniforms: FloatArray) -> IntArray:
    """By query the arm i with cdf[i-1] <= uniform < cdf[i]: intp (n_queries,).

    Parameters
    ----------
    probability : non-negative, rows sum to 1 within rounding. uniforms : float64 (n_queries,), in [0, 1).

    An arm of probability 0 is never returned, whatever the rounding of the sum.
    """
    cdf = np.add.accumulate(probability, 1)
    total = cdf[:, -1]
    # Uniform * total may be rounded up to the total, which no arm's CDF exceeds.
    at = np.minimum(uniforms * total, np.nextafter(total, 0.0))
    drawn: IntArray = np.add.reduce(cdf <= at[:, None], 1, dtype=np.intp)
    return drawn


def apply_floors(probability: FloatArray, floors: FloatArray) -> FloatArray:
    """Mix: p = (1 - sum f) p + f, so that every entry is at least its floor.

    Parameters
    ----------
    probability : rows sum to 1. floors : non-negative.

    Raises
    ------
    InvariantError : floors of a query that sum to more than 1, or a negative one.
    """
    total = np.add.reduce(floors, 1, keepdims=True)
    if np.maximum.reduce(total, None) > 1.0 + 1e-12 or np.minimum.reduce(floors, None) < 0.0:
        raise InvariantError(f"Floors must be non-negative and sum to at most 1, got {total.max()}.")
    mixed: FloatArray = (1.0 - total) * probability
    mixed += floors
    return mixed


def dollar_floors(cost_usd: FloatArray, allowed: BoolArray, total_floor: float) -> FloatArray:
    """Spread an exploration floor over the arms so that expensive arms do not use up the money.

    An arm's floor is ``total_floor / n`` up to the median cost, and above it falls in proportion to median / cost, so
    that forced exploration spends no more on any arm than on the median one.

    Parameters
    ----------
    cost_usd : >= 0, expected cost of each arm. total_floor : in [0, 1).

    Returns
    -------
    float64, 0 where not allowed or if only one arm is; rows sum to at most ``total_floor``.
    """
    return total_floor * _relative_floors(cost_usd, allowed)[0]


def least_shares(
    cost_usd: FloatArray, allowed: BoolArray, total_floor: float, probe_share: FloatArray | None
) -> FloatArray:
    """``dollar_floors``, raised for probed arms (``Snapshot.probe_share``), which cost limits in the same way.

    probe_share : float64 (n_arms,), or None for none.

    Returns
    -------
    float64; rows sum to at most ``LEAST_TOTAL``, or ``total_floor`` if that is more.
    """
    relative, limit = _relative_floors(cost_usd, allowed)
    floors = total_floor * relative
    if probe_share is None or not probe_share.any():
        return floors
    more = np.maximum(probe_share * limit - floors, 0.0)
    room = np.maximum(LEAST_TOTAL - floors.sum(1, keepdims=True), 0.0)
    raised: FloatArray = floors + more * np.minimum(room / np.maximum(more.sum(1, keepdims=True), 1e-300), 1.0)
    return raised


def _relative_floors(cost_usd: FloatArray, allowed: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Relative floors, and the factor in [0, 1] by which cost limits each arm; 0 where not allowed or alone."""
    n = np.add.reduce(allowed, 1, dtype=np.intp)
    ranked = np.where(allowed, cost_usd, np.inf)
    ranked.sort(1)
    median = ranked[np.arange(n.shape[0]), np.minimum(n // 2, allowed.shape[1] - 1)][:, None]
    limit = np.where(median > 0.0, np.minimum(median / np.maximum(cost_usd, 1e-300), 1.0), 1.0)
    limit *= allowed & (n > 1)[:, None]
    return limit / np.maximum(n, 1)[:, None], limit


def onehot(index: IntArray, n_arms: int) -> FloatArray:
    """Probability 1 for one arm of each query: float64. index : (n_queries,)."""
    found: FloatArray = (index[:, None] == np.arange(n_arms)).astype(np.float64)
    return found
