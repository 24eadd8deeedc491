"""How often members settle a query, counted by several replicas on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from banditd.core.attempts import Attempt
from banditd.core.recipes import Recipe
from banditd.core.rewards import UsageReport
from banditd.core.types import Price
from banditd.storage import dialect
from banditd.storage.maintenance import WRITERS_KEPT
from banditd.storage.schema import settling
from banditd.storage.settling import Outcomes, count_settled

STAGE = ("agree", ("cheap", "dear"))
AGREED = (Attempt(arm="cheap"), Attempt(arm="dear"))
LEFT_OPEN = (*AGREED, Attempt(arm="last"))


@pytest.fixture
async def decided(storage: Any, make: Any) -> list[str]:
    """Decisions for a recipe."""
    for name in ("cheap", "dear", "last"):
        await storage.arms.add(make.arm(name))
    recipe = Recipe(arm="duo", kind="agree", members=("dear", "cheap"), otherwise="last")
    await storage.arms.add(make.arm("duo", recipe=recipe, price=Price(), capabilities=frozenset()))
    made = [make.decision(at_us=make.now_us + i, arm="duo", arms=("duo", "cheap")) for i in range(2)]
    await storage.decisions.append(made)
    return [one.decision_id for one in made]


async def reported(storage: Any, decision_id: str, attempts: tuple[Attempt, ...]) -> None:
    await storage.rewards.report_usage(UsageReport(decision_id=decision_id, attempts=attempts), lambda *_: 0.5)


async def test_no_replica_waits_for_what_another_counts(storage, open_replica, decided):
    """A replica that falls silent between its report and its commit holds up nobody else's reports."""
    await reported(storage, decided[0], AGREED)
    async with open_replica("second") as other:
        held = dialect.lock_exclusive(storage.database.engine, select(settling))
        with storage.database.engine.connect() as silent:
            silent.execute(held).all()
            await reported(other, decided[1], LEFT_OPEN)
        await reported(other, decided[0], LEFT_OPEN)  # a correction of what the first has counted
        assert await storage.arms.settled("default") == await other.arms.settled("default") == {STAGE: (2.0, 2.0)}


async def test_writers_that_came_and_went_leave_one_row(storage, make):
    counts = Outcomes({("default", STAGE, False): 3, ("default", STAGE, True): 1})
    engine = storage.database.engine
    for number in range(WRITERS_KEPT):
        await storage.database.write(lambda connection, n=number: count_settled(connection, engine, f"{n}", counts))
    before = await storage.arms.settled("default")
    await storage.maintenance.compact_rollups(make.now_us)
    rows = select(func.count()).select_from(settling)
    assert await storage.database.read(lambda connection: connection.execute(rows).scalar()) == 1
    assert await storage.arms.settled("default") == before == {STAGE: (4.0 * WRITERS_KEPT, WRITERS_KEPT)}
