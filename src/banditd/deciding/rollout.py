"""Splits traffic between two vectors, with sticky sides and exact propensities. The only place where two are mixed.

A rollout gives part of the traffic to the policy and the rest to the baseline; a release (``release.py``) gives part
to a candidate and the rest to the incumbent. A unit (a session, or a decision without one) is on a side if its hash
is below the share. So it stays there on every replica, and a growing share only moves units one way. What is logged
is the marginal over the hash,

    p = share own + (1 - share) other

and the uniform number is moved to where the inverse CDF of p gives the arm that the side drew. Both sides draw by the
maximal coupling of their vectors: the same number gives both sides the same arm as often as is possible. Pure.
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
# A smaller side would have intervals of the CDF that contain no floating-point number below 1.
_SMALLEST: Final = 2.0**-43


@dataclass(frozen=True, slots=True)
class Rollout:
    """Which side a query is on.

    baseline : index of the other side's arm.
    share : share of the traffic that the policy decides, in [0, 1).
    side : ``shadow``: the policy decides and the baseline answers; the share is 0.
    """

    baseline: int
    share: float
    side: Side


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """Two vectors mixed into one.

    probability : the marginal that is logged, float64 (n_arms,).
    uniform : where its inverse CDF gives the drawn arm.
    differ : whether the arm came from the part where the two vectors do not overlap.
    """

    probability: FloatArray
    uniform: float
    differ: bool


def side_of(policy: str, unit: str, share: float) -> Side:
    """The side of a unit of traffic; always the same for it. share : of the policy, in [0, 1]."""
    return "policy" if place_of(policy, unit) < share else "baseline"


def place_of(salt: str, unit: str) -> float:
    """A unit's position in [0, 1), uniform over units."""
    hashed = sha256(f"{salt}\0{unit}".encode("utf-8", "backslashreplace")).digest()[:8]
    return min(int.from_bytes(hashed) * _UNIT, math.nextafter(1.0, 0.0))


def rolled_out(own: FloatArray, rollout: Rollout, uniform: float) -> tuple[FloatArray, float]:
    """The marginal vector, and the uniform number at which its inverse CDF gives the arm of the query's side.

    Parameters
    ----------
    own : float64 (n_arms,), what the policy's side draws from; sums to 1. uniform : of that draw, in [0, 1).
    """
    baseline = np.zeros(own.shape[0])
    baseline[rollout.baseline] = 1.0
    found = mixed(own, baseline, rollout.share, uniform, on_own=rollout.side == "policy")
    return found.probability, found.uniform


def distance(own: FloatArray, other: FloatArray) -> float:
    """Total variation distance in [0, 1]: how often draws from the two must differ. Exactly 0 if they are equal."""
    return min(0.5 * float(np.abs(own - other).sum()), 1.0)


def mixed(own: FloatArray, other: FloatArray, share: float, uniform: float, *, on_own: bool) -> Mixed:
    """Draw for one side of the traffic, and log for both.

    Parameters
    ----------
    own, other : float64 (n_arms,), each sums to 1. share : of the traffic that ``own`` decides, in [0, 1].
    uniform : in [0, 1). on_own : whether the query is on the side of ``own``.
    """
    if 0.0 < share < 1.0:
        share = min(max(share, _SMALLEST), 1.0 - _SMALLEST)
    p = share * own + (1.0 - share) * other
    alike = np.minimum(own, other)
    # A number gives the arm that it would give without the other side; its position within the arm's interval says
    # whether the other side draws that arm too.
    total = float(own.sum())
    index = int(draw(own[None, :], np.array([uniform]))[0])
    within = max(uniform * total - float(own[:index].sum()), 0.0)
    beyond = within - float(alike[index])
    differ = beyond >= 0.0
    if on_own:
        return Mixed(p, _uniform_at(p, index, within - (1.0 - share) * max(beyond, 0.0)), differ)
    if differ:
        rest = other - alike
        place = float((own - alike)[:index].sum()) + beyond
        index = _place_in(rest, place) if rest.any() else int(other.argmax())
        within = float(alike[index]) + (1.0 - share) * (place - float(rest[:index].sum()))
    return Mixed(p, _uniform_at(p, index, within), differ)


def _place_in(vector: FloatArray, place: float) -> int:
    """The arm at ``place`` of the vector's CDF, relative to the vector's actual sum; never one of probability 0."""
    uniform = min(max(place / float(vector.sum()), 0.0), math.nextafter(1.0, 0.0))
    return int(draw(vector[None, :], np.array([uniform]))[0])


def _uniform_at(p: FloatArray, index: int, within: float) -> float:
    """A uniform number ``within`` the arm's interval of the CDF, in [0, 1) despite rounding."""
    cdf = p.cumsum()
    total = float(cdf[-1])
    low = float(cdf[index - 1]) if index else 0.0
    high = float(cdf[index])
    for candidate in (low + within, 0.5 * (low + high), math.nextafter(low, high), low):
        uniform = min(max(candidate / total, 0.0), math.nextafter(1.0, 0.0))
        if int(draw(p[None, :], np.array([uniform]))[0]) == index:
            return uniform
    return min(low / total, math.nextafter(1.0, 0.0))  # the interval contains no number; its probability is 0 too
