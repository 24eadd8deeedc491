"""Breakers: which arms to avoid because their calls fail, and when to try them again. No clock, no I/O.

One per policy and process. Whoever learns how an upstream call ended reports it with ``count``: clients' usage
reports as well as the gateway's own calls. Routing asks ``exclusions``, and reports with ``drawn`` which arm gets a
query.

The effect of an error depends on its class:

| class | effect |
|---|---|
| transport, timeout, server | counts: ``errors`` in a row open the breaker for ``open_s`` |
| overload | with a stated wait: excluded for that long (at most an hour); without one it counts |
| auth | opens at once: the next call with that key would fail too |
| request, context, policy, client_gone | none: caused by the query or the client |

A wait whose end is further away than its length is ignored: it was set by a clock that was ahead.

After ``open_s`` the breaker is half-open: the next decision that draws the arm is a probe, and the arm is excluded
until the probe's result is reported (or for another ``open_s`` if it never is). A success closes the breaker, an
error that counts opens it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from banditd.core.attempts import ErrorClass

# A stated wait longer than this is cut to it.
MOST_COOL_DOWN_S: Final = 3600.0
_COUNTED: Final = frozenset({"transport", "timeout", "server", "overload"})

_ENDS: Final = {
    "cooling_down": "cool_until_us", "breaker_open": "open_until_us", "breaker_probe": "probe_until_us",
}  # fmt: skip


@dataclass(slots=True)
class _Breaker:
    """errors : in a row. Times are in microseconds; 0: not open, no probe under way, not cooling down.

    cool_us : total length of the cool-down.
    """

    errors: int = 0
    open_until_us: int = 0
    probe_until_us: int = 0
    cool_until_us: int = 0
    cool_us: int = 0


class Breakers:
    """The breakers of one policy's arms.

    errors : number of counting errors in a row that excludes an arm; 0: never.
    open_s : seconds.
    """

    def __init__(self, *, errors: int, open_s: float) -> None:
        self._limit = errors
        self._open_us = int(open_s * 1e6)
        self._arms: dict[str, _Breaker] = {}

    def count(self, arm: str, error: ErrorClass | None, *, now_us: int, retry_after_s: float | None = None) -> None:
        """Record how a call of that arm ended.

        ``error`` None: it answered.
        retry_after_s : wait stated by an overloaded upstream.
        """
        if not self._limit:
            return
        if error is None:
            self._close(arm, now_us)
            return
        breaker = self._arms.setdefault(arm, _Breaker())
        breaker.probe_until_us = 0  # a probe, if there was one, has ended
        if error == "overload" and retry_after_s is not None:
            wait_us = int(min(max(retry_after_s, 0.0), MOST_COOL_DOWN_S) * 1e6)
            if not _lasts(breaker.cool_until_us, wait_us=breaker.cool_us, now_us=now_us):
                breaker.cool_until_us = 0
            if now_us + wait_us > breaker.cool_until_us:
                breaker.cool_until_us, breaker.cool_us = now_us + wait_us, wait_us
        elif error == "auth":
            self._open(breaker, now_us)
        elif error in _COUNTED:
            breaker.errors += 1
            # Errors that arrive while it is open belong to calls already under way: they do not prolong it.
            if breaker.errors >= self._limit and not self._is_open(breaker, now_us):
                self._open(breaker, now_us)

    @property
    def idle(self) -> bool:
        """Whether no arm has failed yet."""
        return not self._arms

    def drawn(self, arm: str, now_us: int) -> None:
        """A decision has drawn the arm: if its breaker is half-open, that is the probe."""
        breaker = self._arms.get(arm)
        if breaker is not None and breaker.open_until_us and not self._is_open(breaker, now_us):
            breaker.probe_until_us = now_us + self._open_us

    def take_back(self, arm: str) -> None:
        """Undo ``drawn`` of a decision that was not committed."""
        breaker = self._arms.get(arm)
        if breaker is not None:
            breaker.probe_until_us = 0

    def half_open(self, now_us: int) -> bool:
        """Whether the next decision may probe an arm."""
        return any(
            breaker.open_until_us and not self._is_open(breaker, now_us) and not self._is_probed(breaker, now_us)
            for breaker in self._arms.values()
        )

    def exclusions(self, now_us: int) -> dict[str, str]:
        """Excluded arms with the reason: ``cooling_down``, ``breaker_open`` or ``breaker_probe``."""
        excluded: dict[str, str] = {}
        for arm, breaker in self._arms.items():
            if _cools(breaker, now_us):
                excluded[arm] = "cooling_down"
            elif self._is_open(breaker, now_us):
                excluded[arm] = "breaker_open"
            elif breaker.open_until_us and self._is_probed(breaker, now_us):
                excluded[arm] = "breaker_probe"
        return excluded

    def away(self, now_us: int) -> dict[str, tuple[str, int]]:
        """The excluded arms: (reason, latest end of the exclusion in microseconds since the epoch)."""
        found = {arm: (reason, self._arms[arm]) for arm, reason in self.exclusions(now_us).items()}
        return {arm: (reason, int(getattr(breaker, _ENDS[reason]))) for arm, (reason, breaker) in found.items()}

    def _open(self, breaker: _Breaker, now_us: int) -> None:
        breaker.errors = max(breaker.errors, self._limit)
        breaker.open_until_us = now_us + self._open_us

    def _close(self, arm: str, now_us: int) -> None:
        """A success resets the error count, but not a wait that the upstream asked for."""
        breaker = self._arms.pop(arm, None)
        if breaker is not None and _cools(breaker, now_us):
            self._arms[arm] = _Breaker(cool_until_us=breaker.cool_until_us, cool_us=breaker.cool_us)

    def _is_open(self, breaker: _Breaker, now_us: int) -> bool:
        return _lasts(breaker.open_until_us, wait_us=self._open_us, now_us=now_us)

    def _is_probed(self, breaker: _Breaker, now_us: int) -> bool:
        return _lasts(breaker.probe_until_us, wait_us=self._open_us, now_us=now_us)


def _cools(breaker: _Breaker, now_us: int) -> bool:
    return _lasts(breaker.cool_until_us, wait_us=breaker.cool_us, now_us=now_us)


def _lasts(until_us: int, *, wait_us: int, now_us: int) -> bool:
    return now_us < until_us <= now_us + wait_us
