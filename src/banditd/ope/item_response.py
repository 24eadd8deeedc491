"""How able every arm and how difficult every cluster of queries is, on one scale: the Rasch model. Pure.

The mean reward of arm i on cluster c is P = 1 / (1 + exp(-(ability_i - difficulty_c))) (Rasch 1960, Probabilistic
models for some intelligence and attainment tests, chapter 10; Lord 1980, Applications of item response theory,
chapter 2). Rewards in [0, 1] need not be 0 or 1: the likelihood is a quasi-likelihood, with a dispersion (McCullagh
and Nelder 1989, Generalized linear models, chapter 9).

So an arm that was given difficult queries does not look poor, as it would by its mean reward. Only differences
between clusters are accounted for, not those between the queries of one cluster, nor that an arm is good at one kind
and poor at another: ``misfit`` says how much of that there is.

Rewards only determine ability minus difficulty, so the difficulties' mean is set to 0. The priors are on what rewards
determine (abilities about their mean, difficulties about theirs, the distance of the two means), so the choice of
zero does not change them. They are weak; their purpose is that an arm that was always right has a finite ability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, expit

from banditd.core.types import FloatArray
from banditd.ope.fixed import Z

SPREAD_LOGITS: Final = 2.0
"""Prior standard deviation of an ability about the abilities' mean, and of a difficulty about the difficulties'."""
LEVEL_LOGITS: Final = 4.0
"""Prior standard deviation of the mean ability less the mean difficulty."""
_PRIOR_COUNT: Final = 8.0  # pseudo-rewards with the largest dispersion, that of zeros and ones
_LEAST_DISPERSION: Final = 0.01  # because rewards that are all equal do not make the next one certain
_STEPS: Final = 100
_SETTLED: Final = 1e-10  # of the log likelihood


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Rewards per arm and cluster, float64, shape (n_arms, n_clusters) each.

    rewards : how many, >= 0. mean : of them, in [0, 1]; of no reward: anything finite.
    variance : of them about that mean, in [0, 0.25].
    """

    rewards: FloatArray
    mean: FloatArray
    variance: FloatArray


