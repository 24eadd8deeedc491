"""The composition root: opens every part in order, hands the parts to each other, closes them in reverse.

The only place that knows all of them. ``open_services`` is what the server runs on; ``open_workbench`` is what
commands that work on the database without serving (rebuild, export) run on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np

from banditd import __version__
from banditd.daemon.background import make_jobs
from banditd.daemon.differences import compare_with_files
from banditd.daemon.gateway import open_gateway, reference_waits_s
from banditd.daemon.names import database_url, deadlines_of, holder_name, writer_name
from banditd.daemon.promising import Promising, make_promising
from banditd.daemon.reports import make_reports, make_tag_reports
from banditd.daemon.runtimes import make_runtimes, report_unused_priors
from banditd.encoders.factory import open_encoder
from banditd.jobs.scheduler import JobScheduler
from banditd.obs.metrics import Metrics
from banditd.obs.tracing import Tracing
from banditd.ports import Encoder, Secrets
from banditd.services.arms import ArmService
from banditd.services.breakers import Breakers
from banditd.services.bundle import Services
from banditd.services.conversation_names import ConversationNames
from banditd.services.decider import TurnDecider
from banditd.services.eligibility import SoftExclusions, TrafficCaps
from banditd.services.feedback import FeedbackService
from banditd.services.input_hash import InputHash, InputRecord
from banditd.services.learning.learner import Learner
from banditd.services.learning.rewards import RewardService
from banditd.services.money.amounts import AmountModels
from banditd.services.money.budgets import BudgetBook
from banditd.services.money.corrections import BudgetCorrections
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.keeping import PromiseService
from banditd.services.promising.reports import PromiseReports
from banditd.services.reports.budgets import BudgetReports
from banditd.services.reports.dashboard import DashboardReads
from banditd.services.reports.health import HealthService
from banditd.services.reports.onboarding import OnboardingReports
from banditd.services.reports.reports import ReportService
from banditd.services.reports.tags import TagReports
from banditd.services.routing import RoutingService
from banditd.services.traced import TracedRewards, TracedRouting, traced_ports
from banditd.services.upkeep.maintenance import MaintenanceService
from banditd.settings import Settings
from banditd.storage import Deadlines, Storage, load_secrets, migrate_async, open_storage

logger = logging.getLogger(__name__)
PATIENT = Deadlines(transaction_s=3600.0, lock_s=60.0, silence_s=60.0, report_s=3600.0)


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """The encoder, the database and the policies' runtimes, without serving or learning."""

    encoder: Encoder
    storage: Storage
    runtimes: Mapping[str, PolicyRuntime]
    clock: SystemClock
    holder: str
    secrets: Secrets
    tracing: Tracing | None = None


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
        learner = _make_learner(settings, bench, metrics)
        budgets = await _open_budgets(bench)
        promising = make_promising(bench.runtimes, bench.storage.recent, bench.storage.switches, bench.clock, metrics)
        services = _make_services(settings, replace(bench, tracing=tracing), learner, budgets, promising, metrics)
        for name, runtime in bench.runtimes.items():
            await services.arms.seed(name, runtime.config.seed_arms)
        maintenance = _make_maintenance(settings, bench, learner, budgets, services, metrics)
        prices = await compare_with_files(settings, bench.runtimes, bench.storage, services.arms, bench.clock)
        amounts = AmountModels(runtimes=bench.runtimes, recent=bench.storage.recent, arms=bench.storage.arms)
        jobs = JobScheduler(
            make_jobs(settings, maintenance, prices, amounts, bench.storage.journal.add_up),
            leases=bench.storage.leases,
            store=bench.storage.jobs,
            clock=bench.clock,
            metrics=metrics,
            holder=bench.holder,
        )
        await learner.start()
        report_unused_priors(bench.runtimes)
        stack.push_async_callback(learner.stop)
        await promising.keeping.start()
        stack.push_async_callback(promising.keeping.stop)
        stack.push_async_callback(maintenance.keep_budgets)
        stack.push_async_callback(jobs.close)
        offered = _offered(services, bench, tracing)
        gateway = await stack.enter_async_context(
            open_gateway(
                settings,
                route=offered.routing.route,
                rewards=services.rewards,
                runtimes=bench.runtimes,
                breakers=services.breakers,
                clock=bench.clock,
                metrics=metrics,
            )
        )
        if start_jobs:
            jobs.start()
        yield Daemon(
            services=replace(offered, gateway=gateway),
            metrics=metrics,
            learner=learner,
            jobs=jobs,
            health=services.health,
            storage=bench.storage,
            runtimes=bench.runtimes,
            promises=promising.keeping,
        )


