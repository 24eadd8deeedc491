"""The store of classifiers: the account of their calls. Each method is one transaction."""

from __future__ import annotations

from typing import Protocol

from banditd.core.judging import JudgeCost


class ClassifierStore(Protocol):
    async def reserve(self, policy: str, usd: float, most_usd: float | None, now_us: int) -> bool:
        """Book a call before it is made, at what it is expected to cost.

        False, and nothing is booked, where the 24 hours until then would cost more than ``most_usd``, all replicas
        together.
        """

    async def settle(self, policy: str, beyond: JudgeCost, reserved_at_us: int) -> None:
        """Book what the call took beside what was reserved then; ``cost_usd`` may be negative."""

    async def spent_usd(self, policy: str, since_us: int | None, until_us: int | None) -> float:
        """What the policy's classifier has cost, by whole hours."""
