"""Whether importance weights carry an estimate at all: a few heavy rounds are not a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from banditd.core.types import FloatArray

FEWEST_EFFECTIVE: Final = 200.0
LARGEST_SHARE: Final = 0.10


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
