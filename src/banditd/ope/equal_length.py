"""How often one of two answers would be preferred if both were equally long. Pure.

Judges like length. With r = length of the first over length of the second, and y = 1 where the first is preferred, 0
where the second is, 1/2 where neither:

    logit E[y] = theta + beta tanh(ln r)

and sigmoid(theta) is the rate at r = 1 (as Dubois et al. 2024 do for AlpacaEval; tanh: length beyond three times as
much adds little). Wide normal priors on both keep the fit finite where every comparison went the same way. Where no
pair is near equal length the interval says so: it is as wide as beta is unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit, stdtrit

from banditd.core.types import FloatArray
from banditd.ope.fixed import LEVEL

FEWEST_PAIRS: Final = 20
PRIOR_DEVIATION: Final = (2.5, 2.0)
"""Of theta and beta, in logits."""
_STEPS: Final = 50
_ENOUGH: Final = 1e-10


@dataclass(frozen=True, slots=True)
class EqualLength:
    """How often the first of two answers is preferred.

    rate, low, high : at equal length, with a 95 % interval. raw : as observed.
    slope : beta. pairs : number of pairs. typical_ratio : median of the first's length over the second's.
    """

    rate: float
    low: float
    high: float
    raw: float
    slope: float
    pairs: int
    typical_ratio: float


def at_equal_length(preferred: FloatArray, length: FloatArray, other_length: FloatArray) -> EqualLength | None:
    """The rate at which the first of two answers would be preferred at equal length.

    Parameters
    ----------
    preferred : float64 (n,), 1 the first, 0 the second, 1/2 neither.
    length, other_length : float64 (n,), of the first and of the second, >= 0, in the same unit.

    Returns
    -------
    None with fewer than ``FEWEST_PAIRS`` pairs.
    """
    n = preferred.shape[0]
    if n < FEWEST_PAIRS:
        return None
    log_ratio = np.log((length + 1.0) / (other_length + 1.0))
    design = np.column_stack([np.ones(n), np.tanh(log_ratio)])
    precision = np.diag(1.0 / np.square(PRIOR_DEVIATION))
    theta = np.zeros(2)
    information = precision
    for _ in range(_STEPS):
        mean = expit(design @ theta)
        # A step of a logistic fit may overshoot only where weights vanish; priors and tanh keep them away from that.
        information = (design * (mean * (1.0 - mean))[:, None]).T @ design + precision
        step = np.linalg.solve(information, design.T @ (preferred - mean) - precision @ theta)
        theta = theta + step
        if float(np.abs(step).max()) < _ENOUGH:
            break
    # Ties vary less than the binomial that this allows for, so that the interval is rather too wide.
    deviation = math.sqrt(float(np.linalg.inv(information)[0, 0]))
    reach = float(stdtrit(n - 2.0, LEVEL)) * deviation
    low, rate, high = (float(expit(theta[0] + shift)) for shift in (-reach, 0.0, reach))
    return EqualLength(
        rate=rate,
        low=low,
        high=high,
        raw=float(preferred.mean()),
        slope=float(theta[1]),
        pairs=n,
        typical_ratio=float(math.exp(np.median(log_ratio))),
    )