@dataclass(frozen=True, slots=True)
class Level:
    """A mean reward by the model with its 95 % interval, all in [0, 1]."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Misfit:
    """How much the cells differ beyond one number per arm and one per cluster.

    ratio : Pearson's chi-squared of the cells over its degrees of freedom; 1 on average where the model holds.
    p_value : probability of as much by chance, where it holds.
    """

    ratio: float
    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class ItemResponse:
    """The fit for the arms and clusters that can be compared; NaN for the others.

    ability : float64 (n_arms,), logits. difficulty : float64 (n_clusters,), logits, mean 0.
    ability_error, difficulty_error : their standard errors.
    arm_levels, cluster_levels : mean reward of an arm on the traffic of all clusters, and of the average arm on a
    cluster; None for the others.
    misfit : None if there are no more cells than abilities and difficulties.
    """

    ability: FloatArray
    difficulty: FloatArray
    ability_error: FloatArray
    difficulty_error: FloatArray
    arm_levels: tuple[Level | None, ...]
    cluster_levels: tuple[Level | None, ...]
    misfit: Misfit | None


def fit_item_response(cells: Cells, traffic: FloatArray) -> ItemResponse:
    """Abilities and difficulties at the mode of the quasi-posterior, with standard errors from its Hessian there.

    Only arms and clusters that are linked by rewards, directly or through others, can be compared; of several such
    groups the one with the most rewards is used. Costs O(steps (n_arms + n_clusters)^3).

    Parameters
    ----------
    traffic : float64, shape (n_clusters,), >= 0: number of queries in each cluster, for the arms' levels.
    """
    arms, clusters = _linked(cells.rewards)
    n_arms, n_clusters = cells.rewards.shape
    ability, ability_error = np.full((2, n_arms), np.nan)
    difficulty, difficulty_error = np.full((2, n_clusters), np.nan)
    arm_levels: list[Level | None] = [None] * n_arms
    cluster_levels: list[Level | None] = [None] * n_clusters
    if not arms.size:
        return ItemResponse(
            ability, difficulty, ability_error, difficulty_error, tuple(arm_levels), tuple(cluster_levels), None
        )
    part = np.ix_(arms, clusters)
    fit = _fit(Cells(cells.rewards[part], cells.mean[part], cells.variance[part]))
    ability[arms], difficulty[clusters] = fit.ability, fit.difficulty
    errors = np.sqrt(np.maximum(np.diag(fit.covariance), 0.0))
    ability_error[arms], difficulty_error[clusters] = errors[: arms.size], errors[arms.size :]
    share = traffic[clusters] / traffic[clusters].sum() if traffic[clusters].sum() > 0 else None
    even = np.full(arms.size, 1.0 / arms.size)
    for place, arm in enumerate(arms.tolist()):
        weight = np.zeros((arms.size, clusters.size))
        weight[place] = 1.0 / clusters.size if share is None else share
        arm_levels[arm] = fit.level(weight)
    for place, cluster in enumerate(clusters.tolist()):
        weight = np.zeros((arms.size, clusters.size))
        weight[:, place] = even
        cluster_levels[cluster] = fit.level(weight)
    return ItemResponse(
        ability, difficulty, ability_error, difficulty_error, tuple(arm_levels), tuple(cluster_levels), fit.misfit
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """covariance : float64 (n_arms + n_clusters,) squared, of the abilities and then the difficulties."""

    ability: FloatArray
    difficulty: FloatArray
    covariance: FloatArray
    misfit: Misfit | None

    def level(self, weight: FloatArray) -> Level:
        """Weighted mean reward of the cells; weight : (n_arms, n_clusters), sum 1.

        Interval by the delta method, on the scale of logits so that it stays in [0, 1].
        """
        probability = _logistic(self.ability[:, None] - self.difficulty)
        slope = weight * probability * (1.0 - probability)
        gradient = np.concatenate([slope.sum(axis=1), -slope.sum(axis=0)])
        mean = float((weight * probability).sum())
        error = math.sqrt(max(float(gradient @ self.covariance @ gradient), 0.0))
        logit, half = math.log(mean / (1.0 - mean)), Z * error / (mean * (1.0 - mean))
        return Level(mean, float(_logistic(np.array(logit - half))), float(_logistic(np.array(logit + half))))


def _linked(rewards: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the arms and of the clusters of the linked group with the most rewards."""
    seen = rewards > 0
    left, best, most = seen.any(axis=1), (np.zeros(0, np.intp), np.zeros(0, np.intp)), 0.0
    while left.any():
        arms = np.zeros(left.size, np.bool_)
        arms[int(left.argmax())] = True
        clusters = arms @ seen
        while int((wider := seen @ clusters).sum()) > int(arms.sum()):
            arms, clusters = wider, wider @ seen
        left &= ~arms
        total = float(rewards[arms].sum())
        if total > most:
            best, most = (np.flatnonzero(arms), np.flatnonzero(clusters)), total
    return best


def _fit(cells: Cells) -> _Fit:
    n_arms, n_clusters = cells.rewards.shape
    basis, prior = _frame(n_arms, n_clusters)
    values = _mode(cells, basis, prior, 1.0, np.zeros(basis.shape[1]))
    within = _dispersion(cells, _probability(cells, basis, values))
    misfit = _misfit(cells, _probability(cells, basis, values), within)
    # Misfit widens the errors (McCullagh and Nelder 1989, section 4.5).
    scale = within if misfit is None else within * max(1.0, misfit.ratio)
    values = _mode(cells, basis, prior, scale, values)
    probability = _probability(cells, basis, values)
    hessian = basis.T @ (_information(cells.rewards * probability * (1.0 - probability) / scale) + prior) @ basis
    both = basis @ values
    return _Fit(both[:n_arms], both[n_arms:], basis @ np.linalg.inv(hessian) @ basis.T, misfit)


