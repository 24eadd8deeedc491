"""Shadows of candidates in SQL: sums that move with the learner's commit, once for each reward.

Sums are added by who holds the learner's lease in the same transaction, and locks the shadows' rows: to start, to
stop and to delete one wait for that, and a shadow that is gone is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update

from banditd.core.candidate import Candidate
from banditd.core.shadow import MOST_SHADOWS, TAG, Shadow, Shadowed, ShadowRow
from banditd.core.types import FloatArray
from banditd.storage import dialect
from banditd.storage.among import among, rows_among
from banditd.storage.candidates import candidate_of
from banditd.storage.codec import pack_names, pack_vector, unpack_names, unpack_vector
from banditd.storage.engine import Database
from banditd.storage.schema import candidate, candidate_shadow, shadow_decision, shadow_sum


class SqlShadowStore:
    """``ports.candidates.ShadowStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, shadow: Shadow) -> list[str]:
        c = candidate_shadow.c
        # All starts of a policy wait for each other here.
        lock = select(candidate.c.candidate_id).where(candidate.c.policy == shadow.policy)
        others = (
            select(candidate.c.name)
            .select_from(candidate_shadow.join(candidate, candidate.c.candidate_id == c.candidate_id))
            .where(c.policy == shadow.policy, c.stopped_at_us.is_(None), c.candidate_id != shadow.candidate_id)
            .order_by(candidate.c.name)
        )

        def work(connection: Connection) -> list[str]:
            there = connection.execute(dialect.lock_exclusive(self._database.engine, lock)).scalars().all()
            taken = list(connection.execute(others).scalars())
            if len(taken) >= MOST_SHADOWS or shadow.candidate_id not in there:
                return taken
            again = update(candidate_shadow).where(c.candidate_id == shadow.candidate_id).values(stopped_at_us=None)
            if not connection.execute(again).rowcount:
                connection.execute(insert(candidate_shadow), _row(shadow))
            return []

        started: list[str] = await self._database.write(work)
        return started

    async def stop(self, candidate_id: str, *, at_us: int) -> None:
        c = candidate_shadow.c
        stopped = (
            update(candidate_shadow)
            .where(c.candidate_id == candidate_id, c.stopped_at_us.is_(None))
            .values(stopped_at_us=at_us)
        )
        await self._database.write(lambda connection: connection.execute(stopped) and None)

    async def begin_anew(self, shadow: Shadow, *, instead_of: str) -> bool:
        c = candidate_shadow.c

        def work(connection: Connection) -> bool:
            gone = delete(candidate_shadow).where(c.shadow_id == instead_of, c.stopped_at_us.is_(None))
            if not connection.execute(gone).rowcount:
                return False
            connection.execute(insert(candidate_shadow), _row(shadow))
            return True

        begun: bool = await self._database.write(work)
        return begun

    async def of_policy(self, policy: str) -> list[tuple[Candidate, Shadow]]:
        c, s = candidate_shadow.c, shadow_sum.c
        shadows = select(candidate_shadow).where(c.policy == policy).order_by(c.started_at_us, c.shadow_id)
        of_them = select(candidate).where(
            candidate.c.candidate_id.in_(select(c.candidate_id).where(c.policy == policy))
        )

        def work(connection: Connection) -> list[tuple[Candidate, Shadow]]:
            rows = connection.execute(shadows).mappings().all()
            if not rows:
                return []
            found = {row["candidate_id"]: candidate_of(row) for row in connection.execute(of_them).mappings()}
            tags = select(s.shadow_id, s.part).where(
                s.shadow_id.in_([row["shadow_id"] for row in rows]), s.part.like(f"{TAG}%")
            )
            parts: dict[str, set[str]] = {}
            for shadow_id, part in connection.execute(tags):
                parts.setdefault(shadow_id, set()).add(part)
            return [
                (found[row["candidate_id"]], _shadow(row, frozenset(parts.get(row["shadow_id"], ()))))
                for row in rows
                if row["candidate_id"] in found
            ]

        return await self._database.read(work)

    async def of_candidates(self, candidate_ids: Sequence[str]) -> Mapping[str, Shadow]:
        query = select(candidate_shadow).where(candidate_shadow.c.candidate_id.in_(candidate_ids))
        return await self._database.read(
            lambda connection: {row["candidate_id"]: _shadow(row) for row in connection.execute(query).mappings()}
        )

    async def sums(self, shadow_ids: Sequence[str]) -> Mapping[str, Mapping[str, FloatArray]]:
        query = select(shadow_sum).where(shadow_sum.c.shadow_id.in_(shadow_ids))

        def work(connection: Connection) -> dict[str, dict[str, FloatArray]]:
            found: dict[str, dict[str, FloatArray]] = {}
            for row in connection.execute(query):
                found.setdefault(row.shadow_id, {})[row.part] = np.array(unpack_vector(row.sums))
            return found

        return await self._database.read(work)

    async def rows(self, decision_ids: Sequence[str]) -> Mapping[str, ShadowRow]:
        def work(connection: Connection) -> dict[str, ShadowRow]:
            those = select(shadow_decision).where(among(shadow_decision.c.decision_id))
            return {row.decision_id: _kept(row) for row in rows_among(connection, those, decision_ids)}

        return await self._database.read(work)

    async def forget_rows(self, limit: int) -> int:
        c = shadow_decision.c
        kept = select(candidate_shadow.c.policy)
        some = select(c.decision_id).where(c.policy.not_in(kept)).limit(limit)
        if not await self._database.finds(some):
            return 0
        gone: int = await self._database.write(
            lambda connection: (
                connection.execute(delete(shadow_decision).where(c.decision_id.in_(some.scalar_subquery()))).rowcount
            )
        )
        return gone


