"""Metrics of what proves a change, or a slow loss: judges, releases, drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge


class Standing(Protocol):
    """An open release."""

    @property
    def share(self) -> float:
        """Of the traffic that is the candidate's."""

    @property
    def evidence(self) -> Mapping[str, float]:
        """Against the candidate, by measure."""


class ReleaseMetrics:
    """How far the open release of each policy is, and what speaks against it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.share = Gauge(
            "banditd_release_share", "Share of the traffic that the released candidate decides; 0 without a release.",
            ("policy",), registry=registry,
        )  # fmt: skip
        self.evidence = Gauge(
            "banditd_release_evidence",
            "Evidence that the released candidate is worse than tolerated, in parts of what takes it back (1).",
            ("policy", "measure"), registry=registry,
        )  # fmt: skip

    def show(self, releases: Mapping[str, Standing | None]) -> None:
        """Show the open release of each policy, None for none."""
        self.evidence.clear()
        for policy, release in releases.items():
            self.share.labels(policy).set(0.0 if release is None else release.share)
            for measure, value in {} if release is None else release.evidence.items():
                self.evidence.labels(policy, measure).set(value)


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


class JudgingMetrics:
    """Of one process, but for those of the queue and of trust, which are the database's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter(
            "banditd_judge_answers",
            "Answers by judge and what became of them: sampled, dropped, judged, unreadable (a reply without a "
            "verdict), or the class of the failure of a call; pairs of them: compared, not_compared.",
            ("judge", "outcome"),
            registry=registry,
        )
        self.spend = Counter(
            "banditd_judge_spend_usd", "What calls of the judge have cost.", ("judge",), registry=registry
        )
        self.waiting = Gauge("banditd_judge_tasks", "Answers that wait to be judged.", ("judge",), registry=registry)
        self.probes = Counter(
            "banditd_probes",
            "Calls of arms that did not answer, by judge and what became of them: drawn, dropped (no money, room or "
            "time), answered, without_text, or the class of the failure of a call.",
            ("judge", "outcome"),
            registry=registry,
        )
        self.probe_spend = Counter(
            "banditd_probe_spend_usd", "What probes for the judge have cost.", ("judge",), registry=registry
        )
        self.probes_waiting = Gauge(
            "banditd_probe_tasks", "Probes that wait or are being made.", ("judge",), registry=registry
        )
        self.trusted = Gauge(
            "banditd_judge_trusted", "1 while the judge's verdicts count as rewards, 0 once it is refused.",
            ("judge",), registry=registry,
        )  # fmt: skip

    def count(self, judge: str, outcome: str, cost_usd: float) -> None:
        """A call of the judge has ended, and cost so much."""
        self.answers.labels(judge, outcome).inc()
        self.spend.labels(judge).inc(cost_usd)


class ProvingMetrics:
    """All of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.judging = JudgingMetrics(registry)
        self.releases = ReleaseMetrics(registry)
        self.drift = DriftMetrics(registry)
