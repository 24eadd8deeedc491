"""The store of arms. A change of one arm is decided with all arms of its policy at hand, under their lock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from banditd.core.recipes import Stage
from banditd.core.request_keys import RequestKey
from banditd.core.types import Arm, ArmUsage, Price


@dataclass(frozen=True, slots=True)
class ArmChange:
    """What to store of an arm, and a price that begins at a time (microseconds) to come."""

    arm: Arm
    later: tuple[Price, int] | None = None


Check = Callable[[Arm, Sequence[Arm]], None]
"""Raises a BanditdError if an arm cannot be stored next to the policy's other arms."""
Revise = Callable[[Arm, Sequence[Arm]], ArmChange]
"""(arm, all arms of its policy) -> what to store instead; raises a BanditdError to refuse."""


class ArmStore(Protocol):
    """``check`` and ``revise`` are pure and may be called again when the transaction is retried."""

    async def policies(self) -> list[str]: ...

    async def arms(self, policy: str) -> list[Arm]:
        """Every arm that is not deleted, in the order of addition."""

    async def positions(self, policy: str) -> Mapping[str, int]:
        """The place of every arm in the order of addition, deleted ones too: no other arm ever gets it."""

    async def usage(self, policy: str) -> Mapping[str, ArmUsage]: ...

    async def usages(self, policies: Collection[str]) -> Mapping[str, Mapping[str, ArmUsage]]:
        """The same of several policies, as of one moment."""

    async def settled(self, policy: str) -> Mapping[Stage, tuple[float, float]]:
        """Of the stages of recipes: (how often it was reached, how often of these its members left it open)."""

    async def seed(self, policy: str, arms: Sequence[Arm], at_us: int) -> int:
        """Add those arms that were never there, all at once and as of one time. Returns how many."""

    async def add(
        self, arm: Arm, check: Check | None = None, key: RequestKey | None = None, *, anew: bool = True
    ) -> tuple[Arm, bool]:
        """Returns (the arm as it was stored, whether that was done before under ``key``).

        Raises ConflictError when it exists. Under the name of a deleted arm it is the next generation: a new arm
        with nothing learned; without ``anew`` that one comes back with its state. Scheduled prices are gone.
        """

    async def update(
        self, policy: str, arm: str, revise: Revise, key: RequestKey | None = None, *, at_us: int = 0
    ) -> tuple[Arm, bool]:
        """Store what ``revise`` makes of an arm; a changed price is also appended to the price history.

        Returns (the arm as it was stored, whether that was done before under ``key``, which is kept as of ``at_us``).
        Raises NotFoundError, and what ``revise`` raises.
        """

    async def delete(
        self,
        policy: str,
        arm: str,
        at_us: int,
        key: RequestKey | None = None,
        check: Callable[[str], None] | None = None,
    ) -> bool:
        """Hide an arm and forget the prices that were scheduled for it.

        True when that was done before, under ``key``. Raises NotFoundError, and what ``check`` (of its name) raises.
        """

    async def price_histories(self, policy: str) -> Mapping[str, Sequence[tuple[int, Price]]]:
        """(since, price) of every arm of a policy that ever had one, oldest first; microseconds since the epoch."""

    async def adopt_due_prices(self, now_us: int) -> Sequence[tuple[str, str]]:
        """Give arms the price of their history that is in force now. Returns the (policy, arm) that changed."""

    async def arms_version(self) -> int:
        """Grows with every change of any arm: what replicas poll."""
