"""Metrics of classifiers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class ClassifierMetrics:
    """Of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queries = Counter(
            "banditd_classifier_queries",
            "Queries that the policy's classifier was to label, and what became of that: labelled, no_label (a reply "
            "that is none), known (from the cache, or of a call under way), late, spent (usd_per_day), resting (its "
            "breaker is open), failed, or the class of the failure of its call.",
            ("policy", "outcome"),
            registry=registry,
        )
        self.spend = Counter(
            "banditd_classifier_spend_usd", "What calls of the classifier have cost.", ("policy",), registry=registry
        )
