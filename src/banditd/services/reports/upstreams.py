"""Upstream calls in figures: how many, how they ended, how long they took. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from banditd.core.types import FloatArray
from banditd.ports.dashboard import AttemptGroup, RecentCalls

_GONE: Final = "client_gone"
_Name = TypeVar("_Name", str, str | None)


def upstream_report(recent: RecentCalls, upstreams: Mapping[str, str | None]) -> dict[str, object]:
    """All calls together, by upstream, and by arm.

    upstreams : arm -> its upstream as configured now; missing arms have none.
    """
    by_arm: dict[str, list[AttemptGroup]] = {arm: [] for arm, name in upstreams.items() if name is not None}
    for group in recent.groups:
        by_arm.setdefault(group.arm, []).append(group)
    calls = {arm: _Calls.of(groups) for arm, groups in by_arm.items()}
    by_upstream: dict[str | None, list[_Calls]] = {name: [] for name in upstreams.values() if name is not None}
    arms: dict[str | None, set[str]] = {name: set() for name in by_upstream}
    for arm, found in calls.items():
        by_upstream.setdefault(upstreams.get(arm), []).append(found)
        arms.setdefault(upstreams.get(arm), set())
    for arm in (*upstreams, *by_arm):
        if upstreams.get(arm) in arms:
            arms[upstreams.get(arm)].add(arm)
    together = {name: _Calls.together(group) for name, group in by_upstream.items()}
    decisions = sum(recent.ended.values())
    return {
        **_Calls.together(list(calls.values())).fields(),
        "calls": decisions,
        "fallbacks": recent.fallbacks,
        "failed": decisions - recent.ended.get(None, 0) - recent.ended.get(_GONE, 0),
        "upstreams": [
            {"upstream": name, "arms": sorted(arms[name]), **found.fields()} for name, found in _ranked(together)
        ],
        "by_arm": [{"arm": arm, "upstream": upstreams.get(arm), **found.fields()} for arm, found in _ranked(calls)],
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Calls:
    """latency_ms, first_token_ms : float64, of answered calls that reported one. errors : by class."""

    attempts: int
    errors: Mapping[str, int]
    first_token_ms: FloatArray
    latency_ms: FloatArray
    cost_usd: float

    @classmethod
    def of(cls, groups: Sequence[AttemptGroup]) -> _Calls:
        return cls.together(
            [
                cls(
                    group.attempts,
                    {} if group.error is None else {group.error: group.attempts},
                    group.first_token_ms,
                    group.latency_ms,
                    group.cost_usd,
                )
                for group in groups
            ]
        )

    @classmethod
    def together(cls, parts: Sequence[_Calls]) -> _Calls:
        nothing = np.zeros(0)
        errors: Counter[str] = Counter()
        for one in parts:
            errors.update(one.errors)
        return cls(
            sum(one.attempts for one in parts),
            errors,
            np.concatenate([nothing, *(one.first_token_ms for one in parts)]),
            np.concatenate([nothing, *(one.latency_ms for one in parts)]),
            sum(one.cost_usd for one in parts),
        )

    def fields(self) -> dict[str, object]:
        """As the API writes it."""
        ended = sum(self.errors.values())
        failed = ended - self.errors.get(_GONE, 0)
        return {
            "attempts": self.attempts,
            "ok": self.attempts - ended,
            "errors": dict(sorted(self.errors.items())),
            "error_share": failed / self.attempts if self.attempts else None,
            "first_token_ms": _quantiles(self.first_token_ms),
            "latency_ms": _quantiles(self.latency_ms),
            "cost_usd": float(self.cost_usd),
        }


def _ranked(groups: Mapping[_Name, _Calls]) -> list[tuple[_Name, _Calls]]:
    return sorted(groups.items(), key=lambda item: (-item[1].attempts, item[0] or ""))


def _quantiles(known: FloatArray) -> dict[str, float | int] | None:
    if not known.size:
        return None
    p50, p95 = np.quantile(known, (0.5, 0.95))
    return {"p50": float(p50), "p95": float(p95), "count": known.size}
