"""Floor 6: the daemon's background work: which job runs how often, and whether on every replica."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.daemon.price_file import PriceFileWatcher
from banditd.daemon.workbench import Workbench
from banditd.jobs.scheduler import Job
from banditd.obs.metrics import Metrics
from banditd.services.learning.learner import Learner
from banditd.services.learning.rewards import RewardService
from banditd.services.money.amounts import AmountModels
from banditd.services.money.budgets import BudgetBook
from banditd.services.reports.reports import ReportService
from banditd.services.upkeep.budgets import BudgetUpkeep
from banditd.services.upkeep.default_rewards import DefaultRewards
from banditd.services.upkeep.follow_ups import FollowUps
from banditd.services.upkeep.gauges import BudgetGauges, Gauges
from banditd.services.upkeep.integrity import Integrity
from banditd.services.upkeep.retention import Retention
from banditd.services.upkeep.silent_usage import SilentUsage
from banditd.settings import JobSettings

KEEP_BUDGETS_S = 2.0
PRICES_S = 2.0
SUMS_S = 1.0
AMOUNTS_S = 5.0
CONTEXT_VALUES_S = 1.0
OBSERVE_S = 15.0
FOLLOW_UPS_S = 15.0


def make_jobs(
    section: JobSettings,
    bench: Workbench,
    learner: Learner,
    rewards: RewardService,
    prices: PriceFileWatcher,
    budgets: BudgetUpkeep,
    gauges: Gauges,
    metrics: Metrics,
) -> list[Job]:
    """Every job of the daemon."""
    storage, runtimes, clock = bench.storage, bench.runtimes, bench.clock
    defaults = DefaultRewards(
        runtimes=runtimes, rewards=storage.rewards, defaults=rewards, jobs=storage.jobs, clock=clock
    )
    usage = SilentUsage(
        runtimes=runtimes, rewards=storage.rewards, jobs=storage.jobs, clock=clock, window_s=section.usage_window_s
    )
    follow_ups = FollowUps(
        runtimes=runtimes, reader=storage.follow_ups, rewards=rewards, clock=clock, metrics=metrics
    )
    retention = Retention(
        maintenance=storage.maintenance,
        judging=storage.judging,
        probing=storage.probing,
        comparing=storage.comparing,
        shadows=storage.shadows,
        clock=clock,
        retention_days=section.retention_days,
        idempotency_s=section.idempotency_s,
    )
    integrity = Integrity(runtimes=runtimes, learning=bench.learning, sample=section.integrity_sample)
    amounts = AmountModels(runtimes=runtimes, recent=storage.recent, arms=storage.arms)

    async def refit() -> None:
        """However slow a policy's traffic is."""
        learner.ask_refit(list(runtimes))

    return [
        Job(name="default_rewards", run=defaults.run, interval_s=section.default_rewards_s),
        Job(name="follow_ups", run=follow_ups.run, interval_s=FOLLOW_UPS_S),
        Job(name="usage_silence", run=usage.run, interval_s=section.usage_silence_s),
        Job(name="sums", run=storage.journal.add_up, interval_s=SUMS_S, everywhere=True),
        Job(name="rollup", run=retention.compact_rollups, interval_s=section.rollup_s),
        Job(name="retention", run=retention.run, interval_s=section.retention_s),
        Job(name="refit", run=refit, interval_s=section.refit_s, everywhere=True),
        Job(name="integrity", run=integrity.run, interval_s=section.integrity_s),
        Job(name="amounts", run=amounts.refresh, interval_s=AMOUNTS_S, everywhere=True),
        Job(name="context_values", run=bench.context_values.keep, interval_s=CONTEXT_VALUES_S, everywhere=True),
        Job(name="prices", run=prices.look, interval_s=PRICES_S, everywhere=True),
        Job(name="budgets", run=budgets.run, interval_s=KEEP_BUDGETS_S, everywhere=True),
        Job(name="observe", run=gauges.run, interval_s=OBSERVE_S, everywhere=True),
    ]


def make_gauges(
    bench: Workbench, books: Mapping[str, BudgetBook], reports: ReportService, metrics: Metrics
) -> Gauges:
    """What the job ``observe`` brings up to date."""
    storage, clock = bench.storage, bench.clock
    return Gauges(
        runtimes=bench.runtimes,
        totals=storage.reports,
        maintenance=storage.maintenance,
        learning=bench.learning,
        exploration=reports,
        budgets=BudgetGauges(books=books, accounts=storage.budgets, clock=clock, metrics=metrics),
        clock=clock,
        metrics=metrics,
    )
