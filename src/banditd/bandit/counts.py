"""Counts folded rewards, and says when the prior scales should be fitted again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FIRST_TUNING: Final = 20  # rewards before the first fit
TUNING_GROWTH: Final = 1.2  # growth of their number by which the next fit is due


class RewardCounts:
    """decisions : net number of rewarded decisions, by which evidence ages.

    others : rewards of arms that did not serve; they count for a fit but not as decisions.
    """

    def __init__(self) -> None:
        self.decisions = self.others = 0
        self._tuned_at = 0  # rewards at the last fit
        self._unfitted = 0  # folds since the last fit, including corrections
        self._fitting = (0, 0)  # (rewards, folds) that the running fit sees beyond the last one

    def add(self, net: int, *, served: bool) -> None:
        """Count a fold: 1 for a reward, -1 for one that is removed."""
        self._unfitted += 1
        if served:
            self.decisions += net
        else:
            self.others += net

    def fit_due(self, *, requested: bool) -> bool:
        """Whether enough rewards have come since the last fit; if one is ``requested``, whether there are any at
        all.
        """
        grown = 0 if requested and self._unfitted else int(self._tuned_at * TUNING_GROWTH)
        return self.decisions + self.others >= max(FIRST_TUNING, grown)

    def begin_fit(self) -> None:
        """A fit starts that sees everything counted so far."""
        self._fitting = (self.decisions + self.others - self._tuned_at, self._unfitted)

    def end_fit(self) -> None:
        """The fit begun last has been adopted."""
        self._tuned_at, self._unfitted = self._tuned_at + self._fitting[0], self._unfitted - self._fitting[1]
        self._fitting = (0, 0)

    def to_dict(self) -> dict[str, int]:
        return {
            "folded": self.decisions,
            "others": self.others,
            "tuned_at": self._tuned_at,
            "unfitted": self._unfitted,
        }

    def load(self, counters: Mapping[str, Any]) -> None:
        """Load the result of ``to_dict``, also of an older release."""
        self.decisions, self._tuned_at = int(counters["folded"]), int(counters["tuned_at"])
        self.others = int(counters.get("others", 0))
        self._unfitted = int(counters.get("unfitted", max(self.decisions - self._tuned_at, 0)))
