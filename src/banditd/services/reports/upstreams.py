"""Calls of upstreams in numbers: how many, how they ended, how long they took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np

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
    by_upstream: dict[str | None, list[AttemptRow]] = {name: [] for name in upstreams.values() if name is not None}
    by_arm: dict[str, list[AttemptRow]] = {arm: [] for arm, name in upstreams.items() if name is not None}
    last: dict[str, AttemptRow] = {}
    for row in rows:
        by_upstream.setdefault(upstreams.get(row.arm), []).append(row)
        by_arm.setdefault(row.arm, []).append(row)
        last[row.decision_id] = row
    arms: dict[str | None, set[str]] = {name: set() for name in by_upstream}
    for arm in (*upstreams, *by_arm):
        if upstreams.get(arm) in arms:
            arms[upstreams.get(arm)].add(arm)
    return {
        **_calls(rows),
        "calls": len(last),
        "fallbacks": sum(row.error is None and row.served_arm is not None for row in last.values()),
        "failed": sum(row.error is not None and row.error != _GONE for row in last.values()),
        "upstreams": [
            {"upstream": name, "arms": sorted(arms[name]), **_calls(group)} for name, group in _ranked(by_upstream)
        ],
        "by_arm": [{"arm": arm, "upstream": upstreams.get(arm), **_calls(group)} for arm, group in _ranked(by_arm)],
    }


def _ranked(groups: Mapping[_Name, list[AttemptRow]]) -> list[tuple[_Name, list[AttemptRow]]]:
    return sorted(groups.items(), key=lambda item: (-len(item[1]), item[0] or ""))


def _calls(rows: Sequence[AttemptRow]) -> dict[str, object]:
    answered = [row for row in rows if row.error is None]
    errors: dict[str, int] = {}
    for row in rows:
        if row.error is not None:
            errors[row.error] = errors.get(row.error, 0) + 1
    failed = len(rows) - len(answered) - errors.get(_GONE, 0)
    return {
        "attempts": len(rows),
        "ok": len(answered),
        "errors": dict(sorted(errors.items())),
        "error_share": failed / len(rows) if rows else None,
        "first_token_ms": _quantiles(row.first_token_ms for row in answered),
        "latency_ms": _quantiles(row.latency_ms for row in answered),
        "cost_usd": sum(row.cost_usd or 0.0 for row in rows),
    }


def _quantiles(values: Iterable[float | None]) -> dict[str, float | int] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    p50, p95 = np.quantile(known, (0.5, 0.95))
    return {"p50": float(p50), "p95": float(p95), "count": len(known)}