def add_shadowed(connection: Connection, engine: Engine, shadowed: Shadowed) -> None:
    """Add to the sums of shadows that are still there. The transaction must be the lease holder's."""
    if not shadowed.rows and not shadowed.sums:
        return
    c, s = candidate_shadow.c, shadow_sum.c
    wanted = select(candidate_shadow).where(c.shadow_id.in_(sorted(shadowed.sums))).order_by(c.shadow_id)
    shadows = connection.execute(dialect.lock_exclusive(engine, wanted)).mappings().all()
    added = {
        (row["shadow_id"], part): one for row in shadows for part, one in shadowed.sums[row["shadow_id"]].items()
    }
    if added:
        of_them = s.shadow_id.in_({shadow_id for shadow_id, _ in added}), s.part.in_({part for _, part in added})
        stored = connection.execute(select(s.shadow_id, s.part, s.sums).where(*of_them))
        before = {(row.shadow_id, row.part): np.array(unpack_vector(row.sums)) for row in stored}
        connection.execute(
            dialect.replace_row(engine, shadow_sum, ("sums",)),
            [
                {"shadow_id": key[0], "part": key[1], "sums": pack_vector(before.get(key, 0.0) + added[key])}
                for key in sorted(added)
            ],
        )
    counted = [
        {
            "of_shadow": row["shadow_id"],
            "rated": row["rated"] + shadowed.rated[row["shadow_id"]],
            "first_us": min(shadowed.first_us, row["first_us"] or shadowed.first_us),
            "last_us": max(shadowed.last_us, row["last_us"] or 0),
        }
        for row in shadows
        if row["shadow_id"] in shadowed.rated
    ]
    if counted:
        raised = update(candidate_shadow).where(c.shadow_id == bindparam("of_shadow"))
        names = ("rated", "first_us", "last_us")
        connection.execute(raised.values({name: bindparam(name) for name in names}), counted)
    kept = dialect.replace_row(engine, shadow_decision, ("reward",))
    rows = [
        {
            "decision_id": one.decision_id, "policy": shadowed.policy, "reward": one.reward,
            "arms": pack_names(one.arms), "drawn": one.drawn, "predicted": one.predicted,
            "parts": json.dumps(dict(one.parts)),
            "vectors": pack_vector(one.vectors),
        }
        for one in shadowed.rows
    ]  # fmt: skip
    if rows:
        connection.execute(kept, rows)


def _row(shadow: Shadow) -> dict[str, Any]:
    row = asdict(shadow) | {"arms": pack_names(shadow.arms)}
    del row["tag_parts"]
    return row


def _shadow(row: Mapping[Any, Any], tag_parts: frozenset[str] = frozenset()) -> Shadow:
    return Shadow(**{**row, "arms": unpack_names(row["arms"])}, tag_parts=tag_parts)


def _kept(row: Any) -> ShadowRow:
    parts = {shadow_id: tuple(listed) for shadow_id, listed in json.loads(row.parts).items()}
    vectors = np.array(unpack_vector(row.vectors)).reshape(4 + len(parts), -1)
    return ShadowRow(
        decision_id=row.decision_id, reward=row.reward, arms=unpack_names(row.arms), drawn=row.drawn,
        predicted=row.predicted, parts=parts, vectors=vectors,
    )  # fmt: skip