def _frame(n_arms: int, n_clusters: int) -> tuple[FloatArray, FloatArray]:
    """(columns that span all abilities and the difficulties of mean 0, precision matrix of the priors)."""
    arms, clusters = np.ones(n_arms) / n_arms, np.ones(n_clusters) / n_clusters
    size = n_arms + n_clusters
    centred = np.linalg.svd(np.ones((1, n_clusters)))[2][1:].T  # orthonormal, orthogonal to the mean
    basis = np.zeros((size, size - 1))
    basis[:n_arms, :n_arms] = np.eye(n_arms)
    basis[n_arms:, n_arms:] = centred
    level = np.concatenate([arms, -clusters])
    prior = np.outer(level, level) / LEVEL_LOGITS**2
    prior[:n_arms, :n_arms] += (np.eye(n_arms) - 1.0 / n_arms) / SPREAD_LOGITS**2
    prior[n_arms:, n_arms:] += (np.eye(n_clusters) - 1.0 / n_clusters) / SPREAD_LOGITS**2
    return basis, prior


def _mode(cells: Cells, basis: FloatArray, prior: FloatArray, scale: float, start: FloatArray) -> FloatArray:
    """Where the quasi-posterior is highest, in coordinates of the basis, by Newton's method with halved steps.

    It is strictly concave, so there is one such place.
    """
    values, reached = start, _height(cells, basis, prior, scale, start)
    for _ in range(_STEPS):
        probability = _probability(cells, basis, values)
        surprise = cells.rewards * (cells.mean - probability) / scale
        slope = np.concatenate([surprise.sum(axis=1), -surprise.sum(axis=0)]) - prior @ (basis @ values)
        information = _information(cells.rewards * probability * (1.0 - probability) / scale)
        step = np.linalg.solve(basis.T @ (information + prior) @ basis, basis.T @ slope)
        gain = float(step @ (basis.T @ slope))
        length = 1.0
        while (height := _height(cells, basis, prior, scale, values + length * step)) < reached and length > 1e-6:
            length /= 2.0
        if height >= reached:
            values, reached = values + length * step, height
        if gain < _SETTLED:
            break
    return values


def _height(cells: Cells, basis: FloatArray, prior: FloatArray, scale: float, values: FloatArray) -> float:
    """Logarithm of the quasi-posterior, but for a constant."""
    both = basis @ values
    logit = both[: cells.rewards.shape[0], None] - both[cells.rewards.shape[0] :]
    likelihood = (cells.rewards * (cells.mean * logit - np.logaddexp(0.0, logit))).sum() / scale
    return float(likelihood - 0.5 * both @ prior @ both)


def _probability(cells: Cells, basis: FloatArray, values: FloatArray) -> FloatArray:
    both = basis @ values
    return _logistic(both[: cells.rewards.shape[0], None] - both[cells.rewards.shape[0] :])


def _information(weight: FloatArray) -> FloatArray:
    """Fisher information of abilities and difficulties, of cells that weigh so much."""
    return np.block([[np.diag(weight.sum(axis=1)), -weight], [-weight.T, np.diag(weight.sum(axis=0))]])


def _dispersion(cells: Cells, probability: FloatArray) -> float:
    """Variance of rewards of a cell over that of zeros and ones of the same mean, in [0.01, 1]."""
    scatter = (cells.rewards * cells.variance / (probability * (1.0 - probability))).sum()
    spare = np.maximum(cells.rewards - 1.0, 0.0).sum()
    return float(np.clip((_PRIOR_COUNT + scatter) / (_PRIOR_COUNT + spare), _LEAST_DISPERSION, 1.0))


def _misfit(cells: Cells, probability: FloatArray, dispersion: float) -> Misfit | None:
    spare = int((cells.rewards > 0).sum()) - (sum(cells.rewards.shape) - 1)
    if spare <= 0:
        return None
    squares = cells.rewards * (cells.mean - probability) ** 2 / (probability * (1.0 - probability))
    total = float(squares.sum()) / dispersion
    return Misfit(total / spare, float(chdtrc(spare, total)))


def _logistic(logit: FloatArray) -> FloatArray:
    """In (0, 1), also where a float64 would round it to an end."""
    found: FloatArray = np.clip(expit(logit), 1e-12, 1.0 - 1e-12)
    return found
