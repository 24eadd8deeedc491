"""Chooses the queries to probe, with which arms; by the judge's own coin, so that the served answer is judged too.

A probe's coin uses the judge's, with a lower threshold. So for each probed query the judge also scores the served
answer, and scores of rarely drawn arms are not compared with other sources' rewards for the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from banditd.core.judging import JudgeRule
from banditd.core.probing import WAITS_S, ProbeRequest, ProbeRule
from banditd.core.types import MICROSECONDS_PER_SECOND, Decision
from banditd.deciding.probing import probed_arms
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.probing import ProbeStore
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.listening import Answered, Listener
from banditd.services.judging.comparing import Comparing
from banditd.services.judging.holding import Sampling
from banditd.services.judging.repeating import may_be_repeated, request_to_repeat
from banditd.services.judging.sampling import Coin
from banditd.services.judging.texts import answer_text
from banditd.services.policy import PolicyRuntime

logger = logging.getLogger(__name__)
VERDICT_TOKENS: Final = (300, 60)
"""Expected tokens of a verdict: input beyond question and answer, and output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAnswers:
    """What the choice depends on: the policies, and which comparisons are still wanted."""

    runtimes: Mapping[str, PolicyRuntime]
    comparing: Comparing


class ProbeSampling(Sampling[ProbeRequest]):
    """The queries that other arms answer for these judges."""

    def __init__(
        self,
        judges: Sequence[JudgeRule],
        coin: Coin,
        store: ProbeStore,
        wanted: WantedAnswers,
        clock: Clock,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        super().__init__("probing", lambda judge, outcome: metrics.judging.probes.labels(judge, outcome).inc())
        self._judges = tuple(judge for judge in judges if judge.probes is not None)
        self._coin = coin
        self._store = store
        self._runtimes, self._comparing = wanted.runtimes, wanted.comparing
        self._clock = clock
        self._wake = wake
        self._short = False  # whether money or room was lacking the last time

    def chosen(self, decision: Decision) -> list[tuple[JudgeRule, ProbeRule]]:
        """The judges for which other arms answer this decision's query.

        None without its context, as nothing would be learned.
        """
        if decision.degraded is not None:
            return []
        return [
            (judge, judge.probes)
            for judge in self._judges
            if judge.probes is not None
            and judge.judges(decision.policy)
            and self._coin.falls(judge.name, decision.decision_id) < judge.probes.share
        ]

    def wants(self, decision: Decision, call: GatewayCall) -> bool:
        """Whether another arm is to answer the query."""
        return bool(self.chosen(decision)) and may_be_repeated(call)

    def judges_of(self, decision: Decision) -> list[str]:
        return [judge.name for judge, _ in self.chosen(decision)]

    async def keep(self, found: list[ProbeRequest]) -> None:
        caps_usd = {judge.name: judge.probes.usd_per_day for judge in self._judges if judge.probes is not None}
        dropped = await self._store.draw(found, caps_usd)
        self.count("drawn", [one.judge for one in found])
        self.count("dropped", [one.judge for one in dropped])
        if dropped and not self._short:
            logger.warning("probes.dropped", extra={"probes": len(dropped), "usd_per_day": caps_usd})
        self._short = bool(dropped)
        if len(dropped) < len(found):
            self._wake()

    def read(self, held: Sequence[Answered]) -> list[ProbeRequest]:
        return [request for one in held for request in self._requests(one)]

    def _requests(self, one: Answered) -> list[ProbeRequest]:
        repeat = request_to_repeat(one.call)
        if repeat is None:
            return []
        decision, now_us = one.decision, self._clock.now_us()
        found = []
        for judge, rule in self.chosen(decision):
            served, baseline = self._to_compare(judge, rule, one)
            arms = probed_arms(
                self._runtimes[decision.policy].view,
                decision,
                without={decision.arm, one.arm},
                most=rule.arms,
                judge_usd=_verdict_usd(judge, decision),
                most_output_tokens=repeat.most_output_tokens,
                uniform=self._coin.falls(f"{judge.name} arms", decision.decision_id),
                first=baseline,
            )
            found += [
                ProbeRequest(
                    decision_id=decision.decision_id,
                    judge=judge.name,
                    policy=decision.policy,
                    arm=arm.arm,
                    probability=rule.share * arm.probability,
                    reserve_usd=arm.reserve_usd,
                    surface=one.call.surface,
                    body=repeat.body,
                    headers=repeat.headers,
                    input_tokens=decision.input_tokens,
                    served_arm=one.arm if arm.arm == baseline else None,
                    served_answer=served if arm.arm == baseline else None,
                    created_at_us=now_us,
                    expires_at_us=now_us + round(WAITS_S * MICROSECONDS_PER_SECOND),
                )
                for arm in arms
            ]
        return found

    def _to_compare(self, judge: JudgeRule, rule: ProbeRule, one: Answered) -> tuple[str, str | None]:
        """(text that was served, baseline to compare it with, or None if nothing is to be compared)."""
        baseline = self._comparing.wanted(judge.name, one.decision.policy) if rule.compare else None
        if baseline is None or baseline == one.arm:
            return "", None
        call = one.call
        text = answer_text(call.surface, one.body, stream=call.stream, most_chars=judge.max_chars, cut=one.cut)
        return text, baseline if text.strip() else None


def _verdict_usd(judge: JudgeRule, decision: Decision) -> float:
    """Expected cost of the verdict on one answer."""
    more, output = VERDICT_TOKENS
    return judge.price.cost_usd(decision.input_tokens + more, output)


class Listeners:
    """Several ``gateway.listening.Listener``s, each of which gets the answers that it wants."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def wants(self, decision: Decision, call: GatewayCall) -> bool:
        """Whether one of them wants it."""
        return any(listener.wants(decision, call) for listener in self._listeners)

    def hear(self, answered: Answered) -> None:
        """Pass it to those that want it."""
        for listener in self._listeners:
            if listener.wants(answered.decision, answered.call):
                listener.hear(answered)
