"""Two daemons over one PostgreSQL: one policy, one learner at a time, either may die."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from tests.e2e.conftest import Start, until

from banditd.client import DaemonClient

QUERY = {"input": "Translate the following into French, keep the tone: Good morning."}
BEST = "medium-general"


async def _teach(route: DaemonClient, reward: DaemonClient, rounds: int) -> None:
    for _ in range(rounds):
        answer = await route.route(QUERY)
        value = 1.0 if answer["arm"] == BEST else 0.0
        await reward.reward({"decision_id": answer["decision_id"], "value": value, "source": "metric"})


async def _has_rewards(client: DaemonClient, count: int) -> bool:
    stats: dict[str, Any] = await client.call("GET", "/v1/stats")
    return bool(stats["rewards"] >= count)


async def _beliefs(client: DaemonClient) -> dict[str, float]:
    answer = await client.route({**QUERY, "dry_run": True, "explain": True})
    return {arm["arm"]: arm["mean"] for arm in answer["arms"]}


async def _agreed(one: DaemonClient, other: DaemonClient) -> dict[str, float]:
    """What both believe, once they believe the same."""
    while True:
        first, second = await _beliefs(one), await _beliefs(other)
        if first == pytest.approx(second, abs=1e-9) and len(set(first.values())) > 1:
            return first
        await asyncio.sleep(0.05)


async def test_two_replicas_learn_one_policy_and_one_goes_on_when_the_other_dies(
    start: Start, empty_postgres_url: str
) -> None:
    one, other = start(database=empty_postgres_url), start(database=empty_postgres_url)
    async with DaemonClient(one.url) as first, DaemonClient(other.url) as second:
        await _teach(first, second, 25)
        await _teach(second, first, 25)
        await until(lambda: _has_rewards(second, 50))
        beliefs = await _agreed(first, second)
        assert max(beliefs, key=lambda arm: beliefs[arm]) == BEST

        one.process.send_signal(signal.SIGKILL)
        one.stop()
        await _teach(second, second, 20)
        await until(lambda: _has_rewards(second, 70))
        stats = await second.call("GET", "/v1/stats")
    assert stats["decisions"] == 70
    assert stats["rewards"] == 70


async def test_an_arm_added_on_one_replica_is_routed_to_by_the_other(start: Start, empty_postgres_url: str) -> None:
    one, other = start(database=empty_postgres_url), start(database=empty_postgres_url)
    async with DaemonClient(one.url) as first, DaemonClient(other.url) as second:
        await first.add_arm("default", {"arm": "newcomer", "price": {"usd_per_mtok_out": 1.0}})
        while True:
            answer = await second.route({**QUERY, "dry_run": True, "explain": True})
            if "newcomer" in {arm["arm"] for arm in answer["arms"]}:
                break
            await asyncio.sleep(0.05)
        chosen = await second.route({**QUERY, "candidates": ["newcomer"]})
    assert chosen["arm"] == "newcomer"
