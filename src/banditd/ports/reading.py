"""What reports read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Sides: TypeAlias = tuple[Mapping[str, float], Mapping[str, float]]
"""(sums over all arms, sums of one arm), columns of ``ReportReader.arm_totals``; a side without a row is empty."""
Period: TypeAlias = tuple[int | None, int | None]
"""(since, until) in microseconds; None: from the first, up to now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFilter:
    policy: str | None = None
    arm: str | None = None
    session_id: str | None = None
    reference: str | None = None  # of any API key
    request_id: str | None = None
    trace_id: str | None = None
    task_id: str | None = None  # of any API key
    cluster: int | None = None
    explored: bool | None = None
    tag: tuple[str, str] | None = None  # name and value
    text: str | None = None  # a part of the stored text, A to Z in either case
    since_us: int | None = None
    until_us: int | None = None
    before_id: str | None = None  # exclusive cursor: decision ids sort by time
    from_id: str | None = None  # inclusive: where a search without an index stops
    limit: int = 50


class ReportReader(Protocol):
    """Read models over roll-ups: their cost does not grow with the number of decisions."""

    async def arm_totals(
        self,
        policy: str,
        since_us: int | None,
        until_us: int | None = None,
        sums: Sequence[str] | None = None,
    ) -> list[Mapping[str, float | str]]:
        """Per arm: arm, decisions, explored, entropy_sum, greedy, rewards, weight, weighted_reward,
        weighted_square, spend_usd, predicted_spend_usd, fixed_cost_usd (what this arm would have cost on
        every decision it was eligible for), fixed_decisions, input_tokens, output_tokens, latency_ms_sum,
        latency_reports, usage_reports, errors, degraded; of settled decisions for which it was listed
        compared_decisions, compared_usd (what they cost) and compared_fixed_usd (what it would have); of those that
        it was drawn for in order to learn tried_decisions, and tried_usd and tried_reward, predicted, beyond what the
        best arm would have cost and earned; and the fields of ``ope.fixed.FixedArmSums``. Of them ``sums`` alone,
        where given.
        """

    async def against(
        self,
        policy: str,
        arm: str | None,
        periods: Sequence[Period],
        of_all: Sequence[str],
        of_arm: Sequence[str],
    ) -> list[Sides]:
        """Of every period the sums of all arms and those of ``arm`` (None: of no arm), all as of one moment.

        Costs less than ``arm_totals``, which tells every arm's. of_all, of_arm : columns of either side.
        """

    async def first_bucket_us(self, policy: str, since_us: int) -> int | None:
        """When the first bucket begins that begins at ``since_us`` or later; None without one."""

    async def contexts(self, policy: str) -> list[Mapping[str, float | str]]:
        """Per (cluster, arm): decisions, rewards, weight, weighted_reward, weighted_square, spend_usd,
        latency_ms_sum, latency_reports.
        """

    async def timeseries(
        self, policy: str, *, since_us: int, until_us: int, step_s: int, sums: Sequence[str] | None = None
    ) -> list[Mapping[str, float | str]]:
        """Per (bucket_at_us, arm) the columns of ``arm_totals``; of them ``sums`` alone, where given."""

    async def delays(self, policy: str) -> list[tuple[float, int]]:
        """Histogram of reward delay: (upper bound in seconds, count)."""

    async def totals(self) -> Mapping[str, int]:
        """Rows in decision, reward_event, usage_report, queue; for /metrics and readiness."""

    async def search_end(self, filters: DecisionFilter, rows: int) -> str | None:
        """Where a search without an index has to stop: the id ``rows`` decisions back from its cursor, by those
        filters alone that an index serves. None when the log ends before.
        """
