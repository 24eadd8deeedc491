"""Metrics of judges."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


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
