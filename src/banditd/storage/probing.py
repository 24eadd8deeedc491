"""Probes in SQL: calls that are made at most once and paid for before they are made.

Claiming a call books what is set aside for it, in one transaction that nobody else's runs beside; what it has cost
replaces that when it has ended. A replica that is killed meanwhile may have made the call or not: it is not made
again, and what was set aside counts as spent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, and_, case, func, insert, or_, select, tuple_, update

from banditd.core.comparing import PairToCompare
from banditd.core.ids import new_id
from banditd.core.judging import AnswerToJudge, JudgeCost
from banditd.core.probing import MOST_WAITING, ProbeAccount, ProbeRequest, ProbeState, ProbeTally, ProbeTask
from banditd.core.types import DAY_US
from banditd.storage import claims, dialect
from banditd.storage.codec import clean_text
from banditd.storage.comparing import pair_row
from banditd.storage.engine import Database
from banditd.storage.hourly_book import Booking, HourlyBook, booking
from banditd.storage.judging import task_row
from banditd.storage.schema import (
    JUDGE_SUMS,
    PROBE_SUMS,
    comparison_task,
    decision,
    judge_account,
    probe,
    probe_account,
    probe_answer,
)

_COLUMNS: Final = (
    "decision_id", "judge", "policy", "arm", "probability", "reserve_usd", "surface", "body", "input_tokens",
    "created_at_us", "expires_at_us", "served_arm", "served_answer",
)  # fmt: skip
_OVER: Final = {"body": None, "headers": None, "served_answer": None, "lease": None}


class SqlProbeStore:
    """``ports.probing.ProbeStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._book = HourlyBook(database.engine, probe_account, PROBE_SUMS)
        self._judge_book = HourlyBook(database.engine, judge_account, JUDGE_SUMS)

    # ---------------------------------------------------------------- calls that wait

    async def draw(self, requests: Sequence[ProbeRequest], caps_usd: Mapping[str, float]) -> list[ProbeRequest]:
        return await self._database.write(lambda connection: self._draw(connection, requests, caps_usd))

    def _draw(
        self, connection: Connection, requests: Sequence[ProbeRequest], caps_usd: Mapping[str, float]
    ) -> list[ProbeRequest]:
        c = probe.c
        ids = [one.decision_id for one in requests]
        known = set(
            connection.execute(select(decision.c.decision_id).where(decision.c.decision_id.in_(ids))).scalars()
        )
        drawn = select(c.decision_id, c.judge, c.arm).where(c.decision_id.in_(ids))
        here = {tuple(row) for row in connection.execute(drawn)}
        queued, newest_us = _queued(connection), max(one.created_at_us for one in requests)
        spent = {judge: self._spent_usd(connection, judge, newest_us) for judge in {one.judge for one in requests}}
        rows, bookings, dropped = [], [], []
        for one in requests:
            if (one.decision_id, one.judge, one.arm) in here:
                continue
            now_us, (count, reserved_usd) = one.created_at_us, queued.get(one.judge, (0, 0.0))
            left_usd = caps_usd.get(one.judge, 0.0) - spent[one.judge] - reserved_usd
            if count >= MOST_WAITING or one.reserve_usd > left_usd or one.decision_id not in known:
                dropped.append(one)
                bookings.append(booking(one.judge, one.policy, now_us, drawn=1, dropped=1))
                continue
            queued[one.judge] = count + 1, reserved_usd + one.reserve_usd
            rows.append({name: getattr(one, name) for name in _COLUMNS} | {
                "served_answer": None if one.served_answer is None else clean_text(one.served_answer),
                "body": clean_text(one.body), "headers": json.dumps(dict(one.headers)), "state": "waiting",
                "probe_id": new_id(now_us), "due_at_us": now_us, "attempts": 0, "cost_usd": 0.0,
            })  # fmt: skip
            bookings.append(booking(one.judge, one.policy, now_us, drawn=1))
        if rows:
            rows.sort(key=lambda row: (row["decision_id"], row["judge"], row["arm"]))
            connection.execute(insert(probe), rows)
        self._book.book(connection, bookings)
        return dropped

    async def due(self, judge: str, now_us: int) -> bool:
        return await self._database.finds(select(probe.c.probe_id).where(_free(judge, now_us)))

    async def claim(
        self,
        judge: str,
        *,
        limit: int,
        until_us: int,
        now_us: int,
        cap_usd: float,
        without: Sequence[tuple[str, str]],
    ) -> list[ProbeTask]:
        c = probe.c
        free = _free(judge, now_us)
        if without:
            free = and_(free, tuple_(c.policy, c.arm).not_in(without))
        wanted = (
            select(c.probe_id, c.policy, c.reserve_usd).where(free).order_by(c.due_at_us, c.probe_id).limit(limit)
        )

        def work(connection: Connection) -> list[ProbeTask]:
            dialect.lock_accounts(connection)  # two replicas must not spend the same dollar
            left_usd = cap_usd - self._spent_usd(connection, judge, now_us)
            ids, bookings = [], []
            for row in connection.execute(dialect.lock_exclusive(self._database.engine, wanted)):
                if row.reserve_usd <= left_usd:
                    left_usd -= row.reserve_usd
                    ids.append(row.probe_id)
                    bookings.append(booking(judge, row.policy, now_us, cost_usd=row.reserve_usd))
            if not ids:
                return []
            claimed = connection.execute(
                update(probe)
                .where(c.probe_id.in_(ids))
                .values(
                    state="calling", due_at_us=until_us, claimed_at_us=now_us, attempts=c.attempts + 1,
                    lease=new_id(now_us),
                )
                .returning(probe)
            )  # fmt: skip
            tasks = sorted((_task(row) for row in claimed.mappings()), key=lambda task: task.probe_id)
            self._book.book(connection, bookings)
            return tasks

        return await self._database.write(work)

    # ---------------------------------------------------------------- how a call ended

    async def answered(
        self,
        probe_id: str,
        lease: str,
        *,
        cost: JudgeCost,
        answer: AnswerToJudge | None,
        now_us: int,
        pair: PairToCompare | None = None,
    ) -> bool:
        def work(connection: Connection) -> bool:
            state: ProbeState = "failed" if answer is None else "answered"
            row = self._ended(connection, probe_id, lease, state, cost, {**_OVER, "due_at_us": now_us})
            if row is None:
                return False
            if answer is not None:
                connection.execute(insert(probe_answer), task_row(answer))
                sampled = booking(answer.judge, answer.policy, now_us, sampled=1)
                self._judge_book.book(connection, [sampled])
            if pair is not None:
                connection.execute(insert(comparison_task), pair_row(pair))
            return True

        return await self._database.write(work)

    async def give_back(
        self, probe_id: str, lease: str, *, due_at_us: int, last: bool, cost: JudgeCost, now_us: int
    ) -> bool:
        values: dict[str, object] = {"lease": None, "due_at_us": due_at_us}
        if last:
            values = {**_OVER, "due_at_us": now_us}

        def work(connection: Connection) -> bool:
            state: ProbeState = "failed" if last else "waiting"
            return self._ended(connection, probe_id, lease, state, cost, values) is not None

        return await self._database.write(work)

    async def withdraw(self, probe_id: str, lease: str, now_us: int) -> bool:
        def work(connection: Connection) -> bool:
            values = {**_OVER, "due_at_us": now_us}
            return self._ended(connection, probe_id, lease, "dropped", JudgeCost(), values) is not None

        return await self._database.write(work)

    def _ended(
        self,
        connection: Connection,
        probe_id: str,
        lease: str,
        state: ProbeState,
        cost: JudgeCost,
        values: Mapping[str, object],
    ) -> Mapping[Any, Any] | None:
        """A claimed call, settled; None where the claim does not stand any more."""
        c = probe.c
        this_claim = and_(c.probe_id == probe_id, c.lease == lease, c.state == "calling")
        settled = update(probe).where(this_claim).values(state=state, cost_usd=c.cost_usd + cost.cost_usd, **values)
        row = connection.execute(settled.returning(probe)).mappings().one_or_none()
        if row is None:
            return None
        counts = {} if state == "waiting" else {state: 1}
        spent = asdict(cost) | {"cost_usd": cost.cost_usd - row["reserve_usd"]}
        # Where it was set aside: an account of an hour never holds less than its calls have cost.
        self._book.book(connection, [booking(row["judge"], row["policy"], row["claimed_at_us"], **counts, **spent)])
        return dict(row)

    async def drop(self, now_us: int) -> int:
        c = probe.c
        late = and_(c.state == "waiting", c.expires_at_us <= now_us)
        lost = and_(c.state == "calling", c.due_at_us <= now_us)
        found = select(c.probe_id).where(or_(late, lost)).order_by(c.probe_id).limit(claims.CHUNK)
        if not await self._database.finds(found):
            return 0

        def work(connection: Connection) -> int:
            ids = claims.locked(connection, self._database, found)
            bookings: list[Booking] = []
            states: tuple[tuple[ProbeState, Any], ...] = (("dropped", late), ("lost", lost))
            for state, which in states:
                values: dict[str, Any] = {**_OVER, "state": state}
                if state == "lost":
                    values["cost_usd"] = c.cost_usd + c.reserve_usd
                over = update(probe).where(c.probe_id.in_(ids), which).values(values)
                gone = connection.execute(over.returning(c.judge, c.policy)).all()
                bookings += [booking(row.judge, row.policy, now_us, **{state: 1}) for row in gone]
            self._book.book(connection, bookings)
            return len(bookings)

        return await self._database.write(work)

    # ---------------------------------------------------------------- what is known

    async def unjudged(self, judge: str) -> int:
        def read(connection: Connection) -> int:
            counts = [
                select(func.count()).select_from(table).where(table.c.judge == judge)
                for table in (probe_answer, comparison_task)
            ]
            return sum(int(connection.execute(query).scalar_one()) for query in counts)

        return await self._database.read(read)

    async def waiting(self) -> Mapping[str, int]:
        here = probe.c.state.in_(("waiting", "calling"))
        return await self._database.read(lambda connection: claims.waiting(connection, probe, here))

    async def accounts(self, since_us: int | None = None) -> Mapping[str, ProbeAccount]:
        found = await self._database.read(lambda connection: self._book.totals(connection, since_us))
        return {judge: ProbeAccount(**sums) for judge, sums in found.items()}

    async def by_arm(self, newest: int) -> list[ProbeTally]:
        n = probe.c
        some = select(n.judge, n.arm, n.state, n.cost_usd).order_by(n.probe_id.desc()).limit(newest).subquery()
        c = some.c
        answered = func.sum(case((c.state == "answered", 1), else_=0))
        query = select(c.judge, c.arm, func.count(), answered, func.sum(c.cost_usd)).group_by(c.judge, c.arm)
        return await self._database.read(
            lambda connection: [
                ProbeTally(judge=judge, arm=arm, drawn=int(drawn), answered=int(done), cost_usd=float(usd))
                for judge, arm, drawn, done, usd in connection.execute(query)
            ]
        )

    async def spent_usd(self, policy: str, since_us: int | None, until_us: int | None) -> float:
        return await self._database.read(
            lambda connection: self._book.cost_usd(connection, policy, since_us, until_us)
        )

    def _spent_usd(self, connection: Connection, judge: str, now_us: int) -> float:
        """Of the last 24 hours and the part of an hour before them: of any 24 hours no less than there was."""
        return float(self._book.totals(connection, now_us - DAY_US).get(judge, {}).get("cost_usd", 0.0))


def _free(judge: str, now_us: int) -> Any:
    c = probe.c
    return and_(c.state == "waiting", c.judge == judge, c.due_at_us <= now_us, c.expires_at_us > now_us)


def _queued(connection: Connection) -> dict[str, tuple[int, float]]:
    """(calls that wait, what will be set aside for them) by judge."""
    c = probe.c
    query = select(c.judge, func.count(), func.sum(c.reserve_usd)).where(c.state == "waiting").group_by(c.judge)
    return {judge: (int(count), float(usd)) for judge, count, usd in connection.execute(query)}


def _task(row: Mapping[Any, Any]) -> ProbeTask:
    return ProbeTask(
        probe_id=row["probe_id"],
        lease=row["lease"],
        attempts=row["attempts"],
        request=ProbeRequest(**{name: row[name] for name in _COLUMNS}, headers=json.loads(row["headers"] or "{}")),
    )
