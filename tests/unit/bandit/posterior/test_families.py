"""The tree of arms that are like others is the dense Gaussian it stands for, before and after folds."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.bandit.policies.base import ArmPrior
from banditd.bandit.posterior.families import LIKENESS, FamilyRidge, likenesses
from banditd.bandit.posterior.ridge import Evidence, run_through
from banditd.bandit.posterior.statistics import ArmSums
from banditd.core.errors import ConfigurationError
from banditd.core.types import FloatArray

LIKE = (None, 0, None, 2, 2)
CENTRE = (0.5, 0.5, 0.6, 0.6, 0.6)
NOISE = (0.1, 0.2, 0.15, 0.1, 0.12)
K, D = len(LIKE), 4


def evidence(sums: list[ArmSums]) -> list[Evidence]:
    return [
        Evidence(one.copy(), centre=centre, noise=noise, prior_reward=0.5, prior_worth=0.0)
        for one, centre, noise in zip(sums, CENTRE, NOISE, strict=True)
    ]


def dense(own: FloatArray, shared: FloatArray, arms: list[Evidence]) -> tuple[FloatArray, FloatArray]:
    """(mean (K d,), covariance (K d, K d)) of all coefficients at once."""
    covariance = np.zeros((K * D, K * D))
    head = [i if other is None else other for i, other in enumerate(LIKE)]
    for i in range(K):
        for j in range(K):
            block = shared + own * (head[i] == head[j]) + LIKENESS**2 * own * (i == j and LIKE[i] is not None)
            covariance[i * D : i * D + D, j * D : j * D + D] = np.diag(block)
    precision, pull = np.linalg.inv(covariance), np.zeros(K * D)
    for i, arm in enumerate(arms):
        precision[i * D : i * D + D, i * D : i * D + D] += arm.precision()
        pull[i * D : i * D + D] = arm.pull()
    found = np.linalg.inv(precision)
    return found @ pull, found


def test_a_family_is_the_dense_gaussian_after_every_fold() -> None:
    rng = np.random.default_rng(0)
    own, shared = rng.uniform(0.01, 0.05, D), rng.uniform(0.02, 0.1, D)
    sums = [ArmSums(D) for _ in range(K)]
    ridge = FamilyRidge(own_variance=own, shared_variance=shared, like=LIKE)
    run_through(ridge.rebuilding(evidence(sums)))
    for _ in range(60):
        arm, x = int(rng.integers(K)), np.r_[1.0, rng.normal(size=D - 1)]
        weight, reward = rng.uniform(0.5, 2.0), rng.random()
        sums[arm].add(x, weight, reward)
        ridge.fold(arm, x, weight, reward)
    sums[arm].add(x, -weight, reward)  # the last one is taken out again
    ridge.rebuild_arm(arm, evidence(sums)[arm])
    assert ridge.inverse_error(evidence(sums)) < 1e-9

    mean, covariance = dense(own, shared, evidence(sums))
    x = np.c_[np.ones(7), rng.normal(size=(7, D - 1))]
    posterior = ridge.posterior()
    moments = posterior.moments(x, np.zeros((7, K)), np.ones((7, K), dtype=bool))
    blocks = covariance.reshape(K, D, K, D)
    joint = np.einsum("nd,idje,ne->nij", x, blocks, x)
    assert moments.mean == pytest.approx(x @ mean.reshape(K, D).T + np.array(CENTRE) * x[:, :1], abs=1e-9)
    assert moments.variance == pytest.approx(np.einsum("nii->ni", joint), abs=1e-9)
    rows = rng.normal(size=(K, 3, D))
    flat = rows.transpose(1, 0, 2).reshape(3, K * D)
    assert posterior.combined_variance(rows) == pytest.approx(np.vecdot(flat @ covariance, flat), abs=1e-9)
    assert posterior.coefficients() == pytest.approx(mean.reshape(K, D), abs=1e-9)
    for arm in range(K):
        assert ridge.predict(arm, x[0]) == pytest.approx((moments.mean[0, arm], moments.variance[0, arm]), abs=1e-9)
    # A recipe and the model it is like differ only by what is its own: between them nothing else is contrasted.
    for n, lead in enumerate(moments.utility.argmax(axis=1).tolist()):
        for arm in (i for i in range(K) if LIKE[i] == lead):
            difference = joint[n, arm, arm] + joint[n, lead, lead] - 2.0 * joint[n, arm, lead]
            assert moments.contrast[n, arm] == pytest.approx(difference, abs=1e-9)


def test_likeness_is_one_step_and_ends_with_the_arm_it_is_to() -> None:
    arms = [ArmPrior("a"), ArmPrior("r", like="a"), ArmPrior("s", like="gone")]
    assert likenesses(arms) == (None, 0, None)
    with pytest.raises(ConfigurationError, match="like another arm itself"):
        likenesses([ArmPrior("a"), ArmPrior("r", like="a"), ArmPrior("t", like="r")])
