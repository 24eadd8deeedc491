"""Floor 6: puts together the services that only read. The rest of the wiring is ``daemon.open``'s."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.ports import Clock
from banditd.services.learning.learner import Learner
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime
from banditd.services.reports.dashboard import DashboardReads
from banditd.services.reports.reports import ReportService
from banditd.storage import Storage


def make_reports(
    runtimes: Mapping[str, PolicyRuntime], storage: Storage, clock: Clock, learner: Learner
) -> ReportService:
    """The reports over the storage's roll-ups and what the learner holds."""
    return ReportService(
        reader=storage.reports,
        decisions=storage.decisions,
        learning=storage.learning,
        arms=storage.arms,
        snapshots=lambda policy: runtimes[policy].view.snapshot,
        clusters=_cluster_words(runtimes),
        clock=clock,
        cluster_contexts=learner.cluster_contexts,
        cluster_sums=learner.cluster_sums,
        changes=learner.changes,
        kinds={name: runtime.config.settings.kind for name, runtime in runtimes.items()},
    )


def make_dashboard(
    runtimes: Mapping[str, PolicyRuntime], storage: Storage, learner: Learner, budgets: Mapping[str, BudgetBook]
) -> DashboardReads:
    """The dashboard's own endpoints."""
    return DashboardReads(
        runtimes=runtimes,
        budgets=budgets,
        reader=storage.dashboard,
        reports=storage.reports,
        cluster_contexts=learner.cluster_contexts,
        watch=learner.watch,
    )


def _cluster_words(runtimes: Mapping[str, PolicyRuntime]) -> dict[int, tuple[str, ...]]:
    builder = next(iter(runtimes.values())).builder
    return dict(enumerate(builder.cluster_words))
