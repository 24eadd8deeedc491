"""Has an arm changed? Tests on one arm's rewards, one at a time. No evidence is kept or discounted here.

``ResidualTest`` compares each reward with what was predicted of it; ``ReturnTest`` asks, of an arm that changed,
whether its rewards are again what they were before. ``regimes.py`` acts on the answers.

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

TILTS: Final = np.array([0.25, 0.5, 1.0])
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
    """The two-sided test of one arm. ``rewards`` : seen since it (re)started."""

    __slots__ = ("_excursion", "_moments", "_statistic", "_sum", "pool", "rewards")

    def __init__(self) -> None:
        self.rewards = 0.0
        self.pool = np.zeros(2)  # faded sum of residuals and their number, of this arm alone
        self._statistic = np.zeros((2, TILTS.size))
        self._moments = np.zeros((2, TILTS.size))  # sums of exp(-+ t z)
        self._sum = 0.0  # of z
        # Since each statistic left zero: rewards, their sum, the sum of their predictions.
        self._excursion = np.zeros((2, TILTS.size, 3))

    @property
    def lately(self) -> float:
        """Mean of its recent residuals, shrunk towards zero."""
        return float(self.pool[0] / (self.pool[1] + POOL_WORTH))

    def add(self, z: float, reward: float, mean: float, common: float = 0.0) -> Finding | None:
        """Take one residual. The finding, if it is an alarm.

        common : what the pool has in common (``common_part``), taken off; an alarm that it explains by half is none.
        """
        z -= common
        signed = np.array([[-z], [z]]) * TILTS
        known = min(self.rewards, SHAPE_MEMORY)
        shape = np.log((self._moments + SHAPE_WORTH * np.exp(0.5 * TILTS**2)) / (known + SHAPE_WORTH))
        shape += np.array([[1.0], [-1.0]]) * TILTS * self._sum / (known + SHAPE_WORTH)
        if self.rewards >= LEAST_REWARDS:
            self._statistic = np.maximum(0.0, self._statistic + signed - shape - TOLERANCE * TILTS)
            going = self._statistic[:, :, None] > 0.0
            self._excursion = np.where(going, self._excursion + np.array([1.0, reward, mean]), 0.0)
        if self.rewards >= SHAPE_MEMORY:
            self._moments *= 1.0 - 1.0 / SHAPE_MEMORY
            self._sum *= 1.0 - 1.0 / SHAPE_MEMORY
        self._moments += np.exp(signed)
        self._sum += z
        self.rewards += 1.0
        side, tilt = divmod(int(self._statistic.argmax()), TILTS.size)
        if self._statistic[side, tilt] < ALARM:
            return None
        if abs(common) > COMMON_SHARE * abs(self.lately):
            self._statistic[:] = 0.0
            return None
        n, received, predicted = self._excursion[side, tilt]
        return Finding(DIRECTIONS[side], float(predicted / n), float(received / n), int(n))

    @property
    def height(self) -> float:
        """The larger of both directions' statistics, in nats."""
        return float(self._statistic.max())

    def restart(self) -> None:
        """Forget everything but the part in the pool."""
        pool = self.pool
        self.__init__()  # type: ignore[misc]  # a fresh test
        self.pool = pool

    def to_list(self) -> list[Any]:
        return [
            self.rewards,
            self._sum,
            self.pool.tolist(),
            self._statistic.tolist(),
            self._moments.tolist(),
            self._excursion.tolist(),
        ]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> ResidualTest:
        """Inverse of ``to_list``."""
        test = cls()
        test.rewards, test._sum = float(values[0]), float(values[1])
        test.pool, test._statistic, test._moments, test._excursion = (np.array(v, dtype=float) for v in values[2:])
        return test


def common_part(tests: Iterable[ResidualTest]) -> float:
    """What the recent residuals of all arms have in common: their mean nearest to zero, if all have one sign.

    An arm that changed alone is not in common with the others; where one of them is as ever, it is zero.
    """
    means = [test.lately for test in tests if test.pool[1] >= POOL_LEAST]
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
