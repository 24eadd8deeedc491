"""Fit prior scales and noise by the marginal likelihood, from the sums alone. Pure; no pass over any log.

Empirical Bayes by damped steps (MacKay 1992, Bayesian interpolation; Bishop 2006, section 3.5.2):
with gamma_g the number of parameters of group g that the data determine and q_g the sum of squares of
their means, the evidence is stationary where v_g = q_g / gamma_g; the noise where s2 = RSS / (n - gamma).
Each scale also has a weak log-normal prior at its starting value (variance ``HYPER_VARIANCE`` of log v), and
each arm's noise is pulled to the pool's: with little data the starting values stand.

The top alone is not enough for the arms' own scales. While one arm answers nearly everything the evidence says
nothing about them, the top stays at the (small) expected value, and a posterior that took it for certain would
never try another arm elsewhere. So each own variance is averaged over its posterior on a grid (``_averaged``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from banditd.bandit.posterior.hyperparameters import NOISE_START, SMALLEST_SCALE, Hyperparameters, expected_own
from banditd.bandit.posterior.statistics import ArmSums
from banditd.core.errors import InvariantError
from banditd.core.types import FeatureSchema, FloatArray

HYPER_VARIANCE: Final = 9.0  # of log v around its expected value: within a factor 4.5 in sd is usual
NOISE_DOF: Final = 10.0  # rewards that the starting noise is worth, and the pool's noise for an arm
NOISE_BOUNDS: Final = (1e-4, 0.3)
MAX_STEPS: Final = 6  # a refit starts from the last one, so the steps go on next time
SWITCHED_ON: Final = 0.1  # standard deviation from which the second climb starts
TOLERANCE: Final = 0.02  # of the logarithm of any scale
# Standard deviations over which an own scale is averaged: nil for any purpose up to larger than any seen.
AVERAGING_GRID: Final = tuple(float(0.005 * 2.0**i) for i in range(7))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEvidence:
    """Copies of one arm's sums (discounted, over all epochs) and its prior reward."""

    arm: str
    sums: ArmSums
    centre: float
    prior_reward: float
    prior_worth: float


class _Problem:
    """Batched arrays of all arms: gram (K, d, d), xr (K, d) about the centre, rr (K,), n (K,)."""

    def __init__(self, arms: Sequence[ArmEvidence], schema: FeatureSchema) -> None:
        self.schema = schema
        self.gram = np.stack([arm.sums.gram for arm in arms])
        self.xr = np.stack([arm.sums.xr - arm.centre * arm.sums.gram[:, 0] for arm in arms])
        self.rr = np.array([a.sums.wrr - 2 * a.centre * a.sums.wr + a.centre**2 * a.sums.weight for a in arms])
        self.n = np.array([max(arm.sums.n, 0.0) for arm in arms])
        for i, arm in enumerate(arms):
            offset = arm.prior_reward - arm.centre
            self.gram[i, 0, 0] += arm.prior_worth
            self.xr[i, 0] += arm.prior_worth * offset
            self.rr[i] += arm.prior_worth * offset * offset
        self.symmetric = 0.5 * (self.gram + self.gram.transpose(0, 2, 1))


