"""Counters by the tags of queries, the names of clusters, and the columns of values of context tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from banditd.ports.reading import Period, Sides

REST: Final = ""
"""In place of a value: all values of its tag that have no counters of their own."""

TagRows = list[Mapping[str, float | str]]


@dataclass(frozen=True, slots=True)
class TagValue:
    """value : None for all values without counters of their own."""

    tag: str
    value: str | None

    def fields(self) -> dict[str, object]:
        """As the API writes it."""
        return {"tag": self.tag, "value": self.value, "other": self.value is None}


def busiest_first(decisions: Mapping[str, float]) -> list[str]:
    """Values of a tag by their decisions, most first; ``REST`` is last."""
    return sorted(decisions, key=lambda value: (value == REST, -decisions[value], value))


class TagReader(Protocol):
    """Read models by tag: their cost does not grow with the number of decisions or of values."""

    async def values(self, policy: str) -> list[tuple[str, str, int]]:
        """(tag, value, decisions) of every value with counters of its own, ``REST`` for the others of a tag."""

    async def totals(
        self,
        policy: str,
        tag: str,
        value: str | None,
        since_us: int | None,
        until_us: int | None,
        sums: Sequence[str] | None = None,
    ) -> TagRows:
        """Per (value, arm) the columns of ``ReportReader.arm_totals``; of one value where that is given.

        sums : the columns that are wanted, all of them when left out. What is not read costs nothing.
        """

    async def against(
        self,
        policy: str,
        tag: str,
        values: Sequence[str] | None,
        arm: str | None,
        period: Period,
        of_all: Sequence[str],
        of_arm: Sequence[str],
        most: int | None = None,
    ) -> Mapping[str, Sides]:
        """By value what ``ReportReader.against`` tells of a period; of these values where they are given.

        most : of so many values, the first by ``busiest_first``; ``decisions`` is in ``of_all`` then.
        """

    async def timeseries(
        self,
        policy: str,
        tag: str,
        value: str | None,
        *,
        since_us: int,
        until_us: int,
        step_s: int,
        sums: Sequence[str] | None = None,
    ) -> TagRows:
        """The same per (bucket_at_us, value), and per arm where a value is given."""

    async def contexts(self, policy: str, schema_hash: str, tag: str, value: str) -> TagRows:
        """Per (cluster, arm) the columns of ``ReportReader.contexts``, of one value."""

    async def frequent_values(
        self, policy: str, schema_hash: str, least_decisions: int, least_share: float
    ) -> list[tuple[int, str, str, int]]:
        """(cluster, tag, value, decisions) of every value that is frequent in some cluster, in all of them: so many
        decisions of that cluster, and of its decisions with that tag that share. The other values of a tag are added
        up under ``REST``.
        """

    async def newest_schema(self, policy: str) -> str | None:
        """The feature schema that made the policy's newest decision."""


class ClusterNames(Protocol):
    """What clusters are called. ``maps`` : hash of the feature maps that they belong to."""

    async def names(self, policy: str, maps: str) -> Mapping[int, str]:
        """The names that somebody has given."""

    async def rename(self, policy: str, maps: str, cluster: int, name: str | None, at_us: int) -> None:
        """Name a cluster, or take its name back."""


class ContextValueStore(Protocol):
    async def places(
        self, policy: str, wanted: Sequence[tuple[str, str]] = (), *, at_most: int = 0
    ) -> list[tuple[str, str, int]]:
        """(tag, value, place) of every value of the policy that has a place.

        Before that, places are given to the ``wanted`` (tag, value) that have none, in their order, while fewer than
        ``at_most`` of their tag are taken. A place is never taken back. Where another replica gives the same place
        at that moment, the value stays without: ask again.
        """
