"""What is paid for or chosen is kept or counted while the database is away."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from banditd.core.errors import UnavailableError
from banditd.core.judging import AnswerToJudge, JudgeCost, JudgeRule, JudgeTask
from banditd.core.probing import ProbeRule
from banditd.core.types import Decision, Query
from banditd.obs.metrics import Metrics
from banditd.ports.upstreams import TokenUsage
from banditd.services import patience
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.listening import Answered
from banditd.services.judging import holding, probe_worker
from banditd.services.judging.probe_worker import Probed, ProbeWorker
from banditd.services.judging.sampling import AnswerSampling, Coin
from banditd.services.judging.worker import JudgeWorker

RULE = JudgeRule(name="quality", share=1.0)


class Clock:
    def now_us(self) -> int:
        return 1_750_000_000_000_000


class Secrets:
    def key(self, purpose: str) -> bytes:
        return purpose.encode()


class Store:
    """A database that is away for so many calls."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.given_back: list[JudgeCost] = []

    def _answer(self) -> None:
        self.away -= 1
        if self.away >= 0:
            raise UnavailableError("away")

    async def lease(self, judge: str, version: str, **_: Any) -> list[JudgeTask]:
        answer = AnswerToJudge(
            decision_id="d", judge=judge, version=version, policy="default", arm="a", probability=1.0, question="q",
            answer="a", created_at_us=0, expires_at_us=1,
        )  # fmt: skip
        return [JudgeTask(task_id="t", lease="l", attempts=1, leased_until_us=1, answer=answer)]

    async def give_back(self, task_id: str, lease: str, *, cost: JudgeCost, **_: Any) -> str:
        self._answer()
        self.given_back.append(cost)
        return "quality"

    async def sample(self, answers: list[AnswerToJudge], most: dict[str, int]) -> list[AnswerToJudge]:
        self._answer()
        return answers[1:]


class Upstreams:
    async def complete(self, call: Any) -> Any:
        body = json.dumps({"choices": [{"message": {"content": "no verdict"}}]}).encode()
        return SimpleNamespace(body=body, usage=TokenUsage(3, 4, cost_usd=0.25), characters=10)


def counted(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value(
        "banditd_judge_answers_total", {"judge": "quality", "outcome": outcome}
    ) or 0.0  # fmt: skip


async def test_the_cost_of_a_call_without_a_verdict_is_booked_when_the_database_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "AGAIN_S", (0.0, 0.0))
    store, metrics = Store(away=2), Metrics(version="0")
    judge = JudgeWorker(RULE, cast("Any", store), cast("Any", Upstreams()), Clock(), metrics)
    assert await judge.step() == 1
    assert [cost.cost_usd for cost in store.given_back] == [0.25]
    assert counted(metrics, "unreadable") == 1.0


@pytest.mark.parametrize(("away", "sampled", "dropped"), [(0, 3, 2), (2, 3, 2), (9, 0, 3)])
async def test_what_is_not_judged_is_counted(
    monkeypatch: pytest.MonkeyPatch, away: int, sampled: int, dropped: int
) -> None:
    monkeypatch.setattr(holding, "TRY_AGAIN_S", (0.0, 0.0))
    monkeypatch.setattr(holding, "TOGETHER_S", 0.0)
    metrics = Metrics(version="0")
    heard = AnswerSampling(
        [RULE], Coin(cast("Any", Secrets())), cast("Any", Store(away)), Clock(), metrics, lambda: None
    )
    body = json.dumps({"choices": [{"message": {"content": "Hello"}}]}).encode()
    call = GatewayCall(query=Query(text="Hi"), surface="chat", body={}, stream=False)
    for i in range(3):
        decision = cast("Decision", SimpleNamespace(decision_id=f"d{i}", policy="default"))
        heard.hear(Answered(decision=decision, arm="a", call=call, body=body))
    await heard.close()
    assert (counted(metrics, "sampled"), counted(metrics, "dropped")) == (sampled, dropped)


async def test_nothing_is_bought_for_a_judge_that_is_refused_or_does_not_keep_up() -> None:
    rule = replace(RULE, probes=ProbeRule(share=1.0, usd_per_day=1.0))

    class Waiting:
        """A call waits, and so many answers do."""

        def __init__(self, unjudged: int, *refused: tuple[str, str]) -> None:
            self.claims, self._unjudged, self._refused = 0, unjudged, refused

        async def due(self, judge: str, now_us: int) -> bool:
            return True

        async def unjudged(self, judge: str) -> int:
            return self._unjudged

        async def refusals(self) -> Any:
            return dict.fromkeys(self._refused)

        async def claim(self, judge: str, **_: Any) -> list[Any]:
            self.claims += 1
            return []

    for store, claims in (
        (Waiting(0), 1),
        (Waiting(0, ("quality", "another version")), 1),
        (Waiting(0, ("quality", rule.version)), 0),
        (Waiting(probe_worker.MOST_UNJUDGED), 0),
    ):
        probed = Probed(runtimes={}, breakers={}, upstreams=cast("Any", None))
        made = ProbeWorker(rule, cast("Any", store), cast("Any", store), probed, Clock(), Metrics(version="0"))
        assert await made.step() == 0
        assert store.claims == claims