@asynccontextmanager
async def open_workbench(settings: Settings, *, deadlines: Deadlines = PATIENT) -> AsyncIterator[Workbench]:
    """Open the encoder, the migrated database and the policies' settings, without serving or learning.

    Commands refold or copy a whole log in one transaction and nobody waits for them: by default they are patient.
    """
    async with AsyncExitStack() as stack:
        section = settings.encoder
        encoder = await open_encoder(
            model=section.model,
            threads=section.threads,
            queue_size=section.queue_size,
            deadline_s=section.deadline_ms / 1e3,
        )
        stack.push_async_callback(encoder.close)
        runtimes = make_runtimes(settings, encoder)
        url = database_url(settings)
        await migrate_async(url)
        storage = await stack.enter_async_context(
            open_storage(
                url, writer_name=writer_name(settings), deadlines=deadlines, readers=settings.database.readers
            )
        )
        clock = SystemClock()
        yield Workbench(
            encoder=encoder,
            storage=storage,
            runtimes=runtimes,
            clock=clock,
            holder=holder_name(),
            secrets=await load_secrets(storage.database, clock.now_us()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """The services as their own classes: the wiring needs more of them than a request does."""

    routing: RoutingService
    rewards: RewardService
    arms: ArmService
    reports: ReportService
    tags: TagReports
    budgets: BudgetReports
    corrections: BudgetCorrections
    dashboard: DashboardReads
    health: HealthService
    breakers: Mapping[str, Breakers]
    promises: PromiseReports


def _offered(made: _Made, bench: Workbench, tracing: Tracing | None) -> Services:
    """What requests may call; with ``tracing`` both walks write spans."""
    rewards = made.rewards if tracing is None else TracedRewards(made.rewards, tracing)
    return Services(
        routing=made.routing if tracing is None else TracedRouting(made.routing, tracing),
        rewards=rewards,
        conversations=ConversationNames(bench.secrets),
        feedback=FeedbackService(
            secrets=bench.secrets,
            decisions=bench.storage.decisions,
            rewards=rewards,
            runtimes=bench.runtimes,
            clock=bench.clock,
        ),
        arms=made.arms,
        reports=made.reports,
        tags=made.tags,
        budgets=made.budgets,
        corrections=made.corrections,
        dashboard=made.dashboard,
        health=made.health,
        promises=made.promises,
    )


def _make_learner(settings: Settings, bench: Workbench, metrics: Metrics) -> Learner:
    section = settings.learner
    return Learner(
        runtimes=bench.runtimes,
        store=bench.storage.learning,
        arms=bench.storage.arms,
        leases=bench.storage.leases,
        clock=bench.clock,
        metrics=metrics,
        holder=bench.holder,
        max_batch=section.max_batch,
        pause_s=section.pause_ms / 1e3,
        poll_s=section.poll_s,
        lease_s=section.lease_s,
    )


def _make_services(
    settings: Settings,
    bench: Workbench,
    learner: Learner,
    budgets: Mapping[str, BudgetBook],
    promising: Promising,
    metrics: Metrics,
) -> _Made:
    runtimes, storage, clock = bench.runtimes, bench.storage, bench.clock
    encoder, decisions = traced_ports(bench.encoder, storage.decisions, bench.tracing)
    breakers = {
        name: Breakers(errors=r.config.breaker_errors, open_s=r.config.breaker_s) for name, r in runtimes.items()
    }
    reports = make_reports(bench.storage, runtimes, promising.reports, clock)
    return _Made(
        breakers=breakers,
        promises=promising.reports,
        routing=RoutingService(
            runtimes=runtimes,
            decider=_make_decider(settings, bench, budgets, promising, breakers, metrics),
            budgets=budgets,
            encoder=encoder,
            decisions=decisions,
            clock=clock,
            metrics=metrics,
            alone=bench.tracing is not None,
        ),
        rewards=RewardService(
            runtimes=runtimes,
            breakers=breakers,
            rewards=storage.rewards,
            decisions=storage.decisions,
            clock=clock,
            metrics=metrics,
            wake_learner=learner.wake,
            reference_waits_s=reference_waits_s(settings),
        ),
        arms=_make_arm_service(bench, learner, budgets, reports, tuple(settings.upstreams)),
        reports=reports,
        tags=make_tag_reports(bench.storage, runtimes, reports, clock),
        budgets=BudgetReports(books=budgets, store=storage.budgets, clock=clock),
        corrections=BudgetCorrections(books=budgets, store=storage.budgets, clock=clock),
        dashboard=DashboardReads(
            runtimes=runtimes, budgets=budgets, reader=storage.dashboard, reports=storage.reports, clock=clock
        ),
        health=HealthService(
            runtimes=runtimes,
            encoder=bench.encoder,
            maintenance=storage.maintenance,
            leases=storage.leases,
            jobs=storage.jobs,
            learner=learner,
            clock=clock,
            metrics=metrics,
        ),
    )


def _make_decider(
    settings: Settings,
    bench: Workbench,
    budgets: Mapping[str, BudgetBook],
    promising: Promising,
    breakers: Mapping[str, Breakers],
    metrics: Metrics,
) -> TurnDecider:
    return TurnDecider(
        runtimes=bench.runtimes,
        guards={name: SoftExclusions(breakers[name], TrafficCaps()) for name in bench.runtimes},
        budgets=budgets,
        promises=promising.books,
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


def _make_maintenance(
    settings: Settings,
    bench: Workbench,
    learner: Learner,
    budgets: Mapping[str, BudgetBook],
    services: _Made,
    metrics: Metrics,
) -> MaintenanceService:
    storage, section = bench.storage, settings.jobs
    return MaintenanceService(
        runtimes=bench.runtimes,
        books=budgets,
        accounts=storage.budgets,
        rewards=storage.rewards,
        defaults=services.rewards,
        learning=storage.learning,
        maintenance=storage.maintenance,
        reports=storage.reports,
        jobs=storage.jobs,
        clock=bench.clock,
        metrics=metrics,
        exploration=services.reports,
        ask_refit=learner.ask_refit,
        retention_days=section.retention_days,
        idempotency_s=section.idempotency_s,
        usage_window_s=section.usage_window_s,
        integrity_sample=section.integrity_sample,
    )


async def _open_budgets(bench: Workbench) -> dict[str, BudgetBook]:
    books = {}
    for name, runtime in bench.runtimes.items():
        books[name] = BudgetBook(name, runtime.config.budgets, bench.storage.budgets, bench.storage.recent)
        await books[name].open()
    return books
