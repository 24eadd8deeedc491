"""Rewards of arms that did not serve: their queue, and what must be known of a decision to take one.

They have tables of their own, so that a replica of an older release can neither learn them as the decision's own nor
take their rows of the queue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, delete, insert, select, update

from banditd.core.ids import new_id
from banditd.core.rewards import Contribution
from banditd.ports import DecisionFacts, FoldCommit
from banditd.storage import dialect
from banditd.storage.among import among, in_chunks, rows_among
from banditd.storage.codec import unpack_mapping, unpack_names
from banditd.storage.schema import (
    arm_contribution,
    arm_fold_queue,
    arm_reward,
    decision,
    reward_event,
    usage_report,
)

_WITH_ARMS: Final = (
    select(decision.c.decision_id, decision.c.arm, decision.c.arms, decision.c.exclusions, usage_report.c.served_arm)
    .select_from(decision.outerjoin(usage_report, usage_report.c.decision_id == decision.c.decision_id))
    .where(among(decision.c.decision_id))
)


def with_arms(
    connection: Connection, facts: Mapping[str, DecisionFacts], named: Collection[str]
) -> dict[str, DecisionFacts]:
    """The same with the arms of these decisions' policies when they were made, and who served them."""
    found = dict(facts)
    known = sorted(found.keys() & set(named))
    for row in rows_among(connection, _WITH_ARMS, known):
        try:
            # Who served may have been added since: a fallback.
            present = {row.arm, *unpack_names(row.arms), *unpack_mapping(row.exclusions)}
            arms = tuple(sorted(present | ({row.served_arm} if row.served_arm else set())))
        except (TypeError, ValueError):
            arms = None
        found[row.decision_id] = replace(found[row.decision_id], served_arm=row.served_arm, arms=arms)
    return found


def queue_arms(connection: Connection, decisions: Sequence[tuple[str, str]], at_us: int) -> None:
    """Put (decision_id, policy) pairs into the learner's queue of rewards of other arms."""
    if decisions:
        connection.execute(
            insert(arm_fold_queue),
            [
                {"queue_id": new_id(at_us), "policy": policy, "decision_id": decision_id, "enqueued_at_us": at_us}
                for decision_id, policy in decisions
            ],
        )


_NAMED: Final = (
    select(reward_event.c.decision_id)
    .where(among(reward_event.c.decision_id), reward_event.c.arm.is_not(None))
    .union(select(arm_reward.c.decision_id).where(among(arm_reward.c.decision_id)))
)


def queue_rerouted(connection: Connection, decisions: Sequence[tuple[str, str]], at_us: int) -> None:
    """The same for those of them of which some reward named an arm: another arm has served than was known.

    What an older replica that leads makes of that in the meantime is folded anew.
    """
    if not decisions:
        return
    ids = [decision_id for decision_id, _ in decisions]
    named = {row.decision_id for row in rows_among(connection, _NAMED, ids)}
    queue_arms(connection, [one for one in decisions if one[0] in named], at_us)


def release_arms(connection: Connection, decision_id: str, policy: str, at_us: int) -> None:
    """Let the held rewards of other arms count: their decision is activated."""
    held = (arm_reward.c.decision_id == decision_id) & (arm_reward.c.status == "held")
    if connection.execute(update(arm_reward).where(held).values(status="recorded")).rowcount:
        queue_arms(connection, [(decision_id, policy)], at_us)


def _others() -> Select[Any]:
    c = arm_contribution.c
    query = select(c.decision_id, c.arm, c.epoch, c.weight, c.reward).where(among(c.decision_id))
    return query.order_by(c.decision_id, c.arm)


_OTHERS: Final = _others()


def other_contributions(connection: Connection, decision_ids: Sequence[str]) -> dict[str, dict[str, Contribution]]:
    """What decisions have put into the statistics of arms that did not serve them, by arm."""
    found: dict[str, dict[str, Contribution]] = {}
    for row in rows_among(connection, _OTHERS, decision_ids):
        found.setdefault(row.decision_id, {})[row.arm] = Contribution(row.arm, row.epoch, row.weight, row.reward)
    return found


_TAKE_BACK: Final = delete(arm_contribution).where(among(arm_contribution.c.decision_id, arm_contribution.c.arm))


def write_other_contributions(connection: Connection, engine: Engine, fold: FoldCommit) -> None:
    """Store what a fold has put into the statistics of other arms, and forget what it took out."""
    gone = [key for key, put in fold.other_contributions.items() if put is None]
    for chunk in in_chunks(gone):
        connection.execute(_TAKE_BACK, chunk)
    rows = [
        {
            "decision_id": decision_id,
            "arm": arm,
            "policy": fold.policy,
            "epoch": put.epoch,
            "weight": float(put.weight),
            "reward": float(put.reward),
        }
        for (decision_id, arm), put in fold.other_contributions.items()
        if put is not None
    ]
    if rows:
        connection.execute(
            dialect.replace_row(engine, arm_contribution, ("policy", "epoch", "weight", "reward")), rows
        )
