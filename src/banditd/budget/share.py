"""Keeps an arm's share of the calls by a price per call, so that it answers where it gains most. No clock, no I/O.

The price is a threshold on the predicted gain over the other arms. It is calibrated on the recent decisions so that
the wanted share of them, less the calls of exploration, is above it. A share is a budget in calls instead of dollars,
and ``pacer.py`` solves it. With two arms this is what RouteLLM calibrates once and offline (Ong et al. 2024).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from banditd.budget.pacer import Pacer
from banditd.core.types import FloatArray

MOST: Final = 1.0
"""Upper bound of the price: with rewards in [0, 1] no call gains more.

Without it, a policy that ignores utility would raise the price for ever.
"""


class SharePacer:
    """Keeps one arm's mean share of the decisions, in (0, 1].

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
        """Learn what decisions come.

        Parameters
        ----------
        utility : float64, shape (n,), of the arms that could answer, without this price. at : index of the arm among
        them.
        probability : float64, shape (n,), that was drawn from.
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
