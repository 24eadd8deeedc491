"""Amounts that multiply (cost, output tokens, latency) predicted from a query's context, per arm. No clock, no I/O.

The logarithm of an amount over what was assumed for it is linear in the context, with slopes that the arms share and
small deviations of each arm:

    log(amount / assumed) = x . (beta + delta_a) + e,    beta ~ N(0, V0), delta_a ~ N(0, V1), e ~ N(0, s2_a)

so that what is learned of long answers on one arm is known of all. An arm's mean amount is

    E[amount | x] = assumed exp(x . theta_a + s2_a / 2) r_a

where r_a, the sum of the amounts over the sum of their predictions at the time, makes means right where residuals
are not normal (a ratio form of Duan's 1983 smearing); budgets are held in means, not in medians.

Everything learned is additive sums per arm (``LogSums``): order does not matter but for r_a, whose
predictions are those of the moment. Bayesian linear regression: Bishop 2006, section 3.3.

``fit`` survives wrong amounts: of every arm's amounts a few (``WILD`` and ``WILD_SHARE``) may be anything. Where
those lie far from the rest they weigh next to nothing, and one alone moves a prediction by a bounded factor however
large it is; what more than a few say is believed, be it ever so far. Weights as in M-estimators: Huber 1981, ch. 7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from banditd.core.errors import ConfigurationError, InvalidInputError
from banditd.core.types import FloatArray, IntArray

SHARED_VARIANCE: Final = 0.25  # of a shared slope: contexts change amounts by a factor of about e^0.5
OWN_VARIANCE: Final = 0.05  # of an arm's deviation from the shared slope
SHARED_LEVEL: Final = 0.25  # variance of the level that all arms share, since assumptions are often all too low
OWN_LEVEL: Final = 0.5  # variance of an arm's own level: assumptions are right within a factor of two
NOISE: Final = 0.5  # prior variance of a residual ...
NOISE_WORTH: Final = 10.0  # ... and the number of amounts it is worth
RATIO_WORTH: Final = 10.0  # number of amounts that the prior r_a = 1 is worth
MEMORY: Final = 200.0  # amounts of an arm over which r_a is averaged, so that it follows what the slopes miss
SMALLEST: Final = 1e-4  # smaller ratios of amount to assumption are raised to this: a free call has no logarithm
WILD: Final = 2  # number of an arm's amounts that may be arbitrary,
WILD_SHARE: Final = 0.05  # plus this share of them
NEAR: Final = 1.5  # standard deviations within which an amount has its full weight
FAR: Final = 3.0  # standard deviations up to which it enters r_a unchanged
BEYOND: Final = 4.0 / 3.0  # times FAR: amounts further away are left out of a mean
LEAST_DEVIATION: Final = 0.5  # least standard deviation of a logarithm when judging outliers
_PASSES: Final = 30
REFIT_GROWTH: Final = 1.05  # sums are solved again when their number has grown by this factor


@dataclass(slots=True, eq=False)
class LogSums:
    """Sums for one arm: gram (d, d), xy (d,), yy of y = log(amount / assumed); n amounts of total ``weight``.

    actual, expected : amounts and their predictions without r_a, relative to the assumption; they fade with
    ``MEMORY``.
    """

    gram: FloatArray
    xy: FloatArray
    yy: float = 0.0
    n: float = 0.0
    weight: float = 0.0
    actual: float = 0.0
    expected: float = 0.0

    @classmethod
    def empty(cls, n_features: int) -> LogSums:
        return cls(np.zeros((n_features, n_features)), np.zeros(n_features))

    def add(self, x: FloatArray, y: float) -> None:
        self.gram += np.outer(x, x)
        self.xy += x * y
        self.yy += y * y
        self.n += 1.0
        self.weight += 1.0

    def plus(self, x: FloatArray, y: FloatArray, weight: FloatArray) -> LogSums:
        """These sums plus n more amounts: x (n, d), y (n,), weight (n,) in (0, 1]."""
        weighted = x * weight[:, None]
        return replace(
            self,
            gram=self.gram + weighted.T @ x,
            xy=self.xy + weighted.T @ y,
            yy=self.yy + float(weight @ (y * y)),
            n=self.n + y.shape[0],
            weight=self.weight + float(weight.sum()),
        )


class LogLinear:
    """The amounts of K arms.

    Parameters
    ----------
    n_features : of a context; column 0 is the bias (always 1).
    n_arms : K; one without amounts is predicted by what all share.
    """

    def __init__(self, n_features: int, n_arms: int) -> None:
        if n_features < 1 or n_arms < 0:
            raise ConfigurationError("A log-linear model needs a bias column and a number of arms.")
        self.n_features = n_features
        self.sums = [LogSums.empty(n_features) for _ in range(n_arms)]
        self._shared_precision = np.full(n_features, 1.0 / SHARED_VARIANCE)
        self._shared_precision[0] = 1.0 / SHARED_LEVEL
        self._own_precision = np.full(n_features, 1.0 / OWN_VARIANCE)
        self._own_precision[0] = 1.0 / OWN_LEVEL
        self._theta = np.zeros((n_arms, n_features))
        self._noise = np.full(n_arms, NOISE)
        self._fitted_at = 0.0
        self._learned = 0.0

    @property
    def n_arms(self) -> int:
        return len(self.sums)

    def learn(self, arm: int, x: FloatArray, amount: float, assumed: float = 1.0) -> None:
        """Add one amount. O(d^2), and now and then O(K d^3).

        Parameters
        ----------
        arm : index. x : float64, shape (d,). amount : >= 0. assumed : > 0, what ``predict`` is told for it.

        Raises
        ------
        InvalidInputError : wrong shape, not finite, negative.
        """
        self._check(x, amount, assumed)
        ratio = amount / assumed
        sums = self.sums[arm]
        fade = 1.0 - 1.0 / MEMORY
        sums.actual = fade * sums.actual + ratio
        sums.expected = fade * sums.expected + self._typical(arm, x)
        sums.add(x, float(np.log(max(ratio, SMALLEST))))
        self._learned += 1.0
        if self._learned >= self._fitted_at * REFIT_GROWTH:
            self.refit()

    def _check(self, x: FloatArray, amount: float, assumed: float) -> None:
        if x.shape != (self.n_features,) or not np.isfinite(x).all():
            raise InvalidInputError(f"A context must have {self.n_features} finite features.")
        if not (np.isfinite(amount) and amount >= 0.0 and np.isfinite(assumed) and assumed > 0.0):
            raise InvalidInputError("An amount must be finite and not negative, and its assumed value positive.")

    def fit(self, x: FloatArray, arm: IntArray, amount: FloatArray, assumed: FloatArray | None = None) -> None:
        """Add many amounts at once, oldest first: x (n, d), arm (n,), amount (n,), assumed (n,) or None for ones.

        Unlike ``learn`` it considers them together, so a few may be wrong.
        """
        base = np.ones(amount.shape) if assumed is None else assumed
        for row, value, one in zip(x, amount.tolist(), base.tolist(), strict=True):
            self._check(row, value, one)
        y = np.log(np.maximum(amount / base, SMALLEST))
        members = [np.flatnonzero(arm == index) for index in range(self.n_arms)]
        before = list(self.sums)
        weight = np.ones(y.shape)
        for index, rows in enumerate(members):
            weight[rows] = _weights(y[rows] - x[rows] @ self._theta[index], self._noise[index])
        for _ in range(_PASSES):
            for index, rows in enumerate(members):
                self.sums[index] = before[index].plus(x[rows], y[rows], weight[rows])
            self.refit()
            last = weight.copy()
            for index, rows in enumerate(members):
                # So few amounts may all be wrong, and would still be close to their own fit.
                if self.sums[index].n > WILD:
                    weight[rows] = _weights(y[rows] - x[rows] @ self._theta[index], self._noise[index])
            if np.abs(weight - last).max(initial=0.0) < 1e-2:
                break
        self._learned += y.shape[0]
        self._fitted_at = self._learned
        for index, rows in enumerate(members):
            if rows.size:
                self._smear(index, x[rows], y[rows])

    def _smear(self, index: int, x: FloatArray, y: FloatArray) -> None:
        """Noise and r_a of an arm from its amounts, oldest first; outliers are limited."""
        log_mean = x @ self._theta[index]
        residual = y - log_mean
        far = _far(residual, self._noise[index])
        known = np.abs(residual) <= BEYOND * far
        clipped = np.clip(residual, -far, far)
        own = self.sums[index].n - y.shape[0]  # amounts added before by ``learn``
        rss = float((clipped[known] ** 2).sum()) + own * self._noise[index]
        self._noise[index] = (NOISE_WORTH * NOISE + rss) / (NOISE_WORTH + own + known.sum())
        expected = np.exp(np.clip(log_mean + 0.5 * self._noise[index], -30.0, 30.0))
        actual = np.exp(np.clip(log_mean + clipped, -30.0, 30.0))
        fade = (1.0 - 1.0 / MEMORY) ** np.arange(int(known.sum()))[::-1]
        sums, faded = self.sums[index], (1.0 - 1.0 / MEMORY) ** float(known.sum())
        sums.actual = faded * sums.actual + float(fade @ actual[known])
        sums.expected = faded * sums.expected + float(fade @ expected[known])

    def predict(self, x: FloatArray, assumed: FloatArray | None = None) -> FloatArray:
        """Mean amount of every arm: float64, shape (K,).

        Parameters
        ----------
        x : float64, shape (d,). assumed : float64, shape (K,), or None for ones.
        """
        ratio = np.exp(np.clip(self._theta @ x + 0.5 * self._noise, -30.0, 30.0)) * self._ratios()
        return ratio if assumed is None else ratio * assumed

    def frozen(self) -> tuple[FloatArray, FloatArray]:
        """The parts of ``predict``, for predicting without learning: exponents (K, d) and factors (K,).

        ``predict(x)`` is ``exp(exponents @ x) * factors``, within the bounds of its exponent.
        """
        return self._theta.copy(), np.exp(0.5 * self._noise) * self._ratios()

    def deviation(self, mean: FloatArray) -> FloatArray:
        """Standard deviation of one amount about its mean, (K,) for (K,) means: that of a log-normal variable."""
        spread: FloatArray = mean * np.sqrt(np.expm1(np.minimum(self._noise, 4.0)))
        return spread

    def refit(self) -> None:
        """Solve the sums again; ``learn`` does so itself when there are enough new ones. O(K d^3)."""
        self._fitted_at = self._learned
        k, d = self.n_arms, self.n_features
        if k == 0:
            self._theta, self._noise = np.zeros((0, d)), np.zeros(0)
            return
        self._theta = self._solve()
        rss = np.array([_rss(sums, theta) for sums, theta in zip(self.sums, self._theta, strict=True)])
        n = np.array([sums.weight for sums in self.sums])
        self._noise = (NOISE_WORTH * NOISE + rss) / (NOISE_WORTH + n)

    def _solve(self) -> FloatArray:
        """Posterior means of theta_a = beta + delta_a, float64 (K, d), with the arms' blocks eliminated.

        Given beta, theta_a = A_a^-1 (b_a / s2_a + P_a beta) with A_a = G_a / s2_a + P_a and P_a = V1^-1.
        """
        own = np.diag(self._own_precision)
        joint, right = np.diag(self._shared_precision), np.zeros(self.n_features)
        factors = []
        for sums, noise in zip(self.sums, self._noise, strict=True):
            factor = cho_factor(sums.gram / noise + own, lower=True)
            explained = cho_solve(factor, own)  # A^-1 P
            joint += own - self._own_precision[:, None] * explained
            right += explained.T @ (sums.xy / noise)
            factors.append(factor)
        shared = self._own_precision * np.linalg.solve(joint, right)
        return np.stack(
            [
                cho_solve(factor, sums.xy / noise + shared)
                for factor, sums, noise in zip(factors, self.sums, self._noise, strict=True)
            ]
        )

    def _typical(self, arm: int, x: FloatArray) -> float:
        """Prediction relative to the assumption, without r_a."""
        return float(np.exp(np.clip(self._theta[arm] @ x + 0.5 * self._noise[arm], -30.0, 30.0)))

    def _ratios(self) -> FloatArray:
        """r_a of every arm; the amounts that r_a = 1 is worth are as large as the arm's mean."""
        result = np.ones(self.n_arms)
        for arm, sums in enumerate(self.sums):
            if sums.expected > 0.0:
                n = min(sums.n, MEMORY)
                worth = RATIO_WORTH * sums.expected / max(n, 1.0)
                result[arm] = (sums.actual + worth) / (sums.expected + worth)
        return result


def _rss(sums: LogSums, theta: FloatArray) -> float:
    """Sum of squared residuals, from the sums alone."""
    return max(float(sums.yy - 2.0 * theta @ sums.xy + theta @ sums.gram @ theta), 0.0)


def _far(residual: FloatArray, noise: float) -> float:
    """The distance at which a residual counts as an outlier; most of an arm's amounts never do."""
    wild = WILD + int(WILD_SHARE * residual.shape[0])
    size = np.sort(np.abs(residual))[::-1]
    least = FAR * max(float(np.sqrt(noise)), LEAST_DEVIATION)
    return max(least, float(size[wild])) if size.shape[0] > wild else least


def _weights(residual: FloatArray, noise: float) -> FloatArray:
    """Weights in (0, 1]: 1 near the rest, falling with the square of the distance, so that the pull falls too."""
    near = _far(residual, noise) - (FAR - NEAR) * max(float(np.sqrt(noise)), LEAST_DEVIATION)
    weights: FloatArray = np.minimum(1.0, (near / np.maximum(np.abs(residual), 1e-12)) ** 2)
    return weights
