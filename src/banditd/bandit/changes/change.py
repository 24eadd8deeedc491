"""Has an arm changed? Tests on one arm's rewards, one at a time. No evidence is kept or discounted here.

``ResidualTest`` compares each reward with what was predicted of it; ``ReturnTest`` asks, of an arm that changed,
whether its rewards are again what they were before. ``arm_changes.py`` acts on the results.

The standardised residual of a reward is

    z = (reward - mean) / sqrt(noise + variance),  cut off at +-3, less what the residuals of all arms have in
    common of late: where all arms do worse, the queries are harder and no arm has changed.

Under a model that fits, predictions are made before the reward is seen, so the z are uncorrelated and of variance
one. Rewards in [0, 1] are not Gaussian though, and a model never fits quite. So the test is a bank of CUSUMs
(Page 1954) on the exponentially tilted residuals: for a tilt t

    S_t <- max(0, S_t + t (-z) - psi(t) - t k),  psi(t) = log E exp(t (E z - z)),  alarm when some S_t >= h,

downwards, and with z for -z upwards. exp(S) does not grow on average as long as nothing changes (and predictions are
at most k wrong), whatever the shape of the residuals, so the mean time to a false alarm is of the order of exp(h)
rewards (Lorden 1971). psi is estimated from the arm's own residuals, beginning with that of a Gaussian; about their
mean, lest a change that comes slowly be learned as their shape. The tilt 1/2 with a Gaussian psi is
the CUSUM with k = 1/4 at h / t = 2 h; the tilts besides it find large and small drops sooner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from banditd.core.types import FloatArray

Direction = Literal["down", "up"]
DIRECTIONS: Final[tuple[Direction, Direction]] = ("down", "up")

TILTS: Final = (0.25, 0.5, 1.0)
TOLERANCE: Final = 0.10  # k: standard deviations by which predictions may be wrong for long
ALARM: Final = 11.0  # h, in nats
SUSPICION: Final = 4.0  # from here on new rewards are kept apart, in case it becomes an alarm
CLEARED: Final = 2.0  # and below this they no longer need be
CUT: Final = 3.0  # standard deviations that one reward can say at most
LEAST_REWARDS: Final = 30  # of an arm before it is tested: the first predictions are the prior's
SHAPE_WORTH: Final = 30.0  # rewards that the Gaussian shape is worth
SHAPE_MEMORY: Final = 1000.0  # rewards over which the shape is learned
POOL_MEMORY: Final = 30.0  # rewards, of all arms, over which "of late" reaches
POOL_WORTH: Final = 3.0  # rewards that "nothing in common" is worth
POOL_LEAST: Final = 3.0  # rewards of an arm, of late, below which it has no say
COMMON_SHARE: Final = 0.5  # of an arm's recent residuals; more than that in common, and it is not the arm's change

# Of every direction and tilt: the signed tilt, and what the Gaussian shape puts into the moment of exp(tilt z).
_CELLS: Final = tuple((sign * t, SHAPE_WORTH * math.exp(0.5 * t * t)) for sign in (-1.0, 1.0) for t in TILTS)
_NOTHING: Final = (0.0, 0.0, 0.0)
_SHAPE_FADE: Final = 1.0 - 1.0 / SHAPE_MEMORY
_POOL_FADE: Final = 1.0 - 1.0 / POOL_MEMORY

RETURNED: Final = 6.9  # log-odds (1 : 1000) at which an arm is back
RETURN_CUT: Final = 3.0  # log-odds that one reward can add at most
ALIKE_REWARDS: Final = 50  # rewards after an alarm that lie around the old level: it was none
ALIKE_WITHIN: Final = 0.15  # standard deviations


def residual(reward: float, mean: float, variance: float) -> float:
    """Standardised and cut off, in [-CUT, CUT]. variance : of the reward around ``mean``, > 0."""
    return max(-CUT, min(CUT, (reward - mean) / math.sqrt(variance)))


@dataclass(frozen=True, slots=True)
class Finding:
    """Of an alarm. old, new : mean predicted and mean received over the ``rewards`` since it began."""

    direction: Direction
    old: float
    new: float
    rewards: int


class ResidualTest:
    """The two-sided test of one arm. ``rewards`` : seen since it (re)started.

    ``pool`` : faded sum of its residuals and their number. Plain numbers: six cells are too few for arrays to pay.
    """

    __slots__ = ("_excursion", "_moments", "_statistic", "_sum", "pool", "rewards")

    def __init__(self) -> None:
        self.rewards = 0.0
        self.pool = [0.0, 0.0]
        self._statistic = [0.0] * len(_CELLS)
        self._moments = [0.0] * len(_CELLS)  # sums of exp(-+ t z)
        self._sum = 0.0  # of z
        # Since each statistic left zero: rewards, their sum, the sum of their predictions.
        self._excursion = [_NOTHING] * len(_CELLS)

    @property
    def recent(self) -> float:
        """Mean of its recent residuals, shrunk towards zero."""
        return self.pool[0] / (self.pool[1] + POOL_WORTH)

    def fade(self) -> None:
        """A reward of the pool has come: what this arm said of late is a little older."""
        self.pool[0] *= _POOL_FADE
        self.pool[1] *= _POOL_FADE

    def say(self, z: float) -> None:
        """Put a residual of this arm into the pool."""
        self.pool[0] += z
        self.pool[1] += 1.0

    def add(self, z: float, reward: float, mean: float, common: float = 0.0) -> Finding | None:
        """Take one residual. The finding, if it is an alarm.

        common : what the pool has in common (``common_part``), taken off; an alarm that it explains by half is none.
        """
        z -= common
        self._take(z, reward, mean)
        highest = max(self._statistic)
        if highest < ALARM:
            return None
        if abs(common) > COMMON_SHARE * abs(self.recent):
            self._statistic = [0.0] * len(_CELLS)
            return None
        cell = self._statistic.index(highest)
        n, received, predicted = self._excursion[cell]
        return Finding(DIRECTIONS[cell // len(TILTS)], predicted / n, received / n, int(n))

    def _take(self, z: float, reward: float, mean: float) -> None:
        known = min(self.rewards, SHAPE_MEMORY) + SHAPE_WORTH
        centre = self._sum / known
        fading = _SHAPE_FADE if self.rewards >= SHAPE_MEMORY else 1.0
        statistic, moments, excursion = self._statistic, self._moments, self._excursion
        for i, (tilt, gaussian) in enumerate(_CELLS):
            tilted = tilt * z
            if self.rewards >= LEAST_REWARDS:
                shape = math.log((moments[i] + gaussian) / known) - tilt * centre
                height = statistic[i] + tilted - shape - TOLERANCE * abs(tilt)
                if height > 0.0:
                    n, received, predicted = excursion[i]
                    statistic[i], excursion[i] = height, (n + 1.0, received + reward, predicted + mean)
                else:
                    statistic[i], excursion[i] = 0.0, _NOTHING
            moments[i] = fading * moments[i] + math.exp(tilted)
        self._sum = fading * self._sum + z
        self.rewards += 1.0

    @property
    def height(self) -> float:
        """The larger of both directions' statistics, in nats."""
        return max(self._statistic)

    def restart(self) -> None:
        """Forget everything but the part in the pool."""
        pool = self.pool
        self.__init__()  # type: ignore[misc]  # a fresh test
        self.pool = pool

    def to_list(self) -> list[Any]:
        """As JSON can hold it, cells by direction and tilt."""
        cells = (self._statistic, self._moments, self._excursion)
        return [self.rewards, self._sum, list(self.pool), *(_by_direction(values) for values in cells)]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> ResidualTest:
        """Inverse of ``to_list``."""
        test = cls()
        test.rewards, test._sum, test.pool = float(values[0]), float(values[1]), [float(v) for v in values[2]]
        down, up = values[3]
        test._statistic = [float(v) for v in [*down, *up]]
        down, up = values[4]
        test._moments = [float(v) for v in [*down, *up]]
        down, up = values[5]
        test._excursion = [(float(n), float(received), float(mean)) for n, received, mean in [*down, *up]]
        return test


