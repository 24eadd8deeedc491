"""An immutable policy state: what routing reads. It never changes after it was made; it draws no numbers."""

from __future__ import annotations

from typing import Final

import numpy as np

from banditd.bandit.policies.base import Choice, Policy
from banditd.bandit.policies.exploration import apply_floors, draw
from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import Blend, Context, FloatArray, IntArray

# Utilities closer than this are tied: drawing either is greedy.
TIE: Final = 1e-12


class Snapshot:
    """version, epoch : of the learner's state. arms : their names; indices elsewhere point into it.

    probe_share : float64 (n_arms,), least share of the traffic that an arm should have so that its recovery is
    noticed (``regimes.py``); None where no arm has changed. For the caller's floors, it does not act by itself.
    """

    __slots__ = ("arms", "epoch", "policy", "posterior", "probe_share", "version")

    def __init__(
        self,
        *,
        version: int,
        epoch: int,
        arms: tuple[str, ...],
        policy: Policy,
        posterior: Posterior,
        probe_share: FloatArray | None = None,
    ) -> None:
        self.version = version
        self.epoch = epoch
        self.arms = arms
        self.policy = policy
        self.posterior = posterior
        self.probe_share = probe_share

    @property
    def noise(self) -> FloatArray:
        """Variance of a reward of weight 1 about its expectation, per arm: float64, shape (n_arms,)."""
        return self.posterior.noise

    def choose(
        self,
        context: Context,
        *,
        arms: IntArray,
        penalty: FloatArray,
        floors: FloatArray,
        uniform: float,
        blend: Blend | None = None,
        least: FloatArray | None = None,
    ) -> Choice:
        """Draw an arm. The one place where a vector is made and drawn from: routing and replay come here.

        Parameters
        ----------
        context : features of the query.
        arms : intp, shape (n,), the eligible arms as indices into ``self.arms``; at least one.
        penalty : float64, shape (n,), taken off the reward.
        floors : float64, shape (n,), least probabilities, sum <= 1.
        uniform : in [0, 1), to be logged.
        blend : mixed into the vector with its floors, or None.
        least : float64, shape (n,), least probabilities that hold whatever is blended, sum <= 1; None for none.
        """
        scores = self.policy.scores(context, arms, penalty)
        probability = apply_floors(scores.probability, floors)
        if blend is not None:
            probability = blend.over(probability)
        if least is not None:
            probability = apply_floors(probability, least)
        index = draw(probability, uniform)
        utility = (scores.mean - penalty).tolist()
        best = max(utility)
        return Choice(
            index=index,
            propensity=float(probability[index]),
            probability=probability,
            mean=scores.mean,
            deviation=scores.deviation,
            explored=utility[index] < best - TIE,
            greedy=utility.index(best),
        )

    def predict(self, context: Context, arms: IntArray) -> tuple[FloatArray, FloatArray]:
        """(mean, standard deviation) of the expected reward: float64, shape (n,) each."""
        moments = self.posterior.moments(context.x, arms, np.zeros(arms.shape[0]))
        return moments.mean, np.sqrt(moments.variance)

    def cluster_means(self, contexts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior (mean, standard deviation) of every arm on representative contexts.

        Parameters
        ----------
        contexts : float64, shape (n_clusters, n_features), such as ``PolicyState.cluster_contexts()``.

        Returns
        -------
        float64, shape (n_clusters, n_arms) each.
        """
        arms = np.arange(len(self.arms), dtype=np.intp)
        penalty = np.zeros(len(self.arms))
        rows = [self.posterior.moments(x, arms, penalty) for x in contexts]
        mean = np.array([row.mean for row in rows]).reshape(len(rows), len(self.arms))
        variance = np.array([row.variance for row in rows]).reshape(len(rows), len(self.arms))
        return mean, np.sqrt(variance)