@dataclass(slots=True, eq=False)
class _Fit:
    """Posterior quantities at given scales: everything that a fixed-point step needs."""

    shared_mean: FloatArray  # (d,)
    shared_var: FloatArray  # (d,)
    own_mean: FloatArray  # (K, d) of delta
    own_var: FloatArray  # (K, d)
    rss: FloatArray  # (K,)
    determined: FloatArray  # (K,) parameters that arm's data determine
    log_evidence: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TuningTask:
    """An immutable copy of the sums; ``run`` may be called in any thread."""

    schema: FeatureSchema
    arms: tuple[ArmEvidence, ...]
    current: Hyperparameters
    pooled: bool = True

    def run(self) -> Hyperparameters:
        """Climb from the current values, and from there with contexts switched on; keep the better result.

        The evidence is flat where a scale is nearly zero, so climbing alone would leave a group switched off long
        after the data supports it.
        """
        problem = _Problem(self.arms, self.schema)
        awake = {
            name: value if name == "bias" else max(value, SWITCHED_ON) for name, value in self.current.own.items()
        }
        starts = [self.current]
        if awake != dict(self.current.own):
            starts.append(replace(self.current, own=awake))
        tops = [self._climb(problem, start) for start in starts]
        best, fit, noise = max(tops, key=lambda top: top[1].log_evidence + self._log_prior(top[0]))
        averaged = self._averaged(problem, best, noise) if self.pooled else {}
        return replace(best, log_evidence=fit.log_evidence, averaged=averaged)

    def _averaged(self, problem: _Problem, top: Hyperparameters, noise: FloatArray) -> dict[str, float]:
        """Root mean square of own scales over their posterior given the others, which stay at the top.

        Not of the bias: an arm's first few rewards, wherever they come from, tell it.
        """
        grid = np.array(AVERAGING_GRID)
        averaged = {}
        for name in top.own:
            if name == "bias":
                continue
            heights = np.empty(grid.shape)
            for i, scale in enumerate(AVERAGING_GRID):
                at = replace(top, own={**top.own, name: scale})
                factors = _factors(problem, at, noise, pooled=True, keep=False)
                heights[i] = _log_evidence(problem, noise, factors) + self._log_prior(at)
            weight = np.exp(heights - heights.max())
            averaged[name] = float(np.sqrt(weight @ grid**2 / weight.sum()))
        return averaged

    def _climb(self, problem: _Problem, current: Hyperparameters) -> tuple[Hyperparameters, _Fit, FloatArray]:
        """Damped steps until nothing moves by 2 %, at most ``MAX_STEPS``."""
        start = Hyperparameters.start(self.schema)
        names = [arm.arm for arm in self.arms]
        noise = np.array([current.noise_of(name) for name in names])
        fit = _fit(problem, current, noise, pooled=self.pooled)
        for _ in range(MAX_STEPS):
            own = _step(current.own, expected_own(current.shared), fit.own_mean, fit.own_var, self.schema)
            shared = dict(current.shared)
            if self.pooled:
                mean, variance = fit.shared_mean[None], fit.shared_var[None]
                shared = _step(current.shared, start.shared, mean, variance, self.schema)
            noise, common = _noise_step(problem, fit)
            moved = max(_distance(current.shared, shared), _distance(current.own, own))
            current = Hyperparameters(
                shared=shared, own=own, noise=dict(zip(names, noise.tolist(), strict=True)), common_noise=common
            )
            fit = _fit(problem, current, noise, pooled=self.pooled)
            if moved < TOLERANCE:
                break
        return current, fit, noise

    def _log_prior(self, at: Hyperparameters) -> float:
        """Of the scales, up to a constant."""
        start = Hyperparameters.start(self.schema)
        expected = expected_own(at.shared)
        away = [2.0 * np.log(at.own[name] / expected[name]) for name in at.own]
        away += [2.0 * np.log(at.shared[name] / start.shared[name]) for name in at.shared]
        return -0.5 * float(np.square(away).sum()) / HYPER_VARIANCE

    def log_evidence(self, at: Hyperparameters) -> float:
        """Log marginal likelihood of the rewards at given hyperparameters, in nats."""
        noise = np.array([at.noise_of(arm.arm) for arm in self.arms])
        problem = _Problem(self.arms, self.schema)
        return _log_evidence(problem, noise, _factors(problem, at, noise, pooled=self.pooled, keep=False))


class _Factors(NamedTuple):
    """Cholesky factors and what they give at once. inverse : A_a^-1, lower triangles only, or None."""

    own: FloatArray  # (K, d): A_a^-1 b_a / s2_a
    inverse: FloatArray  # (K, d, d), or (d, d) their sum; lower triangles only
    total: FloatArray  # (d, d) Cholesky factor of the precision of beta; empty for disjoint arms
    pulled: FloatArray  # (d,) sum_a V1^-1 A_a^-1 b_a / s2_a
    shared_mean: FloatArray  # (d,)
    log_determinant: float
    quadratic: float


def _factors(problem: _Problem, at: Hyperparameters, noise: FloatArray, *, pooled: bool, keep: bool) -> _Factors:
    """K + 1 factorisations. keep : every inverse, else only their sum."""
    d = problem.xr.shape[1]
    v1 = at.own_variance(problem.schema)
    diagonal = 1.0 / v1
    pull = problem.xr / noise[:, None]
    own = np.empty_like(pull)
    inverse = np.zeros((len(noise), d, d) if keep else (d, d))
    log_determinant = len(noise) * float(np.log(v1).sum())
    work = np.empty((d, d), order="F")
    for a, gram in enumerate(problem.symmetric):
        np.multiply(gram, 1.0 / noise[a], out=work)
        work.ravel(order="K")[:: d + 1] += diagonal
        factor = _cholesky(work)
        log_determinant += 2.0 * float(np.log(factor.diagonal()).sum())
        own[a] = dpotrs(factor, pull[a], lower=1)[0]
        lower = dpotri(factor, lower=1, overwrite_c=1)[0]
        if keep:
            inverse[a] = lower
        else:
            inverse += lower
    quadratic = float((problem.rr / noise).sum() - (pull * own).sum())
    if not pooled:
        return _Factors(own, inverse, np.zeros((0, 0)), np.zeros(d), np.zeros(d), log_determinant, quadratic)
    v0 = at.shared_variance(problem.schema)
    total = -np.tril(inverse.sum(axis=0) if keep else inverse) / np.multiply.outer(v1, v1)
    total[np.diag_indices(d)] += 1.0 / v0 + len(noise) / v1
    factor = _cholesky(np.asfortranarray(total))
    log_determinant += 2.0 * float(np.log(factor.diagonal()).sum()) + float(np.log(v0).sum())
    pulled = (own / v1).sum(axis=0)
    shared_mean = dpotrs(factor, pulled, lower=1)[0]
    quadratic -= float(pulled @ shared_mean)
    return _Factors(own, inverse, factor, pulled, shared_mean, log_determinant, quadratic)


