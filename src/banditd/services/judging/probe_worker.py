"""Makes the calls of probes for one judge: claim a batch, call the arms, hand the answers to the judge.

Several replicas may do so at once. A call's possible cost is reserved before it is made, and a call that may have
been made is never repeated: if its replica is killed during a call, the probe is lost with its reserve.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from banditd.core.attempts import ErrorClass
from banditd.core.comparing import PairToCompare
from banditd.core.errors import BanditdError
from banditd.core.judging import AnswerToJudge, JudgeCost, JudgeRule
from banditd.core.long_json import LARGE_BYTES
from banditd.core.probing import MAX_ATTEMPTS, ProbeRequest, ProbeRule, ProbeTask
from banditd.core.types import MICROSECONDS_PER_SECOND, Arm
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.judging import JudgingStore
from banditd.ports.probing import ProbeStore
from banditd.ports.upstreams import Surface, TokenUsage, UpstreamCall, UpstreamError, UpstreamReply, Upstreams
from banditd.services.breakers import Breakers
from banditd.services.gateway.running import CHARACTERS_PER_TOKEN
from banditd.services.judging.texts import answer_text, question_in
from banditd.services.judging.worker import pause_us, priced
from banditd.services.patience import patiently, together
from banditd.services.policy import PolicyRuntime

logger = logging.getLogger(__name__)
CONCURRENCY: Final = 2
"""Calls at once for one judge on each replica; they share the arms' rate limits with users' queries."""
DEADLINE_S: Final = 300.0
LEASE_S: Final = DEADLINE_S + 60.0
MOST_UNJUDGED: Final = 50
"""With this many answers waiting for the judge no call is made: the judge may be out of money, or unavailable."""
MAY_PASS: Final[frozenset[ErrorClass]] = frozenset({"transport", "timeout", "overload", "server"})
"""Errors after which a retry may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What may be called, and where: policies with their breakers, and the gateway's upstreams."""

    runtimes: Mapping[str, PolicyRuntime]
    breakers: Mapping[str, Breakers]
    upstreams: Upstreams


