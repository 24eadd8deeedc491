"""The classifiers' account on both databases: paid before the call, once, never beyond the cap of all replicas."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.conftest import HOUR_US, NOW_US, OpenStorage

from banditd.core.judging import JudgeCost
from banditd.storage import Storage


async def test_a_call_is_booked_before_it_is_made_and_settled_at_what_it_took(storage: Storage) -> None:
    store = storage.classifying
    assert await store.reserve("default", 0.5, None, NOW_US)
    # Whoever is killed here may have made the call: what was set aside counts.
    assert await store.spent_usd("default", None, None) == 0.5
    took = JudgeCost(input_tokens=100, output_tokens=3, cost_usd=-0.125)
    await store.settle("default", took, NOW_US)
    assert await store.spent_usd("default", None, None) == 0.375
    [account] = (await storage.judging.accounts()).values()
    assert account.cost == JudgeCost(calls=1, input_tokens=100, output_tokens=3, cost_usd=0.375)


async def test_no_replica_spends_what_another_has_spent(storage: Storage, open_replica: OpenStorage) -> None:
    async with open_replica() as other:
        reserves = [
            one.classifying.reserve("default", 1.0, 7.0, NOW_US + i) for i in range(10) for one in (storage, other)
        ]
        assert sum(await asyncio.gather(*reserves)) == 7
    assert await storage.classifying.spent_usd("default", None, None) == 7.0
    # A policy has its own cap, and a day ends.
    assert await storage.classifying.reserve("another", 1.0, 1.0, NOW_US)
    assert not await storage.classifying.reserve("default", 0.01, 7.0, NOW_US + 23 * HOUR_US)
    assert await storage.classifying.reserve("default", 0.01, 7.0, NOW_US + 26 * HOUR_US)


async def test_it_is_told_apart_from_what_judges_cost(storage: Storage) -> None:
    await storage.judging.book("quality", "default", JudgeCost(calls=1, cost_usd=2.0), NOW_US)
    await storage.classifying.reserve("default", 1.0, 1.0, NOW_US)
    assert await storage.judging.spent_usd("default", None, None) == 2.0
    assert await storage.classifying.spent_usd("default", None, None) == pytest.approx(1.0)
    assert await storage.classifying.spent_usd("default", NOW_US + HOUR_US, None) == 0.0
