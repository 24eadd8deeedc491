"""Breakers and traffic caps: temporary exclusions of arms, which give way when no arm would be left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.budget.share import SharePacer
from banditd.core.types import FloatArray
from banditd.deciding.decide import Case, Decided
from banditd.deciding.view import RouteView
from banditd.services.breakers import Breakers

# A capped arm may exceed its share by this many decisions in a burst, and has to make up for at most as many.
SHARE_BURST: Final = 20.0
MAX_SHARE: Final = "max_share"


class TrafficCaps:
    """The traffic caps of one policy in this process.

    A price per call keeps an arm to its share, on the queries where it gains most. A token bucket backs it up: every
    decision adds ``max_share`` tokens to each capped arm's bucket, and a decision for the arm takes one.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, float] = {}
        self._pacers: dict[str, SharePacer] = {}
        self._arms: tuple[str, ...] = ()  # the arms among which the pacers chose

    def prices(self, view: RouteView) -> FloatArray | None:
        """What a call of each arm takes off its utility, float64 (n_arms,); None if no arm has a cap."""
        if not view.capped:
            return None
        if view.snapshot.arms != self._arms:
            self._arms, self._pacers = view.snapshot.arms, {}
        prices = np.zeros(len(view.arms))
        for arm in view.capped:
            pacer = self._pacers.setdefault(arm.arm, SharePacer(arm.max_share))
            pacer.retarget(arm.max_share)
            prices[view.index[arm.arm]] = pacer.price
        return prices

    def price(self, cases: Iterable[Case], view: RouteView) -> None:
        """Set the prices in the cases that are about to be decided."""
        prices = self.prices(view)
        if prices is not None:
            for case in cases:
                case.call_price = prices

    def observe(self, view: RouteView, decided: Decided, row: int) -> None:
        """Learn from the alternatives of a decision just drawn. row : of ``decided``, which belongs to ``view``."""
        prices = self.prices(view)
        if prices is None:
            return
        could = decided.eligible[row].copy()
        # Include arms that have used up their share; otherwise no call would seem to want them.
        could[[view.index[name] for name, why in decided.exclusions[row].items() if why == MAX_SHARE]] = True
        among = np.flatnonzero(could)
        utility = decided.scores.mean[row, among] - decided.priced.penalty[row, among]
        for arm in view.capped:
            place = view.index[arm.arm]
            if could[place]:
                at = int(np.searchsorted(among, place))
                free = utility.copy()
                free[at] += prices[place]
                self._pacers[arm.arm].observe(free, at, decided.draw.probability[row, among])

    def count(self, view: RouteView, chosen: str) -> None:
        """Count one decision against the caps."""
        for arm in view.capped:
            tokens = min(SHARE_BURST, self._tokens.get(arm.arm, 1.0) + arm.max_share)
            self._tokens[arm.arm] = max(tokens - (1.0 if arm.arm == chosen else 0.0), -SHARE_BURST)
            if arm.arm in self._pacers:
                self._pacers[arm.arm].count(called=arm.arm == chosen)

    def take_back(self, view: RouteView, chosen: str) -> None:
        """Undo ``count`` of a decision that was not committed."""
        for arm in view.capped:
            if arm.arm in self._tokens:
                self._tokens[arm.arm] += (1.0 if arm.arm == chosen else 0.0) - arm.max_share
            if arm.arm in self._pacers:
                self._pacers[arm.arm].take_back(called=arm.arm == chosen)

    def exclusions(self, view: RouteView) -> dict[str, str]:
        """Arms that have used up their share: arm -> reason."""
        return {arm.arm: MAX_SHARE for arm in view.capped if self._tokens.get(arm.arm, 1.0) < 1.0}


@dataclass(frozen=True, slots=True)
class SoftExclusions:
    """The soft exclusions of one policy: its breakers and its traffic caps."""

    breakers: Breakers
    caps: TrafficCaps

    def observe(self, view: RouteView, decided: Decided, rows: Iterable[int]) -> None:
        """Learn from the alternatives of these decisions, just drawn; call it before ``drawn``."""
        if view.capped:
            for row in rows:
                self.caps.observe(view, decided, row)

    def counts(self, view: RouteView, now_us: int) -> bool:
        """Whether one decision's draw may exclude an arm from the next."""
        return bool(view.capped) or self.breakers.half_open(now_us)

    def drawn(self, view: RouteView, chosen: Iterable[str], now_us: int) -> None:
        """Record which arms were drawn, in order."""
        if not view.capped and self.breakers.idle:
            return
        for arm in chosen:
            self.caps.count(view, arm)
            for called in _called(view, arm):
                self.breakers.drawn(called, now_us)

    def take_back(self, view: RouteView, chosen: str) -> None:
        """Undo ``drawn`` of a decision that was not committed."""
        self.caps.take_back(view, chosen)
        for called in _called(view, chosen):
            self.breakers.take_back(called)

    def exclusions(self, view: RouteView, now_us: int, uncapped: str | None = None) -> dict[str, str]:
        """Soft exclusions: arm -> reason.

        A recipe is excluded with any of its parts.
        uncapped : an arm whose cap is ignored now.
        """
        away = self.breakers.exclusions(now_us)
        if away and view.calls is not None:
            recipes = [arm.recipe for arm in view.arms if arm.recipe is not None]
            for recipe in recipes:
                why = next((away[part] for part in recipe.parts if part in away), None)
                away |= {} if why is None else {recipe.arm: why}
        had_theirs = self.caps.exclusions(view)
        if uncapped is not None:
            had_theirs.pop(uncapped, None)
        return had_theirs | away


def _called(view: RouteView, arm: str) -> tuple[str, ...]:
    """The arms whose upstreams a decision for this arm calls."""
    place = view.index.get(arm)
    recipe = None if place is None else view.arms[place].recipe
    return (arm,) if recipe is None else recipe.parts
