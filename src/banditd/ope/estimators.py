"""Inverse-propensity estimates of a policy's mean reward, from rounds drawn by another policy.

Every estimator first computes one contribution per round; the value is their mean, with its standard error. The
logging policy may learn while it logs: given the past, each contribution is still unbiased.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import FloatArray, IntArray

FEWEST_EFFECTIVE: Final = 200.0
LARGEST_SHARE: Final = 0.10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean reward per round and its standard error (NaN from a single round)."""

    value: float
    standard_error: float

    @classmethod
    def of(cls, contributions: FloatArray) -> Estimate:
        n = contributions.shape[0]
        error = float(contributions.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        return cls(float(contributions.mean()), error)


def importance_weights(logged: FloatArray, chosen: IntArray, wanted: FloatArray) -> FloatArray:
    """How much more often the wanted policy would have drawn each round's arm: wanted / logged probability.

    Parameters
    ----------
    logged : float64, shape (n, K), the vectors that the arms were drawn from.
    chosen : intp, shape (n,), the arms drawn.
    wanted : float64, shape (n, K) or (K,), the probabilities of the policy to be judged.

    Returns
    -------
    float64, shape (n,), >= 0; their mean is about 1.

    Raises
    ------
    InvalidInputError : no round, or an arm that the wanted policy plays had probability 0: nothing was seen of it
        there, and no weight makes up for that.
    """
    n = logged.shape[0]
    if n == 0:
        raise InvalidInputError("A log without rounds says nothing.")
    target = np.broadcast_to(wanted, logged.shape)
    blind = int(((target > 0.0) & (logged <= 0.0)).any(axis=1).sum())
    if blind:
        raise InvalidInputError(
            f"In {blind} of {n} rounds a wanted arm had probability 0; log with a floor, or leave these rounds out."
        )
    rounds = np.arange(n)
    if not (logged[rounds, chosen] > 0.0).all():
        raise InvalidInputError("A round has an arm that it could not have drawn: its probability is 0.")
    weights: FloatArray = target[rounds, chosen] / logged[rounds, chosen]
    return weights


def ips(weight: FloatArray, reward: FloatArray) -> Estimate:
    """Mean of w r: unbiased (Horvitz and Thompson 1952, A generalization of sampling without replacement).

    Parameters
    ----------
    weight, reward : float64, shape (n,) each.
    """
    return Estimate.of(weight * reward)


def clipped_ips(weight: FloatArray, reward: FloatArray, largest: float) -> Estimate:
    """Mean of min(w, largest) r: less variance, biased low for rewards >= 0 (Ionides 2008, Truncated importance
    sampling, where ``largest`` is the square root of the number of rounds).

    Parameters
    ----------
    weight, reward : float64, shape (n,) each. largest : > 0.
    """
    return Estimate.of(np.minimum(weight, largest) * reward)


def snips(weight: FloatArray, reward: FloatArray) -> Estimate:
    """Sum of w r over sum of w, and its linearised standard error (Swaminathan and Joachims 2015, The
    self-normalized estimator for counterfactual learning). Constant rewards give the constant.

    Parameters
    ----------
    weight, reward : float64, shape (n,) each; not all weights 0.

    Raises
    ------
    InvalidInputError : all weights are 0.
    """
    total = float(weight.sum())
    if total <= 0.0:
        raise InvalidInputError("The wanted policy would have drawn none of the logged arms: all weights are 0.")
    value = float(weight @ reward) / total
    around = weight * (reward - value) * (weight.shape[0] / total)
    return Estimate(value, Estimate.of(around).standard_error)


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """effective : rounds of equal weight that would say as much. largest_share : of the heaviest round, in (0, 1]."""

    effective: float
    largest_share: float

    @property
    def objection(self) -> str | None:
        """Why nothing should be concluded; None when it may."""
        if self.effective < FEWEST_EFFECTIVE:
            return f"not enough data: effective sample size {self.effective:.0f}, below {FEWEST_EFFECTIVE:.0f}"
        if self.largest_share > LARGEST_SHARE:
            return f"not enough data: one round has {self.largest_share:.0%} of the weight, above {LARGEST_SHARE:.0%}"
        return None


def diagnose(weight: FloatArray) -> Diagnostics:
    """Kish's effective sample size (sum w)^2 / sum w^2 (Kish 1965, Survey sampling) and the largest share.

    Parameters
    ----------
    weight : float64, shape (n,), >= 0; all 0 gives an effective size of 0.
    """
    total, squares = float(weight.sum()), float(weight @ weight)
    if total <= 0.0 or squares <= 0.0:
        return Diagnostics(0.0, 1.0)
    return Diagnostics(total * total / squares, float(weight.max()) / total)
