"""How much more one rule would have earned than another, on a log: one decision at a time. Pure.

Consider a decision whose arms had the logged probabilities p and predicted rewards mu, and that drew arm c, which
earned r. Let q be the candidate's probabilities, b those that it is compared with, and d = q - b. All but r were
fixed before r came, so

    term = sum_a d_a mu_a + d_c / p_c (r - mu_c)

has expectation sum_a d_a R_a, however good mu is (Dudik, Langford and Li 2011). Its variance over the draw is at most
sum_a d_a^2 / p_a times the mean square s2 of the prediction errors of answers. This *design variance* counts arms
that were improbable and so never drawn, which the empirical variance of the terms does not; the larger of both is
used. s2 is the mean over the drawn answers, weighted by |d_c| / p_c, with two pseudo-residuals of 1/4.

Where p_a is 0 the log says nothing about the arm: its reward may be anything in [0, 1], and both ends of the interval
account for that. And since rewards are in [0, 1], the difference cannot exceed the share of decisions that would be
answered differently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import stdtrit

from banditd.core.types import FloatArray, IntArray

LEAST_FREEDOM: Final = 4.0  # least degrees of freedom: with few answers s2 comes from the large pseudo-residuals
ALPHA: Final = 0.05
FEWEST_ANYTIME: Final = 500  # decisions at which the anytime-valid interval begins
_TUNED_FOR: Final = 1000.0  # decisions at which that interval is narrowest
_PSEUDO_POWER: Final = 0.5  # of two residuals of 1/2, as if two answers had been fair coins
_PSEUDO: Final = 2.0

FIELDS: Final = (
    "rated", "term", "design", "empirical", "differing", "weight", "weight_square", "weighted_power", "favoured",
    "favoured_square", "inverse", "uncovered_less", "uncovered_more", "value", "other_value", "cost_usd",
    "other_cost_usd", "distance",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """n logged decisions over K arms.

    logged, wanted, other : float64 (n, K), the probabilities p, q and b.
    mean : float64 (n, K), predicted rewards, 0 where p is 0.
    drawn : intp (n,), the arm, -1 if it is not among the K. reward : float64 (n,), in [0, 1].
    predicted : float64 (n,), of the drawn arm.
    cost_usd : float64 (n, K).
    """

    logged: FloatArray
    wanted: FloatArray
    other: FloatArray
    mean: FloatArray
    drawn: IntArray
    reward: FloatArray
    predicted: FloatArray
    cost_usd: FloatArray


def difference_terms(one: Compared) -> FloatArray:
    """Each decision's terms in the order of ``FIELDS``: float64 (n, len(FIELDS))."""
    n = one.drawn.shape[0]
    row, seen = np.arange(n), one.drawn >= 0
    at = np.where(seen, one.drawn, 0)
    able = one.logged > 0.0
    safe = np.where(able, one.logged, 1.0)
    d = one.wanted - one.other
    covered = np.where(able, d, 0.0)
    weight = np.where(seen, covered[row, at] / safe[row, at], 0.0)
    own = np.where(seen & able[row, at], one.wanted[row, at] / safe[row, at], 0.0)
    residual = one.reward - one.predicted
    other = np.where(seen & able[row, at], one.other[row, at] / safe[row, at], 0.0)
    favoured = np.maximum(weight, 0.0)
    heavy = np.abs(weight)
    columns = (
        np.ones(n),
        (covered * one.mean).sum(1) + weight * residual,
        (covered * covered / safe).sum(1),
        weight * weight * residual * residual,
        differing_share(d),
        heavy,
        heavy * heavy,
        heavy * residual * residual,
        favoured,
        favoured * favoured,
        np.where(able, one.wanted * one.wanted / safe, 0.0).sum(1),
        np.minimum(np.where(able, 0.0, d), 0.0).sum(1),
        np.maximum(np.where(able, 0.0, d), 0.0).sum(1),
        (np.where(able, one.wanted, 0.0) * one.mean).sum(1) + own * residual,
        (np.where(able, one.other, 0.0) * one.mean).sum(1) + other * residual,
        (one.wanted * one.cost_usd).sum(1),
        (one.other * one.cost_usd).sum(1),
        0.5 * np.abs(one.other - one.logged).sum(1),
    )
    return np.stack(columns, axis=1)


