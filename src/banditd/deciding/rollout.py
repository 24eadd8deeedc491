"""Part of the traffic for the policy, the rest for the baseline: sides that stick, and exact propensities.

A unit (a session, or a decision without one) is on the policy's side when a hash of it is below the share, so that
it stays there on every replica, and a larger share only moves units one way. What is logged is the marginal over the
hash,

    p = r own + (1 - r) onehot(baseline)

and the uniform number is moved to where the inverse CDF of p gives the arm that the side has drawn. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

import numpy as np

from banditd.bandit.policies.exploration import draw
from banditd.core.types import FloatArray

Side = Literal["policy", "baseline", "shadow"]
_UNIT: Final = 2.0**-64


@dataclass(frozen=True, slots=True)
class Rollout:
    """On which side a query is.

    baseline : index of the arm of the other side. share : of the traffic that the policy decides, in [0, 1).
    side : ``shadow``: the policy decides and the baseline answers; the share is 0.
    """

    baseline: int
    share: float
    side: Side


def side_of(policy: str, unit: str, share: float) -> Side:
    """The side of a unit of traffic, always the same one. share : of the policy, in [0, 1]."""
    hashed = int.from_bytes(sha256(f"{policy}\0{unit}".encode("utf-8", "backslashreplace")).digest()[:8]) * _UNIT
    return "policy" if hashed < share else "baseline"


def rolled_out(own: FloatArray, rollout: Rollout, uniform: float) -> tuple[FloatArray, float]:
    """The marginal vector, and the uniform number at which its inverse CDF gives the arm of the query's side.

    Parameters
    ----------
    own : float64 (n_arms,), what the policy's side draws from; sums to 1. uniform : in [0, 1), of that draw.
    """
    p = rollout.share * own
    p[rollout.baseline] += 1.0 - rollout.share
    if rollout.side == "policy":
        index = int(draw(own[None, :], np.array([uniform]))[0])
        below = float(own[:index].sum())
        within = rollout.share * (uniform * float(own.sum()) - below)
    else:
        index = rollout.baseline
        within = rollout.share * float(own[index]) + (1.0 - rollout.share) * uniform
    return p, _uniform_at(p, index, within)


def _uniform_at(p: FloatArray, index: int, within: float) -> float:
    """The uniform number ``within`` the arm's stretch of the CDF, whatever the rounding: in [0, 1)."""
    cdf = p.cumsum()
    total = float(cdf[-1])
    low = float(cdf[index - 1]) if index else 0.0
    high = float(cdf[index])
    for candidate in (low + within, 0.5 * (low + high), math.nextafter(low, high), low):
        uniform = min(max(candidate / total, 0.0), math.nextafter(1.0, 0.0))
        if int(draw(p[None, :], np.array([uniform]))[0]) == index:
            return uniform
    return min(low / total, math.nextafter(1.0, 0.0))  # a stretch without a number in it has no probability either
