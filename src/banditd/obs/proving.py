"""Metrics of what proves a change, or a slow loss: judges, releases, drift."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from banditd.obs.drift import DriftMetrics
from banditd.obs.judging import JudgingMetrics
from banditd.obs.releases import ReleaseMetrics


class ProvingMetrics:
    """All of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.judging = JudgingMetrics(registry)
        self.releases = ReleaseMetrics(registry)
        self.drift = DriftMetrics(registry)
