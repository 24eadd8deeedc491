"""Restricts report queries to the decisions with one value of a tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from banditd.ports import ReportReader
from banditd.ports.reading import Period, Sides
from banditd.ports.tags import REST, TagReader, TagValue
from banditd.services.reports.summaries import Row


class OneValue:
    """A ``ReportReader`` of the decisions with one value of a tag; what is not stored by tag covers all decisions."""

    def __init__(self, reader: ReportReader, tags: TagReader, of: TagValue) -> None:
        self._reader = reader
        self._tags = tags
        self._tag = of.tag
        self._value = REST if of.value is None else of.value

    async def arm_totals(
        self,
        policy: str,
        since_us: int | None,
        until_us: int | None = None,
        sums: Sequence[str] | None = None,
    ) -> list[Row]:
        return await self._tags.totals(policy, self._tag, self._value, since_us, until_us, sums)

    async def against(
        self,
        policy: str,
        arm: str | None,
        periods: Sequence[Period],
        of_all: Sequence[str],
        of_arm: Sequence[str],
    ) -> list[Sides]:
        found = [
            await self._tags.against(policy, self._tag, [self._value], arm, period, of_all, of_arm)
            for period in periods
        ]
        return [by_value.get(self._value, ({}, {})) for by_value in found]

    async def contexts(self, policy: str) -> list[Row]:
        newest = await self._tags.newest_schema(policy)
        return [] if newest is None else await self._tags.contexts(policy, newest, self._tag, self._value)

    async def timeseries(
        self, policy: str, *, since_us: int, until_us: int, step_s: int, sums: Sequence[str] | None = None
    ) -> list[Row]:
        return await self._tags.timeseries(
            policy, self._tag, self._value, since_us=since_us, until_us=until_us, step_s=step_s, sums=sums
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)