def _cholesky(matrix: FloatArray) -> FloatArray:
    factor: FloatArray
    factor, info = dpotrf(matrix, lower=1, clean=1)
    if info != 0:
        raise InvariantError("A precision matrix is not positive definite.")
    return factor


def _mirrored(lower: FloatArray) -> FloatArray:
    """Full symmetric matrices from lower triangles, float64 (..., d, d)."""
    lower = np.tril(lower)
    full: FloatArray = lower + np.swapaxes(lower, -1, -2)
    index = np.arange(full.shape[-1])
    full[..., index, index] *= 0.5
    return full


def _fit(problem: _Problem, at: Hyperparameters, noise: FloatArray, *, pooled: bool) -> _Fit:
    """Posterior of beta and every delta_a: K inversions and one batched product, O(K d^3).

    Traces with S_a / s2_a = A_a - V1^-1 are taken through A_a, which leaves only diagonals to compute.
    """
    v1 = at.own_variance(problem.schema)
    d = v1.shape[0]
    factors = _factors(problem, at, noise, pooled=pooled, keep=True)
    inverse = _mirrored(factors.inverse)
    own = factors.own
    own_var = np.diagonal(inverse, axis1=1, axis2=2)
    determined = d - (own_var / v1).sum(axis=1)
    theta = delta = own
    shared_mean, shared_var = factors.shared_mean, np.zeros(d)
    if pooled:
        weighted = inverse / v1  # W = A^-1 V1^-1
        shared_covariance = _mirrored(dpotri(factors.total, lower=1)[0])
        shared_var = np.diagonal(shared_covariance)
        theta = own + weighted @ shared_mean
        delta = theta - shared_mean
        lifted = (weighted.reshape(-1, d) @ shared_covariance).reshape(weighted.shape)  # W Lambda^-1
        spread = np.vecdot(lifted, weighted)  # diagonal of W Lambda^-1 W'
        own_var = own_var + spread - 2.0 * np.diagonal(lifted, axis1=1, axis2=2) + shared_var
        determined = determined + np.vecdot(weighted, shared_covariance / v1[:, None]).sum(axis=1)
        determined = determined - (spread / v1).sum(axis=1)
    fitted = np.matmul(problem.symmetric, theta[:, :, None])[:, :, 0]
    rss = problem.rr - 2.0 * (theta * problem.xr).sum(axis=1) + (theta * fitted).sum(axis=1)
    return _Fit(
        shared_mean=shared_mean,
        shared_var=shared_var,
        own_mean=delta,
        own_var=own_var,
        rss=np.maximum(rss, 0.0),
        determined=determined,
        log_evidence=_log_evidence(problem, noise, factors),
    )


def _log_evidence(problem: _Problem, noise: FloatArray, factors: _Factors) -> float:
    """Log marginal likelihood in nats: -1/2 [sum n log 2 pi s2 + log det + quadratic form]."""
    scale = float((problem.n * np.log(2.0 * np.pi * noise)).sum())
    return -0.5 * (scale + factors.log_determinant + factors.quadratic)


def _step(
    scales: Mapping[str, float],
    start: Mapping[str, float],
    mean: FloatArray,
    variance: FloatArray,
    schema: FeatureSchema,
) -> dict[str, float]:
    """A Newton step on log v per group, damped. mean, variance : (rows, d)."""
    updated = {}
    for group in schema.groups:
        v = max(scales[group.name], SMALLEST_SCALE) ** 2
        columns = slice(group.start, group.stop)
        determined = float(np.clip(1.0 - variance[:, columns] / v, 0.0, 1.0).sum())
        explained = float((mean[:, columns] ** 2).sum()) / v
        away = 2.0 * float(np.log(np.sqrt(v) / start[group.name]))
        slope = 0.5 * (explained - determined) - away / HYPER_VARIANCE
        bend = 0.5 * max(explained, determined) + 1.0 / HYPER_VARIANCE
        log_v = float(np.log(v)) + float(np.clip(slope / bend, -1.0, 1.0))
        updated[group.name] = float(np.clip(np.exp(0.5 * log_v), SMALLEST_SCALE, 1.0))
    return updated


def _noise_step(problem: _Problem, fit: _Fit) -> tuple[FloatArray, float]:
    """Noise per arm, pulled to the pool's: ((K,), pooled)."""
    free = np.maximum(problem.n - fit.determined, 0.5 * problem.n)
    common = (float(fit.rss.sum()) + NOISE_DOF * NOISE_START) / (float(free.sum()) + NOISE_DOF)
    noise = (fit.rss + NOISE_DOF * common) / (free + NOISE_DOF)
    return np.clip(noise, *NOISE_BOUNDS), float(np.clip(common, *NOISE_BOUNDS))


def _distance(old: Mapping[str, float], new: Mapping[str, float]) -> float:
    return max(abs(float(np.log(new[name] / old[name]))) for name in new)
