"""Database rows as the API shows them: sums become rates and intervals, times become ISO 8601. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from banditd.bandit.changes.arm_changes import ChangeEvent
from banditd.core.times import iso_time
from banditd.core.types import Arm, FloatArray
from banditd.services.reports.discrepancy import Cells
from banditd.services.reports.saved import SAVED_SUMS, saved_against
from banditd.services.reports.summaries import MeanReward, Row, entropy_nats, mean_reward, normal_interval, ratio

_VECTORS: Final = ("probability", "mean", "deviation", "cost_usd", "penalty", "own_probability")
# Parts of the learner's state: bulky, and what is of interest is in ``/v1/stats``.
_INTERNAL: Final = frozenset({"regimes", "stretches"})
_PRIVATE: Final = frozenset({"body_hash", "queue_id"})
REWARD_SUMS: Final = ("rewards", "weight", "weighted_reward", "weighted_square")
"""Columns that ``reward_of`` reads."""
ARM_SUMS: Final = (
    "decisions", "explored", "greedy", *REWARD_SUMS, "spend_usd", "predicted_spend_usd", "latency_ms_sum",
    "latency_reports", "usage_reports", "input_tokens", "output_tokens", "cached_input_tokens", "errors",
    *SAVED_SUMS,
)  # fmt: skip
"""Columns that ``arm_rows`` reads."""
STEP_SUMS: Final = (
    "decisions", "explored", *REWARD_SUMS, "spend_usd", "predicted_spend_usd", "latency_ms_sum", "latency_reports",
    "errors", "degraded",
)  # fmt: skip
"""Columns that ``step_row`` reads."""


def public_decision(row: Mapping[str, object]) -> dict[str, object]:
    """A row of the log as the API shows it: vectors joined per arm, times as ISO 8601."""
    shown = with_times({name: value for name, value in row.items() if name not in _VECTORS})
    shown["policy_version"] = shown.pop("snapshot_version", None)
    names = row.get("arms")
    if isinstance(names, list | tuple):
        columns = {name: list(row[name]) for name in _VECTORS if row.get(name) is not None}  # type: ignore[call-overload]  # vectors
        shown["arms"] = [
            {"arm": arm, **{name: float(values[i]) for name, values in columns.items()}}
            for i, arm in enumerate(names)
        ]
    for name in ("usage", "contribution"):
        part = row.get(name)
        if isinstance(part, Mapping):
            shown[name] = with_times(part)
    revisions = row.get("usage_revisions")
    if isinstance(revisions, list):
        shown["usage_revisions"] = [with_times(one) for one in revisions]
    events = row.get("rewards")
    if isinstance(events, list | tuple):
        shown["rewards"] = [with_times(event) for event in events]
    return shown


def with_times(row: Mapping[str, object]) -> dict[str, object]:
    """A database row as the API shows it: ``*_at_us`` becomes ``*_at``; internal columns are left out."""
    shown: dict[str, object] = {}
    for name, value in row.items():
        if name in _PRIVATE:
            continue
        if name.endswith("_at_us"):
            shown[name.removesuffix("_us")] = None if value is None else iso_time(int(value))  # type: ignore[call-overload]  # an integer column
        else:
            shown[name] = value
    return shown


def public_snapshot(row: Mapping[str, object]) -> dict[str, object]:
    shown = with_times(row)
    for name in ("hyperparameters", "learner"):
        text = shown.get(name)
        if isinstance(text, str):
            shown[name] = {key: value for key, value in json.loads(text).items() if key not in _INTERNAL}
    return shown


def reward_of(row: Mapping[str, float | str]) -> MeanReward:
    return mean_reward(
        rewards=int(row.get("rewards", 0)),
        weight=float(row.get("weight", 0.0)),
        weighted_reward=float(row.get("weighted_reward", 0.0)),
        weighted_square=float(row.get("weighted_square", 0.0)),
    )


def selection_entropy(rows: Sequence[Row], total: Mapping[str, float], arms: Sequence[Arm]) -> dict[str, object]:
    names = {str(row["arm"]) for row in rows if float(row["decisions"]) > 0}
    names |= {arm.arm for arm in arms if arm.enabled}
    return {
        "realised": entropy_nats(float(row["decisions"]) for row in rows),
        "policy_mean": ratio(total.get("entropy_sum", 0.0), total.get("decisions", 0.0)),
        "maximum": math.log(len(names)) if names else None,
    }


def public_change(event: ChangeEvent) -> dict[str, object]:
    """An alarm or a recovery as the API shows it."""
    return {
        "arm": event.arm,
        "kind": event.kind,
        "direction": event.direction,
        "at": None if event.at_us is None else iso_time(event.at_us),
        "old_level": event.old_level,
        "new_level": event.new_level,
        "rewards": event.rewards,
        "queries_moved": event.queries_moved,
    }


def arm_rows(
    rows: Iterable[Row],
    arms: Sequence[Arm],
    total: Mapping[str, float],
    changed: Mapping[str, ChangeEvent] = MappingProxyType({}),
    away: Mapping[str, tuple[str, int]] = MappingProxyType({}),
) -> list[dict[str, object]]:
    """A row per arm: the present ones in order, then those that are gone. away : as ``Breakers.away``."""
    by_arm = {str(row["arm"]): row for row in rows}
    present = [arm.arm for arm in arms]
    known = {arm.arm: arm for arm in arms}
    gone = sorted(by_arm.keys() - set(present))
    return [
        {
            **_arm_row(arm, by_arm.get(arm, {}), total, here=arm in present),
            "energy_kwh": _energy_kwh(known.get(arm), by_arm.get(arm, {})),
            "change": public_change(changed[arm]) if arm in changed else None,
            "away": {"reason": away[arm][0], "until": iso_time(away[arm][1])} if arm in away else None,
        }
        for arm in (*present, *gone)
    ]


def _energy_kwh(arm: Arm | None, row: Row) -> float | None:
    if arm is None or not (arm.kwh_per_mtok_in or arm.kwh_per_mtok_out):
        return None
    inward, outward = float(row.get("input_tokens", 0)), float(row.get("output_tokens", 0))
    return (arm.kwh_per_mtok_in * inward + arm.kwh_per_mtok_out * outward) / 1e6


def _arm_row(arm: str, row: Row, total: Mapping[str, float], *, here: bool) -> dict[str, object]:
    decisions = int(row.get("decisions", 0))
    return {
        "arm": arm,
        "present": here,
        "decisions": decisions,
        "share": ratio(decisions, total.get("decisions", 0.0)),
        "explored": int(row.get("explored", 0)),
        "greedy_decisions": int(row.get("greedy", 0)),
        **reward_of(row).fields(),
        "coverage": ratio(float(row.get("rewards", 0)), decisions),
        "spend_usd": float(row.get("spend_usd", 0.0)),
        "predicted_spend_usd": float(row.get("predicted_spend_usd", 0.0)),
        "mean_latency_ms": ratio(float(row.get("latency_ms_sum", 0.0)), float(row.get("latency_reports", 0))),
        "usage_reports": int(row.get("usage_reports", 0)),
        "input_tokens": int(row.get("input_tokens", 0)),
        "output_tokens": int(row.get("output_tokens", 0)),
        "cached_input_tokens": int(row.get("cached_input_tokens", 0)),
        "errors": int(row.get("errors", 0)),
        "fixed": _fixed(arm, row, total),
    }


def _fixed(arm: str, row: Row, total: Mapping[str, float]) -> dict[str, object]:
    """What sending everything to this arm would have cost and saved."""
    eligible, decisions = int(row.get("fixed_decisions", 0)), int(total.get("decisions", 0))
    saved = saved_against(arm, row, total)
    cost, reason = saved.would_have_cost_usd, None
    if not eligible:
        reason = "not enough data: never eligible"
    elif eligible < decisions:
        cost = float(row.get("fixed_cost_usd", 0.0)) if cost is None else cost
        reason = f"eligible for {eligible} of {decisions} decisions only, so the totals do not compare"
    return {
        "would_have_cost_usd": cost,
        "on_decisions": saved.compared or eligible,
        "saved_usd": None if reason else saved.usd,
        "basis": saved.basis,
        "reason": reason,
    }


def step_row(row: Row) -> dict[str, object]:
    decisions = int(row.get("decisions", 0))
    return {
        "arm": str(row["arm"]),
        "decisions": decisions,
        "explored": int(row.get("explored", 0)),
        "exploration_rate": ratio(float(row.get("explored", 0)), decisions),
        **reward_of(row).fields(),
        "spend_usd": float(row.get("spend_usd", 0.0)),
        "predicted_spend_usd": float(row.get("predicted_spend_usd", 0.0)),
        "mean_latency_ms": ratio(float(row.get("latency_ms_sum", 0.0)), float(row.get("latency_reports", 0))),
        "errors": int(row.get("errors", 0)),
        "degraded": int(row.get("degraded", 0)),
    }


def context_arm(row: Row, posterior: tuple[float, float] | None) -> dict[str, object]:
    decisions = int(row["decisions"])
    return {
        "arm": str(row["arm"]),
        "decisions": decisions,
        **reward_of(row).fields(),
        "posterior_mean": None if posterior is None else posterior[0],
        "posterior_deviation": None if posterior is None else posterior[1],
        "posterior_interval": None if posterior is None else list(normal_interval(*posterior)),
        "spend_usd": float(row.get("spend_usd", 0.0)),
        "mean_latency_ms": ratio(float(row.get("latency_ms_sum", 0.0)), float(row.get("latency_reports", 0))),
    }


def posterior_cells(
    by_cluster: Mapping[int, Sequence[Row]],
    arms: Sequence[str],
    sums: Mapping[str, FloatArray],
    shape: tuple[int, ...],
) -> Cells:
    """The rewards per cluster and arm for ``cell_deviation``: today's sums, and the scatter over the log's life.

    Parameters
    ----------
    by_cluster : a cluster's rows per arm. arms : in the order of the columns.
    sums : per arm float64 (2, n_clusters), weight and weighted reward; a missing arm counts as never seen.
    shape : (n_clusters, n_arms).
    """
    weight, reward, count, scatter = np.zeros((4, *shape))
    column = {arm: index for index, arm in enumerate(arms)}
    for arm, index in column.items():
        if arm in sums:
            weight[:, index], reward[:, index] = np.maximum(sums[arm][0], 0.0), sums[arm][1]
    for cluster, rows in by_cluster.items():
        for row in rows:
            at = column.get(str(row["arm"]))
            total = float(row.get("weight", 0.0))
            if at is None or not 0 <= cluster < shape[0] or total <= 0.0:
                continue
            count[cluster, at] = float(row.get("rewards", 0))
            mean = float(row.get("weighted_reward", 0.0)) / total
            scatter[cluster, at] = max(0.0, float(row.get("weighted_square", 0.0)) - mean * mean * total)
    return Cells(weight, reward, count, scatter)


def clear_winner(rows: Sequence[Row]) -> str | None:
    """The arm with the highest mean reward, if its interval is above all others'; else None."""
    known = [(str(row["arm"]), reward_of(row)) for row in rows]
    rewarded = [(arm, reward) for arm, reward in known if reward.mean is not None]
    if len(rewarded) < 2:
        return None
    arm, best = max(rewarded, key=lambda item: item[1].mean or 0.0)
    low = best.interval[0] if best.interval else 0.0
    clear = all(other == arm or (reward.interval or (0.0, 1.0))[1] < low for other, reward in rewarded)
    return arm if clear else None
