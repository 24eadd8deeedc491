"""Floor 6: what watches for a slow loss of quality."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from banditd.core.golden import GoldenRule
from banditd.daemon.golden import golden_rules
from banditd.daemon.workbench import Workbench
from banditd.jobs.scheduler import Job
from banditd.obs.metrics import Metrics
from banditd.services.anchoring.book import AnchorBook
from banditd.services.anchoring.keeping import AnchorKeeping
from banditd.services.learning.learner import Learner
from banditd.services.releasing.keeping import ReleaseKeeping
from banditd.services.reports.drift import DriftReports
from banditd.settings import Settings

DRIFT_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifting:
    """golden : of policies that have a golden set."""

    golden: Mapping[str, GoldenRule]
    books: Mapping[str, AnchorBook]
    anchors: AnchorKeeping
    reports: DriftReports

    @asynccontextmanager
    async def running(self, releases: ReleaseKeeping) -> AsyncIterator[None]:
        """Keep the anchors, until the end."""
        self.anchors.releases = releases
        await self.anchors.start()
        try:
            yield
        finally:
            await self.anchors.stop()

    @property
    def job(self) -> Job:
        """Shows in the metrics of every replica what speaks for a loss."""
        return Job(name="drift", run=self.reports.run, interval_s=DRIFT_S, everywhere=True)


def make_drifting(settings: Settings, bench: Workbench, learner: Learner, metrics: Metrics) -> Drifting:
    """The parts; nothing runs yet. Raises ConfigurationError for a golden set that cannot be read."""
    golden = golden_rules(settings, {name: runtime.config.drift for name, runtime in bench.runtimes.items()})
    books = {name: AnchorBook(runtime, runtime.config.drift.anchor_share) for name, runtime in bench.runtimes.items()}
    anchors = AnchorKeeping(
        runtimes=bench.runtimes, books=books, store=bench.storage.anchors, learner=learner, clock=bench.clock
    )
    reports = DriftReports(
        runtimes=bench.runtimes,
        golden_rules=golden,
        golden=bench.storage.golden,
        keeping=anchors,
        anchors=bench.storage.anchors,
        reader=bench.storage.reports,
        clock=bench.clock,
        metrics=metrics.drift,
    )
    return Drifting(golden=golden, books=books, anchors=anchors, reports=reports)
