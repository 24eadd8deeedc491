"""Reports of arms that have changed, under the names that people know."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from banditd.bandit.changes.arm_changes import ChangeEvent
from banditd.bandit.state import PolicyState
from banditd.core.generations import shown_as
from banditd.obs.metrics import Metrics

logger = logging.getLogger(__name__)


def evidence_of_changes(state: PolicyState) -> dict[str, tuple[float, float]]:
    """Per arm (evidence of a change in nats, rewards that it was tested on)."""
    present = _present(state)
    return {shown_as(arm, present): seen for arm, seen in state.arm_changes.watched.items()}


def changes_of(state: PolicyState) -> tuple[dict[str, ChangeEvent], tuple[ChangeEvent, ...]]:
    """(arms that are not at their old level now, recent alarms and recoveries, oldest first)."""
    present = _present(state)
    changed = {shown_as(arm, present): _shown(event, present) for arm, event in state.arm_changes.changed.items()}
    return changed, tuple(_shown(event, present) for event in state.arm_changes.history)


def tell_changes(metrics: Metrics, state: PolicyState, policy: str, events: Iterable[ChangeEvent]) -> None:
    """Log and count changes once they are committed."""
    present = _present(state)
    for event in (_shown(one, present) for one in events):
        level = logging.WARNING if event.kind == "changed" else logging.INFO
        logger.log(
            level,
            "arm.changed" if event.kind == "changed" else "arm.recovered",
            extra={
                "policy": policy,
                "arm": event.arm,
                "direction": event.direction,
                "old_level": round(event.old_level, 4),
                "new_level": round(event.new_level, 4),
                "rewards": event.rewards,
                "queries_moved": event.queries_moved,
            },
        )
        if event.kind == "changed":
            metrics.count(metrics.change_alarms, policy, event.arm, event.direction)


def _shown(event: ChangeEvent, present: dict[str, int]) -> ChangeEvent:
    return replace(event, arm=shown_as(event.arm, present))


def _present(state: PolicyState) -> dict[str, int]:
    """The generation of every present arm that has had more than one."""
    return {arm.arm: arm.generation for arm in state.arms if arm.generation > 1}