def differing_share(difference: FloatArray) -> FloatArray:
    """The share of each decision that is answered differently, in [0, 1]: float64 (n,).

    difference : float64 (n, K), q - b; its rows sum to 0, or to -1 if the candidate answers nothing.
    """
    more, less = np.maximum(difference, 0.0).sum(1), np.maximum(-difference, 0.0).sum(1)
    share: FloatArray = np.maximum(more, less)
    return share


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference and its 95 % interval, both within [-1, 1]."""

    estimate: float
    low: float
    high: float


class DifferenceSums:
    """Sums of terms; additive."""

    def __init__(self, sums: FloatArray | None = None) -> None:
        self._sums = np.zeros(len(FIELDS)) if sums is None else sums

    def add(self, terms: FloatArray) -> None:
        """Terms : float64 (n, len(FIELDS)), of ``difference_terms``."""
        self._sums = self._sums + terms.sum(axis=0)

    def __getitem__(self, name: str) -> float:
        return float(self._sums[FIELDS.index(name)])

    def mean(self, name: str) -> float:
        """Per rated decision; 0 if there is none."""
        return self[name] / self["rated"] if self["rated"] else 0.0

    @property
    def rated(self) -> int:
        return int(self["rated"])

    @property
    def worth(self) -> float:
        """How many answers drawn by the candidate itself the log is worth: n / mean(sum_a q_a^2 / p_a)."""
        inverse = self["inverse"]
        return self["rated"] ** 2 / inverse if inverse > 0.0 else 0.0

    @property
    def behind(self) -> float:
        """Number of drawn answers that support the difference: effective number of answers of favoured arms.

        It is at most what the design is worth.
        """
        square, design = self["favoured_square"], self["design"]
        drawn = self["favoured"] ** 2 / square if square > 0.0 else 0.0
        return min(drawn, self["differing"] ** 2 / design) if design > 0.0 else 0.0

    @property
    def uncovered(self) -> float:
        """Share of the decisions that would be answered differently, by arms that the log could not draw."""
        return self.mean("uncovered_more") - self.mean("uncovered_less")

    def half_width(self, kind: Literal["fixed", "anytime"]) -> float:
        """Half-width of the 95 % interval over what the log covers; infinite before an anytime-valid one has
        begun.
        """
        n = self["rated"]
        if n == 0.0 or self["differing"] == 0.0:
            return 0.0
        error = math.sqrt(max(self._power() * self["design"], self["empirical"])) / n
        if error == 0.0:
            return 0.0
        if kind == "anytime":
            return error * _anytime_quantile(n) if n >= FEWEST_ANYTIME else math.inf
        return error * float(stdtrit(max(self.behind - 1.0, LEAST_FREEDOM), 1.0 - ALPHA / 2.0))

    def interval(self, kind: Literal["fixed", "anytime"]) -> Interval:
        """How much more the candidate earns per decision; the interval includes everything that is unknown."""
        half, most = self.half_width(kind), self.mean("differing")
        estimate = min(max(self.mean("term"), -most), most)
        low = estimate - half + self.mean("uncovered_less")
        high = estimate + half + self.mean("uncovered_more")
        return Interval(estimate, max(low, -most), min(high, most))

    def _power(self) -> float:
        """Mean square of the drawn answers' prediction errors, see the module."""
        square, weight = self["weight_square"], self["weight"]
        if square <= 0.0:
            return _PSEUDO_POWER / _PSEUDO
        counted = weight * weight / square
        return (counted * self["weighted_power"] / weight + _PSEUDO_POWER) / (counted + _PSEUDO)


def _anytime_quantile(n: float) -> float:
    """In standard errors: the asymptotic confidence sequence of Waudby-Smith et al. 2024, theorem 2.2.

    It holds at all n from ``FEWEST_ANYTIME`` on together, and is narrowest at ``_TUNED_FOR``.
    """
    rho2 = (-2.0 * math.log(ALPHA) + math.log(-2.0 * math.log(ALPHA)) + 1.0) / _TUNED_FOR
    grown = n * rho2 + 1.0
    return math.sqrt(2.0 * grown / (n * rho2) * math.log(math.sqrt(grown) / ALPHA))


def answers_missing(n: float, half_width: float, wanted: float) -> int | None:
    """Further rated decisions until the interval has half-width ``wanted``, if things go on as before.

    n : so far. half_width : now. wanted : > 0. None if that cannot be told.
    """
    if not math.isfinite(half_width) or wanted <= 0.0:
        return None
    missing = n * (half_width / wanted) ** 2 - n
    return max(math.ceil(missing), 0) if math.isfinite(missing) else None
