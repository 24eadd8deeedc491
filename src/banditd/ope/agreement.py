"""Whether people contradict a judge: it scores what they call bad higher than what they call good. Pure.

Each answer that people call good is compared with one that they call bad. While the judge scores the good ones at
least as high, a stake times (1 - bet x difference) does not grow in the mean. So it reaches ``1 / ALPHA`` with a
chance of ``ALPHA`` at most, however often one looks. A judge that knows nothing is not contradicted: it is noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from banditd.ope.favour import FIRM_BET, MAX_WAITING, PRIOR_DIFFERENCE, PRIOR_POWER, LabelledScore

ALPHA: Final = 0.01
GOOD: Final = 0.75
BAD: Final = 0.25
"""Labels between the two say neither."""
_LARGEST_LOSS: Final = 0.9


class AgreementTest:
    """Takes labelled scores one by one; ``contradicted_after`` is set to how many at the first time, and stays."""

    def __init__(self) -> None:
        self.labels = 0
        self.contradicted_after: int | None = None
        self._good: list[float] = []
        self._bad: list[float] = []
        self._stakes = [0.0, 0.0]  # logarithms: of the firm bet, and of one that follows what was seen
        self._difference = 0.0
        self._power = 0.0

    def add(self, one: LabelledScore) -> None:
        """Add an answer and look."""
        self.labels += 1
        if BAD < one.label < GOOD:
            return
        same_side, others = (self._good, self._bad) if one.label >= GOOD else (self._bad, self._good)
        if not others:
            if len(same_side) < MAX_WAITING:
                same_side.append(one.score)
            return
        other = others.pop(0)
        difference = one.score - other if one.label >= GOOD else other - one.score
        following = max((PRIOR_DIFFERENCE - self._difference) / (self._power + PRIOR_POWER), 0.0)
        for i, bet in enumerate((FIRM_BET, min(following, _LARGEST_LOSS))):
            self._stakes[i] += math.log1p(-bet * difference)
        self._difference += difference
        self._power += difference * difference
        largest = max(self._stakes)
        stake = largest + math.log(sum(math.exp(one - largest) for one in self._stakes) / len(self._stakes))
        if self.contradicted_after is None and stake >= -math.log(ALPHA):
            self.contradicted_after = self.labels


def agreement_of(scores: Iterable[LabelledScore]) -> AgreementTest:
    """The test after all these, in their order."""
    test = AgreementTest()
    for one in scores:
        test.add(one)
    return test
