"""Hold an arm's share of the calls by a price of its calls: it answers where it gains most. No clock, no I/O.

The price is a threshold on the predicted gain over the other arms, calibrated on the recent decisions so that the
share of them above it is the one wanted, less what exploration calls. A share is a budget in calls, not in dollars:
``pacer.py`` solves it. With two arms this is what RouteLLM calibrates once and offline (Ong et al. 2024).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from banditd.budget.pacer import Pacer
from banditd.core.types import FloatArray

MOST: Final = 1.0
"""Rewards lie in [0, 1], so no call gains more. A policy that does not weigh utility would drive it up for ever."""


class SharePacer:
    """One arm's share of the decisions, in (0, 1], held in the mean.

    Raises
    ------
    ConfigurationError : a share that is not positive.
    """

    def __init__(self, share: float) -> None:
        self._pacer = Pacer(share)

    @property
    def price(self) -> float:
        """What a call takes off the arm's utility at the next decision, in [0, 1]."""
        return min(self._pacer.price_per_usd, MOST)

    def retarget(self, share: float) -> None:
        """Hold another share from now on."""
        self._pacer.retarget(share)

    def observe(self, utility: FloatArray, at: int, probability: FloatArray) -> None:
        """Learn what kind of decisions come.

        Parameters
        ----------
        utility : float64, shape (n,), of the arms that might answer, without this price. at : the arm among them.
        probability : float64, shape (n,), that each was drawn from.
        """
        calls = np.zeros(utility.shape)
        calls[at] = 1.0
        self._pacer.observe(utility, calls, probability=probability)

    def count(self, *, called: bool) -> None:
        """Account for a decision just drawn."""
        self._pacer.reserve(float(called))

    def take_back(self, *, called: bool) -> None:
        """Undo ``count`` of a decision that was not committed."""
        self._pacer.owe(self._pacer.budget_usd - float(called))
