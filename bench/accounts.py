"""Accounts of tags: what a decision and a refresh pay to find them, at few and at very many tag values."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import Connection

from banditd.core.money import AccountKey, BudgetRule, Charge
from banditd.core.types import Query
from banditd.services.money.budgets import BudgetBook
from banditd.storage import migrate, open_storage
from banditd.storage.accounts import AccountCharges
from bench.table import Row

Decided = tuple[int, tuple[Charge, ...]]

SECTION = "Accounts of tags, SQLite, in process"
VALUES = (100, 2_200, 100_000)
LOOKUPS = 400


def measure(*, quick: bool) -> list[Row]:
    """One row per number of tag values and thing measured; flat is what they should be."""
    rows = []
    for values in VALUES[:2] if quick else VALUES:
        known_us, unseen_us, refresh_ms = asyncio.run(_measure(values))
        rows += [
            Row(section=SECTION, name=f"of a decision, {values:,} tag values, median", value=known_us, unit="us"),
            Row(section=SECTION, name=f"the same, account not seen for long, {values:,}", value=unseen_us, unit="us"),
            Row(section=SECTION, name=f"refresh, {values:,} tag values", value=refresh_ms, unit="ms"),
        ]
    return rows


async def _measure(values: int) -> tuple[float, float, float]:
    """Median of a decision whose account is in memory, of one whose account is read (us), and a refresh (ms)."""
    hour_us = 3_600_000_000
    now_us = 500_000 * hour_us
    rule = BudgetRule(name="team", usd=1.0, per="hour", of="tag:team")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'accounts.db'}"
        migrate(url)
        async with open_storage(url, writer_name="bench") as storage:
            ledger = AccountCharges(storage.database.engine)
            keys = [AccountKey("default", "team", str(number), now_us) for number in range(values)]
            for start in range(0, values, 2000):
                some: list[Decided] = [(now_us, (Charge(key=key, usd=0.01),)) for key in keys[start : start + 2000]]

                def charge(connection: Connection, some: list[Decided] = some) -> None:
                    ledger.charge(connection, some)

                await storage.database.write(charge)
            book = BudgetBook("default", [rule], storage.budgets, storage.recent)
            kept = min(values, 2200)  # as many are kept as in traffic
            for number in range(kept):
                await book.accounts(Query(text="x", tags={"team": str(number)}), now_us)
            known = [await _lookup(book, str(number * 7919 % kept), now_us) for number in range(LOOKUPS)]
            # In the table where there are so many; a value that nobody has sent before is looked up alike.
            unseen = [await _lookup(book, str(kept + number), now_us) for number in range(LOOKUPS)]
            started = time.perf_counter()
            await book.refresh(now_us + 1)
            refresh_ms = (time.perf_counter() - started) * 1e3
            return statistics.median(known), statistics.median(unseen), refresh_ms


async def _lookup(book: BudgetBook, team: str, now_us: int) -> float:
    """Microseconds."""
    started = time.perf_counter()
    await book.accounts(Query(text="x", tags={"team": team}), now_us)
    return (time.perf_counter() - started) * 1e6
