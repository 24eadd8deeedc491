"""Which answers are judged: a keyed coin for each (decision, judge), the same on every replica and known to nobody.

The chosen ones wait a moment in memory, bounded, and are stored together. Their texts are read in a thread.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Sequence
from typing import Final

from banditd.core.errors import UnavailableError
from banditd.core.judging import AnswerToJudge, JudgeRule
from banditd.core.types import MICROSECONDS_PER_SECOND, Decision
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, Secrets
from banditd.ports.judging import JudgingStore
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.heard import Answered
from banditd.services.judging.texts import JUDGED_SURFACES, answer_text, question_text

logger = logging.getLogger(__name__)
MOST_HELD: Final = 64
"""Answers in memory; more come only where the database does not answer, and are dropped."""
TOGETHER_S: Final = 0.05
TRY_AGAIN_S: Final = (0.5, 2.0)


class Coin:
    """Uniform in [0, 1) for each (judge, decision)."""

    def __init__(self, secrets: Secrets) -> None:
        self._key = secrets.key("judge_sampling")

    def falls(self, judge: str, decision_id: str) -> float:
        digest = hmac.digest(self._key, f"{judge} {decision_id}".encode(), "sha256")
        return int.from_bytes(digest[:7], "big") / 2**56  # 56 bits: exact in a float, and below 1


class AnswerSampling:
    """``gateway.heard.Listener`` for the judges; give it to the gateway, and close it after the last answer."""

    def __init__(
        self,
        judges: Sequence[JudgeRule],
        coin: Coin,
        store: JudgingStore,
        clock: Clock,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        self._judges = tuple(judges)
        self._coin = coin
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._wake = wake
        self._held: list[Answered] = []
        self._storing: asyncio.Task[None] | None = None

    def chosen(self, decision: Decision) -> list[JudgeRule]:
        """The judges that get this decision's answer."""
        return [
            judge
            for judge in self._judges
            if judge.judges(decision.policy) and self._coin.falls(judge.name, decision.decision_id) < judge.share
        ]

    def wants(self, decision: Decision, call: GatewayCall) -> bool:
        """Whether some judge gets it."""
        return call.surface in JUDGED_SURFACES and bool(self.chosen(decision))

    def hear(self, answered: Answered) -> None:
        """Keep an answer until it is stored."""
        if len(self._held) >= MOST_HELD:
            self._count("dropped", [judge.name for judge in self.chosen(answered.decision)])
            return
        self._held.append(answered)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.get_running_loop().create_task(self._store_all(), name="judging:sample")

    async def close(self) -> None:
        """Store what is held."""
        while self._storing is not None and not self._storing.done():
            await asyncio.wait((self._storing,))

    async def _store_all(self) -> None:
        await asyncio.sleep(TOGETHER_S)
        while self._held:
            held, self._held = self._held, []
            count = len(held)
            try:
                answers = await asyncio.to_thread(self._read, held, self._clock.now_us())
                held.clear()  # requests may be large, and the database may be away
                if answers:
                    await self._put(answers)
            except Exception:
                # The next ones must not wait behind a bug: these are lost, and the log shows it.
                logger.exception("judging.sampling_crashed", extra={"answers": count})

    async def _put(self, answers: Sequence[AnswerToJudge]) -> None:
        most = {judge.name: judge.max_waiting for judge in self._judges}
        for wait_s in (*TRY_AGAIN_S, None):
            try:
                dropped = await self._store.sample(answers, most)
            except UnavailableError as error:
                if wait_s is None:
                    logger.warning("judging.not_sampled", extra={"answers": len(answers), "code": error.code})
                    self._count("dropped", [answer.judge for answer in answers])
                    return
                await asyncio.sleep(wait_s)
                continue
            self._count("sampled", [answer.judge for answer in answers])
            self._count("dropped", [answer.judge for answer in dropped])
            if len(dropped) < len(answers):
                self._wake()
            return

    def _count(self, outcome: str, judges: Sequence[str]) -> None:
        for judge in judges:
            self._metrics.judging.answers.labels(judge, outcome).inc()

    def _read(self, held: Sequence[Answered], now_us: int) -> list[AnswerToJudge]:
        """In a thread. An answer without text is nothing to judge."""
        found = []
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
