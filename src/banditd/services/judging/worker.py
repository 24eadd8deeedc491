"""Calls a judge for waiting answers: claim a batch, call, store the verdicts.

Several replicas may do so at once. After ``JudgeRule.lease_s`` the claims of a killed replica are free again. There
is only one verdict per answer, however often the judge is called.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from banditd.core.errors import BanditdError
from banditd.core.judging import JudgeCost, JudgeRule, JudgeTask
from banditd.core.types import DAY_US, MICROSECONDS_PER_SECOND, Price
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.judging import JudgingStore
from banditd.ports.upstreams import TokenUsage, UpstreamCall, UpstreamError, Upstreams
from banditd.services.judging.rubric import Verdict, VerdictError, prompt, read_reply
from banditd.services.patience import patiently, together

logger = logging.getLogger(__name__)
FIRST_PAUSE_S: Final = 5.0
PAUSE_GROWS: Final = 4.0
LONGEST_PAUSE_S: Final = 3600.0
_CHARACTERS_PER_TOKEN: Final = 4


class JudgeWorker:
    """Works for one judge of kind ``upstream``, on one replica."""

    def __init__(
        self, rule: JudgeRule, store: JudgingStore, upstreams: Upstreams, clock: Clock, metrics: Metrics
    ) -> None:
        self.rule = rule
        self._store = store
        self._upstreams = upstreams
        self._clock = clock
        self._metrics = metrics
        self._stopped_for_money = False

    async def step(self) -> int:
        """Judge one batch of the waiting answers. Returns how many were tried."""
        rule, now_us = self.rule, self._clock.now_us()
        if await self.is_spent(now_us):
            return 0
        until_us = now_us + round(rule.lease_s * MICROSECONDS_PER_SECOND)
        tasks = await self._store.lease(
            rule.name,
            rule.version,
            limit=rule.concurrency,
            until_us=until_us,
            now_us=now_us,
            max_attempts=rule.max_attempts,
        )
        await together(map(self._judge, tasks))
        return len(tasks)

    async def is_spent(self, now_us: int) -> bool:
        """Whether the last 24 hours have used up the judge's budget."""
        if self.rule.usd_per_day is None:
            return False
        account = (await self._store.accounts(now_us - DAY_US)).get(self.rule.name)
        spent = account is not None and account.cost.cost_usd >= self.rule.usd_per_day
        if spent and not self._stopped_for_money:
            logger.warning("judge.spent", extra={"judge": self.rule.name, "usd_per_day": self.rule.usd_per_day})
        self._stopped_for_money = spent
        return spent

    async def _judge(self, task: JudgeTask) -> None:
        cost = JudgeCost(calls=1)
        try:
            reply = await self._upstreams.complete(self._call(task))
            cost = self._cost(task, reply.usage, reply.characters)
            verdict = read_reply(reply.body)
        except VerdictError as error:
            await self._failed(task, cost, "unreadable", str(error), 0.0)
        except UpstreamError as error:
            if error.usage is not None:
                cost = self._cost(task, error.usage, 0)
            await self._failed(task, cost, error.error_class, error.code, error.retry_after_s or 0.0)
        except BanditdError as error:
            await self._failed(task, cost, "failed", error.code, 0.0)
        else:
            await self._keep(task, verdict, cost)

    async def _keep(self, task: JudgeTask, verdict: Verdict, cost: JudgeCost) -> None:
        now_us = self._clock.now_us()
        kept = await patiently(
            lambda: self._store.finish(
                task.task_id, task.lease, score=verdict.score, reason=verdict.reason, cost=cost, now_us=now_us
            )
        )
        if kept is None:  # another replica has claimed it since; the call was still paid for
            await self._store.book(self.rule.name, task.answer.policy, cost, now_us)
            self._metrics.judging.spend.labels(self.rule.name).inc(cost.cost_usd)
        else:
            self.count("judged", cost.cost_usd)

    async def _failed(self, task: JudgeTask, cost: JudgeCost, outcome: str, reason: str, wait_s: float) -> None:
        """Retry later, up to the maximum number of attempts."""
        now_us = self._clock.now_us()
        kept = await patiently(
            lambda: self._store.give_back(
                task.task_id,
                task.lease,
                due_at_us=now_us + pause_us(task.attempts, wait_s),
                max_attempts=self.rule.max_attempts,
                cost=cost,
                now_us=now_us,
            )
        )
        if kept is None:
            await self._store.book(self.rule.name, task.answer.policy, cost, now_us)
        self.count(outcome, cost.cost_usd)
        logger.info(
            "judge.call_failed",
            extra={
                "judge": self.rule.name,
                "decision_id": task.answer.decision_id,
                "attempt": task.attempts,
                "outcome": outcome,
                "reason": reason,
            },
        )

    def count(self, outcome: str, cost_usd: float) -> None:
        """Count calls and their cost in the metrics."""
        self._metrics.judging.count(self.rule.name, outcome, cost_usd)

    def _call(self, task: JudgeTask) -> UpstreamCall:
        mark, answer = f"=== {secrets.token_hex(8)}", task.answer
        return judge_call(self.rule, prompt(self.rule.rubric, answer.question, answer.answer, mark))

    def _cost(self, task: JudgeTask, usage: TokenUsage | None, characters: int) -> JudgeCost:
        sent = len(self.rule.rubric) + len(task.answer.question) + len(task.answer.answer)
        return cost_of(self.rule.price, sent, usage, characters)


def judge_call(rule: JudgeRule, messages: Sequence[Mapping[str, str]]) -> UpstreamCall:
    """A call of a judge's model, without parameters that some models refuse; ``params`` adds more."""
    return UpstreamCall(
        upstream=rule.upstream,
        surface="chat",
        model=rule.model,
        body={"model": rule.model, "messages": messages},
        params=rule.params,
        deadline_s=rule.deadline_s,
    )


def cost_of(price: Price, sent: int, usage: TokenUsage | None, characters: int) -> JudgeCost:
    """Cost of one call: as the upstream reports, else estimated from the characters sent and received."""
    if usage is None:
        usage = TokenUsage(-(-sent // _CHARACTERS_PER_TOKEN), -(-characters // _CHARACTERS_PER_TOKEN))
    return priced(price, usage)


def priced(price: Price, usage: TokenUsage) -> JudgeCost:
    """Cost of one call: as the upstream reports, else from its tokens."""
    cost_usd = usage.cost_usd
    if cost_usd is None:
        cost_usd = price.cost_usd(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
    return JudgeCost(calls=1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cost_usd=cost_usd)


def pause_us(attempts: int, wait_s: float) -> int:
    """Pause before the next attempt after ``attempts`` failures. wait_s : wait that the upstream asked for."""
    pause_s = min(max(FIRST_PAUSE_S * PAUSE_GROWS ** (attempts - 1), wait_s), LONGEST_PAUSE_S)
    return round(pause_s * MICROSECONDS_PER_SECOND)
