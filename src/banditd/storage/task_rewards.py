"""A reward of a task: a share of it for each of its decisions, in one transaction, once under a key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, select

from banditd.core.errors import BanditdError, InvalidInputError, NotFoundError
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import MOST_STEPS, RewardReceipt, RewardSubmission, TaskName, TaskReceipt
from banditd.storage.keys import once
from banditd.storage.schema import decision

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
        if len(ids) > MOST_STEPS:
            return InvalidInputError(
                f"task {task.text[:80]!r} has more than {MOST_STEPS} decisions, of which a common reward says "
                "nothing: reward its decisions, or name shorter tasks",
                field="/task_id",
            )
        return _receipt(task, record([submission.of_step(one, len(ids)) for one in ids]))

    return once(connection, _NO_POLICY, key, submission.received_at_us, work, pack=asdict, again=_repeated)


def _decisions_of(connection: Connection, task: TaskName) -> list[str]:
    """The oldest first, at most one more than may be."""
    c = decision.c
    mine = c.key_name.is_(None) if task.key_name is None else c.key_name == task.key_name
    query = select(c.decision_id).where(c.task_id == task.text, mine).order_by(c.decision_id)
    return list(connection.execute(query.limit(MOST_STEPS + 1)).scalars())


def _receipt(task: TaskName, outcomes: Sequence[RewardReceipt | BanditdError]) -> TaskReceipt | BanditdError:
    taken = [one for one in outcomes if isinstance(one, RewardReceipt)]
    if not taken:
        return next(one for one in outcomes if isinstance(one, BanditdError))
    status = [one.status for one in taken]
    return TaskReceipt(
        task_id=task.text,
        decisions=len(outcomes),
        recorded=status.count("recorded"),
        held=status.count("held"),
        logged=status.count("logged"),
        reward=taken[0].reward,
        duplicate=all(one.duplicate for one in taken),
    )


def _repeated(kept: Any) -> TaskReceipt:
    return replace(TaskReceipt(**kept), duplicate=True)
