"""Reads the names of a policy's clusters: given names, and tag values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from banditd.ports.tags import ClusterNames, TagReader
from banditd.services.policy import PolicyRuntime
from banditd.services.reports.cluster_names import (
    LEAST_DECISIONS,
    LEAST_SHARE,
    ClusterName,
    name_of,
    names_by_tags,
)

KEPT: Final = 20.0
"""Names by tags are cached for this many times as long as it took to derive them ..."""
KEPT_LONGEST_S: Final = 60.0
"""... but no longer than this: every page needs them, they cost more the more values there are, and hardly change."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Names of clusters: given by somebody, and by tags."""

    given: Mapping[int, str]
    by_tags: Mapping[int, str]

    def __call__(self, cluster: int, shipped: Sequence[str]) -> ClusterName:
        return name_of(cluster, given=self.given, by_tags=self.by_tags, shipped=tuple(shipped))


class ClusterNaming:
    """Reads names; caches those by tags for a moment."""

    def __init__(
        self, *, runtimes: Mapping[str, PolicyRuntime], tags: TagReader, names: ClusterNames, kept: float = KEPT
    ) -> None:
        self._runtimes = runtimes
        self._tags = tags
        self._names = names
        self._kept = kept
        self._by_tags: dict[tuple[str, str], tuple[float, Mapping[int, str]]] = {}

    async def of(self, policy: str) -> Naming:
        """The present names; none for a policy that is not served."""
        runtime = self._runtimes.get(policy)
        if runtime is None:
            return Naming({}, {})
        given = await self._names.names(policy, runtime.builder.maps_hash)
        return Naming(given, await self._names_by_tags(policy, runtime.builder.schema.hash))

    async def _names_by_tags(self, policy: str, schema_hash: str) -> Mapping[int, str]:
        began = perf_counter()
        until, known = self._by_tags.get((policy, schema_hash), (0.0, {}))
        if began < until:
            return known
        if known:  # until the new ones are ready, other requests get the old ones
            self._by_tags[policy, schema_hash] = began + KEPT_LONGEST_S, known
        try:
            found = names_by_tags(await self._tags.frequent_values(policy, schema_hash, LEAST_DECISIONS, LEAST_SHARE))
        except BaseException:
            self._by_tags.pop((policy, schema_hash), None)
            raise
        ended = perf_counter()
        kept_s = min(self._kept * (ended - began), KEPT_LONGEST_S)
        self._by_tags[policy, schema_hash] = ended + kept_s, found
        return found
