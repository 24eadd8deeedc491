"""How difficult each cluster of queries is and how able each arm, on one scale, from the log's rewards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from banditd.core.types import FloatArray
from banditd.ope.fixed import Z
from banditd.ope.item_response import Cells, ItemResponse, Level, fit_item_response
from banditd.ports import ReportReader
from banditd.services.reports.cluster_naming import ClusterNaming, Naming
from banditd.services.reports.reports import ReportService
from banditd.services.reports.summaries import Row

NO_REWARD: Final = "not enough data: no reward yet"
APART: Final = "not enough data: no rewards link it with the others"
ALONE: Final = "the only cluster with rewards: there is nothing to compare it with"


class AbilityReports:
    """Reports the item-response model of a policy's arms and clusters."""

    def __init__(self, *, reports: ReportService, reader: ReportReader, naming: ClusterNaming) -> None:
        self._reports = reports
        self._reader = reader
        self._naming = naming

    async def abilities(self, policy: str) -> dict[str, object]:
        """Arms, ablest first, and clusters, most difficult first; None where there is no data.

        Raises
        ------
        NotFoundError : no such policy.
        """
        await self._reports.arms_of(policy)
        rows = await self._reader.contexts(policy)
        arms = sorted({str(row["arm"]) for row in rows})
        clusters = sorted({int(row["cluster"]) for row in rows})
        cells, traffic = _cells(rows, arms, clusters)
        # Some milliseconds of linear algebra, so not on the event loop.
        found = await asyncio.to_thread(fit_item_response, cells, traffic)
        names = await self._naming.of(policy)
        return {
            "policy": policy,
            "arms": _arms(found, arms, cells.rewards.sum(axis=1)),
            "clusters": self._clusters(found, clusters, cells.rewards.sum(axis=0), names),
            "misfit": None
            if found.misfit is None
            else {"ratio": found.misfit.ratio, "p_value": found.misfit.p_value},
        }

    def _clusters(
        self, found: ItemResponse, clusters: Sequence[int], rewards: FloatArray, names: Naming
    ) -> list[dict[str, object]]:
        alone = int(np.isfinite(found.difficulty).sum()) == 1
        rows = []
        for place in _highest_first(found.difficulty):
            cluster, value = clusters[place], float(found.difficulty[place])
            words = self._reports.cluster_words.get(cluster, ())
            name = names(cluster, words)
            rows.append(
                {"cluster": cluster, "name": name.name, "name_source": name.source, "words": list(words)}
                | _estimate("difficulty", np.nan if alone else value, found.difficulty_error[place])
                | _level(found.cluster_levels[place])
                | {"rewards": int(rewards[place]), "reason": _reason(value, rewards[place], alone=alone)}
            )
        return rows


def _arms(found: ItemResponse, arms: Sequence[str], rewards: FloatArray) -> list[dict[str, object]]:
    return [
        {"arm": arms[place]}
        | _estimate("ability", found.ability[place], found.ability_error[place])
        | _level(found.arm_levels[place])
        | {"rewards": int(rewards[place]), "reason": _reason(found.ability[place], rewards[place], alone=False)}
        for place in _highest_first(found.ability)
    ]


def _cells(rows: Sequence[Row], arms: Sequence[str], clusters: Sequence[int]) -> tuple[Cells, FloatArray]:
    """The rewards of every arm on every cluster, and the number of decisions in every cluster."""
    rewards, mean, variance = np.zeros((3, len(arms), len(clusters)))
    traffic = np.zeros(len(clusters))
    row_of, column_of = ({name: place for place, name in enumerate(one)} for one in (arms, clusters))
    for row in rows:
        at = row_of[str(row["arm"])], column_of[int(row["cluster"])]
        traffic[at[1]] += float(row["decisions"])
        weight, count = float(row["weight"]), float(row["rewards"])
        if count <= 0 or weight <= 0.0:
            continue
        rewards[at] = count
        mean[at] = min(1.0, max(0.0, float(row["weighted_reward"]) / weight))
        square = float(row["weighted_square"]) / weight - mean[at] ** 2
        variance[at] = min(max(0.0, square), mean[at] * (1.0 - mean[at]))  # the largest possible in [0, 1]
    return Cells(rewards, mean, variance), traffic


def _highest_first(values: FloatArray) -> list[int]:
    """Indices in order, those without a value last."""
    order: list[int] = np.argsort(-values, kind="stable").tolist()
    return order


def _estimate(what: str, value: float, error: float) -> dict[str, object]:
    if not np.isfinite(value):
        return {what: None, "standard_error": None, "interval": None}
    half = Z * float(error)
    return {
        what: float(value),
        "standard_error": float(error),
        "interval": [float(value) - half, float(value) + half],
    }


def _level(level: Level | None) -> dict[str, object]:
    if level is None:
        return {"expected_reward": None, "expected_interval": None}
    return {"expected_reward": level.mean, "expected_interval": [level.low, level.high]}


def _reason(value: float, rewards: float, *, alone: bool) -> str | None:
    if not rewards:
        return NO_REWARD
    if not np.isfinite(value):
        return APART
    return ALONE if alone else None
