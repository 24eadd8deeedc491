"""The arms of sessions, read back. Writing them is part of a decision's commit (``decisions.py``).

Every request of a session looks its arm up, so look-ups that wait together share one read: a thread that was woken
for each would cost more than the rest of the query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from banditd.ports import SessionArm
from banditd.storage.among import MOST, among, given
from banditd.storage.engine import Database
from banditd.storage.schema import session

_Key = tuple[str, str]
"""(policy, session_id)"""
_ARMS: Final = select(session.c.policy, session.c.session_id, session.c.arm, session.c.updated_at_us).where(
    among(session.c.policy, session.c.session_id)
)
_HAND_OVER: Final = update(session).where(
    session.c.policy == bindparam("of_policy"),
    session.c.session_id == bindparam("of_session"),
    session.c.decision_id == bindparam("of_decision"),
)


class SessionReader:
    """Looks up the arms of sessions. A look-up never sees a state from before it was asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[_Key, asyncio.Future[SessionArm | None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def find(self, policy: str, session_id: str) -> SessionArm | None:
        """The arm that this session was given last, None without one."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[SessionArm | None] = loop.create_future()
        self._waiting.append(((policy, session_id), future))
        if self._task is None:
            self._task = loop.create_task(self._read())
        return await future

    async def _read(self) -> None:
        """Answer all that wait, and those that come meanwhile."""
        try:
            while self._waiting:
                requested, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._answer(requested)
        finally:
            self._task = None

    async def _answer(self, requested: Sequence[tuple[_Key, asyncio.Future[SessionArm | None]]]) -> None:
        keys = sorted({key for key, _ in requested})
        try:
            found = await self._database.read(lambda connection: _arms(connection, keys))
        except Exception as error:  # it is the answer of each that asked
            for _, future in requested:
                if not future.done():
                    future.set_exception(error)
            return
        for key, future in requested:
            if not future.done():  # cancelled meanwhile
                future.set_result(found.get(key))


def _arms(connection: Connection, keys: Sequence[_Key]) -> dict[_Key, SessionArm]:
    return {(row[0], row[1]): SessionArm(row[2], row[3]) for row in connection.execute(_ARMS, given(keys))}


def hand_over(connection: Connection, policy: str, session_id: str, decision_id: str, arm: str) -> None:
    """Let a session go on with the arm that served its newest decision, where another than the chosen one did."""
    newest = {"of_policy": policy, "of_session": session_id, "of_decision": decision_id}
    connection.execute(_HAND_OVER, newest | {"arm": arm})


def forget_sessions(connection: Connection, before_us: int, limit: int) -> int:
    """Drop the oldest sessions that nothing has touched since then, about ``limit`` of them. Returns how many."""
    c = session.c
    old = c.updated_at_us < before_us
    last = connection.scalar(select(c.updated_at_us).where(old).order_by(c.updated_at_us).offset(limit - 1).limit(1))
    due = old if last is None else c.updated_at_us <= last
    return connection.execute(delete(session).where(due)).rowcount
