"""``python -m bench --only partitions``: a log in partitions beside one without, on one PostgreSQL.

Every operation is timed on both in turn, the first of each pair alternating, so that whatever else the machine does
meets both alike. ``python -m bench.partitions --move 100000`` times ``banditd migrate --partition``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import numpy as np
from sqlalchemy import text

from banditd.core.errors import BanditdError
from banditd.core.ids import new_id
from banditd.core.rewards import RewardSubmission, UsageReport
from banditd.core.types import Context, Decision
from banditd.ports import DecisionFacts, DecisionFilter, StoredReward, Verdict
from banditd.storage import Storage, dialect, migrate, open_storage
from banditd.storage.archive import partition_log
from banditd.storage.partitions.layout import (
    add_missing,
    partitions,
    span_of,
)
from banditd.storage.schema import decision
from bench.chaos.daemons import own_postgres
from bench.table import Row

SECTION: Final = "A log of half a year in partitions beside one without, PostgreSQL in process"
WEEKS: Final = 26
WEEK_US: Final = 7 * 86_400_000_000
LIMIT: Final = 1.05
_KINDS: Final = ("whole", "parts")
_ARMS: Final = ("a", "b", "c", "d", "e")
_COLUMNS: Final = ", ".join(
    column.name for column in decision.columns if column.name not in {"decision_id", "checksum"}
)
# Copies of one decision, spread over the time before it.
_FILL: Final = f"""
INSERT INTO decision (decision_id, {_COLUMNS})
SELECT substr(ms, 1, 8) || '-' || substr(ms, 9, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'), {_COLUMNS}
FROM decision, (
    SELECT n, lpad(to_hex(CAST(:now_ms - n * :step_ms AS bigint)), 12, '0') AS ms FROM generate_series(1, :rows) AS n
) AS times
WHERE decision_id = :first ORDER BY n DESC
"""


def measure(*, quick: bool) -> list[Row]:
    """Two rows an operation: what it takes without partitions, and how many times that with them."""
    with own_postgres() as postgres:
        urls = {kind: postgres.database(f"partitions_{kind}") for kind in _KINDS}
        return asyncio.run(_measure(urls, rows=20_000 if quick else 200_000, rounds=300 if quick else 1500))


async def _measure(urls: dict[str, str], *, rows: int, rounds: int) -> list[Row]:
    for kind, url in urls.items():
        migrate(url, partitioned=kind == "parts")
        _forget_syncs(url)
    async with AsyncExitStack() as stack:
        logs = {
            kind: await stack.enter_async_context(open_storage(url, writer_name="bench"))
            for kind, url in urls.items()
        }
        for storage in logs.values():
            await fill(storage, rows)
        found = []
        for name, make in _OPERATIONS.items():
            works = {kind: await make(storage) for kind, storage in logs.items()}
            whole_us, ratio = await _compare(works, rounds)
            found += [
                Row(section=SECTION, name=f"{name}: without partitions, median", value=whole_us, unit="us"),
                Row(section=SECTION, name=f"{name}: with, times that", value=ratio, unit="", target=LIMIT),
            ]
        return found


async def _compare(works: dict[str, Callable[[], Awaitable[object]]], rounds: int) -> tuple[float, float]:
    """(median without partitions, microseconds; median with them over that)."""
    took_us: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for turn in range(rounds + 20):
        for kind in _KINDS if turn % 2 else reversed(_KINDS):
            started = time.perf_counter()
            await works[kind]()
            if turn >= 20:  # plans are made, pages are in memory
                took_us[kind].append((time.perf_counter() - started) * 1e6)
    whole_us, parts_us = (statistics.median(took_us[kind]) for kind in _KINDS)
    return whole_us, parts_us / whole_us


# ---------------------------------------------------------------- what is measured


async def _insert_one(storage: Storage) -> Callable[[], Awaitable[object]]:
    return lambda: storage.decisions.append([_decision(_now_us())])


async def _insert_many(storage: Storage) -> Callable[[], Awaitable[object]]:
    return lambda: storage.decisions.append([_decision(_now_us()) for _ in range(32)])


async def _reward(storage: Storage) -> Callable[[], Awaitable[object]]:
    ids = _each([await _stored(storage) for _ in range(400)])
    return lambda: storage.rewards.record([_rewarded(next(ids))], _judge)


async def _usage(storage: Storage) -> Callable[[], Awaitable[object]]:
    ids = _each([await _stored(storage) for _ in range(400)])
    return lambda: storage.rewards.report_usage(
        UsageReport(decision_id=next(ids), cost_usd=0.5, received_at_us=_now_us(), body_hash=new_id(_now_us())),
        lambda *_: None,
    )


async def _get(storage: Storage) -> Callable[[], Awaitable[object]]:
    ids = _each(await _spread(storage))
    return lambda: storage.decisions.get(next(ids))


async def _page(storage: Storage) -> Callable[[], Awaitable[object]]:
    return lambda: storage.decisions.page(DecisionFilter(policy="default", limit=50))


async def _claim(storage: Storage) -> Callable[[], Awaitable[object]]:
    return lambda: storage.learning.claim("default", 256)


_OPERATIONS: Final = {
    "one decision": _insert_one,
    "32 decisions at once": _insert_many,
    "a reward": _reward,
    "a usage report": _usage,
    "a decision by its id": _get,
    "256 rewarded decisions for the learner": _claim,
    "the newest 50 of a policy": _page,
}


def _each(ids: list[str]) -> Any:
    while True:
        yield from ids


def _now_us() -> int:
    return time.time_ns() // 1000


async def _stored(storage: Storage) -> str:
    made = _decision(_now_us())
    await storage.decisions.append([made])
    return made.decision_id


async def _spread(storage: Storage) -> list[str]:
    """Ids of all weeks."""
    query = text("SELECT decision_id FROM decision ORDER BY md5(decision_id) LIMIT 1000")
    return await storage.database.read(lambda connection: list(connection.execute(query).scalars()))


def _rewarded(decision_id: str) -> RewardSubmission:
    at_us = _now_us()
    return RewardSubmission(
        decision_id=decision_id, identity=f"src:{decision_id}/quality/{new_id(at_us)}", keyed=False, body_hash="1",
        metric="quality", source="bench", value=1.0, retract=False, metadata={}, received_at_us=at_us,
    )  # fmt: skip


def _judge(given: RewardSubmission, facts: DecisionFacts | None, _stored: StoredReward | None) -> Verdict:
    if facts is None:
        return Verdict(error=BanditdError(f"no decision {given.decision_id}"))
    return Verdict(kind="reward", status="recorded", revision=0, reward=given.value, noise_variance=0.25, late=False)


def _decision(at_us: int) -> Decision:
    even = np.full(len(_ARMS), 1 / len(_ARMS))
    return Decision(
        decision_id=new_id(at_us), policy="default", policy_kind="thompson", created_at_us=at_us,
        expires_at_us=at_us + 7 * 86_400_000_000, arm="a", upstream_model="maker/model", propensity=0.2, uniform=0.1,
        explored=False, reason="policy", degraded=None, arms=_ARMS, probability=even, mean=even, deviation=even,
        cost_usd=even, penalty=even, exclusions={}, context=Context(np.linspace(0.0, 1.0, 64), 7, {"length": 60.0}),
        schema_hash="schema", snapshot_version=1, epoch=1, cost_weight=0.1, input_tokens=60, input_hash="00ff",
        input_text=None, session_id=None, tags={"team": "a"}, deferred=False,
    )  # fmt: skip


# ---------------------------------------------------------------- logs


async def fill(storage: Storage, rows: int) -> None:
    """So many decisions over the last ``WEEKS``, the oldest first, with statistics for the planner."""
    first, now_us = _decision(_now_us()), _now_us()
    await storage.decisions.append([first])
    step_ms = WEEKS * WEEK_US / 1000 / rows
    given = {"now_ms": now_us // 1000, "step_ms": step_ms, "rows": rows, "first": first.decision_id}
    with dialect.writing(storage.database.engine).begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        if partitions(connection):
            add_missing(connection, range(span_of(now_us - WEEKS * WEEK_US), span_of(now_us) + 1))
        connection.execute(text(_FILL), given)
    with dialect.writing(storage.database.engine).begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("ANALYZE decision"))


def _forget_syncs(url: str) -> None:
    """Waiting for the disk is the same for both, and would hide what is not."""
    engine = dialect.make_engine(dialect.normalise_url(url), pool_size=1, busy_timeout_s=5)
    name = dialect.normalise_url(url).database
    with dialect.writing(engine).begin() as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    engine.dispose()


# ---------------------------------------------------------------- moving


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.partitions", description=__doc__)
    parser.add_argument("--move", type=int, default=100_000, metavar="ROWS", help="decisions of the log (100000)")
    rows = parser.parse_args().move

    def tell(what: str, done: int, total: int | None) -> None:
        print(f"... {what} {done:,} of {total or 0:,}", file=sys.stderr, flush=True)

    with own_postgres() as postgres:
        url = postgres.database("partitions_move")
        migrate(url, partitioned=False)

        async def prepare() -> None:
            async with open_storage(url, writer_name="bench") as storage:
                await fill(storage, rows)

        asyncio.run(prepare())
        found = partition_log(url, progress=tell)
    per_s = found.decisions / found.seconds
    print(
        f"{found.decisions:,} decisions into {found.partitions} partitions in {found.seconds:.1f} s, {per_s:,.0f}/s"
    )


if __name__ == "__main__":
    main()
