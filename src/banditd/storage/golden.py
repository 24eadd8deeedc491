"""Golden sets in SQL: calls that are made at most once and paid for before they are made, days that count once.

As with probes, claiming a call books what is set aside for it; what it has cost replaces that when it has ended. A
replica that is killed meanwhile may have made the call or not: it is not made again, and what was set aside counts as
spent. The account is that of probes, under a name that no judge can have.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from banditd.core.golden import GoldenCase, GoldenRule, GoldenState, GoldenWatch
from banditd.core.ids import new_id
from banditd.core.judging import JudgeCost
from banditd.core.types import DAY_US
from banditd.ope.drops import GoldenTest
from banditd.storage import dialect
from banditd.storage.codec import clean_text
from banditd.storage.engine import Database
from banditd.storage.hourly_book import HourlyBook, booking
from banditd.storage.schema import PROBE_SUMS, golden_case, golden_watch, probe_account

logger = logging.getLogger(__name__)
KEPT_DAYS: Final = 7
ACCOUNT: Final = "{policy} golden"
"""A space is in no judge's name."""
_CHUNK: Final = 200
_COLUMNS: Final = (
    "policy", "day", "arm", "prompt_id", "version", "position", "reserve_usd", "answer", "attempts", "lease",
)  # fmt: skip
_UNDER_WAY: Final[Mapping[str, GoldenState]] = {"waiting": "calling", "answered": "judging"}
_BACK: Final = {under_way: waits for waits, under_way in _UNDER_WAY.items()}


