"""The accounts of budgets: charged in the transaction that commits a decision, corrected when its usage comes.

One row per account and window, raised under one lock, so that replicas never spend the same money twice. What may be
charged is decided here and not where the decision was made: there the sums may be a commit old.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, select, tuple_

from banditd.core.money import AccountKey, AccountTotals, Charge
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import budget_account, budget_state

_SUMS: Final = ("decisions", "charged_usd", "owed_usd", "updated_at_us")
_KEY: Final = (
    budget_account.c.policy,
    budget_account.c.budget,
    budget_account.c.account,
    budget_account.c.window_at_us,
)
_CHUNK: Final = 200
NO_CHARGES: Final = "[]"


class Ledger:
    """Reads and raises accounts inside a transaction of somebody else."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._write = dialect.Prepared(
            engine,
            dialect.replace_row(engine, budget_account, _SUMS),
            ("policy", "budget", "account", "window_at_us", "decisions", "charged_usd", "owed_usd", "opened_at_us",
             "updated_at_us"),
        )  # fmt: skip

    def charge(
        self, connection: Connection, decisions: Sequence[tuple[int, Sequence[Charge]]]
    ) -> tuple[list[AccountKey | None], dict[AccountKey, AccountTotals]]:
        """Charge decisions (made at that microsecond, with these charges) in order.

        Returns
        -------
        per decision None, or the account whose limit it would exceed: that one is charged nowhere; and what stands
        on every account that was looked at.
        """
        keys = {charge.key for _, charges in decisions for charge in charges}
        if not keys:
            return [None] * len(decisions), {}
        dialect.lock_accounts(connection)
        totals = read_accounts(connection, keys)
        refused: list[AccountKey | None] = []
        raised: set[AccountKey] = set()
        latest_us = 0
        for made_at_us, charges in decisions:
            full = next((c.key for c in charges if c.exceeds(totals.get(c.key))), None)
            refused.append(full)
            if full is not None:
                continue
            latest_us = max(latest_us, made_at_us)
            for charge in charges:
                totals[charge.key] = charge.on(totals.get(charge.key), made_at_us)
                raised.add(charge.key)
        self._store(connection, {key: totals[key] for key in raised}, latest_us)
        return refused, totals

    def correct(self, connection: Connection, changes: Mapping[AccountKey, float], at_us: int) -> None:
        """Add differences between what was charged and what it really cost. Unknown accounts are left out."""
        changes = {key: usd for key, usd in changes.items() if usd != 0.0}
        if not changes:
            return
        dialect.lock_accounts(connection)
        totals = read_accounts(connection, changes)
        corrected = {key: before.corrected(changes[key]) for key, before in totals.items()}
        self._store(connection, corrected, at_us)

    def _store(self, connection: Connection, totals: Mapping[AccountKey, AccountTotals], at_us: int) -> None:
        rows = [
            (*key, t.decisions, float(t.charged_usd), float(t.owed_usd), t.opened_at_us, at_us)
            for key, t in sorted(totals.items())
        ]
        self._write.run(connection, rows)


def read_accounts(connection: Connection, keys: Iterable[AccountKey]) -> dict[AccountKey, AccountTotals]:
    """What stands on these accounts; those that nothing was charged to are left out."""
    ordered = sorted(keys)
    found: dict[AccountKey, AccountTotals] = {}
    for start in range(0, len(ordered), _CHUNK):
        query = select(budget_account).where(tuple_(*_KEY).in_(ordered[start : start + _CHUNK]))
        for row in connection.execute(query):
            key = AccountKey(row.policy, row.budget, row.account, row.window_at_us)
            found[key] = _totals(row)
    return found


def _totals(row: Any) -> AccountTotals:
    return AccountTotals(int(row.decisions), float(row.charged_usd), float(row.owed_usd), int(row.opened_at_us))


def pack_charges(charges: Sequence[Charge]) -> str:
    """The accounts of a decision, as its row keeps them."""
    if not charges:
        return NO_CHARGES
    return json.dumps([charge.key[1:] for charge in charges], separators=(",", ":"))


def unpack_charges(policy: str, text: str) -> list[AccountKey]:
    return [] if text == NO_CHARGES else [AccountKey(policy, *key) for key in json.loads(text)]


class SqlBudgetStore:
    """``ports.BudgetStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, policy: str) -> str | None:
        query = select(budget_state.c.state).where(budget_state.c.policy == policy)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def save(self, policy: str, state: str, at_us: int) -> None:
        statement = dialect.replace_row(self._database.engine, budget_state, ("state", "updated_at_us"))

        def work(connection: Connection) -> None:
            connection.execute(statement, {"policy": policy, "state": state, "updated_at_us": at_us})

        await self._database.write(work)

    async def accounts(self, keys: Sequence[AccountKey]) -> Mapping[AccountKey, AccountTotals]:
        return await self._database.read(lambda connection: read_accounts(connection, keys))

    async def dearest(
        self, policy: str, budget: str, window_at_us: int, limit: int
    ) -> list[tuple[AccountKey, AccountTotals]]:
        c = budget_account.c
        query = (
            select(budget_account)
            .where(c.policy == policy, c.budget == budget, c.window_at_us == window_at_us)
            .order_by(c.charged_usd.desc(), c.account)
            .limit(limit)
        )

        def work(connection: Connection) -> list[tuple[AccountKey, AccountTotals]]:
            return [
                (AccountKey(row.policy, row.budget, row.account, row.window_at_us), _totals(row))
                for row in connection.execute(query)
            ]

        return await self._database.read(work)


def forget_accounts(connection: Connection, before_us: int) -> int:
    """Drop windows that nothing has been charged to since then; budgets per decision stay."""
    c = budget_account.c
    return connection.execute(delete(budget_account).where(c.window_at_us > 0, c.updated_at_us < before_us)).rowcount
