"""Fit prior scales and noise by the marginal likelihood, from the sums alone. Pure; no pass over any log.

Empirical Bayes by fixed-point steps (MacKay 1992, Bayesian interpolation; Bishop 2006, section 3.5.2):
with gamma_g the number of parameters of group g that the data determine and q_g the sum of squares of
their means, the evidence is stationary where v_g = q_g / gamma_g; the noise where s2 = RSS / (n - gamma).
Each scale also has a weak inverse-gamma prior at its starting value, worth ``PRIOR_DOF`` parameters, and
each arm's noise is pulled to the pool's: with little data the starting values stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.hyperparameters import CENTRE, NOISE_START, SMALLEST_SCALE, Hyperparameters
from banditd.bandit.statistics import ArmSums
from banditd.core.types import FeatureSchema, FloatArray

PRIOR_DOF: Final = 3.0
NOISE_DOF: Final = 10.0  # rewards that the starting noise is worth, and the pool's noise for an arm
NOISE_BOUNDS: Final = (1e-4, 0.3)
MAX_STEPS: Final = 12
TOLERANCE: Final = 0.02  # of the logarithm of any scale


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmEvidence:
    """Copies of one arm's sums (discounted, over all epochs) and its prior reward."""

    arm: str
    sums: ArmSums
    prior_reward: float
    prior_worth: float


class _Problem:
    """Batched arrays of all arms: gram (K, d, d), xr (K, d) about the centre, rr (K,), n (K,)."""

    def __init__(self, arms: Sequence[ArmEvidence], schema: FeatureSchema) -> None:
        self.schema = schema
        self.gram = np.stack([arm.sums.gram for arm in arms])
        self.xr = np.stack([arm.sums.xr - CENTRE * arm.sums.gram[:, 0] for arm in arms])
        self.rr = np.array([a.sums.wrr - 2 * CENTRE * a.sums.wr + CENTRE**2 * a.sums.weight for a in arms])
        self.n = np.array([max(arm.sums.n, 0.0) for arm in arms])
        for i, arm in enumerate(arms):
            offset = arm.prior_reward - CENTRE
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
        """Fixed-point steps from the current values until nothing moves by 2 %, at most 12."""
        problem = _Problem(self.arms, self.schema)
        start = Hyperparameters.start(self.schema)
        current = self.current
        names = [arm.arm for arm in self.arms]
        noise = np.array([current.noise_of(name) for name in names])
        fit = _fit(problem, current, noise, pooled=self.pooled)
        for _ in range(MAX_STEPS):
            shared = _step(current.shared, start.shared, fit.shared_mean[None], fit.shared_var[None], self.schema)
            own = _step(current.own, start.own, fit.own_mean, fit.own_var, self.schema)
            noise, common = _noise_step(problem, fit)
            moved = max(_distance(current.shared, shared) if self.pooled else 0.0, _distance(current.own, own))
            current = Hyperparameters(
                shared=shared if self.pooled else current.shared,
                own=own,
                noise=dict(zip(names, noise.tolist(), strict=True)),
                common_noise=common,
            )
            fit = _fit(problem, current, noise, pooled=self.pooled)
            if moved < TOLERANCE:
                break
        return Hyperparameters(
            shared=current.shared,
            own=current.own,
            noise=current.noise,
            common_noise=current.common_noise,
            log_evidence=fit.log_evidence,
        )

    def log_evidence(self, at: Hyperparameters) -> float:
        """Log marginal likelihood of the rewards at given hyperparameters, in nats."""
        noise = np.array([at.noise_of(arm.arm) for arm in self.arms])
        return _fit(_Problem(self.arms, self.schema), at, noise, pooled=self.pooled).log_evidence


