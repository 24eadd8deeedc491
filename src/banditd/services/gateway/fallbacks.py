"""Which arm to call first, and which after a failure. Pure.

The arms are in the policy's order: the drawn one, then by their probability, then by utility.

| class | same arm again | next arm |
|---|---|---|
| transport | once, if a kept-alive connection was stale | yes |
| timeout | no | yes |
| overload | once, if it asks for at most two seconds | yes |
| server | once, after 0.2 to 0.6 s, if the status was 500 or more | yes |
| auth | no | yes |
| context | no | only arms with a larger window |
| policy | no | only if configured |
| request | no | if this arm does not support what the request asks for |
| client_gone | no | no |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from banditd.core.types import Decision
from banditd.ports.upstreams import UpstreamError

SHORT_WAIT_S: Final = 2.0
JITTER_S: Final = (0.2, 0.6)
_NEXT: Final = frozenset({"transport", "timeout", "overload", "server", "auth"})


@dataclass(frozen=True, slots=True)
class Step:
    """Call this arm after this many seconds."""

    arm: str
    wait_s: float = 0.0


class Fallbacks:
    """The order of calls for one request. windows : arm -> context window in tokens, None if unknown."""

    def __init__(
        self, order: Sequence[str], windows: Mapping[str, int | None], *, max_attempts: int, on_policy: bool
    ) -> None:
        self._waiting = list(order)
        self._windows = windows
        self._left = max_attempts
        self._on_policy = on_policy
        self._repeated: set[str] = set()

    def first(self) -> Step:
        """The drawn arm."""
        self._left -= 1
        return Step(self._waiting.pop(0))

    def after(self, arm: str, error: UpstreamError, *, jitter: float, avoid: Mapping[str, str]) -> Step | None:
        """The step after a failed call of ``arm``; None: the request has failed.

        Parameters
        ----------
        jitter : in [0, 1).
        avoid : arms excluded by breakers; they are only called if no others are left.
        """
        if self._left <= 0:
            return None
        step = self._same(arm, error, jitter) or self._next(arm, error, avoid)
        if step is not None:
            self._left -= 1
        return step

    def leave_out(self, arms: Collection[str]) -> None:
        """Do not call these arms: they have already failed as parts of a recipe."""
        self._waiting = [arm for arm in self._waiting if arm not in arms]

    def _same(self, arm: str, error: UpstreamError, jitter: float) -> Step | None:
        if arm in self._repeated or error.local:
            return None
        wait_s: float | None = None
        if error.error_class == "overload":
            reported = error.retry_after_s
            wait_s = reported if reported is not None and reported <= SHORT_WAIT_S else None
        elif error.retry_same:
            low, high = JITTER_S
            wait_s = 0.0 if error.error_class == "transport" else low + (high - low) * jitter
        if wait_s is None:
            return None
        self._repeated.add(arm)
        return Step(arm, wait_s)

    def _next(self, arm: str, error: UpstreamError, avoid: Mapping[str, str]) -> Step | None:
        named = error.error_class
        if named == "context":
            self._waiting = [other for other in self._waiting if self._larger(other, arm)]
        elif not (named in _NEXT or error.elsewhere or (named == "policy" and self._on_policy)):
            return None
        if not self._waiting:
            return None
        following = next((other for other in self._waiting if other not in avoid), self._waiting[0])
        self._waiting.remove(following)
        return Step(following)

    def _larger(self, other: str, arm: str) -> bool:
        """Whether a prompt that was too long for ``arm`` may fit here; true if the window is unknown."""
        window, failed = self._windows.get(other), self._windows.get(arm)
        return failed is not None and (window is None or window > failed)


def order_of(decision: Decision) -> list[str]:
    """The arms that may answer, in the order in which they are called."""
    utility = (decision.mean - decision.penalty).tolist()
    ranked = sorted(zip(decision.probability.tolist(), utility, decision.arms, strict=True), key=_likeliest_first)
    return [decision.arm, *(arm for _, _, arm in ranked if arm != decision.arm)]


def _likeliest_first(one: tuple[float, float, str]) -> tuple[float, float]:
    return -one[0], -one[1]
