"""Keeping budgets current between decisions."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.ports import Clock
from banditd.services.money.budgets import BudgetBook


class BudgetUpkeep:
    """Looks at what other replicas have spent, and keeps this one's prices for a restart."""

    def __init__(self, *, books: Mapping[str, BudgetBook], clock: Clock) -> None:
        self._books = books
        self._clock = clock

    async def run(self) -> None:
        """Read and save the accounts of every policy that has budgets."""
        now_us = self._clock.now_us()
        for book in self._books.values():
            if book.rules:
                await book.refresh(now_us)
                await book.save(now_us)
