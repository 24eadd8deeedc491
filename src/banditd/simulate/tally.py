"""What a simulated run has earned, and what every fixed arm would have earned on the same queries.

Rewards are the simulated truth (means without noise), not what was posted: missing and noisy feedback must
not decide who looks good. Nothing here talks to the daemon.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from banditd.simulate.families import Prompt
from banditd.simulate.world import Outcome


@dataclass
class Tally:
    """Counts of a run. ``outcomes`` of a query are aligned with ``arms``."""

    arms: Sequence[str]
    rewards: list[float] = field(default_factory=list)
    costs_usd: list[float] = field(default_factory=list)
    fixed_rewards: list[list[float]] = field(default_factory=list)
    fixed_costs_usd: list[list[float]] = field(default_factory=list)
    chosen: list[tuple[str, str]] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    explored: int = 0
    degraded: int = 0
    feedback: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def decision(
        self,
        *,
        prompt: Prompt,
        answer: Mapping[str, Any],
        outcomes: Mapping[str, Outcome],
        latency_ms: float,
    ) -> None:
        """Count one routed query."""
        outcome = outcomes[answer["arm"]]
        self.rewards.append(outcome.mean_reward)
        self.costs_usd.append(outcome.cost_usd)
        self.fixed_rewards.append([outcomes[arm].mean_reward for arm in self.arms])
        self.fixed_costs_usd.append([outcomes[arm].cost_usd for arm in self.arms])
        self.chosen.append((prompt.family, str(answer["arm"])))
        self.latencies_ms.append(latency_ms)
        self.explored += bool(answer.get("explored"))
        self.degraded += answer.get("degraded") is not None

    @property
    def n(self) -> int:
        return len(self.rewards)

    def reward(self, start: int = 0) -> float:
        """Mean reward from query ``start`` on; NaN before the first."""
        return _mean(self.rewards[start:])

    def fixed(self, start: int = 0) -> list[float]:
        """Mean reward of every fixed arm from query ``start`` on."""
        return [_mean([row[k] for row in self.fixed_rewards[start:]]) for k in range(len(self.arms))]

    def against(self, baseline: str) -> list[dict[str, Any]]:
        """The truth against always ``baseline``, after the first queries, more, and all of them.

        Per row: queries, would_have_cost_usd, spent_usd, saved_share, quality_ratio (None where the baseline cost or
        earned nothing).
        """
        k = list(self.arms).index(baseline)
        rows = []
        for n in sorted({*(mark for mark in _MARKS if mark < self.n), self.n}):
            would, spent = sum(row[k] for row in self.fixed_costs_usd[:n]), sum(self.costs_usd[:n])
            theirs, ours = sum(row[k] for row in self.fixed_rewards[:n]), sum(self.rewards[:n])
            rows.append(
                {
                    "queries": n,
                    "would_have_cost_usd": would,
                    "spent_usd": spent,
                    "saved_share": 1.0 - spent / would if would > 0.0 else None,
                    "quality_ratio": ours / theirs if theirs > 0.0 else None,
                }
            )
        return rows

    def summary(self) -> dict[str, Any]:
        """The whole run as plain JSON values."""
        last = self.n - self.n // 3
        fixed, fixed_last = self.fixed(), self.fixed(last)
        pulls = Counter(arm for _, arm in self.chosen)
        best = max(range(len(self.arms)), key=lambda k: fixed[k], default=None)
        return {
            "requests": self.n,
            "reward": {
                "mean": _json(self.reward()),
                "last_third": _json(self.reward(last)),
                "best_fixed": None if best is None else {"arm": self.arms[best], "mean": _json(fixed[best])},
                "oracle": _json(_mean([max(row) for row in self.fixed_rewards])),
                "oracle_last_third": _json(_mean([max(row) for row in self.fixed_rewards[last:]])),
            },
            "cost_usd": sum(self.costs_usd),
            "explored_share": self.explored / self.n if self.n else None,
            "degraded": self.degraded,
            "arms": [
                {
                    "arm": arm,
                    "pulls": pulls[arm],
                    "fixed_reward": _json(fixed[k]),
                    "fixed_reward_last_third": _json(fixed_last[k]),
                    "fixed_cost_usd": sum(row[k] for row in self.fixed_costs_usd),
                }
                for k, arm in enumerate(self.arms)
            ],
            "families": self._families(last),
            "feedback": dict(sorted(self.feedback.items())),
            "failures": dict(sorted(self.failures.items())),
            "latency_ms": {name: _json(percentile(self.latencies_ms, q)) for name, q in _PERCENTILES},
        }

    def _families(self, start: int) -> dict[str, Any]:
        """Per family: the truly best arm, and what the policy chose from query ``start`` on."""
        result: dict[str, Any] = {}
        for family in sorted({name for name, _ in self.chosen}):
            rows = [i for i, (name, _) in enumerate(self.chosen) if name == family]
            late = Counter(self.chosen[i][1] for i in rows if i >= start)
            means = [_mean([self.fixed_rewards[i][k] for i in rows]) for k in range(len(self.arms))]
            favourite, count = late.most_common(1)[0] if late else (None, 0)
            result[family] = {
                "queries": len(rows),
                "best_arm": self.arms[max(range(len(self.arms)), key=lambda k: means[k])],
                "most_chosen_last_third": favourite,
                "share_last_third": count / late.total() if late else None,
            }
        return result


_MARKS = (100, 300, 1000, 2000)
_PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def percentile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least a share ``q`` of the values does not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered)) - 1))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _json(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
