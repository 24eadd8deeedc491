"""Compares served answers with the baseline's, in both orders, until it is known how often the baseline's is better.

The baseline's answer comes from a probe, so its cost counts towards the probes' cap and it is scored like any other.
The calls of the judge are charged to the judge's own account.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from banditd.core.comparing import Better, Compared, ComparisonTask, Orders
from banditd.core.errors import BanditdError
from banditd.core.judging import JudgeCost, JudgeRule
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.ope.preference import PreferenceTest, preference_in
from banditd.ports import Clock
from banditd.ports.comparing import ComparisonStore
from banditd.ports.upstreams import UpstreamError, Upstreams
from banditd.services.judging.rubric import VerdictError, comparison_prompt, read_better
from banditd.services.judging.worker import JudgeWorker, cost_of, judge_call, pause_us
from banditd.services.patience import patiently, together
from banditd.services.policy import PolicyRuntime

logger = logging.getLogger(__name__)
CONCURRENCY: Final = 2


def tests_of(compared: Sequence[Compared]) -> Mapping[tuple[str, str], PreferenceTest]:
    """(policy, baseline) -> test, for one version of a judge."""
    found: dict[tuple[str, str], list[bool]] = {}
    for one in compared:
        found.setdefault((one.policy, one.arm), []).append(one.outcome == "baseline")
    return {key: preference_in(outcomes) for key, outcomes in found.items()}


class Comparing:
    """Knows which comparisons are still wanted; every replica updates this periodically.

    baseline : returns a policy's baseline by name; only asked for those of ``policies`` that are ready.
    """

    def __init__(
        self,
        judges: Sequence[JudgeRule],
        store: ComparisonStore,
        policies: Mapping[str, PolicyRuntime],
        baseline: Callable[[str], str | None],
    ) -> None:
        self._judges = [judge for judge in judges if judge.probes is not None and judge.probes.compare]
        self._store = store
        self._policies = policies
        self._baseline = baseline
        self._baselines: Mapping[str, str | None] = {}
        self._tests: dict[str, Mapping[tuple[str, str], PreferenceTest]] = {}

    def wanted(self, judge: str, policy: str) -> str | None:
        """The policy's baseline, until it is known how often it is preferred; None from then on, and before the
        first look.
        """
        baseline, tests = self._baselines.get(policy), self._tests.get(judge)
        if baseline is None or tests is None:
            return None
        test = tests.get((policy, baseline))
        return baseline if test is None or test.side is None else None

    async def look(self) -> None:
        """Read all comparisons so far."""
        if self._judges:
            ready = [name for name, runtime in self._policies.items() if runtime.ready]
            self._baselines = {name: self._baseline(name) for name in ready}
        for judge in self._judges:
            self._tests[judge.name] = tests_of(await self._store.compared(judge.name, judge.version))


class ComparisonWorker:
    """Makes one judge's comparisons, on one replica. judge : its budget and endpoint are used."""

    def __init__(
        self, judge: JudgeWorker, store: ComparisonStore, comparing: Comparing, upstreams: Upstreams, clock: Clock
    ) -> None:
        self.rule = judge.rule
        self._judge = judge
        self._store = store
        self._comparing = comparing
        self._upstreams = upstreams
        self._clock = clock

    async def step(self) -> int:
        """Compare some of the waiting pairs. Returns how many were tried."""
        rule, now_us = self.rule, self._clock.now_us()
        if await self._judge.is_spent(now_us):
            return 0
        tasks = await self._store.lease(
            rule.name,
            limit=CONCURRENCY,
            until_us=now_us + round(2 * rule.lease_s * MICROSECONDS_PER_SECOND),
            now_us=now_us,
            max_attempts=rule.max_attempts,
        )
        await together(map(self._compare, tasks))
        if tasks:
            await self._comparing.look()
        return len(tasks)

    async def _compare(self, task: ComparisonTask) -> None:
        pair, spent = task.pair, list[JudgeCost]()
        try:
            served_first = await self._better(task, pair.served_answer, pair.answer, spent)
            baseline_first = await self._better(task, pair.answer, pair.served_answer, spent)
        except UpstreamError as error:
            await self._failed(task, spent, error.code, error.retry_after_s or 0.0)
        except VerdictError as error:
            await self._failed(task, spent, str(error), 0.0)
        except BanditdError as error:
            await self._failed(task, spent, error.code, 0.0)
        else:
            orders, cost = Orders(served_first, baseline_first), JudgeCost.sum(spent)
            now_us, version = self._clock.now_us(), self.rule.version
            await patiently(
                lambda: self._store.finish(
                    task.task_id, task.lease, version=version, orders=orders, cost=cost, now_us=now_us
                )
            )
            self._judge.count("compared", cost.cost_usd)

    async def _better(self, task: ComparisonTask, first: str, second: str, spent: list[JudgeCost]) -> Better:
        """The judge's verdict on the pair in this order; its cost is added to ``spent``.

        Raises UpstreamError, VerdictError.
        """
        rule = self.rule
        mark = f"=== {secrets.token_hex(8)}"
        messages = comparison_prompt(rule.rubric, task.pair.question, (first, second), mark)
        sent = len(rule.rubric) + len(task.pair.question) + len(first) + len(second)
        try:
            reply = await self._upstreams.complete(judge_call(rule, messages))
        except UpstreamError as error:
            spent.append(JudgeCost(calls=1) if error.usage is None else cost_of(rule.price, sent, error.usage, 0))
            raise
        spent.append(cost_of(rule.price, sent, reply.usage, reply.characters))
        return read_better(reply.body)

    async def _failed(self, task: ComparisonTask, spent: list[JudgeCost], reason: str, wait_s: float) -> None:
        now_us, most, cost = self._clock.now_us(), self.rule.max_attempts, JudgeCost.sum(spent)
        due_at_us = now_us + pause_us(task.attempts, wait_s)
        await patiently(
            lambda: self._store.give_back(
                task.task_id, task.lease, due_at_us=due_at_us, max_attempts=most, cost=cost, now_us=now_us
            )
        )
        self._judge.count("not_compared", cost.cost_usd)
        extra = {"judge": self.rule.name, "decision_id": task.pair.decision_id, "reason": reason}
        logger.info("judge.comparison_failed", extra=extra)
