"""Arms and their prices. A deleted arm is hidden, not removed: the log and the statistics still name it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from banditd.core.errors import BanditdError, ConflictError, NotFoundError
from banditd.core.generations import shown_as
from banditd.core.recipes import Stage
from banditd.core.request_keys import RequestKey
from banditd.core.types import PRICE_FIELDS, Arm, ArmUsage, Price
from banditd.ports import Check, Revise
from banditd.storage import dialect
from banditd.storage.among import among, rows_among
from banditd.storage.arm_rows import arm_again, arm_of, pack_arm, price_of, price_values, read_usage, values_of
from banditd.storage.engine import Database
from banditd.storage.journal import SumJournal
from banditd.storage.keys import once
from banditd.storage.schema import arm as arm_table
from banditd.storage.schema import arm_price
from banditd.storage.schema import policy as policy_table
from banditd.storage.settling import read_settled

_OF_POLICY: Final = arm_table.c.policy == bindparam("policy")
_PRESENT: Final = (
    select(arm_table).where(_OF_POLICY, arm_table.c.deleted_at_us.is_(None)).order_by(arm_table.c.position)
)
_RENEWED: Final = select(arm_table.c.arm, arm_table.c.generation).where(_OF_POLICY, arm_table.c.generation > 1)
_ARMS_VERSION: Final = select(func.coalesce(func.sum(policy_table.c.arms_version), 0))


class SqlArmStore:
    """``ports.ArmStore`` over one database."""

    def __init__(self, database: Database, journal: SumJournal) -> None:
        self._database = database
        self._journal = journal

    async def policies(self) -> list[str]:
        query = select(policy_table.c.policy).order_by(policy_table.c.created_at_us, policy_table.c.policy)
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))

    async def arms(self, policy: str) -> list[Arm]:
        return await self._database.read(lambda connection: _present(connection, policy))

    async def positions(self, policy: str) -> dict[str, int]:
        query = select(arm_table.c.arm, arm_table.c.position).where(arm_table.c.policy == policy)
        return await self._database.read(lambda connection: {row[0]: row[1] for row in connection.execute(query)})

    async def usage(self, policy: str) -> Mapping[str, ArmUsage]:
        return (await self.usages([policy]))[policy]

    async def usages(self, policies: Collection[str]) -> Mapping[str, Mapping[str, ArmUsage]]:
        await self._journal.catch_up()
        return await self._database.read(lambda connection: {name: _usage(connection, name) for name in policies})

    async def settled(self, policy: str) -> Mapping[Stage, tuple[float, float]]:
        return await self._database.read(lambda connection: read_settled(connection, policy))

    async def seed(self, policy: str, arms: Sequence[Arm], at_us: int) -> int:
        return (
            await self._database.write(lambda connection: self._seed(connection, policy, arms, at_us)) if arms else 0
        )

    def _seed(self, connection: Connection, policy: str, arms: Sequence[Arm], at_us: int) -> int:
        self._open(connection, policy, at_us)
        known = set(connection.execute(select(arm_table.c.arm).where(arm_table.c.policy == policy)).scalars())
        missing = [arm for arm in arms if arm.arm not in known]
        for arm in missing:
            self._insert(connection, replace(arm, created_at_us=at_us, updated_at_us=at_us))
        if missing:
            _raise_version(connection, policy)
        return len(missing)

    async def add(
        self, arm: Arm, check: Check | None = None, key: RequestKey | None = None, *, anew: bool = True
    ) -> tuple[Arm, bool]:
        def work(connection: Connection) -> tuple[Arm, bool] | BanditdError:
            self._open(connection, arm.policy, arm.created_at_us)
            made = partial(self._add, connection, arm, check, anew)
            return once(connection, arm.policy, key, arm.created_at_us, made, pack=pack_arm, again=arm_again)

        return await self._database.write(work)

    def _add(
        self, connection: Connection, arm: Arm, check: Check | None, anew: bool
    ) -> tuple[Arm, bool] | BanditdError:
        before = _stored(connection, arm.policy, arm.arm)
        if before is not None and before.deleted_at_us is None:
            return ConflictError(f"Policy {arm.policy} has an arm {arm.arm} already.", code="ARM_EXISTS")
        if before is not None and arm_of(before).recipe != arm.recipe:
            return ConflictError(
                f"{arm.arm} was another arm before it was deleted, {_made_of(arm_of(before))}: what the log says of "
                "it would be of this one, too. Give the new arm another name.",
                code="ARM_IS_ANOTHER",
                field="/arm",
            )
        try:
            if check is not None:
                check(arm, _present(connection, arm.policy))
        except BanditdError as error:
            return error
        if before is None:
            self._insert(connection, arm)
        else:
            since_us = arm.updated_at_us or arm.created_at_us
            if anew:
                arm = replace(arm, generation=before.generation + 1)
            else:
                arm = replace(arm, generation=before.generation, created_at_us=before.created_at_us)
            _overwrite(connection, arm, deleted_at_us=None)
            # The history goes on, but not with what was planned for the arm of before.
            _forget_prices_after(connection, arm.policy, arm.arm, since_us)
            if _newest_price(connection, arm.policy, arm.arm) != arm.price:
                self._append_price(connection, arm.policy, arm.arm, arm.price, since_us)
        _raise_version(connection, arm.policy)
        return arm, False

    async def update(
        self, policy: str, arm: str, revise: Revise, key: RequestKey | None = None, *, at_us: int = 0
    ) -> tuple[Arm, bool]:
        def work(connection: Connection) -> tuple[Arm, bool] | BanditdError:
            self._lock(connection, policy)
            made = partial(self._update, connection, policy, arm, revise)
            return once(connection, policy, key, at_us, made, pack=pack_arm, again=arm_again)

        return await self._database.write(work)

    def _update(
        self, connection: Connection, policy: str, arm: str, revise: Revise
    ) -> tuple[Arm, bool] | BanditdError:
        arms = _present(connection, policy)
        before = next((one for one in arms if one.arm == arm), None)
        if before is None:
            return NotFoundError(f"Policy {policy} has no arm {arm}.", code="ARM_UNKNOWN")
        try:
            change = revise(before, arms)
        except BanditdError as error:
            return error
        if change.later is not None:
            self._append_price(connection, policy, arm, *change.later)
        if change.arm != before:
            _overwrite(connection, change.arm)
            if change.arm.price != before.price:
                since_us = change.arm.updated_at_us or change.arm.created_at_us
                self._append_price(connection, policy, arm, change.arm.price, since_us)
            _raise_version(connection, policy)
        return change.arm, False

    async def delete(
        self,
        policy: str,
        arm: str,
        at_us: int,
        key: RequestKey | None = None,
        check: Callable[[str], None] | None = None,
    ) -> bool:
        statement = (
            update(arm_table)
            .where(arm_table.c.policy == policy, arm_table.c.arm == arm, arm_table.c.deleted_at_us.is_(None))
            .values(deleted_at_us=at_us, updated_at_us=at_us)
        )

        def hide(connection: Connection) -> bool | BanditdError:
            try:
                if check is not None:
                    check(arm)
            except BanditdError as error:
                return error
            if not connection.execute(statement).rowcount:
                return NotFoundError(f"Policy {policy} has no arm {arm}.", code="ARM_UNKNOWN", field="/arm")
            _forget_prices_after(connection, policy, arm, at_us)
            _raise_version(connection, policy)
            return False

        def work(connection: Connection) -> bool | BanditdError:
            self._lock(connection, policy)
            made = partial(hide, connection)
            return once(connection, policy, key, at_us, made, pack=lambda _: None, again=lambda _: True)

        return await self._database.write(work)

    async def price_histories(self, policy: str) -> dict[str, list[tuple[int, Price]]]:
        c = arm_price.c
        query = select(arm_price).where(c.policy == policy).order_by(c.arm, c.valid_from_us)

        def work(connection: Connection) -> dict[str, list[tuple[int, Price]]]:
            histories: dict[str, list[tuple[int, Price]]] = {}
            for row in connection.execute(query):
                histories.setdefault(row.arm, []).append((row.valid_from_us, price_of(row)))
            return histories

        return await self._database.read(work)

    async def adopt_due_prices(self, now_us: int) -> list[tuple[str, str]]:
        seen = await self._database.read(lambda connection: _due_prices(connection, now_us))
        if not seen:
            return []
        policies = sorted({policy for policy, _ in seen})

        def work(connection: Connection) -> list[tuple[str, str]]:
            for policy in policies:
                self._lock(connection, policy)
            due = {key: price for key, price in _due_prices(connection, now_us).items() if key[0] in policies}
            for (policy, arm), price in due.items():
                this_arm = (arm_table.c.policy == policy) & (arm_table.c.arm == arm)
                values = {"updated_at_us": now_us, **price_values(price)}
                connection.execute(update(arm_table).where(this_arm).values(values))
                _raise_version(connection, policy)
            return sorted(due)

        return await self._database.write(work)

    async def arms_version(self) -> int:
        return await self._database.read(lambda connection: int(connection.execute(_ARMS_VERSION).scalar_one()))

    def _open(self, connection: Connection, policy: str, at_us: int) -> None:
        """Lock a policy, which this may be the first to name."""
        connection.execute(
            dialect.insert_into(self._database.engine, policy_table).on_conflict_do_nothing(
                index_elements=["policy"]
            ),
            {"policy": policy, "arms_version": 0, "created_at_us": at_us},
        )
        self._lock(connection, policy)

    def _lock(self, connection: Connection, policy: str) -> None:
        """Wait until this transaction alone may change the policy's arms: what is read afterwards stays true."""
        policy_row = select(policy_table.c.policy).where(policy_table.c.policy == policy)
        connection.execute(dialect.lock_exclusive(self._database.engine, policy_row))

    def _insert(self, connection: Connection, arm: Arm) -> None:
        """A new arm behind the others, and the first line of its price history. The policy is locked."""
        last = connection.execute(
            select(func.coalesce(func.max(arm_table.c.position), 0)).where(arm_table.c.policy == arm.policy)
        ).scalar_one()
        connection.execute(insert(arm_table), values_of(arm) | {"position": last + 1})
        self._append_price(connection, arm.policy, arm.arm, arm.price, arm.updated_at_us or arm.created_at_us)

    def _append_price(self, connection: Connection, policy: str, arm: str, price: Price, valid_from_us: int) -> None:
        row = {"policy": policy, "arm": arm, "valid_from_us": valid_from_us}
        connection.execute(
            dialect.replace_row(self._database.engine, arm_price, PRICE_FIELDS), row | price_values(price)
        )


