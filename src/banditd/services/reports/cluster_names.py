"""The name of a cluster of queries: given by somebody, derived from its tags, or shipped. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from banditd.ports.tags import REST

USER: Final = "user"
TAGS: Final = "tags"
SHIPPED: Final = "shipped"

LEAST_DECISIONS: Final = 10
"""Decisions of a cluster that a tag's value needs before it may name the cluster."""
LEAST_SHARE: Final = 0.2
"""Least share of the value among the cluster's decisions with that tag."""
LEAST_LIFT: Final = 1.2
"""By which factor a value must be more frequent in the cluster than overall."""
_MOST: Final = 2
_SHIPPED_WORDS: Final = 3


@dataclass(frozen=True, slots=True)
class ClusterName:
    """name : for people. source : ``user``, ``tags`` or ``shipped``."""

    name: str
    source: str


def name_of(
    cluster: int,
    *,
    given: Mapping[int, str],
    by_tags: Mapping[int, str],
    shipped: Sequence[str],
) -> ClusterName:
    """The first name that is known, in that order; otherwise "cluster 7"."""
    for source, names in ((USER, given), (TAGS, by_tags)):
        if cluster in names:
            return ClusterName(names[cluster], source)
    if cluster < 0:
        return ClusterName("without text", SHIPPED)
    return ClusterName(", ".join(shipped[:_SHIPPED_WORDS]) or f"cluster {cluster}", SHIPPED)


def names_by_tags(counts: Iterable[tuple[int, str, str, int]]) -> dict[int, str]:
    """A name for every cluster in which some values are frequent, and more frequent than elsewhere.

    Parameters
    ----------
    counts : (cluster, tag, value, decisions).

    Returns
    -------
    At most two values per cluster, ranked by p log(p / q), with p the value's share of the cluster's decisions with
    that tag and q its share of all decisions (its part of the Kullback-Leibler divergence).
    """
    rows = [row for row in counts if row[3] > 0]
    everywhere: dict[str, int] = {}
    of_value: dict[tuple[str, str], int] = {}
    of_cluster: dict[tuple[int, str], int] = {}
    for cluster, tag, value, decisions in rows:
        everywhere[tag] = everywhere.get(tag, 0) + decisions
        of_value[tag, value] = of_value.get((tag, value), 0) + decisions
        of_cluster[cluster, tag] = of_cluster.get((cluster, tag), 0) + decisions
    telling: dict[int, list[tuple[float, str]]] = {}
    for cluster, tag, value, decisions in rows:
        here = decisions / of_cluster[cluster, tag]
        lift = here / (of_value[tag, value] / everywhere[tag])
        if value == REST or decisions < LEAST_DECISIONS or here < LEAST_SHARE or lift < LEAST_LIFT:
            continue
        telling.setdefault(cluster, []).append((here * math.log(lift), value))
    found = {}
    for cluster, values in telling.items():
        best = [value for _, value in sorted(values, key=lambda one: (-one[0], one[1]))]
        found[cluster] = ", ".join(list(dict.fromkeys(best))[:_MOST])
    return found
