"""Tallies say at a scrape what the library's own metrics would have said."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from banditd.obs.tally import TallyCounter, TallyHistogram

BOUNDS = (0.001, 0.01, 0.1, 1.0)


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_the_exposition_is_that_of_the_library() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    count = TallyCounter("seen", "Seen.", ("kind",), ours), Counter("seen", "Seen.", ("kind",), registry=theirs)
    plain = TallyCounter("all", "All.", (), ours), Counter("all", "All.", registry=theirs)
    spread = (
        TallyHistogram("took", "Took.", BOUNDS, ("route",), ours),
        Histogram("took", "Took.", ("route",), registry=theirs, buckets=BOUNDS),
    )
    values = [*np.random.default_rng(0).lognormal(-4.0, 3.0, 300).tolist(), *BOUNDS, 0.0]
    for value in values:
        for one in count:
            one.labels('odd "name"' if value > 0.01 else "plain").inc(2)
        for one in plain:
            one.inc()
        for one in spread:
            one.labels("/v1/route").observe(value)
    assert samples(ours) == pytest.approx(samples(theirs))
    assert len(samples(ours)) == 2 + 1 + len(BOUNDS) + 3


def test_labels_must_be_as_many_as_the_names() -> None:
    with pytest.raises(ValueError, match="kind"):
        TallyCounter("seen", "Seen.", ("kind",), CollectorRegistry()).labels("a", "b")