def _usage(connection: Connection, policy: str) -> dict[str, ArmUsage]:
    present = present_generations(connection, policy)
    rows = read_usage(connection, policy)
    return {name: replace(row, arm=name) for row in rows for name in [shown_as(row.arm, present)]}


def present_generations(connection: Connection, policy: str) -> dict[str, int]:
    """The generation of every arm of a policy that has had more than one."""
    return {row.arm: row.generation for row in connection.execute(_RENEWED, {"policy": policy})}


def _due_prices(connection: Connection, now_us: int) -> dict[tuple[str, str], Price]:
    """Arms whose newest price in force is not the one that they carry."""
    t, p = arm_table.c, arm_price.c
    q = arm_price.alias("begun").c
    newest = (
        select(func.max(q.valid_from_us))
        .where(q.policy == t.policy, q.arm == t.arm, q.valid_from_us <= now_us)
        .scalar_subquery()
    )
    query = select(arm_table, *(p[name].label(f"due_{name}") for name in PRICE_FIELDS)).where(
        p.policy == t.policy, p.arm == t.arm, p.valid_from_us == newest, t.deleted_at_us.is_(None)
    )
    due = {}
    for row in connection.execute(query):
        price = Price(*(getattr(row, f"due_{name}") for name in PRICE_FIELDS))
        if price != price_of(row):
            due[row.policy, row.arm] = price
    return due


