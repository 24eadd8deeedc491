"""The plain statistics of rewards counted anew from the whole log, for a repair: no clock, no I/O.

What a damaged contribution says was once added to them cannot be trusted, so nothing is subtracted: they begin at
zero.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from banditd.core.types import Contribution
from banditd.ports import EstimateDelta, FoldItem, StatDelta
from banditd.services.learning.folding import estimate_deltas, stat_deltas

_STRETCH_US: Final = 300 * 1_000_000
"""Decisions of the same five minutes are counted together: memory grows with time and arms, not with the log."""

_StatKey = tuple[str, int | None, int]


class Recount:
    """Collects what every folded decision adds to the statistics of its arm."""

    def __init__(self) -> None:
        self._stats: dict[_StatKey, StatDelta] = {}
        self._estimates: dict[tuple[str, int], EstimateDelta] = {}
        self._new: list[StatDelta] = []

    def add(self, item: FoldItem, put: Contribution | None, *, own: bool, estimated: bool) -> None:
        """Count a decision that contributes ``put``.

        own : it is of the feature schema that is rebuilt, whose clusters are counted anew too. estimated : it counts
        in what fixed arms are estimated to earn.
        """
        if put is None:
            return
        start_us = item.created_at_us - item.created_at_us % _STRETCH_US
        anew = dataclasses.replace(item, contribution=None)
        for whole in stat_deltas(anew, put):
            delta = whole if own else dataclasses.replace(whole, cluster=None)
            if item.queue_ids and item.contribution is None and delta.delay_s is not None:
                self._new.append(delta)  # nobody has counted its delay yet
                continue
            self._add_stat(dataclasses.replace(delta, created_at_us=start_us, delay_s=None))
        if estimated:
            for estimate in estimate_deltas(anew, put):
                self._add_estimate(dataclasses.replace(estimate, created_at_us=start_us))

    @property
    def stats(self) -> list[StatDelta]:
        return [*self._stats.values(), *self._new]

    @property
    def estimates(self) -> list[EstimateDelta]:
        return list(self._estimates.values())

    def _add_stat(self, delta: StatDelta) -> None:
        key = (delta.arm, delta.cluster, delta.created_at_us)
        before = self._stats.get(key)
        if before is not None:
            sums = {
                name: getattr(before, name) + getattr(delta, name)
                for name in ("rewards", "weight", "weighted_reward", "weighted_square")
            }
            delta = dataclasses.replace(delta, **sums)
        self._stats[key] = delta

    def _add_estimate(self, delta: EstimateDelta) -> None:
        key = (delta.arm, delta.created_at_us)
        before = self._estimates.get(key)
        if before is not None:
            sums = tuple(a + b for a, b in zip(before.sums, delta.sums, strict=True))
            delta = dataclasses.replace(delta, sums=sums)
        self._estimates[key] = delta
