"""Metrics of slow loss of quality."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge


class DriftMetrics:
    """The evidence is the database's, and the same on every replica; the calls are this process's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.evidence = Gauge(
            "banditd_drift_evidence",
            "Evidence that quality has fallen, in parts of an alarm (1), by cause: provider (arm), own (learning and "
            "settings), level (may be the traffic).",
            ("policy", "cause", "arm"),
            registry=registry,
        )
        self.golden_calls = Counter(
            "banditd_golden_calls",
            "Calls for golden sets by what became of them: answered, judged, or the class of the failure.",
            ("policy", "outcome"),
            registry=registry,
        )
        self.golden_spend = Counter(
            "banditd_golden_spend_usd", "What calls of arms and judges for golden sets have cost.", ("policy",),
            registry=registry,
        )  # fmt: skip

    def show(self, policy: str, cause: str, found: Iterable[tuple[str, float]]) -> None:
        """Show one cause of one policy, (arm, evidence in parts of an alarm) each; arm is empty for all."""
        for arm, parts in found:
            self.evidence.labels(policy, cause, arm).set(parts)
