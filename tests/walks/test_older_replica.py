"""What a replica of an older release does to a log that it shares: one table, since partitions are younger."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, delete
from tests.walks.conftest import OpenDaemon, leads
from tests.walks.test_other_arms_walk import rows
from tests.walks.test_repair import change
from tests.walks.test_reward_walk import reward, route

from banditd.storage.schema import arm_fold_queue, arm_reward, decision, fold_queue, reward_event


@pytest.fixture
def postgres_url(whole_url: str) -> str:
    """The walks' database has no partitions here."""
    return whole_url


async def test_it_neither_learns_nor_loses_rewards_of_other_arms(open_daemon: OpenDaemon, database_url: str) -> None:
    """What one does: fold what is in its queue from the events that it knows, and prune the tables that it knows."""
    async with open_daemon() as daemon:
        await leads(daemon)
        made, pruned = [await route(daemon, candidates=("small",)) for _ in range(2)]
        await daemon.learner.stop()
        for one in (made, pruned):
            await reward(daemon, one, 1.0, arm="large")
        # They wait for a newer leader: nobody is taken to have stopped learning.
        schemas = {"default": daemon.runtimes["default"].builder.schema.hash}
        assert await daemon.storage.learning.waiting(schemas) == frozenset()
        assert await daemon.storage.learning.queue_depth(schemas) == 2
        seen: list[int] = []

        def older(connection: Connection) -> None:
            seen.extend(rows(connection, table) for table in (fold_queue, reward_event))
            connection.execute(delete(decision).where(decision.c.decision_id == pruned))
            seen.extend(rows(connection, table) for table in (arm_reward, arm_fold_queue))

        change(database_url, older)
        assert seen == [0, 0, 1, 1]
