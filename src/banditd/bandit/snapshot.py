"""An immutable policy state: what routing reads. It never changes after it was made; it draws no numbers."""

from __future__ import annotations

from banditd.bandit.policies.base import Policy, Scores
from banditd.bandit.policies.exploration import apply_floors
from banditd.bandit.posterior.posterior import Posterior
from banditd.core.contexts import Contexts
from banditd.core.types import BoolArray, FloatArray


class Snapshot:
    """version, epoch : of the learner's state. arms : their names; indices elsewhere point into it.

    probe_share : float64 (n_arms,), least share of the traffic that an arm should have so that its recovery is
    noticed (``changes/arm_changes.py``); None if no arm has changed. The caller adds it to the floors.
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

    def scores(
        self,
        contexts: Contexts,
        *,
        penalty: FloatArray,
        allowed: BoolArray,
        floors: FloatArray,
        least: FloatArray | None = None,
    ) -> Scores:
        """The policy's probabilities with floors. All arrays are (n_queries, n_arms).

        Parameters
        ----------
        contexts : features of the queries.
        penalty : float64, taken off the reward.
        allowed : bool, the arms that may be chosen; at least one of every query.
        floors : float64, least probabilities, rows sum to at most 1, 0 where not allowed.
        least : the same, and they hold whatever the floors are; None for none.
        """
        scores = self.policy.scores(contexts, penalty, allowed)
        probability = apply_floors(scores.probability, floors)
        if least is not None:
            probability = apply_floors(probability, least)
        return Scores(scores.mean, scores.deviation, probability)

    def predict(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(mean, standard deviation) of every arm's expected reward: float64 (n, n_arms) each, for x (n, d)."""
        return self.posterior.predict(x)
