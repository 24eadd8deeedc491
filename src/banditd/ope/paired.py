"""The mean of paired differences over cases whose scores are all known, and how small a difference they can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from scipy.special import stdtrit

from banditd.core.types import FloatArray
from banditd.ope.difference import ALPHA, Interval

FEWEST_CASES: Final = 20


@dataclass(frozen=True, slots=True)
class Paired:
    """interval : of the mean difference. half_width : the smallest difference that so many cases can show."""

    interval: Interval
    half_width: float


def paired(difference: FloatArray, differing: FloatArray) -> Paired:
    """Student's 95 % interval of a mean over cases, within what can differ at all.

    Parameters
    ----------
    difference : float64 (n,), by case; n at least ``FEWEST_CASES``. differing : float64 (n,), the share in which each
        case is answered otherwise, in [0, 1].
    """
    n = difference.shape[0]
    half = float(stdtrit(n - 1.0, 1.0 - ALPHA / 2.0)) * float(difference.std(ddof=1)) / math.sqrt(n)
    mean, most = float(difference.mean()), float(differing.mean())
    return Paired(Interval(mean, max(mean - half, -most), min(mean + half, most)), half)
