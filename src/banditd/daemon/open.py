"""The composition root: opens every part in order, hands the parts to each other, closes them in reverse.

The only place that knows all of them. Commands that work on the database without serving stand on ``workbench.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np

from banditd import __version__
from banditd.daemon.background import make_gauges, make_jobs
from banditd.daemon.candidates import Candidating, make_candidates, make_shadowing
from banditd.daemon.classifying import classifying
from banditd.daemon.differences import compare_with_files
from banditd.daemon.drifting import Drifting, make_drifting
from banditd.daemon.gateway import open_gateway, reference_waits_s
from banditd.daemon.judging import judge_rules, open_judging
from banditd.daemon.names import deadlines_of
from banditd.daemon.promising import Promising, make_promising
from banditd.daemon.releasing import Releasing, make_releasing
from banditd.daemon.reports import make_ability_reports, make_reports, make_tag_reports
from banditd.daemon.runtimes import report_unused_priors
from banditd.daemon.workbench import Workbench, open_workbench
from banditd.jobs.scheduler import Job, JobScheduler
from banditd.obs.metrics import Metrics
from banditd.obs.tracing import Tracing
from banditd.services.arms import ArmService
from banditd.services.books import PolicyBooks
from banditd.services.breakers import Breakers
from banditd.services.bundle import Services
from banditd.services.candidates.shadowing import Shadowing
from banditd.services.conversation_names import ConversationNames
from banditd.services.decider import TurnDecider
from banditd.services.feedback import FeedbackService
from banditd.services.gateway.gateway import Gateway
from banditd.services.input_hash import InputHash, InputRecord
from banditd.services.learning.learner import Learner, Pacing
from banditd.services.learning.lease import LearnerLease
from banditd.services.learning.rewards import RewardService
from banditd.services.money.budgets import BudgetBook
from banditd.services.money.corrections import BudgetCorrections
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.keeping import PromiseService
from banditd.services.releasing.keeping import ReleaseKeeping
from banditd.services.reports.budgets import BudgetReports
from banditd.services.reports.dashboard import DashboardReads
from banditd.services.reports.health import HealthService
from banditd.services.reports.onboarding import OnboardingReports
from banditd.services.reports.reports import ReportService
from banditd.services.routing import RoutingService
from banditd.services.traced import TracedRewards, TracedRouting, traced_ports
from banditd.services.upkeep.budgets import BudgetUpkeep
from banditd.settings import Settings
from banditd.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """Everything that runs, for the server and for tests."""

    services: Services
    metrics: Metrics
    learner: Learner
    jobs: JobScheduler
    health: HealthService
    storage: Storage
    runtimes: Mapping[str, PolicyRuntime]
    promises: PromiseService
    releases: ReleaseKeeping


@asynccontextmanager
async def open_services(
    settings: Settings, *, start_jobs: bool = True, tracing: Tracing | None = None
) -> AsyncIterator[Daemon]:
    """Open the whole daemon but the HTTP listener. With ``tracing`` both walks write spans.

    Raises
    ------
    ConfigurationError : the settings cannot work; says what to change.
    StorageUnavailableError : the database does not answer.
    """
    metrics = Metrics(version=__version__)
    async with open_workbench(settings, deadlines=deadlines_of(settings)) as bench, AsyncExitStack() as stack:
        counting = make_shadowing(bench)
        learner = _make_learner(settings, bench, counting, metrics)
        budgets = await _open_budgets(bench)
        promising = make_promising(bench.runtimes, bench.storage.recent, bench.storage.switches, bench.clock, metrics)
        candidating = make_candidates(settings, bench, promising.books, counting)
        drifting = make_drifting(settings, bench, learner, metrics)
        releasing = make_releasing(bench, learner, candidating.candidates, promising, judge_rules(settings), metrics)
        books = releasing.with_books(bench.runtimes, budgets, promising.books, drifting.books)
        breakers = {name: book.guard.breakers for name, book in books.items()}
        rewards = _make_rewards(settings, bench, learner, breakers, metrics)
        traced = replace(bench, tracing=tracing)
        services = _make_services(settings, traced, learner, books, rewards, promising, metrics)
        services = _with_proving(services, candidating, releasing, drifting)
        services.arms.disabled = releasing.keeping.arm_disabled
        for name, runtime in bench.runtimes.items():
            await services.arms.seed(name, runtime.config.seed_arms)
        prices = await compare_with_files(settings, bench.runtimes, bench.storage, services.arms, bench.clock)
        budget_upkeep = BudgetUpkeep(books=budgets, clock=bench.clock)
        gauges = make_gauges(bench, budgets, services.reports, metrics)
        made = make_jobs(settings.jobs, bench, learner, rewards, prices, budget_upkeep, gauges, metrics)
        jobs = _scheduler(bench, [*made, candidating.job, drifting.job], metrics)
        await stack.enter_async_context(_learning(bench, learner, promising))
        await stack.enter_async_context(releasing.running())
        await stack.enter_async_context(drifting.running(releasing.keeping))
        stack.push_async_callback(budget_upkeep.end)
        stack.push_async_callback(jobs.close)
        stack.push_async_callback(candidating.evaluations.stop)
        calls = _gateway(settings, bench, services, rewards, breakers, metrics)
        gateway = await stack.enter_async_context(calls)
        await stack.enter_async_context(classifying(settings, bench, gateway, metrics))
        judging = open_judging(
            settings, bench, gateway, rewards, breakers, promising.reports.baseline, metrics, drifting.golden
        )
        judges = await stack.enter_async_context(judging)
        if start_jobs:
            jobs.start()
        yield Daemon(
            services=replace(services, gateway=gateway, judges=judges),
            metrics=metrics,
            learner=learner,
            jobs=jobs,
            health=services.health,
            storage=bench.storage,
            runtimes=bench.runtimes,
            promises=promising.keeping,
            releases=releasing.keeping,
        )


@asynccontextmanager
async def _learning(bench: Workbench, learner: Learner, promising: Promising) -> AsyncIterator[None]:
    """Every runtime has a snapshot from the start of this on, and every promise is kept."""
    await learner.start()
    try:
        report_unused_priors(bench.runtimes)
        await promising.keeping.start()
        try:
            yield
        finally:
            await promising.keeping.stop()
    finally:
        await learner.stop()


def _with_proving(services: Services, candidating: Candidating, releasing: Releasing, drifting: Drifting) -> Services:
    """With what proves a change before, during and after it is made."""
    return replace(
        services,
        candidates=candidating.candidates,
        evaluations=candidating.evaluations,
        releases=releasing.service,
        drift=drifting.reports,
        anchors=drifting.anchors,
    )


def _scheduler(bench: Workbench, jobs: list[Job], metrics: Metrics) -> JobScheduler:
    return JobScheduler(
        jobs,
        leases=bench.storage.leases,
        store=bench.storage.jobs,
        clock=bench.clock,
        metrics=metrics,
        holder=bench.holder,
    )


def _gateway(
    settings: Settings,
    bench: Workbench,
    services: Services,
    rewards: RewardService,
    breakers: Mapping[str, Breakers],
    metrics: Metrics,
) -> AbstractAsyncContextManager[Gateway | None]:
    return open_gateway(
        settings,
        routing=services.routing,
        rewards=rewards,
        runtimes=bench.runtimes,
        breakers=breakers,
        clock=bench.clock,
        metrics=metrics,
        follow_ups=bench.storage.follow_ups,
    )


def _make_learner(settings: Settings, bench: Workbench, counting: Shadowing, metrics: Metrics) -> Learner:
    section = settings.learner
    return Learner(
        runtimes=bench.runtimes,
        store=bench.learning,
        arms=bench.storage.arms,
        lease=LearnerLease(bench.storage.leases, bench.clock, bench.holder, lease_s=section.lease_s),
        clock=bench.clock,
        metrics=metrics,
        pacing=Pacing(max_batch=section.max_batch, pause_s=section.pause_ms / 1e3, poll_s=section.poll_s),
        shadows=counting,
    )


def _make_rewards(
    settings: Settings, bench: Workbench, learner: Learner, breakers: Mapping[str, Breakers], metrics: Metrics
) -> RewardService:
    return RewardService(
        runtimes=bench.runtimes,
        breakers=breakers,
        rewards=bench.storage.rewards,
        decisions=bench.storage.decisions,
        clock=bench.clock,
        metrics=metrics,
        wake_learner=learner.wake,
        reference_waits_s=reference_waits_s(settings),
    )


def _make_services(
    settings: Settings,
    bench: Workbench,
    learner: Learner,
    books: Mapping[str, PolicyBooks],
    rewards: RewardService,
    promising: Promising,
    metrics: Metrics,
) -> Services:
    """What requests may call, but for what runs beside them; where the bench traces, both walks write spans."""
    runtimes, storage, clock, tracing = bench.runtimes, bench.storage, bench.clock, bench.tracing
    encoder, decisions = traced_ports(bench.encoder, storage.decisions, tracing)
    budgets = {name: book.budget for name, book in books.items()}
    breakers = {name: book.guard.breakers for name, book in books.items()}
    reports = make_reports(storage, runtimes, promising.reports, clock, breakers)
    tags = make_tag_reports(storage, runtimes, reports, clock)
    routing = RoutingService(
        runtimes=runtimes,
        decider=_make_decider(settings, bench, books, metrics),
        books=books,
        encoder=encoder,
        decisions=decisions,
        clock=clock,
        metrics=metrics,
        alone=tracing is not None,
    )
    rewarding = rewards if tracing is None else TracedRewards(rewards, tracing)
    return Services(
        routing=routing if tracing is None else TracedRouting(routing, tracing),
        rewards=rewarding,
        conversations=ConversationNames(bench.secrets),
        feedback=FeedbackService(
            secrets=bench.secrets,
            decisions=storage.decisions,
            rewards=rewarding,
            runtimes=runtimes,
            clock=clock,
        ),
        arms=_make_arm_service(bench, learner, budgets, reports, tuple(settings.upstreams)),
        reports=reports,
        tags=tags,
        budgets=BudgetReports(books=budgets, store=storage.budgets, clock=clock),
        corrections=BudgetCorrections(books=budgets, store=storage.budgets, clock=clock),
        dashboard=DashboardReads(
            runtimes=runtimes,
            budgets=budgets,
            guards={name: book.guard for name, book in books.items()},
            reader=storage.dashboard,
            reports=storage.reports,
            clock=clock,
        ),
        abilities=make_ability_reports(storage, reports, tags),
        health=_make_health(bench, learner, metrics),
        promises=promising.reports,
    )


def _make_health(bench: Workbench, learner: Learner, metrics: Metrics) -> HealthService:
    return HealthService(
        runtimes=bench.runtimes,
        encoder=bench.encoder,
        maintenance=bench.storage.maintenance,
        leases=bench.storage.leases,
        jobs=bench.storage.jobs,
        learner=learner,
        clock=bench.clock,
        metrics=metrics,
    )


def _make_decider(
    settings: Settings, bench: Workbench, books: Mapping[str, PolicyBooks], metrics: Metrics
) -> TurnDecider:
    return TurnDecider(
        runtimes=bench.runtimes,
        books=books,
        clock=bench.clock,
        rng=np.random.default_rng(),
        metrics=metrics,
        input_record=InputRecord(InputHash(bench.secrets), store_text=settings.privacy.store_input),
    )


def _make_arm_service(
    bench: Workbench,
    learner: Learner,
    budgets: Mapping[str, BudgetBook],
    reports: ReportService,
    upstreams: Sequence[str],
) -> ArmService:
    onboarding = OnboardingReports(runtimes=bench.runtimes, budgets=budgets, reader=bench.storage.reports)
    return ArmService(
        runtimes=bench.runtimes,
        store=bench.storage.arms,
        clock=bench.clock,
        upstreams=upstreams,
        changed=learner.refresh_arms,
        statistics=reports.arm_statistics,
        graduation=onboarding.reports,
    )


async def _open_budgets(bench: Workbench) -> dict[str, BudgetBook]:
    books = {}
    for name, runtime in bench.runtimes.items():
        books[name] = BudgetBook(name, runtime.config.budgets, bench.storage.budgets, bench.storage.recent)
        await books[name].open()
    return books
