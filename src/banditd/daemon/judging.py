"""Floor 6: judges, from their settings to their tasks, where there are any."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from banditd.core.errors import ConfigurationError
from banditd.core.golden import GoldenRule
from banditd.core.judging import DEFAULT_RUBRIC, JudgeRule
from banditd.core.probing import ProbeRule
from banditd.core.types import Price
from banditd.daemon.workbench import Workbench
from banditd.obs.metrics import Metrics
from banditd.services.breakers import Breakers
from banditd.services.gateway.gateway import Gateway
from banditd.services.judging.comparing import Comparing, ComparisonWorker
from banditd.services.judging.counting import VerdictRewards
from banditd.services.judging.desk import JudgeDesk
from banditd.services.judging.golden import GoldenWorker, Leased
from banditd.services.judging.probe_sampling import Listeners, ProbeSampling, WantedAnswers
from banditd.services.judging.probe_worker import Probed, ProbeWorker
from banditd.services.judging.sampling import AnswerSampling, Coin
from banditd.services.judging.service import JudgingService
from banditd.services.judging.stores import Stores
from banditd.services.judging.trust import TrustGate
from banditd.services.judging.worker import JudgeWorker
from banditd.services.walks import Rewards
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
    rewards: Rewards,
    breakers: Mapping[str, Breakers],
    baseline: Callable[[str], str | None],
    metrics: Metrics,
    golden: Mapping[str, GoldenRule],
) -> AsyncIterator[JudgeDesk]:
    """Judges at work, where there are any. baseline : of a policy, by name. golden : sets for them, by policy.

    Raises
    ------
    ConfigurationError : a judge's upstream cannot answer a chat.
    """
    judges, clock = judge_rules(settings), bench.clock
    store, probing, pairs = bench.storage.judging, bench.storage.probing, bench.storage.comparing
    stores = Stores(judging=store, probing=probing, comparing=pairs)
    gate = TrustGate(judges, store, clock)
    if not judges or gateway is None:
        nothing = Comparing((), pairs, {}, baseline)
        yield JudgeDesk((), stores, gate, nothing, clock, metrics, lambda: None)
        return
    unable = gateway.upstreams.unable("chat", {})
    called = [judge for judge in judges if judge.kind == "upstream"]
    for judge in called:
        if judge.upstream in unable:
            raise ConfigurationError(f"judges.{judge.name}: the upstream {judge.upstream} cannot answer a chat")
    workers = [JudgeWorker(judge, store, gateway.upstreams, clock, metrics) for judge in called]
    coin, comparing = Coin(bench.secrets), Comparing(judges, pairs, bench.runtimes, baseline)
    probed = Probed(runtimes=bench.runtimes, breakers=breakers, upstreams=gateway.upstreams)
    steps = {f"judge:{worker.rule.name}": worker.step for worker in workers}
    for judge in judges:
        if judge.probes is not None:
            steps[f"probes:{judge.name}"] = ProbeWorker(judge, probing, store, probed, clock, metrics).step
    for worker in workers:
        if worker.rule.probes is not None and worker.rule.probes.compare:
            comparer = ComparisonWorker(worker, pairs, comparing, gateway.upstreams, clock)
            steps[f"comparisons:{worker.rule.name}"] = comparer.step
    leased = Leased(leases=bench.storage.leases, holder=bench.holder, clock=clock)
    for policy, rule in golden.items():
        judge = next(one for one in judges if one.name == rule.judge)
        of_set = GoldenWorker(rule, judge, bench.storage.golden, probed, leased, metrics.drift)
        steps[f"golden:{policy}"] = of_set.step
    service = JudgingService(judges, steps, comparing, VerdictRewards(store, rewards), gate, stores, clock, metrics)
    wanted = WantedAnswers(runtimes=bench.runtimes, comparing=comparing)
    sampling = AnswerSampling(judges, coin, store, clock, metrics, service.wake)
    asking = ProbeSampling(judges, coin, probing, wanted, clock, metrics, service.wake)
    with_probes = any(judge.probes is not None for judge in judges)
    gateway.listener = Listeners((sampling, asking)) if with_probes else sampling
    service.start()
    try:
        yield JudgeDesk(judges, stores, gate, comparing, clock, metrics, service.wake)
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
