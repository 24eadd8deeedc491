"""The state of a judge's probes, for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from banditd.core.judging import JudgeRule
from banditd.core.probing import ProbeAccount, ProbeTally
from banditd.core.types import DAY_US
from banditd.ports.probing import ProbeStore
from banditd.services.judging.by_arm import probes_by_arm
from banditd.services.reports.headline import dollars_in_words

NEWEST: Final = 5000
"""The newest probes, which the counts per arm cover."""


@dataclass(frozen=True, slots=True)
class ProbeStates:
    """By judge: lifetime totals, the last day's, what waits, and the arms of the newest probes."""

    life: Mapping[str, ProbeAccount]
    day: Mapping[str, ProbeAccount]
    waiting: Mapping[str, int]
    by_arm: Sequence[ProbeTally]

    @classmethod
    async def read(cls, store: ProbeStore, now_us: int) -> Self:
        """Read the present state."""
        day, by_arm = await store.accounts(now_us - DAY_US), await store.by_arm(NEWEST)
        return cls(await store.accounts(), day, await store.waiting(), by_arm)

    def of(self, judge: JudgeRule) -> Mapping[str, object] | None:
        """A judge's probes for ``GET /v1/judges``; None if it has none."""
        rule = judge.probes
        if rule is None:
            return None
        account = self.life.get(judge.name, ProbeAccount())
        day_usd = self.day.get(judge.name, ProbeAccount()).cost_usd
        return {
            "share": rule.share,
            "arms": rule.arms,
            "drawn": account.drawn,
            "waiting": self.waiting.get(judge.name, 0),
            "answered": account.answered,
            "dropped": account.dropped,
            "failed": account.failed,
            "lost": account.lost,
            "calls": account.calls,
            "input_tokens": account.input_tokens,
            "output_tokens": account.output_tokens,
            "spend_usd": account.cost_usd,
            "spend_day_usd": day_usd,
            "usd_per_day": rule.usd_per_day,
            "by_arm": probes_by_arm(self.by_arm, judge.name),
            "words": _words(judge.name, account, day_usd, rule.usd_per_day),
        }


def _words(judge: str, account: ProbeAccount, day_usd: float, cap_usd: float) -> str:
    queries = "query" if account.answered == 1 else "queries"
    made = (
        f"Probes for {judge}: other arms answered {account.answered:,} {queries} for "
        f"{dollars_in_words(account.cost_usd)}; {dollars_in_words(day_usd)} of at most {dollars_in_words(cap_usd)} "
        "in the last 24 hours."
    )
    if account.dropped:
        were = "was" if account.dropped == 1 else "were"
        made += f" {account.dropped:,} {were} not made, for want of money, room or time."
    return made
