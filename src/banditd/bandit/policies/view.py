"""What a policy may look at: the posterior and plain per-cluster sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.bandit.posterior.statistics import ArmSums
from banditd.core.types import FeatureSchema, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSums:
    """Per arm and cluster: float64, shape (n_arms, n_clusters + 1) each; the last column is the total.

    weight : of the rewards seen there. reward : their weighted sum.
    """

    weight: FloatArray
    reward: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class PolicyView:
    """arms : names, in the order of the posterior. clusters : None unless the policy asked for them.

    curiosity : float64 (n_arms,), factor on the information value of an arm's next reward; None for 1 everywhere.
    """

    posterior: Posterior
    arms: tuple[str, ...]
    clusters: ClusterSums | None = None
    curiosity: FloatArray | None = None


def cluster_columns(schema: FeatureSchema) -> slice:
    """The columns of the cluster one-hot; empty when the schema has none."""
    for group in schema.groups:
        if group.name == "cluster":
            return slice(group.start, group.stop)
    return slice(0, 0)


def cluster_contexts(totals: Iterable[ArmSums], schema: FeatureSchema) -> FloatArray:
    """The mean context seen in each cluster, float64 (n_clusters, n_features); bias only where unseen."""
    columns = cluster_columns(schema)
    seen = np.zeros((columns.stop - columns.start, schema.n_features))
    for total in totals:
        seen += total.gram[columns]
    counts = seen[:, :1]
    contexts = np.where(counts > 0, seen / np.where(counts > 0, counts, 1.0), 0.0)
    contexts[:, 0] = 1.0
    return contexts


def cluster_sums(totals: list[ArmSums], schema: FeatureSchema) -> ClusterSums:
    """Counts and reward sums per cluster, read off the cluster columns of the sums.

    The one-hot may be scaled: with value v in the column, gram[0, c] = sum w v and xr[c] = sum w v r, so
    the largest value gram[c, c] / gram[0, c] = v gives both.
    """
    columns = cluster_columns(schema)
    n_clusters = columns.stop - columns.start
    weight = np.zeros((len(totals), n_clusters + 1))
    reward = np.zeros((len(totals), n_clusters + 1))
    for i, total in enumerate(totals):
        linear = total.gram[0, columns]
        square = np.diagonal(total.gram)[columns]
        value = np.where(linear > 0, square / np.where(linear > 0, linear, 1.0), 1.0)
        value = np.where(value > 0, value, 1.0)
        weight[i, :-1], reward[i, :-1] = linear / value, total.xr[columns] / value
        weight[i, -1], reward[i, -1] = total.weight, total.wr
    return ClusterSums(weight, reward)
