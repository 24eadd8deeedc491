"""Accounts by judge, policy and hour: sums that are added to, in the order of their keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Table, func, select

from banditd.core.types import HOUR_US
from banditd.storage import dialect

_KEY: Final = ("judge", "policy", "hour_at_us")
Booking = tuple[tuple[str, str, int], Mapping[str, float]]
"""Key of the account, what is added to its sums."""


def booking(judge: str, policy: str, at_us: int, **sums: float) -> Booking:
    """What is added to the account of that hour."""
    return (judge, policy, at_us - at_us % HOUR_US), sums


class HourlyBook:
    """One table of accounts. sums : its columns."""

    def __init__(self, engine: Engine, table: Table, sums: tuple[str, ...]) -> None:
        self._table, self._sums = table, sums
        self._add_up = dialect.add_up(engine, table, sums)

    def book(self, connection: Connection, bookings: Iterable[Booking]) -> None:
        """Rows of the account in the order of their keys: two replicas never wait for each other."""
        added: dict[tuple[Any, ...], dict[str, Any]] = {}
        for key, sums in bookings:
            row = added.setdefault(key, dict(zip(_KEY, key, strict=True)) | dict.fromkeys(self._sums, 0))
            for name, value in sums.items():
                row[name] += value
        if added:
            connection.execute(self._add_up, [added[key] for key in sorted(added)])

    def totals(self, connection: Connection, since_us: int | None = None) -> dict[str, dict[str, Any]]:
        """Every sum by judge, since the beginning of that hour."""
        c = self._table.c
        query = select(c.judge, *(func.sum(c[name]).label(name) for name in self._sums)).group_by(c.judge)
        if since_us is not None:
            query = query.where(c.hour_at_us >= since_us - since_us % HOUR_US)
        return {
            row.judge: {
                name: float(getattr(row, name)) if name == "cost_usd" else int(getattr(row, name))
                for name in self._sums
            }
            for row in connection.execute(query)
        }

    def cost_usd(
        self,
        connection: Connection,
        policy: str,
        since_us: int | None,
        until_us: int | None,
        *only: ColumnElement[bool],
    ) -> float:
        """What a policy has cost, by whole hours. only : of the accounts of which this holds."""
        c = self._table.c
        query = select(func.sum(c.cost_usd)).where(c.policy == policy, *only)
        if since_us is not None:
            query = query.where(c.hour_at_us >= since_us - since_us % HOUR_US)
        if until_us is not None:
            query = query.where(c.hour_at_us < until_us)
        found: float | None = connection.execute(query).scalar()
        return found or 0.0
