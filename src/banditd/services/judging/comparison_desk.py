"""Comparisons over HTTP: the verdicts, and the pairs for judges that clients call themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from banditd.core.comparing import (
    Better,
    ComparisonFilter,
    ComparisonTask,
    Orders,
    StoredComparison,
    shows_served_first,
)
from banditd.core.errors import ConflictError, NotFoundError
from banditd.core.judging import JudgeCost, JudgeRule
from banditd.core.times import iso_time
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.comparing import ComparisonStore
from banditd.services.judging.comparing import Comparing

MANY: Final = 1_000_000
"""A number of attempts that is never reached: whoever reads the queue decides which attempt is the last."""


class ComparisonDesk:
    """Pairs of answers, and the verdicts on them.

    client_judge : returns the judge of that name, if clients call it.
    """

    def __init__(
        self,
        client_judge: Callable[[str], JudgeRule],
        judges: Mapping[str, JudgeRule],
        store: ComparisonStore,
        comparing: Comparing,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._client_judge = client_judge
        self._judges = judges
        self._store = store
        self._comparing = comparing
        self._clock = clock
        self._metrics = metrics

    async def page(self, which: ComparisonFilter) -> Mapping[str, object]:
        """Comparisons, newest decisions first. Raises NotFoundError for a judge that never existed here."""
        found = await self._store.page(which)
        judge = which.judge
        unknown = not found and judge is not None and judge not in self._judges
        if unknown and not await self._store.page(ComparisonFilter(judge=judge, limit=1)):  # no old ones
            raise unknown_judge(str(judge), self._judges)
        whole = len(found) >= which.limit
        return {
            "comparisons": [_shown(one) for one in found],
            "next_before_id": found[-1].decision_id if found and whole else None,
        }

    async def lease(self, judge: str, limit: int, lease_s: float) -> Mapping[str, object]:
        """Claim pairs of a judge of kind ``client``. Raises NotFoundError, ConflictError."""
        rule = self._client_judge(judge)
        now_us = self._clock.now_us()
        until_us = now_us + round(lease_s * MICROSECONDS_PER_SECOND)
        tasks = await self._store.lease(
            judge, limit=limit, until_us=until_us, now_us=now_us, max_attempts=rule.max_attempts
        )
        pairs = [{**_pair(task), "leased_until": iso_time(until_us)} for task in tasks]
        return {"judge": judge, "rubric": rule.rubric, "pairs": pairs}

    async def result(
        self, task_id: str, lease: str, verdicts: tuple[Better, Better] | None, *, cost_usd: float
    ) -> Mapping[str, object]:
        """Store the verdicts on a pair, once; without verdicts, return the pair to the queue.

        Raises NotFoundError, ConflictError.
        """
        judge, now_us = await self._store.judge_of(task_id), self._clock.now_us()
        cost = JudgeCost(calls=1 if verdicts is None else 2, cost_usd=cost_usd)
        if verdicts is None:  # the next lease decides whether this was its last attempt
            back = judge is not None and await self._store.give_back(
                task_id, lease, due_at_us=now_us, max_attempts=MANY, cost=cost, now_us=now_us
            )
            if judge is None or not back:
                raise self._lost(task_id, judge)
            self._metrics.judging.count(judge, "not_compared", cost_usd)
            return {"task_id": task_id, "decision_id": None, "outcome": None, "duplicate": False}
        orders = Orders(*verdicts) if shows_served_first(task_id) else Orders(verdicts[1], verdicts[0])
        rule = self._judges.get(judge or "")
        kept = None
        if rule is not None:
            kept = await self._store.finish(
                task_id, lease, version=rule.version, orders=orders, cost=cost, now_us=now_us
            )
        duplicate = kept is None
        if kept is not None:
            self._metrics.judging.count(kept.judge, "compared", cost_usd)
            await self._comparing.look()
        else:
            kept = await self._store.of_task(task_id)
        if kept is None:
            raise self._lost(task_id, judge)
        if kept.orders != orders:
            raise ConflictError(
                f"pair {task_id} has been compared: its outcome is {kept.outcome} and cannot change",
                code="TASK_JUDGED",
            )
        return {
            "task_id": task_id, "decision_id": kept.decision_id, "outcome": kept.outcome, "duplicate": duplicate,
        }  # fmt: skip

    def _lost(self, task_id: str, judge: str | None) -> NotFoundError | ConflictError:
        if judge is not None:
            return ConflictError(
                f"the lease of pair {task_id} has expired, and somebody else may have the pair; lease pairs again",
                code="TASK_LEASE_LOST",
                field="/lease",
            )
        return NotFoundError(
            f"no pair {task_id}: it never existed here, or it waited too long and was deleted", code="TASK_NOT_FOUND"
        )


def unknown_judge(judge: str, judges: Iterable[str]) -> NotFoundError:
    """The error for an unknown judge. judges : the configured ones."""
    return NotFoundError(
        f"no such judge: {judge}; this daemon has {', '.join(judges) or 'none'}", code="JUDGE_UNKNOWN", field="/judge"
    )


def _pair(task: ComparisonTask) -> dict[str, object]:
    """A pair as a judge gets it, without saying whose answer is which."""
    pair = task.pair
    texts = (pair.served_answer, pair.answer)
    first, second = texts if shows_served_first(task.task_id) else texts[::-1]
    return {
        "task_id": task.task_id,
        "lease": task.lease,
        "decision_id": pair.decision_id,
        "policy": pair.policy,
        "question": pair.question,
        "first": first,
        "second": second,
        "attempt": task.attempts,
    }


def _shown(one: StoredComparison) -> dict[str, object]:
    return {
        "decision_id": one.decision_id,
        "policy": one.policy,
        "judge": one.judge,
        "version": one.version,
        "served_arm": one.served_arm,
        "baseline": one.arm,
        "outcome": one.outcome,
        "served_first": None if one.orders is None else one.orders.served_first,
        "baseline_first": None if one.orders is None else one.orders.baseline_first,
        "probability": one.probability,
        "served_chars": one.served_chars,
        "baseline_chars": one.answer_chars,
        "cost_usd": one.cost_usd,
        "compared_at": iso_time(one.compared_at_us),
    }
