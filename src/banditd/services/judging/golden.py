"""A policy's golden set: each day every arm answers the same prompts, and the judge scores the answers.

The replica that holds the lease does this. A call's possible cost is reserved before it is made, and a call that may
have been made is never repeated: if its replica is killed during a call, the case is lost.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from typing import Final

from banditd.core.attempts import ErrorClass
from banditd.core.errors import BanditdError
from banditd.core.golden import MAX_ATTEMPTS, GoldenCase, GoldenPrompt, GoldenRule
from banditd.core.judging import JudgeCost, JudgeRule
from banditd.core.types import DAY_US, MICROSECONDS_PER_SECOND, Arm
from banditd.obs.proving import DriftMetrics
from banditd.ports import Clock, LeaseStore
from banditd.ports.golden import GoldenStore
from banditd.ports.upstreams import TokenUsage, UpstreamCall, UpstreamError, UpstreamReply
from banditd.services.gateway.running import CHARACTERS_PER_TOKEN
from banditd.services.judging.probe_worker import DEADLINE_S, LEASE_S, MAY_PASS, Probed
from banditd.services.judging.rubric import VerdictError, prompt, read_reply
from banditd.services.judging.texts import answer_text, question_in
from banditd.services.judging.worker import cost_of, judge_call, pause_us, priced
from banditd.services.patience import patiently, together

logger = logging.getLogger(__name__)
CONCURRENCY: Final = 2
"""Calls at once; they share the arms' rate limits with users' queries."""
LOOK_EVERY_S: Final = 30.0
ANSWERS: Final = 4.0
"""The reserve for an answer, in expected answers, since some are long."""
VERDICT_TOKENS: Final = (300, 500)
"""The reserve for a verdict: input tokens beyond question and answer, and output tokens."""
_LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A replica's name and clock. leases : the store by which the replicas agree on who works."""

    leases: LeaseStore
    holder: str
    clock: Clock