_ARMS: Final = select(arm_table).where(among(arm_table.c.policy, arm_table.c.arm))


def load_arms(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Arm]:
    """The arms of these (policy, arm), deleted ones too."""
    return {(row.policy, row.arm): arm_of(row) for row in rows_among(connection, _ARMS, sorted(set(keys)))}


def _present(connection: Connection, policy: str) -> list[Arm]:
    """The arms that are not deleted, in the order of addition."""
    return [arm_of(row) for row in connection.execute(_PRESENT, {"policy": policy})]


def _made_of(arm: Arm) -> str:
    return "a model" if arm.recipe is None else f"a recipe of {', '.join(arm.recipe.parts)}"


def _forget_prices_after(connection: Connection, policy: str, arm: str, at_us: int) -> None:
    p = arm_price.c
    connection.execute(delete(arm_price).where(p.policy == policy, p.arm == arm, p.valid_from_us > at_us))


def _newest_price(connection: Connection, policy: str, arm: str) -> Price | None:
    p = arm_price.c
    query = select(arm_price).where(p.policy == policy, p.arm == arm).order_by(p.valid_from_us.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else price_of(row)


def _stored(connection: Connection, policy: str, arm: str) -> Row[Any] | None:
    c = arm_table.c
    return connection.execute(select(arm_table).where(c.policy == policy, c.arm == arm)).one_or_none()


def _overwrite(connection: Connection, arm: Arm, **more: Any) -> None:
    values = values_of(arm) | more
    for name in ("policy", "arm"):
        del values[name]
    connection.execute(
        update(arm_table).where(arm_table.c.policy == arm.policy, arm_table.c.arm == arm.arm).values(**values)
    )


def _raise_version(connection: Connection, policy: str) -> None:
    c = policy_table.c
    connection.execute(update(policy_table).where(c.policy == policy).values(arms_version=c.arms_version + 1))


_PRICES: Final = (
    select(arm_price).where(among(arm_price.c.policy, arm_price.c.arm)).order_by(arm_price.c.valid_from_us)
)


def load_prices(
    connection: Connection, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], list[tuple[int, Price]]]:
    """The price history of these (policy, arm), oldest first."""
    found: dict[tuple[str, str], list[tuple[int, Price]]] = {}
    for row in rows_among(connection, _PRICES, sorted(set(keys))):
        found.setdefault((row.policy, row.arm), []).append((row.valid_from_us, price_of(row)))
    return found
