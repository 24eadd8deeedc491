"""Counters and histograms that the hot path raises: plain numbers, poured into the exposition when it is scraped.

prometheus_client's own take a lock and several calls for every request. These are raised by the event loop alone and
are read only at a scrape, so nothing needs a lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

Child = TypeVar("Child", "Count", "Spread")


class Count:
    """A number that only rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1) -> None:
        """Add ``by``, >= 0."""
        self.value += by


class Spread:
    """How many observations fell into each bucket (the last is beyond every bound), and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; a bucket holds what is at most its bound."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class _Family(Generic[Child]):
    """Children by their label values, collected by a registry under one name."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name: Final = name
        self._meaning = meaning
        self._labels = tuple(labels)
        self._children: dict[tuple[str, ...], Child] = {}
        registry.register(self)
        if not labels:
            self.labels()

    def labels(self, *values: str) -> Child:
        """The child with these values, in the order of the labels."""
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {', '.join(self._labels) or '(none)'}")
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = self._new()
        return found

    def _new(self) -> Child:
        raise NotImplementedError

    def describe(self) -> Iterator[Metric]:
        """The names that the registry keeps for this family, so that no other takes them."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for at a scrape."""
        raise NotImplementedError


class TallyCounter(_Family[Count]):
    """``name`` without its ``_total``."""

    def _new(self) -> Count:
        return Count()

    def inc(self, by: float = 1) -> None:
        """Raise the one child of a counter without labels."""
        self.labels().inc(by)

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.value)
        yield family


class TallyHistogram(_Family[Spread]):
    """``bounds`` : upper ends of the buckets, ascending; one without an end is added."""

    def __init__(
        self, name: str, meaning: str, bounds: Sequence[float], labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._bounds = tuple(bounds)
        super().__init__(name, meaning, labels, registry)

    def _new(self) -> Spread:
        return Spread(self._bounds)

    def observe(self, value: float) -> None:
        """Count an observation of the one child of a histogram without labels."""
        self.labels().observe(value)

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        ends = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, child in list(self._children.items()):
            buckets = list(zip(ends, map(float, accumulate(child.counts)), strict=True))
            family.add_metric(values, buckets, sum_value=child.total)
        yield family
