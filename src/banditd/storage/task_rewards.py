"""A reward of a task: a share of it for each of its decisions, in one transaction, once under a key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, func, select

from banditd.core.errors import BanditdError, InvalidInputError, NotFoundError
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import MOST_STEPS, RewardReceipt, RewardSubmission, TaskName, TaskReceipt
from banditd.storage.active_rewards import active_rewards
from banditd.storage.keys import once
from banditd.storage.schema import decision, usage_report

Record = Callable[[Sequence[RewardSubmission]], Sequence[RewardReceipt | BanditdError]]
# A task may have decisions of several policies, so its keys belong to none.
_NO_POLICY = ""


def reward_task(
    connection: Connection, task: TaskName, submission: RewardSubmission, key: RequestKey | None, record: Record
) -> TaskReceipt | BanditdError:
    """Record the shares of the decisions that the task has now; what was done under the key is told again.

    A refusal has written nothing.
    """

    def work() -> TaskReceipt | BanditdError:
        ids = _decisions_of(connection, task)
        if not ids:
            return NotFoundError(
                f"no decision of this API key has the task {task.text[:80]!r}: give task_id with the queries, under "
                "the same API key; retention may have deleted them",
                code="DECISION_NOT_FOUND",
                field="/task_id",
            )
        if submission.retract:  # whatever came since has no share
            ids = ids[:MOST_STEPS]
        if len(ids) > MOST_STEPS:
            return InvalidInputError(
                f"task {task.text[:80]!r} has more than {MOST_STEPS} decisions, of which a common reward says "
                "nothing: reward its decisions, or name shorter tasks",
                field="/task_id",
            )
        outcomes = record([submission.of_step(one, len(ids)) for one in ids])
        return _receipt(task, outcomes, _with_their_own(connection, ids))

    return once(connection, _NO_POLICY, key, submission.received_at_us, work, pack=asdict, again=_repeated)


def _decisions_of(connection: Connection, task: TaskName) -> list[str]:
    """The oldest first, at most one more than may be."""
    c = decision.c
    same_key = c.key_name.is_(None) if task.key_name is None else c.key_name == task.key_name
    query = select(c.decision_id).where(c.task_id == task.text, same_key).order_by(c.decision_id)
    return list(connection.execute(query.limit(MOST_STEPS + 1)).scalars())


def _with_their_own(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those that have a reward of their own: their share does not count (``services.learning.folding``)."""
    active = active_rewards(connection, ids)
    served = func.coalesce(usage_report.c.served_arm, decision.c.arm)
    query = (
        select(decision.c.decision_id, served)
        .select_from(decision.outerjoin(usage_report, usage_report.c.decision_id == decision.c.decision_id))
        .where(decision.c.decision_id.in_(active))
    )
    return {one for one, arm in connection.execute(query) if active[one].by_arm(arm)[0]}


def _receipt(
    task: TaskName, outcomes: Sequence[RewardReceipt | BanditdError], outweighed: Collection[str]
) -> TaskReceipt | BanditdError:
    taken = [one for one in outcomes if isinstance(one, RewardReceipt)]
    if not taken:
        return next(one for one in outcomes if isinstance(one, BanditdError))
    status = Counter(
        "outweighed" if one.status == "recorded" and one.decision_id in outweighed else one.status for one in taken
    )
    return TaskReceipt(
        task_id=task.text,
        decisions=len(outcomes),
        recorded=status["recorded"],
        outweighed=status["outweighed"],
        held=status["held"],
        logged=status["logged"],
        reward=taken[0].reward,
        duplicate=all(one.duplicate for one in taken),
    )


def _repeated(kept: Any) -> TaskReceipt:
    return replace(TaskReceipt(**kept), duplicate=True)
