"""A policy of plain per-cluster means: readable, context by context, without a linear model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.bandit.policies.quadrature import win_probabilities
from banditd.bandit.policies.view import PolicyView
from banditd.core.contexts import Contexts
from banditd.core.errors import InvariantError
from banditd.core.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTableOptions:
    """prior_worth : rewards that an arm's overall mean is worth inside a cluster, > 0.

    scale : factor on the standard deviation of a mean when probabilities are made, > 0.
    """

    prior_worth: float = 10.0
    scale: float = 0.5


class ClusterTable:
    """Mean reward per (cluster, arm), shrunk to the arm's overall mean, drawn by Thompson sampling.

    The overall mean is itself shrunk to 1/2 (two rewards' worth). With rewards in [0, 1] the variance of a
    mean m worth n rewards is at most m (1 - m) / (n + 1), a Beta distribution's; its normal approximation
    is used. An unknown cluster (-1) sees the overall means.
    """

    kind = "cluster_table"

    def __init__(self, view: PolicyView, options: ClusterTableOptions) -> None:
        if view.clusters is None:
            raise InvariantError("cluster_table needs the cluster sums.")
        clusters, worth = view.clusters, options.prior_worth
        overall_n = clusters.weight[:, -1:] + 2.0
        overall = (clusters.reward[:, -1:] + 1.0) / overall_n
        n = clusters.weight[:, :-1] + np.minimum(worth, overall_n)
        mean = (clusters.reward[:, :-1] + np.minimum(worth, overall_n) * overall) / n
        self._mean = np.clip(np.hstack([mean, overall]), 1e-3, 1.0 - 1e-3)
        n = np.maximum(np.hstack([n, overall_n]), 1.0)
        self._deviation = np.sqrt(self._mean * (1.0 - self._mean) / (n + 1.0))
        self._scale = options.scale

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        known = (contexts.cluster >= 0) & (contexts.cluster < self._mean.shape[1] - 1)
        column = np.where(known, contexts.cluster, -1)
        mean, deviation = self._mean.T[column], self._deviation.T[column]
        return Scores(mean, deviation, win_probabilities(mean - penalty, self._scale * deviation, allowed))