def _fit(problem: _Problem, at: Hyperparameters, noise: FloatArray, *, pooled: bool) -> _Fit:
    """Posterior of beta and every delta_a; O(K d^3)."""
    v1 = at.own_variance(problem.schema)
    d = v1.shape[0]
    scaled = problem.symmetric / noise[:, None, None]
    factor = np.linalg.cholesky(scaled + np.diag(1.0 / v1))
    inverse = np.linalg.inv(scaled + np.diag(1.0 / v1))
    pull = problem.xr / noise[:, None]
    own = np.matmul(inverse, pull[:, :, None])[:, :, 0]
    logdet = 2.0 * float(np.log(np.diagonal(factor, axis1=1, axis2=2)).sum()) + len(noise) * float(np.log(v1).sum())
    quadratic = float((problem.rr / noise).sum() - (pull * own).sum())
    covariance = inverse
    theta, delta, own_var = own, own, np.diagonal(inverse, axis1=1, axis2=2)
    shared_mean, shared_var = np.zeros(d), np.zeros(d)
    if pooled:
        v0 = at.shared_variance(problem.schema)
        weighted = inverse / v1  # A^-1 V1^-1
        total = np.diag(1.0 / v0 + len(noise) / v1) - (weighted / v1[:, None]).sum(axis=0)
        total = 0.5 * (total + total.T)
        shared_covariance = np.linalg.inv(total)
        target = (own / v1).sum(axis=0)
        shared_mean = shared_covariance @ target
        shared_var = np.diagonal(shared_covariance)
        theta = own + weighted @ shared_mean
        delta = theta - shared_mean
        lifted = np.matmul(weighted, shared_covariance)
        spread = np.matmul(lifted, weighted.transpose(0, 2, 1))
        covariance = inverse + spread
        pulled = lifted - shared_covariance  # (A^-1 V1^-1 - I) Lambda^-1
        own_var = own_var + (pulled * (weighted - np.eye(d))).sum(axis=2)
        logdet += float(np.linalg.slogdet(total)[1]) + float(np.log(v0).sum())
        quadratic -= float(target @ shared_mean)
    fitted = np.matmul(problem.symmetric, theta[:, :, None])[:, :, 0]
    rss = problem.rr - 2.0 * (theta * problem.xr).sum(axis=1) + (theta * fitted).sum(axis=1)
    determined = (covariance * problem.symmetric).sum(axis=(1, 2)) / noise
    n_total = float((problem.n * np.log(2.0 * np.pi * noise)).sum())
    return _Fit(
        shared_mean,
        shared_var,
        delta,
        own_var,
        np.maximum(rss, 0.0),
        determined,
        -0.5 * (n_total + logdet + quadratic),
    )


def _step(
    scales: Mapping[str, float],
    start: Mapping[str, float],
    mean: FloatArray,
    variance: FloatArray,
    schema: FeatureSchema,
) -> dict[str, float]:
    """MacKay's update per group, with the weak prior. mean, variance : (rows, d)."""
    updated = {}
    for group in schema.groups:
        v = max(scales[group.name], SMALLEST_SCALE) ** 2
        columns = slice(group.start, group.stop)
        determined = float(np.clip(1.0 - variance[:, columns] / v, 0.0, 1.0).sum())
        squares = float((mean[:, columns] ** 2).sum())
        prior = PRIOR_DOF
        new = (squares + prior * start[group.name] ** 2) / (determined + prior)
        updated[group.name] = float(np.sqrt(np.clip(new, SMALLEST_SCALE**2, 1.0)))
    return updated


def _noise_step(problem: _Problem, fit: _Fit) -> tuple[FloatArray, float]:
    """Noise per arm, pulled to the pool's: ((K,), pooled)."""
    free = np.maximum(problem.n - fit.determined, 0.5 * problem.n)
    common = (float(fit.rss.sum()) + NOISE_DOF * NOISE_START) / (float(free.sum()) + NOISE_DOF)
    noise = (fit.rss + NOISE_DOF * common) / (free + NOISE_DOF)
    return np.clip(noise, *NOISE_BOUNDS), float(np.clip(common, *NOISE_BOUNDS))


def _distance(old: Mapping[str, float], new: Mapping[str, float]) -> float:
    return max(abs(float(np.log(new[name] / old[name]))) for name in new)
