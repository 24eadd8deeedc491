"""The accounts of budgets: charged in the transaction that commits a decision, corrected when its usage comes.

One row per account and window, raised under one lock, so that replicas never spend the same money twice. What may be
charged is decided here and not where the decision was made: there the sums may be a commit old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, bindparam, delete, insert, select

from banditd.core.errors import BanditdError, ConflictError, InvalidInputError
from banditd.core.money import ROUNDING_USD, AccountKey, AccountTotals, Charge, Correction
from banditd.storage import dialect
from banditd.storage.among import among, in_chunks
from banditd.storage.engine import Database
from banditd.storage.prepared import Prepared
from banditd.storage.schema import budget_account, budget_correction, budget_state

_SUMS: Final = ("decisions", "charged_usd", "owed_usd", "updated_at_us")


class AccountCharges:
    """Reads and raises accounts inside a transaction of somebody else."""

    def __init__(self, engine: Engine) -> None:
        self._write = Prepared(
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
        self.put(connection, {key: totals[key] for key in raised}, latest_us)
        return refused, totals

    def correct(self, connection: Connection, changes: Mapping[AccountKey, float], at_us: int) -> None:
        """Add differences between what was charged and what it really cost. Unknown accounts are left out."""
        changes = {key: usd for key, usd in changes.items() if usd != 0.0}
        if not changes:
            return
        dialect.lock_accounts(connection)
        totals = read_accounts(connection, changes)
        corrected = {key: before.corrected(changes[key]) for key, before in totals.items()}
        self.put(connection, corrected, at_us)

    def put(self, connection: Connection, totals: Mapping[AccountKey, AccountTotals], at_us: int) -> None:
        """Write what stands on these accounts, under their lock."""
        rows = [
            (*key, t.decisions, float(t.charged_usd), float(t.owed_usd), t.opened_at_us, at_us)
            for key, t in sorted(totals.items())
        ]
        self._write.run(connection, rows)


def _accounts() -> Select[Any]:
    c = budget_account.c
    return select(budget_account).where(
        c.policy == bindparam("of_policy"),
        c.budget == bindparam("of_budget"),
        c.window_at_us == bindparam("of_window"),
        among(c.account),
    )


_ACCOUNTS: Final = _accounts()


def read_accounts(connection: Connection, keys: Iterable[AccountKey]) -> dict[AccountKey, AccountTotals]:
    """What stands on these accounts; those that nothing was charged to are left out."""
    # By account alone within a budget's window: SQLite would scan the table for a list of rows (`IN (VALUES ...)`).
    windows: dict[tuple[str, str, int], list[str]] = {}
    for key in sorted(set(keys)):
        windows.setdefault((key.policy, key.budget, key.window_at_us), []).append(key.account)
    found: dict[AccountKey, AccountTotals] = {}
    for (policy, budget, window_at_us), accounts in windows.items():
        window = {"of_policy": policy, "of_budget": budget, "of_window": window_at_us}
        for chunk in in_chunks(accounts):
            for row in connection.execute(_ACCOUNTS, window | chunk):
                found[AccountKey(row.policy, row.budget, row.account, row.window_at_us)] = _totals(row)
    return found


def _totals(row: Any) -> AccountTotals:
    return AccountTotals(int(row.decisions), float(row.charged_usd), float(row.owed_usd), int(row.opened_at_us))


class SqlBudgetStore:
    """``ports.BudgetStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accounts = AccountCharges(database.engine)

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

    async def correct(self, correction: Correction) -> tuple[bool, AccountTotals]:
        return await self._database.write(lambda connection: self._correct(connection, correction))

    def _correct(self, connection: Connection, correction: Correction) -> tuple[bool, AccountTotals] | BanditdError:
        dialect.lock_accounts(connection)
        key, c = correction.key, budget_correction.c
        before = read_accounts(connection, [key]).get(key, AccountTotals(opened_at_us=correction.created_at_us))
        kept = connection.execute(
            select(budget_correction).where(c.policy == key.policy, c.correction_id == correction.correction_id)
        ).one_or_none()
        if kept is not None:
            same = (kept.budget, kept.account, kept.usd) == (key.budget, key.account, correction.usd)
            return (
                (True, before)
                if same
                else ConflictError(
                    f"the correction {correction.correction_id} was made already, with other figures; "
                    "use a new id for a new correction",
                    code="CORRECTION_CONFLICT",
                    field="/correction_id",
                )
            )
        after_usd = before.charged_usd + correction.usd
        if after_usd < -ROUNDING_USD:
            return InvalidInputError(
                f"{before.charged_usd:g} dollars are charged to {key.account}: {correction.usd:g} would leave less "
                "than nothing",
                field="/usd",
            )
        after = replace(before, charged_usd=max(after_usd, 0.0), owed_usd=before.owed_usd + correction.usd)
        self._accounts.put(connection, {key: after}, correction.created_at_us)
        connection.execute(
            insert(budget_correction),
            {
                **key._asdict(),
                "correction_id": correction.correction_id,
                "usd": correction.usd,
                "reason": correction.reason,
                "key_name": correction.key_name,
                "created_at_us": correction.created_at_us,
            },
        )
        return False, after

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