class SqlGoldenStore:
    """``ports.golden.GoldenStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine = database.engine
        self._book = HourlyBook(database.engine, probe_account, PROBE_SUMS)
        self._first = dialect.insert_into(database.engine, golden_case).on_conflict_do_nothing()
        self._watch = dialect.replace_row(
            database.engine, golden_watch, ("version", "test", "alarm_day", "updated_at_us")
        )

    # ---------------------------------------------------------------- calls that wait

    async def plan(self, cases: Sequence[GoldenCase], now_us: int) -> None:
        rows = [
            {name: getattr(one, name) for name in _COLUMNS} | {"state": "waiting", "due_at_us": now_us}
            for one in cases
        ]

        def work(connection: Connection) -> None:
            for start in range(0, len(rows), _CHUNK):
                connection.execute(self._first, rows[start : start + _CHUNK])

        await self._database.write(work)

    async def claim(
        self, rule: GoldenRule, day: int, *, limit: int, until_us: int, now_us: int, without: Sequence[str]
    ) -> list[GoldenCase]:
        c = golden_case.c
        called = and_(c.state == "waiting", c.arm.not_in(without)) if without else c.state == "waiting"
        free = and_(c.policy == rule.policy, c.day == day, c.due_at_us <= now_us, or_(called, c.state == "answered"))
        # What an arm has answered is scored first: an answer that is paid for is worth nothing without.
        wanted = select(golden_case).where(free).order_by(c.state, c.position, c.arm).limit(limit)

        def work(connection: Connection) -> list[GoldenCase]:
            dialect.lock_accounts(connection)  # two replicas must not spend the same dollar
            left_usd = rule.usd_per_day - self._spent_usd(connection, rule, day)
            found, bookings = [], []
            for row in connection.execute(dialect.lock_exclusive(self._engine, wanted)).mappings().all():
                if row["reserve_usd"] > left_usd:
                    continue
                left_usd -= row["reserve_usd"]
                case = _case(row) | {"attempts": row["attempts"] + 1, "lease": new_id(now_us)}
                values = {
                    "state": _UNDER_WAY[row["state"]], "due_at_us": until_us, "claimed_at_us": now_us,
                    "attempts": case["attempts"], "lease": case["lease"],
                }  # fmt: skip
                connection.execute(update(golden_case).where(_is(row)).values(values))
                found.append(GoldenCase(**case))
                account = ACCOUNT.format(policy=rule.policy)
                bookings.append(booking(account, rule.policy, now_us, cost_usd=row["reserve_usd"]))
            self._book.book(connection, bookings)
            return found

        if not await self._database.finds(wanted):
            return []
        return await self._database.write(work)

    # ---------------------------------------------------------------- how a call ended

    async def answered(
        self, case: GoldenCase, *, cost: JudgeCost, answer: str, judge_usd: float, now_us: int
    ) -> bool:
        values = {
            "state": "answered", "answer": clean_text(answer), "reserve_usd": judge_usd, "attempts": 0, "lease": None,
            "due_at_us": now_us,
        }  # fmt: skip
        return await self._ended(case, cost, values)

    async def judged(self, case: GoldenCase, *, cost: JudgeCost, score: float, now_us: int) -> bool:
        values = {"state": "judged", "score": score, "answer": None, "lease": None, "due_at_us": now_us}
        return await self._ended(case, cost, values)

    async def give_back(self, case: GoldenCase, *, cost: JudgeCost, due_at_us: int, last: bool, now_us: int) -> bool:
        values: dict[str, object] = {"lease": None, "due_at_us": due_at_us, "state": None}
        if last:
            values = {"lease": None, "due_at_us": now_us, "state": "failed", "answer": None}
        return await self._ended(case, cost, values)

    async def _ended(self, case: GoldenCase, cost: JudgeCost, values: Mapping[str, object]) -> bool:
        """Settle a claimed call. values : with state None: it waits again."""
        c = golden_case.c
        this_claim = and_(_is(asdict(case)), c.lease == case.lease, c.state.in_(list(_BACK)))

        def work(connection: Connection) -> bool:
            row = (
                connection.execute(dialect.lock_exclusive(self._engine, select(golden_case).where(this_claim)))
                .mappings()
                .one_or_none()
            )
            if row is None:
                return False
            new = dict(values) | ({"state": _BACK[row["state"]]} if values["state"] is None else {})
            settled = update(golden_case).where(this_claim).values(cost_usd=c.cost_usd + cost.cost_usd, **new)
            connection.execute(settled)
            spent = asdict(cost) | {"cost_usd": cost.cost_usd - row["reserve_usd"]}
            account = ACCOUNT.format(policy=case.policy)
            # Where it was set aside: an account of an hour never holds less than its calls have cost.
            self._book.book(connection, [booking(account, case.policy, row["claimed_at_us"], **spent)])
            return True

        return await self._database.write(work)

    async def drop(self, policy: str, day: int, now_us: int) -> int:
        c = golden_case.c
        late = and_(c.policy == policy, c.day < day, c.state.in_(list(_UNDER_WAY)))
        # No claim lasts two days: one that seems to was written by a clock that was ahead.
        over = or_(c.due_at_us <= now_us, c.day < day - 1)
        lost = and_(c.policy == policy, c.state.in_(list(_BACK)), over)
        found = select(c.day).where(or_(late, lost))
        if not await self._database.finds(found):
            return 0

        def work(connection: Connection) -> int:
            ended: dict[str, Any] = {"answer": None, "lease": None, "due_at_us": now_us}
            gone = connection.execute(update(golden_case).where(late).values(ended | {"state": "dropped"})).rowcount
            paid = {"state": "lost", "cost_usd": c.cost_usd + c.reserve_usd}
            return int(gone + connection.execute(update(golden_case).where(lost).values(ended | paid)).rowcount)

        return await self._database.write(work)

    # ---------------------------------------------------------------- what the days show

    async def count(self, rule: GoldenRule, day: int, now_us: int) -> list[GoldenWatch]:
        policy = rule.policy
        c, other = golden_case.c, golden_case.alias()
        open_ = select(other.c.day).where(
            other.c.policy == c.policy, other.c.day == c.day, other.c.arm == c.arm,
            other.c.state.in_([*_UNDER_WAY, *_BACK]),
        )  # fmt: skip
        over = and_(c.policy == policy, c.counted.is_(False), ~open_.exists())
        wanted = select(golden_case).where(over).order_by(c.day, c.arm, c.position, c.prompt_id)
        old = and_(c.policy == policy, c.counted.is_(True), c.day < day - KEPT_DAYS)

        def work(connection: Connection) -> list[GoldenWatch]:
            # Locked: who comes second finds them counted.
            rows = connection.execute(dialect.lock_exclusive(self._engine, wanted)).mappings().all()
            days: dict[tuple[int, str, str], dict[str, float]] = {}
            for row in rows:
                scores = days.setdefault((row["day"], row["arm"], row["version"]), {})
                if row["score"] is not None:
                    scores[row["prompt_id"]] = row["score"]
            found = {one.arm: one for one in _watches(connection, policy)}
            changed, before = set(), {arm: one.version for arm, one in found.items()}
            # An arm that was changed at noon: its morning first.
            for (of_day, arm, version), scores in sorted(
                days.items(), key=lambda item: (*item[0][:2], before.get(item[0][1]) != item[0][2])
            ):
                if scores:
                    found[arm] = _after(_of_version(found.get(arm), arm, version), of_day, scores, rule)
                    changed.add(arm)
                whole = and_(c.policy == policy, c.day == of_day, c.arm == arm, c.version == version)
                connection.execute(update(golden_case).where(whole).values(counted=True))
            for arm in sorted(changed):
                kept = {"policy": policy, "updated_at_us": now_us, **asdict(found[arm])}
                connection.execute(self._watch, kept)
            connection.execute(delete(golden_case).where(old))
            return [found[arm] for arm in sorted(changed)]

        due = select(c.day).where(or_(over, old))
        if not await self._database.finds(due):
            return []
        return await self._database.write(work)

    async def watches(self, policy: str) -> list[GoldenWatch]:
        return await self._database.read(lambda connection: _watches(connection, policy))

    async def states(self, policy: str, day: int) -> Mapping[str, int]:
        c = golden_case.c
        query = select(c.state, func.count()).where(c.policy == policy, c.day == day).group_by(c.state)
        return await self._database.read(
            lambda connection: {state: int(count) for state, count in connection.execute(query)}
        )

    async def spent_usd(self, rule: GoldenRule, day: int) -> float:
        return await self._database.read(lambda connection: self._spent_usd(connection, rule, day))

    def _spent_usd(self, connection: Connection, rule: GoldenRule, day: int) -> float:
        totals = self._book.totals(connection, day * DAY_US)
        return float(totals.get(ACCOUNT.format(policy=rule.policy), {}).get("cost_usd", 0.0))


def _is(key: Mapping[Any, Any]) -> Any:
    c = golden_case.c
    return and_(*(c[name] == key[name] for name in ("policy", "day", "arm", "prompt_id")))


def _case(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _COLUMNS}


def _watches(connection: Connection, policy: str) -> list[GoldenWatch]:
    c = golden_watch.c
    query = select(c.arm, c.version, c.test, c.alarm_day).where(c.policy == policy).order_by(c.arm)
    return [GoldenWatch(**row) for row in connection.execute(query).mappings()]


def _of_version(watch: GoldenWatch | None, arm: str, version: str) -> GoldenWatch:
    """What was found of this arm under this judge; scores of another version say nothing of it."""
    if watch is not None and watch.version == version:
        return watch
    return GoldenWatch(arm=arm, version=version, test=json.dumps(GoldenTest().as_json()))


def _after(watch: GoldenWatch, day: int, scores: Mapping[str, float], rule: GoldenRule) -> GoldenWatch:
    """The same with one day more."""
    try:
        test = GoldenTest.of_json(json.loads(watch.test))
    except (KeyError, TypeError, ValueError):
        logger.exception("golden.damaged", extra={"policy": rule.policy, "arm": watch.arm})
        test = GoldenTest()
    test.add_day(day, scores, rule.drift.worse_by)
    alarmed = test.detector.log_evidence >= rule.drift.log_needed
    alarm_day = day if alarmed and watch.alarm_day is None else watch.alarm_day
    kept = json.dumps(test.as_json(), separators=(",", ":"), sort_keys=True)
    return replace(watch, test=kept, alarm_day=alarm_day)
