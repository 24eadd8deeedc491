"""Calls of upstreams in numbers: how many, how they ended, how long they took. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from banditd.core.types import FloatArray
from banditd.ports.dashboard import AttemptRow

_GONE: Final = "client_gone"
_Name = TypeVar("_Name", str, str | None)


def upstream_report(rows: Sequence[AttemptRow], upstreams: Mapping[str, str | None]) -> dict[str, object]:
    """All calls together, by upstream and by arm.

    Parameters
    ----------
    rows : calls, those of one decision one after another and in their order.
    upstreams : arm to its upstream as configured now; an arm that is not there is one without.
    """
    by_arm: dict[str, list[AttemptRow]] = {arm: [] for arm, name in upstreams.items() if name is not None}
    last: dict[str, AttemptRow] = {}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(row)
        last[row.decision_id] = row
    calls = {arm: _Calls.of(group) for arm, group in by_arm.items()}
    by_upstream: dict[str | None, list[_Calls]] = {name: [] for name in upstreams.values() if name is not None}
    arms: dict[str | None, set[str]] = {name: set() for name in by_upstream}
    for arm, found in calls.items():
        by_upstream.setdefault(upstreams.get(arm), []).append(found)
        arms.setdefault(upstreams.get(arm), set())
    for arm in (*upstreams, *by_arm):
        if upstreams.get(arm) in arms:
            arms[upstreams.get(arm)].add(arm)
    together = {name: _Calls.together(group) for name, group in by_upstream.items()}
    return {
        **_Calls.together(list(calls.values())).fields(),
        "calls": len(last),
        "fallbacks": sum(row.error is None and row.served_arm is not None for row in last.values()),
        "failed": sum(row.error is not None and row.error != _GONE for row in last.values()),
        "upstreams": [
            {"upstream": name, "arms": sorted(arms[name]), **found.fields()} for name, found in _ranked(together)
        ],
        "by_arm": [{"arm": arm, "upstream": upstreams.get(arm), **found.fields()} for arm, found in _ranked(calls)],
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Calls:
    """latency_ms, first_token_ms : of those that were answered and have one, float64. errors : by class."""

    attempts: int
    errors: Mapping[str, int]
    first_token_ms: FloatArray
    latency_ms: FloatArray
    cost_usd: float

    @classmethod
    def of(cls, rows: Sequence[AttemptRow]) -> _Calls:
        _, _, _, error, latency_ms, first_token_ms, cost_usd = zip(*rows, strict=True) if rows else ((),) * 7
        return cls(
            len(rows),
            Counter(one for one in error if one is not None),
            _known(first_token_ms, error),
            _known(latency_ms, error),
            sum(filter(None, cost_usd)),
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


def _known(values: Sequence[float | None], error: Sequence[str | None]) -> FloatArray:
    return np.array(
        [value for value, failed in zip(values, error, strict=True) if failed is None and value is not None],
        np.float64,
    )


def _ranked(groups: Mapping[_Name, _Calls]) -> list[tuple[_Name, _Calls]]:
    return sorted(groups.items(), key=lambda item: (-item[1].attempts, item[0] or ""))


def _quantiles(known: FloatArray) -> dict[str, float | int] | None:
    if not known.size:
        return None
    p50, p95 = np.quantile(known, (0.5, 0.95))
    return {"p50": float(p50), "p95": float(p95), "count": known.size}
