"""Counts the plain statistics of rewards again from the whole log, for a repair: no clock, no I/O.

What a damaged contribution added to them is unknown, so it cannot be subtracted: they restart from zero.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from banditd.core.rewards import Contribution
from banditd.ports import EstimateDelta, FoldItem, StatDelta
from banditd.services.learning.folding import estimate_deltas, stat_deltas

_SPAN_US: Final = 300 * 1_000_000
"""Decisions within the same five minutes are counted together, so memory grows with time, arms and tags only."""

_SUMS: Final = ("rewards", "weight", "weighted_reward", "weighted_square")
_Tags = tuple[tuple[str, str], ...]
_StatKey = tuple[str, int | None, int, _Tags]


class Recount:
    """Collects what every folded decision adds to its arm's statistics."""

    def __init__(self) -> None:
        self._stats: dict[_StatKey, StatDelta] = {}
        self._estimates: dict[tuple[str, int, _Tags], EstimateDelta] = {}
        self._new: list[StatDelta] = []

    def add(self, item: FoldItem, put: Contribution | None, *, own: bool) -> None:
        """Count a decision that contributes ``put``, also in the estimates of fixed arms.

        own : whether it belongs to the feature schema that is rebuilt, whose clusters are counted again too.
        """
        if put is None:
            return
        start_us = item.created_at_us - item.created_at_us % _SPAN_US
        if item.queue_ids and item.contribution is None:
            # Its delay has not been counted yet.
            self._new.extend(stat_deltas(item, put))
        else:
            # The reverse of removing it, because its rewards may have been retracted since.
            for delta in stat_deltas(dataclasses.replace(item, contribution=put), None):
                sums = {name: -getattr(delta, name) for name in _SUMS}
                cluster = delta.cluster if own else None
                self._add_stat(dataclasses.replace(delta, cluster=cluster, created_at_us=start_us, **sums))
        for estimate in estimate_deltas(dataclasses.replace(item, contribution=put, estimated=True), None):
            terms = tuple(-term for term in estimate.sums)
            self._add_estimate(EstimateDelta(estimate.arm, start_us, terms, estimate.tags))

    @property
    def stats(self) -> list[StatDelta]:
        return [*self._stats.values(), *self._new]

    @property
    def estimates(self) -> list[EstimateDelta]:
        return list(self._estimates.values())

    def _add_stat(self, delta: StatDelta) -> None:
        key = (delta.arm, delta.cluster, delta.created_at_us, delta.tags)
        before = self._stats.get(key)
        if before is not None:
            sums = {name: getattr(before, name) + getattr(delta, name) for name in _SUMS}
            delta = dataclasses.replace(delta, **sums)
        self._stats[key] = delta

    def _add_estimate(self, delta: EstimateDelta) -> None:
        key = (delta.arm, delta.created_at_us, delta.tags)
        before = self._estimates.get(key)
        if before is not None:
            sums = tuple(a + b for a, b in zip(before.sums, delta.sums, strict=True))
            delta = dataclasses.replace(delta, sums=sums)
        self._estimates[key] = delta