class GoldenWorker:
    """Works on one golden set, on one replica."""

    def __init__(
        self,
        rule: GoldenRule,
        judge: JudgeRule,
        store: GoldenStore,
        probed: Probed,
        leased: Leased,
        metrics: DriftMetrics,
    ) -> None:
        self.rule = rule
        self._judge = judge
        self._store = store
        self._probed = probed
        self._leased = leased
        self._clock = leased.clock
        self._metrics = metrics
        self._prompts = {one.prompt_id: one for one in rule.prompts}
        self._next_s = 0.0
        self._planned: tuple[int, tuple[tuple[Arm, str], ...]] | None = None

    async def step(self) -> int:
        """Make some of the day's calls, if this replica holds the lease. Returns how many were tried."""
        if monotonic() < self._next_s:
            return 0
        lease, now_us = f"golden:{self.rule.policy}", self._clock.now_us()
        leased = self._leased
        if not await leased.leases.acquire(lease, leased.holder, ttl_s=LEASE_S + LOOK_EVERY_S, now_us=now_us):
            self._next_s = monotonic() + LOOK_EVERY_S
            return 0
        day, policy = now_us // DAY_US, self.rule.policy
        await self._store.drop(policy, day, now_us)
        await self._plan(day, now_us)
        cases = await self._store.claim(
            self.rule,
            day,
            limit=CONCURRENCY,
            until_us=now_us + round(LEASE_S * MICROSECONDS_PER_SECOND),
            now_us=now_us,
            without=sorted(self._probed.breakers[policy].exclusions(now_us)),
        )
        await together(map(self._make, cases))
        if not cases:
            await self._store.count(self.rule, day, self._clock.now_us())
            self._next_s = monotonic() + LOOK_EVERY_S
        return len(cases)

    async def _plan(self, day: int, now_us: int) -> None:
        """Create the day's cases, also for arms that were added since."""
        arms = [arm for arm in self._probed.runtimes[self.rule.policy].arms if self._callable(arm)]
        wanted = day, tuple((arm, version_of(arm, self._judge)) for arm in arms)
        if wanted != self._planned:
            await self._store.plan(self._cases(*wanted), now_us)
            self._planned = wanted

    def _cases(self, day: int, arms: Sequence[tuple[Arm, str]]) -> list[GoldenCase]:
        """Every prompt for each of these arms, which are given with their versions."""
        found = []
        for arm, version in arms:
            found += [
                GoldenCase(
                    policy=self.rule.policy,
                    day=day,
                    arm=arm.arm,
                    prompt_id=one.prompt_id,
                    version=version,
                    position=position,
                    reserve_usd=_reserve_usd(arm, one),
                )
                for position, one in enumerate(self.rule.prompts)
            ]
        return found

    def _callable(self, arm: Arm) -> bool:
        upstreams = self._probed.upstreams
        if not arm.enabled or arm.recipe is not None or arm.upstream not in upstreams.names():
            return False
        return arm.upstream not in upstreams.unable("chat", {})

    async def _make(self, case: GoldenCase) -> None:
        """Call the arm or, once there is an answer, the judge."""
        found = self._prompts.get(case.prompt_id)
        arms = {arm.arm: arm for arm in self._probed.runtimes[case.policy].arms if self._callable(arm)}
        arm = arms.get(case.arm)
        if found is None or arm is None or version_of(arm, self._judge) != case.version:
            await self._failed(case, JudgeCost(), "request", "ARM_CHANGED", 0.0)
        elif case.answer is None:
            await self._ask(case, found, arm)
        else:
            await self._score(case, found, case.answer)

    async def _ask(self, case: GoldenCase, found: GoldenPrompt, arm: Arm) -> None:
        call = UpstreamCall(
            upstream=arm.upstream or "",
            surface="chat",
            model=arm.upstream_model,
            body=found.body,
            params=arm.params,
            rename_params=arm.rename_params,
            first_token_s=arm.first_token_s,
            deadline_s=DEADLINE_S,
        )
        reply = await self._reply(case, call, lambda usage: priced(arm.price, usage))
        if reply is None:
            return
        cost = priced(
            arm.price, reply.usage or TokenUsage(found.input_tokens, round(reply.characters / CHARACTERS_PER_TOKEN))
        )
        answer = answer_text("chat", reply.body, stream=False, most_chars=self._judge.max_chars)
        if not answer.strip():
            await self._failed(case, cost, "request", "WITHOUT_TEXT", 0.0)
            return
        more, output = VERDICT_TOKENS
        tokens = (len(self._judge.rubric) + len(answer)) / CHARACTERS_PER_TOKEN + found.input_tokens + more
        judge_usd = self._judge.price.cost_usd(tokens, output)
        now_us = self._clock.now_us()
        await patiently(
            lambda: self._store.answered(case, cost=cost, answer=answer, judge_usd=judge_usd, now_us=now_us)
        )
        self._count("answered", cost)

    async def _score(self, case: GoldenCase, found: GoldenPrompt, answer: str) -> None:
        judge = self._judge
        question = question_in("chat", found.body, judge.max_chars)
        sent = len(judge.rubric) + len(question) + len(answer)
        messages = prompt(judge.rubric, question, answer, f"=== {secrets.token_hex(8)}")
        reply = await self._reply(
            case, judge_call(judge, messages), lambda usage: cost_of(judge.price, sent, usage, 0)
        )
        if reply is None:
            return
        cost = cost_of(judge.price, sent, reply.usage, reply.characters)
        try:
            verdict = read_reply(reply.body)
        except VerdictError as error:
            await self._failed(case, cost, "server", str(error), 0.0)
            return
        now_us = self._clock.now_us()
        await patiently(lambda: self._store.judged(case, cost=cost, score=verdict.score, now_us=now_us))
        self._count("judged", cost)

    async def _reply(
        self, case: GoldenCase, call: UpstreamCall, cost_of_failure: Callable[[TokenUsage], JudgeCost]
    ) -> UpstreamReply | None:
        """The reply to a call; None if it failed, in which case it has been settled."""
        try:
            return await self._probed.upstreams.complete(call)
        except UpstreamError as error:
            cost = JudgeCost(calls=0 if error.local else 1)
            if error.usage is not None:
                cost = cost_of_failure(error.usage)
            await self._failed(case, cost, error.error_class, error.code, error.retry_after_s or 0.0)
        except BanditdError as error:
            await self._failed(case, JudgeCost(), "request", error.code, 0.0)
        return None

    async def _failed(
        self, case: GoldenCase, cost: JudgeCost, failed: ErrorClass, reason: str, wait_s: float
    ) -> None:
        """Retry later if that may help, up to the maximum number of attempts."""
        now_us = self._clock.now_us()
        last = case.attempts >= MAX_ATTEMPTS or failed not in MAY_PASS
        due_at_us = now_us + pause_us(case.attempts, wait_s)
        await patiently(lambda: self._store.give_back(case, cost=cost, due_at_us=due_at_us, last=last, now_us=now_us))
        self._count(failed, cost)
        called = "arm" if case.answer is None else "judge"
        logger.info(
            "golden.call_failed",
            extra={
                "policy": case.policy, "arm": case.arm, "called": called, "attempt": case.attempts,
                "error_class": failed, "reason": reason,
            },
        )  # fmt: skip

    def _count(self, outcome: str, cost: JudgeCost) -> None:
        self._metrics.golden_calls.labels(self.rule.policy, outcome).inc()
        self._metrics.golden_spend.labels(self.rule.policy).inc(cost.cost_usd)


def version_of(arm: Arm, judge: JudgeRule) -> str:
    """16 hexadecimal digits that change with the meaning of the arm's scores, as far as that is configured here."""
    params = repr((sorted(arm.params.items()), sorted(arm.rename_params.items())))
    stated = "\x1f".join((str(arm.generation), arm.upstream or "", arm.upstream_model, params, judge.version))
    return sha256(stated.encode()).hexdigest()[:16]


def _reserve_usd(arm: Arm, found: GoldenPrompt) -> float:
    """The reserve for a call of the arm: several expected answers, or the longest that the prompt allows."""
    limits = [limit for name in _LIMITS if isinstance(limit := found.body.get(name), int | float)]
    output = min([ANSWERS * arm.expected_output_tokens, *limits])
    return arm.price.cost_usd(found.input_tokens, output)
