"""How many rewards have been folded, and whether the scales are due for another fit to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FIRST_TUNING: Final = 20  # rewards before the evidence is first asked
TUNING_GROWTH: Final = 1.2  # and then at every growth of their number by this factor


class RewardCounts:
    """decisions : net number of rewarded decisions, by which evidence ages. others : of rewards of arms that did not
    serve: they are rewards to a fit, and no decisions.
    """

    def __init__(self) -> None:
        self.decisions = self.others = 0
        self._tuned_at = 0  # rewards at the last fit
        self._unfitted = 0  # folds that the last fit did not see, corrections too
        self._fitting = (0, 0)  # what the fit under way sees more than the last: rewards, folds

    def add(self, net: int, *, served: bool) -> None:
        """Count a fold: 1 for a reward, -1 for one that is taken out."""
        self._unfitted += 1
        if served:
            self.decisions += net
        else:
            self.others += net

    def fit_due(self, *, requested: bool) -> bool:
        """Have enough rewards come since the last fit? Where one is ``requested``, any that it did not see are."""
        grown = 0 if requested and self._unfitted else int(self._tuned_at * TUNING_GROWTH)
        return self.decisions + self.others >= max(FIRST_TUNING, grown)

    def begin_fit(self) -> None:
        """What has been counted until now is what the fit sees."""
        self._fitting = (self.decisions + self.others - self._tuned_at, self._unfitted)

    def end_fit(self) -> None:
        """The fit that was begun last is adopted."""
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
        """Take over what ``to_dict`` gave, of an older release too."""
        self.decisions, self._tuned_at = int(counters["folded"]), int(counters["tuned_at"])
        self.others = int(counters.get("others", 0))
        self._unfitted = int(counters.get("unfitted", max(self.decisions - self._tuned_at, 0)))
