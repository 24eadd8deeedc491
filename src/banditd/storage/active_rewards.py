"""The rewards of decisions that count: per identity the newest revision to be learned, by whose answer it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, literal, select, union_all

from banditd.core.rewards import OF_TASK, RewardEvent
from banditd.storage.among import among, rows_among
from banditd.storage.schema import arm_reward, reward_event

_COLUMNS: Final = (
    "decision_id", "identity", "revision", "keyed", "kind", "metric", "source", "reward", "noise_variance",
    "received_at_us", "arm",
)  # fmt: skip


@dataclass(slots=True)
class Active:
    """The active rewards of one decision. retracted : whether one of its own that could be learned was taken back."""

    rows: list[Any] = field(default_factory=list)
    retracted: bool = False

    def by_arm(self, served: str) -> tuple[tuple[RewardEvent, ...], Mapping[str, tuple[RewardEvent, ...]]]:
        """(the decision's own, those of other arms by arm), where ``served`` answered it.

        A source that has said the same metric of an answer both with and without the arm's name is heard once: the
        newer words count.
        """
        found: dict[str | None, list[Any]] = defaultdict(list)
        for row in self.rows:
            if row.kind == OF_TASK:
                continue
            found[None if row.arm == served else row.arm].append(row)
        events = {arm: tuple(_event(row) for row in _heard_once(rows)) for arm, rows in found.items()}
        own = events.pop(None, ())
        return own, {arm: events[arm] for arm in sorted(filter(None, events))}

    def of_task(self) -> tuple[RewardEvent, ...]:
        """Those that the decision has by its task, whoever has served it."""
        return tuple(_event(row) for row in self.rows if row.kind == OF_TASK)


def active_rewards(connection: Connection, decision_ids: Sequence[str]) -> dict[str, Active]:
    """By decision; those without any reward are left out. In the order of identities, so that sums come out alike."""
    newest: dict[tuple[str, str, int], Any] = {}
    found: dict[str, Active] = defaultdict(Active)
    for row in rows_among(connection, _LEARNED, decision_ids):
        key = (row.decision_id, row.identity, row.apart)
        if row.kind == "retraction" and key in newest and not row.apart:
            found[row.decision_id].retracted = True
        newest[key] = row
    for (decision_id, _, _), row in newest.items():
        if row.kind != "retraction" and row.reward is not None:
            found[decision_id].rows.append(row)
    return found


def _learned() -> Select[Any]:
    def learned(table: Table, *, apart: bool) -> Select[Any]:
        columns = [table.c[name] for name in _COLUMNS]
        query = select(*columns, literal(int(apart)).label("apart"))
        return query.where(among(table.c.decision_id), table.c.status == "recorded")

    both = union_all(learned(reward_event, apart=False), learned(arm_reward, apart=True)).subquery()
    return select(both).order_by(both.c.identity, both.c.apart, both.c.revision)


_LEARNED: Final = _learned()


def _heard_once(rows: Sequence[Any]) -> list[Any]:
    """Without those of which newer words of the same source on the same metric are there."""
    if len(rows) == 1:
        return list(rows)
    newest: dict[tuple[str, str], Any] = {}
    for row in rows:
        before = newest.get((row.metric, row.source))
        if not row.keyed and (before is None or _order(before) < _order(row)):
            newest[row.metric, row.source] = row
    return [row for row in rows if row.keyed or newest[row.metric, row.source] is row]


def _order(row: Any) -> tuple[int, str]:
    return row.received_at_us, row.identity


def _event(row: Any) -> RewardEvent:
    return RewardEvent(row.reward, row.noise_variance, row.kind, row.received_at_us, row.metric)
