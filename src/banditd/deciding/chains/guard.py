"""Decides, from the log of chains, whether chains pay off. If they do not, they run on a small share only. Pure.

A chain's gain is measured against keeping its first answer, and its choice of first arm against plain routing, both
on the same query. Since only the effect of going on is noisy, a thousand chains tell as much as ten thousand queries
split into two groups would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

LEARNING: Final = 500  # rewards before chains are tried on more than a small share
TRIAL: Final = 1000  # chains before the guard judges
SHARES: Final = {"learning": 0.05, "trial": 0.9, "on": 0.9, "off": 0.05}  # of the decisions that may go on
CAUTION: Final = 0.5
HALF_LIFE: Final = 2000.0  # chains


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRecord:
    """state : ``learning``, ``trial``, ``on`` or ``off``.

    gain : utility per chain over plain routing, and its standard error.
    off_since : number of rewards when chains were last turned off; None while they run.
    """

    state: str
    gain: float
    standard_error: float | None
    chains: int
    off_since: int | None


class Guard:
    """Learns first, then tries chains, and after ``TRIAL`` chains judges again with every chain.

    To be turned on, the gain must exceed its standard error; to stay on, it must not be negative.
    """

    def __init__(self) -> None:
        self._n = self._sum = self._squares = 0.0
        self._rewards = self._chains = 0
        self._state = "learning"
        self._off_since: int | None = None

    @property
    def share(self) -> float:
        """Share of the decisions that may become chains, never 0 or 1; the others are plain routing."""
        return SHARES[self._state]

    def observe_reward(self) -> None:
        self._rewards += 1
        if self._state == "learning" and self._rewards >= LEARNING:
            self._state = "trial"

    def observe_chain(self, gain: float) -> None:
        """Record a finished chain, even one that kept its first answer. gain : its utility over plain routing."""
        kept = 0.5 ** (1.0 / HALF_LIFE)
        self._n = kept * self._n + 1.0
        self._sum = kept * self._sum + gain
        self._squares = kept * self._squares + gain * gain
        self._chains += 1
        if self._chains < TRIAL:
            return
        mean, error = self._estimate()
        pays = mean > 0.0 if self._state == "on" else mean > CAUTION * (error or 0.0)
        if not pays and self._state != "off":
            self._off_since = self._rewards
        self._state = "on" if pays else "off"
        if pays:
            self._off_since = None

    def record(self) -> GuardRecord:
        mean, error = self._estimate()
        return GuardRecord(
            state=self._state, gain=mean, standard_error=error, chains=self._chains, off_since=self._off_since
        )

    def _estimate(self) -> tuple[float, float | None]:
        if self._n < 2.0:
            return 0.0, None
        mean = self._sum / self._n
        return mean, math.sqrt(max(self._squares / self._n - mean * mean, 0.0) / self._n)
