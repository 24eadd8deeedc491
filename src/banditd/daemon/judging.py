"""Floor 6: judges, from their settings to their tasks, where there are any."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from banditd.core.errors import ConfigurationError
from banditd.core.judging import DEFAULT_RUBRIC, JudgeRule
from banditd.core.types import Price
from banditd.daemon.workbench import Workbench
from banditd.obs.metrics import Metrics
from banditd.services.gateway.gateway import Gateway
from banditd.services.judging.counting import TakesRewards, VerdictRewards
from banditd.services.judging.desk import JudgeDesk
from banditd.services.judging.sampling import AnswerSampling, Coin
from banditd.services.judging.service import JudgingService
from banditd.services.judging.trust import TrustGate
from banditd.services.judging.worker import JudgeWorker
from banditd.settings import Settings
from banditd.settings.judges import JudgeSettings


def judge_rules(settings: Settings) -> list[JudgeRule]:
    """Every configured judge as plain values."""
    return [_rule(name, section) for name, section in settings.judges.items()]


@asynccontextmanager
async def open_judging(
    settings: Settings, bench: Workbench, gateway: Gateway | None, rewards: TakesRewards, metrics: Metrics
) -> AsyncIterator[JudgeDesk]:
    """Judges at work, where there are any.

    Raises
    ------
    ConfigurationError : a judge's upstream cannot answer a chat.
    """
    judges, store, clock = judge_rules(settings), bench.storage.judging, bench.clock
    gate = TrustGate(judges, store, clock)
    if not judges or gateway is None:
        yield JudgeDesk((), store, gate, clock, metrics, lambda: None)
        return
    unable = gateway.upstreams.unable("chat", {})
    called = [judge for judge in judges if judge.kind == "upstream"]
    for judge in called:
        if judge.upstream in unable:
            raise ConfigurationError(f"judges.{judge.name}: the upstream {judge.upstream} cannot answer a chat")
    workers = [JudgeWorker(judge, store, gateway.upstreams, clock, metrics) for judge in called]
    service = JudgingService(judges, workers, VerdictRewards(store, rewards), gate, store, clock, metrics)
    sampling = AnswerSampling(judges, Coin(bench.secrets), store, clock, metrics, service.wake)
    gateway.listener = sampling
    service.start()
    try:
        yield JudgeDesk(judges, store, gate, clock, metrics, service.wake)
    finally:
        await sampling.close()
        await service.stop()


def _rule(name: str, section: JudgeSettings) -> JudgeRule:
    plain = section.model_dump(exclude={"price", "rubric", "noise_variance", "policies", "people"})
    return JudgeRule(
        **{**plain, "upstream": section.upstream or "", "model": section.model or ""},
        name=name,
        price=Price(**section.price.model_dump()),
        rubric=section.rubric or DEFAULT_RUBRIC,
        policies=frozenset(section.policies),
        people=frozenset(section.people),
    )
