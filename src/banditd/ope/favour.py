"""Whether a judge favours an arm: a test on answers that both the judge and people have scored. Pure.

A judge that is too mild or too strict with everybody changes no choice; one that is milder with one arm moves the
traffic there. So each answer of an arm is compared with answers of the others that have not been compared yet, in two
ways:

* matched: their scores, among answers with the same label of people;
* residual: score less label, whatever the label.

A judge that makes the same mistakes whoever answers shows no difference in the first. (It does in the second where
arms are not equally good, since mistakes pull all of them towards the middle.) Where people make mistakes as well, it
may show one in the first, and then hardly one in the second. Favour shows in both. So the matched comparison is the
test, and the residual one has to agree.

The test bets on the difference: while there is none, the stake times (1 + bet x difference) does not grow in the
mean, whatever the bet, which may follow what was seen before. So the mean of stakes over arms, directions and bets
reaches ``1 / ALPHA`` with a chance of ``ALPHA`` at most, however often one looks (Ville; Waudby-Smith, Ramdas 2024).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

ALPHA: Final = 0.05
"""Chance at most, over all looks together, to refuse a judge that makes the same mistakes for everybody."""
MATTERS: Final = 0.05
"""A favour that is smaller, as far as it is known, is let pass."""
AGREES: Final = 2.0
"""The residual comparison agrees from this stake on: twice what it began with."""
FIRM_BET: Final = 0.5
PRIOR_DIFFERENCE: Final = 1.0  # sums of the differences, and of their squares, that the second bet begins with
PRIOR_POWER: Final = 2.0
LABEL_STEPS: Final = 4  # labels are the same where they are nearest to the same quarter
MAX_WAITING: Final = 64  # answers of one side and label that wait to be compared
_LARGEST_LOSS: Final = 0.9  # of a stake, in one comparison

Direction = Literal["for", "against"]
_DIRECTIONS: Final[tuple[tuple[Direction, float], ...]] = (("for", 1.0), ("against", -1.0))


@dataclass(frozen=True, slots=True)
class LabelledScore:
    """One answer that both have scored. score : the judge's; label : of people; both in [0, 1]."""

    arm: str
    score: float
    label: float


@dataclass(frozen=True, slots=True)
class Favour:
    """A judge is milder (``for``) or stricter (``against``) with an arm than with the others.

    by : how much as far as is known, in rewards, > 0. labels : after how many it was found.
    """

    arm: str
    direction: Direction
    by: float
    labels: int


@dataclass(slots=True)
class _Sums:
    """What was seen under one label.

    arm, others : values of the arm and of the others that wait to be compared; difference, power : sums of the
    differences so far, and of their squares.
    """

    arm: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    difference: float = 0.0
    power: float = 0.0


@dataclass(slots=True)
class _Comparison:
    """One arm's answers against those of all others.

    bound : largest difference that there can be. higher, lower : logarithms of the stakes on the arm being scored
    higher, and lower: of the firm bet, and of one that follows the differences seen under the same label.
    """

    bound: float
    higher: list[float] = field(default_factory=lambda: [0.0, 0.0])
    lower: list[float] = field(default_factory=lambda: [0.0, 0.0])
    labels: dict[int, _Sums] = field(default_factory=dict)
    weight: float = 0.0
    total: float = 0.0

    def add(self, value: float, label: int, *, own: bool) -> None:
        """One answer: compared with the mean of all that wait on the other side, or it waits."""
        sums = self.labels.setdefault(label, _Sums())
        waiting, others = (sums.arm, sums.others) if own else (sums.others, sums.arm)
        if not others:
            if len(waiting) < MAX_WAITING:
                waiting.append(value)
            return
        count = len(others)
        difference = (value - sum(others) / count) * (1.0 if own else -1.0)
        others.clear()
        surer = count / (count + 1.0)  # the more were compared with, the less its variance
        self.weight += surer
        self.total += surer * difference
        for sign, stakes in ((1.0, self.higher), (-1.0, self.lower)):
            following = (sign * sums.difference + PRIOR_DIFFERENCE) / (sums.power + PRIOR_POWER)
            for i, bet in enumerate((FIRM_BET, max(following, 0.0))):
                stakes[i] += math.log1p(min(bet, _LARGEST_LOSS / self.bound) * sign * difference)
        sums.difference += difference
        sums.power += difference * difference

    @property
    def mean(self) -> float:
        """How much higher the arm is scored."""
        return self.total / self.weight if self.weight else 0.0

    def stakes(self, direction: Direction) -> Sequence[float]:
        """Logarithms, by bet."""
        return self.higher if direction == "for" else self.lower


class FavourTest:
    """Takes labelled scores one by one, oldest first. ``found`` is set at the first refusal and stays."""

    def __init__(self) -> None:
        self.labels = 0
        self.found: Favour | None = None
        self._arms: dict[str, tuple[_Comparison, _Comparison]] = {}

    def add(self, one: LabelledScore) -> None:
        """Add an answer and look."""
        self.labels += 1
        self._arms.setdefault(one.arm, (_Comparison(1.0), _Comparison(2.0)))
        label = round(one.label * LABEL_STEPS)
        for arm, (matched, residual) in self._arms.items():
            matched.add(one.score, label, own=arm == one.arm)
            residual.add(one.score - one.label, 0, own=arm == one.arm)
        if self.found is None:
            self.found = self._favour()

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence that some arm is scored otherwise than the others; 0 before any."""
        stakes = [stake for arm, way, _ in self._tests() for stake in self._arms[arm][0].stakes(way)]
        return _mean(stakes) if stakes else 0.0

    def _tests(self) -> list[tuple[str, Direction, float]]:
        arms = list(self._arms)
        if len(arms) == 2:  # one is favoured where the other is not: a single comparison
            arms = arms[:1]
        return [(arm, direction, sign) for arm in arms for direction, sign in _DIRECTIONS]

    def _favour(self) -> Favour | None:
        tests = self._tests()
        if self.log_evidence < -math.log(ALPHA):
            return None
        arm, direction, sign = max(tests, key=lambda test: max(self._arms[test[0]][0].stakes(test[1])))
        matched, residual = self._arms[arm]
        by = sign * matched.mean
        agrees = sign * residual.mean > MATTERS and _mean(residual.stakes(direction)) >= math.log(AGREES)
        if by <= MATTERS or not agrees:
            return None
        if direction == "against" and len(self._arms) == 2:  # said of the one that it favours
            [arm] = set(self._arms) - {arm}
            direction = "for"
        return Favour(arm, direction, by, self.labels)


def favour_among(scores: Iterable[LabelledScore]) -> FavourTest:
    """The test after all these, in their order."""
    test = FavourTest()
    for one in scores:
        test.add(one)
    return test


def _mean(logarithms: Sequence[float]) -> float:
    """Logarithm of the mean of what these are the logarithms of."""
    largest = max(logarithms)
    return largest + math.log(sum(math.exp(one - largest) for one in logarithms) / len(logarithms))
