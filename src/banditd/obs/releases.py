"""Metrics of releases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge


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
