"""Breakers: which arms are left alone because their calls fail, and when they are tried again. Pure but for state.

One per policy and process. Whoever learns how an upstream call ended tells it here (``count``): usage reports of
clients and calls of our own alike. Routing asks ``exclusions``, and says with ``drawn`` whom it sent a query to.

What an error does depends on its class:

| class | what it does |
|---|---|
| transport, timeout, server | counts: ``errors`` in a row open the breaker for ``open_s`` |
| overload | with a told wait: excluded for exactly that long (an hour at most); without one it counts |
| auth | opens at once: the next call with that key fails too |
| request, context, policy, client_gone | nothing: the query's or the client's doing |

No wait is believed that ends later than its length from now: a clock that was ahead leaves no arm alone for longer.

When the time of an open breaker is over it is half-open: the next decision that draws the arm is the probe, and the
arm is left alone until it is known how that went (or for another ``open_s``, where nobody tells). Success closes the
breaker, an error that counts opens it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from banditd.core.attempts import ErrorClass

# A wait beyond this is not believed: the arm is tried again.
MOST_COOL_DOWN_S: Final = 3600.0
_COUNTED: Final = frozenset({"transport", "timeout", "server", "overload"})

_ENDS: Final = {
    "cooling_down": "cool_until_us", "breaker_open": "open_until_us", "breaker_probe": "probe_until_us",
}  # fmt: skip


@dataclass(slots=True)
class _Breaker:
    """errors : in a row. Times in microseconds; 0: not open, no probe under way, not cooling down.

    cool_us : how long it cools down in all.
    """

    errors: int = 0
    open_until_us: int = 0
    probe_until_us: int = 0
    cool_until_us: int = 0
    cool_us: int = 0


class Breakers:
    """The breakers of one policy's arms.

    errors : that count, in a row, until an arm is excluded; 0: never, whatever happens. open_s : seconds.
    """

    def __init__(self, *, errors: int, open_s: float) -> None:
        self._limit = errors
        self._open_us = int(open_s * 1e6)
        self._arms: dict[str, _Breaker] = {}

    def count(self, arm: str, error: ErrorClass | None, *, now_us: int, retry_after_s: float | None = None) -> None:
        """Note how a call of that arm ended. ``error`` None: it answered. retry_after_s : of an overload, if told."""
        if not self._limit:
            return
        if error is None:
            self._close(arm, now_us)
            return
        breaker = self._arms.setdefault(arm, _Breaker())
        breaker.probe_until_us = 0  # however it ended, the next may be sent when the breaker lets it
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
            # Errors that come in while it is open are of calls that were under way: they do not prolong it.
            if breaker.errors >= self._limit and not self._is_open(breaker, now_us):
                self._open(breaker, now_us)

    @property
    def idle(self) -> bool:
        """Whether no arm has failed so far."""
        return not self._arms

    def drawn(self, arm: str, now_us: int) -> None:
        """A decision sends its query there: where the breaker is half-open, that is the probe."""
        breaker = self._arms.get(arm)
        if breaker is not None and breaker.open_until_us and not self._is_open(breaker, now_us):
            breaker.probe_until_us = now_us + self._open_us

    def take_back(self, arm: str) -> None:
        """Undo ``drawn`` of a decision that was not committed."""
        breaker = self._arms.get(arm)
        if breaker is not None:
            breaker.probe_until_us = 0

    def half_open(self, now_us: int) -> bool:
        """Whether the next decision may be the probe of an arm."""
        return any(
            breaker.open_until_us and not self._is_open(breaker, now_us) and not self._is_probed(breaker, now_us)
            for breaker in self._arms.values()
        )

    def exclusions(self, now_us: int) -> dict[str, str]:
        """Arms to leave alone now, with the reason: ``cooling_down``, ``breaker_open`` or ``breaker_probe``."""
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
        """The same arms: (reason, until when at the latest in microseconds since the epoch)."""
        found = {arm: (reason, self._arms[arm]) for arm, reason in self.exclusions(now_us).items()}
        return {arm: (reason, int(getattr(breaker, _ENDS[reason]))) for arm, (reason, breaker) in found.items()}

    def _open(self, breaker: _Breaker, now_us: int) -> None:
        breaker.errors = max(breaker.errors, self._limit)
        breaker.open_until_us = now_us + self._open_us

    def _close(self, arm: str, now_us: int) -> None:
        """A success ends the row of errors, but not a wait that the upstream has asked for."""
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
