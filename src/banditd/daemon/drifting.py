"""Floor 6: what watches for a slow loss of quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from banditd.core.golden import GoldenRule
from banditd.daemon.golden import golden_rules
from banditd.daemon.workbench import Workbench
from banditd.jobs.scheduler import Job
from banditd.obs.metrics import Metrics
from banditd.services.reports.drift import DriftReports
from banditd.settings import Settings

DRIFT_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifting:
    """golden : of policies that have a golden set."""

    golden: Mapping[str, GoldenRule]
    reports: DriftReports

    @property
    def job(self) -> Job:
        """Shows in the metrics of every replica what speaks for a loss."""
        return Job(name="drift", run=self.reports.run, interval_s=DRIFT_S, everywhere=True)


def make_drifting(settings: Settings, bench: Workbench, metrics: Metrics) -> Drifting:
    """The parts; nothing runs yet. Raises ConfigurationError for a golden set that cannot be read."""
    golden = golden_rules(settings, {name: runtime.config.drift for name, runtime in bench.runtimes.items()})
    reports = DriftReports(
        runtimes=bench.runtimes,
        golden_rules=golden,
        golden=bench.storage.golden,
        reader=bench.storage.reports,
        clock=bench.clock,
        metrics=metrics.drift,
    )
    return Drifting(golden=golden, reports=reports)
