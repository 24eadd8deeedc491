"""Breakers and traffic caps: what takes an arm out for a while. They give way when they would leave nothing."""

from __future__ import annotations

from banditd.deciding.view import RouteView

# A capped arm may exceed its share by this many decisions in a burst.
SHARE_BURST = 20.0


class ArmGuards:
    """Breakers and traffic caps of one policy in this process.

    A breaker opens after ``errors`` upstream errors in a row and stays open ``open_s``; then one error more
    opens it again, one success closes it. A cap is a token bucket: every decision adds ``max_share`` tokens to
    every capped arm, a decision for that arm takes one.
    """

    def __init__(self, *, breaker_errors: int, breaker_s: float) -> None:
        self._limit = breaker_errors
        self._open_us = int(breaker_s * 1e6)
        self._errors: dict[str, int] = {}
        self._open_until_us: dict[str, int] = {}
        self._tokens: dict[str, float] = {}

    def report(self, arm: str, *, error: bool, now_us: int) -> None:
        """Note how a served decision ended."""
        if not error:
            self._errors.pop(arm, None)
            self._open_until_us.pop(arm, None)
            return
        count = self._errors.get(arm, 0) + 1
        self._errors[arm] = count
        if self._limit and count >= self._limit:
            self._open_until_us[arm] = now_us + self._open_us

    def open_breakers(self, now_us: int) -> frozenset[str]:
        """Arms that are excluded for errors now."""
        if not self._open_until_us:
            return frozenset()
        return frozenset(arm for arm, until in self._open_until_us.items() if now_us < until)

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

    def exclusions(self, view: RouteView, now_us: int) -> dict[str, str]:
        """Soft exclusions: arm -> reason."""
        excluded = dict.fromkeys(self.open_breakers(now_us), "breaker_open")
        for arm in view.capped:
            if self._tokens.get(arm.arm, 1.0) < 1.0:
                excluded[arm.arm] = "max_share"
        return excluded
