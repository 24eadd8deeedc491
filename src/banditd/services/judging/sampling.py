"""Chooses the answers to judge, by a keyed coin for each (decision, judge): the same on every replica, and secret.

Chosen answers are read and stored together, after the client has received them.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from banditd.core.judging import AnswerToJudge, JudgeRule
from banditd.core.types import MICROSECONDS_PER_SECOND, Decision
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, Secrets
from banditd.ports.judging import JudgingStore
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.listening import Answered
from banditd.services.judging.holding import Sampling
from banditd.services.judging.texts import JUDGED_SURFACES, answer_text, question_text


class Coin:
    """A uniform number in [0, 1) for each (judge, decision)."""

    def __init__(self, secrets: Secrets) -> None:
        self._key = secrets.key("judge_sampling")

    def falls(self, judge: str, decision_id: str) -> float:
        digest = hmac.digest(self._key, f"{judge} {decision_id}".encode(), "sha256")
        return int.from_bytes(digest[:7], "big") / 2**56  # 56 bits: exact in a float, and below 1


class AnswerSampling(Sampling[AnswerToJudge]):
    """The answers that judges score."""

    def __init__(
        self,
        judges: Sequence[JudgeRule],
        coin: Coin,
        store: JudgingStore,
        clock: Clock,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        super().__init__("judging", lambda judge, outcome: metrics.judging.answers.labels(judge, outcome).inc())
        self._judges = tuple(judges)
        self._coin = coin
        self._store = store
        self._clock = clock
        self._wake = wake

    def chosen(self, decision: Decision) -> list[JudgeRule]:
        """The judges that get this decision's answer."""
        return [
            judge
            for judge in self._judges
            if judge.judges(decision.policy) and self._coin.falls(judge.name, decision.decision_id) < judge.share
        ]

    def wants(self, decision: Decision, call: GatewayCall) -> bool:
        """Whether any judge gets the answer."""
        return call.surface in JUDGED_SURFACES and bool(self.chosen(decision))

    def judges_of(self, decision: Decision) -> list[str]:
        return [judge.name for judge in self.chosen(decision)]

    async def keep(self, found: list[AnswerToJudge]) -> None:
        dropped = await self._store.sample(found, {judge.name: judge.max_waiting for judge in self._judges})
        self.count("sampled", [answer.judge for answer in found])
        self.count("dropped", [answer.judge for answer in dropped])
        if len(dropped) < len(found):
            self._wake()

    def read(self, held: Sequence[Answered]) -> list[AnswerToJudge]:
        """The answers with text; without text there is nothing to judge."""
        now_us, found = self._clock.now_us(), []
        for one in held:
            for judge in self.chosen(one.decision):
                most = judge.max_chars
                call = one.call
                text = answer_text(call.surface, one.body, stream=call.stream, most_chars=most, cut=one.cut)
                if not text.strip():
                    continue
                found.append(
                    AnswerToJudge(
                        decision_id=one.decision.decision_id,
                        judge=judge.name,
                        version=judge.version,
                        policy=one.decision.policy,
                        arm=one.arm,
                        probability=judge.share,
                        question=question_text(call, most),
                        answer=text,
                        created_at_us=now_us,
                        expires_at_us=now_us + round(judge.keep_s * MICROSECONDS_PER_SECOND),
                    )
                )
        return found
