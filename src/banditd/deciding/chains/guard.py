"""Whether chains pay, from their own log: they run while they do, else on a small share that keeps it known. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

LEARNING: Final = 150  # rewards before chains are tried at all
TRIAL: Final = 400  # chains before the guard judges
SHARE_ON: Final = 0.9
SHARE_OFF: Final = 0.05
HALF_LIFE: Final = 3000.0  # chains


@dataclass(slots=True, kw_only=True)
class Guard:
    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    rewards: int = 0
    on: bool = True

    @property
    def state(self) -> str:
        if self.rewards < LEARNING:
            return "learning"
        return "on" if self.on else "off"

    @property
    def share(self) -> float:
        return {"learning": SHARE_OFF, "on": SHARE_ON, "off": SHARE_OFF}[self.state]

    def observe(self, gain: float) -> None:
        keep = 0.5 ** (1.0 / HALF_LIFE)
        self.n, self.total, self.squares = keep * self.n + 1, keep * self.total + gain, keep * self.squares + gain**2
        if self.n >= TRIAL:
            mean, error = self.estimate()
            self.on = mean > (0.0 if self.on else error)

    def estimate(self) -> tuple[float, float]:
        if self.n < 2:
            return 0.0, math.inf
        mean = self.total / self.n
        return mean, math.sqrt(max(self.squares / self.n - mean * mean, 0.0) / self.n)
