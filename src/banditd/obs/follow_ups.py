"""Metrics of what becomes of answers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class FollowUpMetrics:
    """Refusals are counted by the process that hears of them, the others by the one that runs the job."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter(
            "banditd_answers",
            "Answers by the arm that gave them that were refused (the model declined), regenerated (asked for once "
            "more) or escalated (another took over).",
            ("policy", "arm", "outcome"),
            registry=registry,
        )
