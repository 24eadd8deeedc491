"""Reads the sums for ``headline``: of periods, and of the values of a tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from banditd.core.types import DAY_US, MICROSECONDS_PER_SECOND
from banditd.ports import ReportReader
from banditd.ports.reading import Period
from banditd.ports.tags import TagReader, TagValue, busiest_first
from banditd.services.reports.headline import BASELINE_SUMS, HEADLINE_SUMS, Fields, headline
from banditd.services.reports.savings import Reference
from banditd.services.reports.verdicts import PACE_SUMS, Pace


async def read_pace(reader: ReportReader, policy: str, now_us: int) -> Pace:
    """How fast rewards arrive, judged by the last day."""
    last_day, _ = (await reader.against(policy, None, [(now_us - DAY_US, None)], PACE_SUMS, ()))[0]
    return await _pace(reader, policy, now_us, last_day)


async def read_headlines(
    reader: ReportReader, policy: str, reference: Reference, now_us: int, periods: Sequence[Period]
) -> list[Fields]:
    """The headline of every period."""
    sides = await reader.against(policy, reference.arm, periods, HEADLINE_SUMS, BASELINE_SUMS)
    pace = await read_pace(reader, policy, now_us)
    return [headline(total, row, reference, pace) for total, row in sides]


async def read_headlines_by_value(
    reader: ReportReader,
    tags: TagReader,
    policy: str,
    tag: str,
    reference: Reference,
    now_us: int,
    period: Period,
    most: int | None = None,
) -> list[tuple[TagValue, Fields]]:
    """The headline of every value of a tag with decisions, or of the ``most`` busiest."""
    sides = await tags.against(policy, tag, None, reference.arm, period, HEADLINE_SUMS, BASELINE_SUMS, most=most)
    values = busiest_first({value: total["decisions"] for value, (total, _) in sides.items() if total["decisions"]})
    last_day = await tags.against(policy, tag, values, None, (now_us - DAY_US, None), PACE_SUMS, ())
    present_s = await _present_s(reader, policy, now_us)
    return [
        (
            TagValue(tag, value or None),
            headline(*sides[value], reference, Pace.of(now_us, present_s, last_day.get(value, ({}, {}))[0])),
        )
        for value in values
    ]


async def _pace(reader: ReportReader, policy: str, now_us: int, last_day: Mapping[str, float]) -> Pace:
    return Pace.of(now_us, await _present_s(reader, policy, now_us), last_day)


async def _present_s(reader: ReportReader, policy: str, now_us: int) -> float | None:
    """Seconds of the last day since the policy's first decision in it; None without one."""
    first_us = await reader.first_bucket_us(policy, now_us - DAY_US)
    return None if first_us is None else max((now_us - first_us) / MICROSECONDS_PER_SECOND, 1.0)
