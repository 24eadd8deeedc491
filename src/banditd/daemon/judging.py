"""Floor 6: judges, from their settings to their tasks, where there are any."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from banditd.core.errors import ConfigurationError
from banditd.core.judging import DEFAULT_RUBRIC, JudgeRule
from banditd.core.probing import ProbeRule
from banditd.core.types import Price
from banditd.daemon.workbench import Workbench
from banditd.obs.metrics import Metrics
from banditd.services.breakers import Breakers
from banditd.services.gateway.gateway import Gateway
from banditd.services.judging.counting import TakesRewards, VerdictRewards
from banditd.services.judging.desk import JudgeDesk
from banditd.services.judging.probe_sampling import Listeners, ProbeSampling
from banditd.services.judging.probe_worker import Probed, ProbeWorker
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
    settings: Settings,
    bench: Workbench,
    gateway: Gateway | None,
    rewards: TakesRewards,
    breakers: Mapping[str, Breakers],
    metrics: Metrics,
) -> AsyncIterator[JudgeDesk]:
    """Judges at work, where there are any.

    Raises
    ------
    ConfigurationError : a judge's upstream cannot answer a chat.
    """
    judges, store, clock = judge_rules(settings), bench.storage.judging, bench.clock
    gate = TrustGate(judges, store, clock)
    if not judges or gateway is None:
        yield JudgeDesk((), (store, bench.storage.probing), gate, clock, metrics, lambda: None)
        return
    unable = gateway.upstreams.unable("chat", {})
    called = [judge for judge in judges if judge.kind == "upstream"]
    for judge in called:
        if judge.upstream in unable:
            raise ConfigurationError(f"judges.{judge.name}: the upstream {judge.upstream} cannot answer a chat")
    workers = [JudgeWorker(judge, store, gateway.upstreams, clock, metrics) for judge in called]
    probing, coin = bench.storage.probing, Coin(bench.secrets)
    probed = Probed(runtimes=bench.runtimes, breakers=breakers, upstreams=gateway.upstreams)
    probes = [
        ProbeWorker(judge, probing, store, probed, clock, metrics) for judge in judges if judge.probes is not None
    ]
    settling = VerdictRewards(store, rewards)
    service = JudgingService(judges, workers, probes, settling, gate, (store, probing), clock, metrics)
    sampling = AnswerSampling(judges, coin, store, clock, metrics, service.wake)
    asking = ProbeSampling(judges, coin, probing, bench.runtimes, clock, metrics, service.wake)
    gateway.listener = Listeners((sampling, asking)) if probes else sampling
    service.start()
    try:
        yield JudgeDesk(judges, (store, probing), gate, clock, metrics, service.wake)
    finally:
        await sampling.close()
        await asking.close()
        await service.stop()


def _rule(name: str, section: JudgeSettings) -> JudgeRule:
    plain = section.model_dump(exclude={"price", "rubric", "noise_variance", "policies", "people", "probes"})
    return JudgeRule(
        **{**plain, "upstream": section.upstream or "", "model": section.model or ""},
        name=name,
        price=Price(**section.price.model_dump()),
        rubric=section.rubric or DEFAULT_RUBRIC,
        policies=frozenset(section.policies),
        people=frozenset(section.people),
        probes=None if section.probes is None else ProbeRule(**section.probes.model_dump()),
    )
