"""How much something grows, with the error of that: straight lines through means of batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import t

_BATCHES: Final = 10
FEWEST: Final = _BATCHES
"""A trend needs so many values."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Of values in their order.

    mean : of all. growth : of the line from the first value to the last, in their unit. error : half of the 95 %
    interval of the growth.
    """

    mean: float
    growth: float
    error: float

    def share(self, growth: float) -> float:
        """That growth as a percentage of the mean; 0 of nothing."""
        return 100.0 * growth / self.mean if self.mean else 0.0


def trend(values: Sequence[float]) -> Trend:
    """The line through values at even distances.

    Neighbours resemble each other (memory that is not given back stays), so that an error from single values would be
    far too small: it is that of the line through the means of ten batches.

    Raises ValueError : fewer than ten values.
    """
    if len(values) < FEWEST:
        raise ValueError(f"a trend needs {FEWEST} values, here are {len(values)}")
    batches = np.array_split(np.asarray(values, dtype=float), _BATCHES)
    means = np.array([batch.mean() for batch in batches])
    ends = np.cumsum([len(batch) for batch in batches])
    middles = (ends - np.array([len(batch) for batch in batches]) / 2) / len(values)  # the whole is 1 long
    centred = middles - middles.mean()
    spread = float(centred @ centred)
    slope = float(centred @ means) / spread
    left = means - means.mean() - slope * centred
    deviation = float(np.sqrt(left @ left / (_BATCHES - 2) / spread))
    return Trend(float(np.mean(values)), slope, float(t.ppf(0.975, _BATCHES - 2)) * deviation)
