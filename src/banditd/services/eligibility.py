"""Breakers and traffic caps: what takes an arm out for a while. They give way when they would leave nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from banditd.deciding.view import RouteView
from banditd.services.breakers import Breakers

# A capped arm may exceed its share by this many decisions in a burst.
SHARE_BURST = 20.0


class TrafficCaps:
    """Traffic caps of one policy in this process.

    A cap is a token bucket: every decision adds ``max_share`` tokens to every capped arm, a decision for that arm
    takes one.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, float] = {}

    def count(self, view: RouteView, chosen: str) -> None:
        """Account one decision against the caps."""
        for arm in view.capped:
            tokens = min(SHARE_BURST, self._tokens.get(arm.arm, 1.0) + arm.max_share)
            self._tokens[arm.arm] = tokens - (1.0 if arm.arm == chosen else 0.0)

    def take_back(self, view: RouteView, chosen: str) -> None:
        """Undo ``count`` of a decision that was not committed."""
        for arm in view.capped:
            if arm.arm in self._tokens:
                self._tokens[arm.arm] += (1.0 if arm.arm == chosen else 0.0) - arm.max_share

    def exclusions(self, view: RouteView) -> dict[str, str]:
        """Arms that have had their share: arm -> reason."""
        return {arm.arm: "max_share" for arm in view.capped if self._tokens.get(arm.arm, 1.0) < 1.0}


@dataclass(frozen=True, slots=True)
class SoftExclusions:
    """What excludes arms softly: the breakers and the traffic caps of one policy."""

    breakers: Breakers
    caps: TrafficCaps

    def counts(self, view: RouteView, now_us: int) -> bool:
        """Whether what one decision draws may take an arm from the next."""
        return bool(view.capped) or self.breakers.half_open(now_us)

    def drawn(self, view: RouteView, chosen: Iterable[str], now_us: int) -> None:
        """Decisions were drawn for these arms, in this order."""
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

    def exclusions(self, view: RouteView, now_us: int) -> dict[str, str]:
        """Soft exclusions: arm -> reason. A recipe is left alone with any of its parts."""
        away = self.breakers.exclusions(now_us)
        if away and view.calls is not None:
            recipes = [arm.recipe for arm in view.arms if arm.recipe is not None]
            for recipe in recipes:
                why = next((away[part] for part in recipe.parts if part in away), None)
                away |= {} if why is None else {recipe.arm: why}
        return self.caps.exclusions(view) | away


def _called(view: RouteView, arm: str) -> tuple[str, ...]:
    """The arms whose upstreams a decision for this one calls."""
    place = view.index.get(arm)
    recipe = None if place is None else view.arms[place].recipe
    return (arm,) if recipe is None else recipe.parts
