"""Arms and their prices. A deleted arm is hidden, not removed: the log and the statistics still name it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, tuple_, update

from banditd.core.errors import BanditdError, ConflictError, NotFoundError
from banditd.core.types import Arm, ArmUsage, Price
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.schema import arm as arm_table
from banditd.storage.schema import arm_price, arm_total
from banditd.storage.schema import policy as policy_table

_PRICE: Final = ("usd_per_mtok_in", "usd_per_mtok_out", "usd_per_request")
_PLAIN: Final = (
    "policy",
    "arm",
    "upstream_model",
    "provider",
    "enabled",
    "context_window_tokens",
    "quality_prior",
    "prior_worth",
    "quality_tier",
    "expected_output_tokens",
    "expected_latency_ms",
    "max_share",
    "onboarding_decisions",
    "onboarding_usd",
    "created_at_us",
    "updated_at_us",
)
_USAGE: Final = (
    "decisions",
    "usage_reports",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "latency_ms_sum",
    "latency_reports",
    "errors",
)


class SqlArmStore:
    """``ports.ArmStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def policies(self) -> list[str]:
        query = select(policy_table.c.policy).order_by(policy_table.c.created_at_us, policy_table.c.policy)
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))

    async def arms(self, policy: str) -> list[Arm]:
        query = (
            select(arm_table)
            .where(arm_table.c.policy == policy, arm_table.c.deleted_at_us.is_(None))
            .order_by(arm_table.c.position)
        )
        return await self._database.read(lambda connection: [_arm(row) for row in connection.execute(query)])

    async def usage(self, policy: str) -> Mapping[str, ArmUsage]:
        t = arm_total.c
        columns = [func.sum(t["spend_usd" if name == "cost_usd" else name]).label(name) for name in _USAGE]
        query = select(t.arm, *columns).where(t.policy == policy).group_by(t.arm)

        def work(connection: Connection) -> dict[str, ArmUsage]:
            return {row.arm: _usage(row) for row in connection.execute(query)}

        return await self._database.read(work)

    async def add(self, arm: Arm) -> None:
        await self._database.write(lambda connection: self._add(connection, arm))

    def _add(self, connection: Connection, arm: Arm) -> BanditdError | None:
        connection.execute(
            dialect.insert_into(self._database.engine, policy_table).on_conflict_do_nothing(
                index_elements=["policy"]
            ),
            {"policy": arm.policy, "arms_version": 0, "created_at_us": arm.created_at_us},
        )
        # The policy's row is the lock under which positions are given out; its version is raised at the end.
        connection.execute(
            dialect.lock_exclusive(
                self._database.engine,
                select(policy_table.c.policy).where(policy_table.c.policy == arm.policy),
            )
        )
        before = _stored(connection, arm.policy, arm.arm)
        if before is not None and before.deleted_at_us is None:
            return ConflictError(f"Policy {arm.policy} has an arm {arm.arm} already.", code="ARM_EXISTS")
        if before is None:
            last = connection.execute(
                select(func.coalesce(func.max(arm_table.c.position), 0)).where(arm_table.c.policy == arm.policy)
            ).scalar_one()
            connection.execute(insert(arm_table), _values(arm) | {"position": last + 1})
        else:
            _overwrite(connection, arm, deleted_at_us=None)
        if before is None or _price(before) != arm.price:
            self._append_price(connection, arm)
        _raise_version(connection, arm.policy)
        return None

    async def replace(self, arm: Arm) -> None:
        await self._database.write(lambda connection: self._replace(connection, arm))

    def _replace(self, connection: Connection, arm: Arm) -> BanditdError | None:
        before = _stored(connection, arm.policy, arm.arm)
        if before is None or before.deleted_at_us is not None:
            return NotFoundError(f"Policy {arm.policy} has no arm {arm.arm}.", code="ARM_UNKNOWN")
        _overwrite(connection, arm)
        if _price(before) != arm.price:
            self._append_price(connection, arm)
        _raise_version(connection, arm.policy)
        return None

    async def delete(self, policy: str, arm: str, at_us: int) -> bool:
        statement = (
            update(arm_table)
            .where(arm_table.c.policy == policy, arm_table.c.arm == arm, arm_table.c.deleted_at_us.is_(None))
            .values(deleted_at_us=at_us, updated_at_us=at_us)
        )

        def work(connection: Connection) -> bool:
            if not connection.execute(statement).rowcount:
                return False
            _raise_version(connection, policy)
            return True

        return await self._database.write(work)

    async def price_history(self, policy: str, arm: str) -> list[tuple[int, Price]]:
        query = (
            select(arm_price)
            .where(arm_price.c.policy == policy, arm_price.c.arm == arm)
            .order_by(arm_price.c.valid_from_us)
        )
        return await self._database.read(
            lambda connection: [(row.valid_from_us, _price(row)) for row in connection.execute(query)]
        )

    async def arms_version(self) -> int:
        query = select(func.coalesce(func.sum(policy_table.c.arms_version), 0))
        return await self._database.read(lambda connection: int(connection.execute(query).scalar_one()))

    def _append_price(self, connection: Connection, arm: Arm) -> None:
        row = {"policy": arm.policy, "arm": arm.arm, "valid_from_us": arm.updated_at_us or arm.created_at_us}
        connection.execute(
            dialect.replace_row(self._database.engine, arm_price, _PRICE),
            row | {name: float(getattr(arm.price, name)) for name in _PRICE},
        )


def load_arms(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Arm]:
    """The arms of these (policy, arm), deleted ones too."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    query = select(arm_table).where(tuple_(arm_table.c.policy, arm_table.c.arm).in_(wanted))
    return {(row.policy, row.arm): _arm(row) for row in connection.execute(query)}


def _stored(connection: Connection, policy: str, arm: str) -> Row[Any] | None:
    return connection.execute(
        select(arm_table).where(arm_table.c.policy == policy, arm_table.c.arm == arm)
    ).one_or_none()


def _overwrite(connection: Connection, arm: Arm, **more: Any) -> None:
    values = _values(arm) | more
    for name in ("policy", "arm"):
        del values[name]
    connection.execute(
        update(arm_table).where(arm_table.c.policy == arm.policy, arm_table.c.arm == arm.arm).values(**values)
    )


def _raise_version(connection: Connection, policy: str) -> None:
    connection.execute(
        update(policy_table)
        .where(policy_table.c.policy == policy)
        .values(arms_version=policy_table.c.arms_version + 1)
    )


def _values(arm: Arm) -> dict[str, Any]:
    values = {name: getattr(arm, name) for name in _PLAIN}
    values |= {name: float(getattr(arm.price, name)) for name in _PRICE}
    return values | {"capabilities": json.dumps(sorted(arm.capabilities))}


def _price(row: Row[Any]) -> Price:
    return Price(*(getattr(row, name) for name in _PRICE))


def _usage(row: Row[Any]) -> ArmUsage:
    # PostgreSQL sums bigints as decimals.
    numbers: dict[str, Any] = {name: int(getattr(row, name)) for name in _USAGE}
    return ArmUsage(
        arm=row.arm,
        **numbers | {"cost_usd": float(row.cost_usd), "latency_ms_sum": float(row.latency_ms_sum)},
    )


def _arm(row: Row[Any]) -> Arm:
    return Arm(
        price=_price(row),
        capabilities=frozenset(json.loads(row.capabilities)),
        **{name: getattr(row, name) for name in _PLAIN},
    )
