"""Floor 6: the daemon's background work: which job runs how often, and whether on every replica."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from banditd.daemon.price_file import PriceFileWatcher
from banditd.jobs.scheduler import Job
from banditd.services.learning.context_values import ContextValues
from banditd.services.money.amounts import AmountModels
from banditd.services.upkeep.maintenance import MaintenanceService
from banditd.settings import Settings

KEEP_BUDGETS_S = 2.0
PRICES_S = 2.0
SUMS_S = 1.0
AMOUNTS_S = 5.0
CONTEXT_VALUES_S = 1.0
OBSERVE_S = 15.0


def make_jobs(
    settings: Settings,
    maintenance: MaintenanceService,
    prices: PriceFileWatcher,
    amounts: AmountModels,
    add_up: Callable[[], Awaitable[None]],
    context_values: ContextValues,
) -> list[Job]:
    """The daemon's background work."""
    jobs = settings.jobs
    return [
        Job(name="default_rewards", run=maintenance.default_rewards, interval_s=jobs.default_rewards_s),
        Job(name="usage_silence", run=maintenance.usage_silence, interval_s=jobs.usage_silence_s),
        Job(name="sums", run=add_up, interval_s=SUMS_S, everywhere=True),
        Job(name="rollup", run=maintenance.compact_rollups, interval_s=jobs.rollup_s),
        Job(name="retention", run=maintenance.retention, interval_s=jobs.retention_s),
        Job(name="refit", run=maintenance.refit, interval_s=jobs.refit_s, everywhere=True),
        Job(name="integrity", run=maintenance.integrity, interval_s=jobs.integrity_s),
        Job(name="amounts", run=amounts.refresh, interval_s=AMOUNTS_S, everywhere=True),
        Job(name="context_values", run=context_values.keep, interval_s=CONTEXT_VALUES_S, everywhere=True),
        Job(name="prices", run=prices.look, interval_s=PRICES_S, everywhere=True),
        Job(name="budgets", run=maintenance.keep_budgets, interval_s=KEEP_BUDGETS_S, everywhere=True),
        Job(name="observe", run=maintenance.observe, interval_s=OBSERVE_S, everywhere=True),
    ]