def _by_direction(cells: Sequence[Any]) -> list[list[Any]]:
    return [list(cells[: len(TILTS)]), list(cells[len(TILTS) :])]


def common_part(tests: Iterable[ResidualTest]) -> float:
    """What the recent residuals of all arms have in common: their mean nearest to zero, if all have one sign.

    An arm that changed alone is not in common with the others; where one of them is as ever, it is zero.
    """
    means = [test.recent for test in tests if test.pool[1] >= POOL_LEAST]
    if len(means) < 2 or min(means) < 0.0 < max(means):
        return 0.0
    return float(min(means, key=abs))


class ReturnTest:
    """Sequential test, reward by reward, of "back at the old level" against "as it is now".

    Wald's (1945) log-odds, started anew whenever they fall below zero, since the return may come at any time.
    coefficients : float64 (d,), the arm's expected reward on x was ``centre x[0] + x'coefficients`` before the
    alarm. noise : variance of its rewards around that, > 0.
    """

    __slots__ = ("_distance", "centre", "coefficients", "log_odds", "noise", "rewards")

    def __init__(self, coefficients: FloatArray, centre: float, noise: float) -> None:
        self.coefficients = coefficients
        self.centre = centre
        self.noise = noise
        self.log_odds = 0.0
        self.rewards = 0
        self._distance = 0.0

    def add(self, x: FloatArray, reward: float, mean: float, variance: float) -> bool:
        """Whether the arm is back. mean, variance : of the reward as predicted now (float, variance > 0)."""
        old = self.centre * float(x[0]) + float(x @ self.coefficients)
        from_old = (reward - old) ** 2 / self.noise
        from_now = (reward - mean) ** 2 / variance
        step = 0.5 * (from_now - from_old + math.log(variance / self.noise))
        self.log_odds = max(0.0, self.log_odds + max(-RETURN_CUT, min(RETURN_CUT, step)))
        self.rewards += 1
        self._distance += residual(reward, old, self.noise)
        alike = self.rewards >= ALIKE_REWARDS and abs(self._distance) < ALIKE_WITHIN * self.rewards
        return self.log_odds >= RETURNED or alike

    def to_list(self) -> list[Any]:
        return [
            self.coefficients.tolist(),
            self.centre,
            self.noise,
            self.log_odds,
            self.rewards,
            self._distance,
        ]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> ReturnTest:
        """Inverse of ``to_list``."""
        test = cls(np.array(values[0], dtype=float), float(values[1]), float(values[2]))
        test.log_odds, test.rewards, test._distance = float(values[3]), int(values[4]), float(values[5])
        return test
