"""Means with Student's interval: of values sampled with unequal probabilities, and of paired differences. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from banditd.core.types import FloatArray
from banditd.ope.difference import ALPHA, Interval
from banditd.ope.fixed import LEVEL

PSEUDO_VALUES: Final = 2.0
"""Number of pseudo-values with an error of one half, in case the values so far are more alike than future ones."""
FEWEST: Final = 2
FEWEST_CASES: Final = 20  # of paired differences


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """A mean with its 95 % interval, within [0, 1]; the interval is None for a single value."""

    mean: float
    interval: tuple[float, float] | None


def weighted_mean(values: FloatArray, probability: FloatArray) -> WeightedMean:
    """The mean of the population that was sampled from.

    Parameters
    ----------
    values : float64 (n,), in [0, 1], n at least 1. probability : float64 (n,), of sampling each, in (0, 1].
    """
    weights = 1.0 / probability
    weights = weights / weights.sum()
    mean = float(weights @ values)
    if len(values) < FEWEST:
        return WeightedMean(mean, None)
    effective = 1.0 / float(weights @ weights)
    power = float(np.square(weights * (values - mean)).sum()) + PSEUDO_VALUES * 0.25 / effective**2
    half = float(stdtrit(max(effective - 1.0, 1.0), LEVEL)) * math.sqrt(power)
    return WeightedMean(mean, (max(mean - half, 0.0), min(mean + half, 1.0)))


@dataclass(frozen=True, slots=True)
class Paired:
    """interval : of the mean difference. half_width : smallest difference that this number of cases can show."""

    interval: Interval
    half_width: float


def paired(difference: FloatArray, differing: FloatArray) -> Paired:
    """Student's 95 % interval of a mean over cases, limited to what can differ at all.

    Parameters
    ----------
    difference : float64 (n,), by case; n at least ``FEWEST_CASES``.
    differing : float64 (n,), the share of each case that is answered differently, in [0, 1].
    """
    n = difference.shape[0]
    half = float(stdtrit(n - 1.0, 1.0 - ALPHA / 2.0)) * float(difference.std(ddof=1)) / math.sqrt(n)
    mean, most = float(difference.mean()), float(differing.mean())
    return Paired(Interval(mean, max(mean - half, -most), min(mean + half, most)), half)
