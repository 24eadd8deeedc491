"""Keeps budgets current between decisions."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from banditd.core.errors import StorageUnavailableError
from banditd.ports import Clock
from banditd.services.money.budgets import BudgetBook

logger = logging.getLogger(__name__)


class BudgetUpkeep:
    """Reads what other replicas have spent, and saves this process' prices for a restart."""

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

    async def end(self) -> None:
        """Run for the last time. If the database is unavailable, older saved prices remain; no spending is lost."""
        try:
            await self.run()
        except StorageUnavailableError as error:
            logger.warning("budget.prices_not_kept", extra={"error": error.message})