class ProbeWorker:
    """Makes the probes for one judge, on one replica."""

    def __init__(
        self,
        judge: JudgeRule,
        store: ProbeStore,
        judging: JudgingStore,
        probed: Probed,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        if judge.probes is None:
            raise ValueError(f"judge {judge.name} has no probes")
        self.judge = judge
        self._rule: ProbeRule = judge.probes
        self._store = store
        self._judging = judging
        self._probed = probed
        self._clock = clock
        self._metrics = metrics

    async def step(self) -> int:
        """Make some of the waiting calls. Returns how many were tried."""
        judge, now_us = self.judge, self._clock.now_us()
        if not await self._store.due(judge.name, now_us) or await self._is_idle():
            return 0
        tasks = await self._store.claim(
            judge.name,
            limit=CONCURRENCY,
            until_us=now_us + round(LEASE_S * MICROSECONDS_PER_SECOND),
            now_us=now_us,
            cap_usd=self._rule.usd_per_day,
            without=self._left_alone(now_us),
        )
        await together(map(self._make, tasks))
        return len(tasks)

    async def _is_idle(self) -> bool:
        """Whether to make no calls, because the judge does not count or does not keep up."""
        if (self.judge.name, self.judge.version) in await self._judging.refusals():
            return True
        return await self._store.unjudged(self.judge.name) >= MOST_UNJUDGED

    def _left_alone(self, now_us: int) -> list[tuple[str, str]]:
        return [
            (policy, arm) for policy, breakers in self._probed.breakers.items() for arm in breakers.exclusions(now_us)
        ]

    async def _make(self, task: ProbeTask) -> None:
        arm = self._arm(task)
        if arm is None:
            await patiently(lambda: self._store.withdraw(task.probe_id, task.lease, self._clock.now_us()))
            self._count("dropped", 0.0)
            return
        body: Mapping[str, Any] = json.loads(task.request.body)
        try:
            reply = await self._probed.upstreams.complete(_call(task, arm, body))
        except UpstreamError as error:
            cost = JudgeCost(calls=0 if error.local else 1)
            if error.usage is not None:
                cost = priced(arm.price, error.usage)
            await self._failed(task, cost, error.error_class, error.code, error.retry_after_s or 0.0)
        except BanditdError as error:
            await self._failed(task, JudgeCost(), "request", error.code, 0.0)
        else:
            await self._answered(task, arm, body, reply)

    def _arm(self, task: ProbeTask) -> Arm | None:
        """The arm as it is now, if it may be called."""
        runtime = self._probed.runtimes.get(task.request.policy)
        arms = () if runtime is None else runtime.arms
        arm = next((one for one in arms if one.arm == task.request.arm), None)
        if arm is None or not arm.enabled or arm.recipe is not None:
            return None
        return arm if arm.upstream in self._probed.upstreams.names() else None

    async def _answered(self, task: ProbeTask, arm: Arm, body: Mapping[str, Any], reply: UpstreamReply) -> None:
        request, now_us = task.request, self._clock.now_us()
        usage = reply.usage or TokenUsage(request.input_tokens, round(reply.characters / CHARACTERS_PER_TOKEN))
        cost = priced(arm.price, usage)
        most = self.judge.max_chars
        text = answer_text(request.surface, reply.body, stream=False, most_chars=most)
        answer = None
        if text.strip():
            answer = AnswerToJudge(
                decision_id=request.decision_id,
                judge=request.judge,
                version=self.judge.version,
                policy=request.policy,
                arm=request.arm,
                probability=request.probability,
                question=question_in(request.surface, body, most),
                answer=text,
                created_at_us=now_us,
                expires_at_us=now_us + round(self.judge.keep_s * MICROSECONDS_PER_SECOND),
            )
        pair = None if answer is None else _pair(request, answer)
        await patiently(
            lambda: self._store.answered(
                task.probe_id, task.lease, cost=cost, answer=answer, now_us=now_us, pair=pair
            )
        )
        self._count("answered" if answer is not None else "without_text", cost.cost_usd)

    async def _failed(self, task: ProbeTask, cost: JudgeCost, failed: ErrorClass, code: str, wait_s: float) -> None:
        """Retry later if that may help, up to the maximum number of attempts."""
        now_us = self._clock.now_us()
        last = task.attempts >= MAX_ATTEMPTS or failed not in MAY_PASS
        await patiently(
            lambda: self._store.give_back(
                task.probe_id,
                task.lease,
                due_at_us=now_us + pause_us(task.attempts, wait_s),
                last=last,
                cost=cost,
                now_us=now_us,
            )
        )
        self._count(failed, cost.cost_usd)
        logger.info(
            "probe.call_failed",
            extra={
                "judge": self.judge.name,
                "decision_id": task.request.decision_id,
                "arm": task.request.arm,
                "attempt": task.attempts,
                "error_class": failed,
                "code": code,
            },
        )

    def _count(self, outcome: str, cost_usd: float) -> None:
        self._metrics.judging.probes.labels(self.judge.name, outcome).inc()
        self._metrics.judging.probe_spend.labels(self.judge.name).inc(cost_usd)


def _pair(request: ProbeRequest, answer: AnswerToJudge) -> PairToCompare | None:
    """The probe's answer with the served one, if they are to be compared."""
    if request.served_arm is None or request.served_answer is None:
        return None
    return PairToCompare(
        decision_id=request.decision_id,
        judge=request.judge,
        policy=request.policy,
        arm=request.arm,
        served_arm=request.served_arm,
        probability=request.probability,
        question=answer.question,
        served_answer=request.served_answer,
        answer=answer.answer,
        created_at_us=answer.created_at_us,
        expires_at_us=answer.expires_at_us,
    )


def _call(task: ProbeTask, arm: Arm, body: Mapping[str, Any]) -> UpstreamCall:
    request = task.request
    return UpstreamCall(
        upstream=arm.upstream or "",
        surface=cast("Surface", request.surface),
        model=arm.upstream_model,
        body=body,
        headers=request.headers,
        params=arm.params,
        rename_params=arm.rename_params,
        first_token_s=arm.first_token_s,
        deadline_s=DEADLINE_S,
        large=len(request.body) > LARGE_BYTES,
    )
