from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from banditd.core.errors import ConflictError, NotFoundError
from banditd.core.types import Price


async def test_arms_come_back_whole_in_the_order_of_addition(storage, make):
    first = make.arm(
        "zebra", quality_prior=0.7, quality_tier="premium", context_window_tokens=8000, expected_latency_ms=100.0
    )
    second = make.arm("ant", enabled=False, max_share=0.2, capabilities=frozenset())
    await storage.arms.add(first)
    await storage.arms.add(second)
    await storage.arms.add(make.arm("zebra", policy="other"))
    assert await storage.arms.arms("default") == [first, second]
    assert await storage.arms.policies() == ["default", "other"]
    with pytest.raises(ConflictError):
        await storage.arms.add(first)


async def test_every_change_raises_the_version(storage, make):
    versions = [await storage.arms.arms_version()]
    arm = make.arm()
    for change in (
        storage.arms.add(arm),
        storage.arms.replace(replace(arm, enabled=False)),
        storage.arms.delete("default", "cheap", make.now_us),
        storage.arms.add(arm),
    ):
        await change
        versions.append(await storage.arms.arms_version())
    assert versions == sorted(set(versions))


async def test_a_changed_price_is_appended_to_the_history(storage, make):
    arm = make.arm(price=Price(1.0, 2.0, 0.0))
    await storage.arms.add(arm)
    dearer = replace(arm, price=Price(2.0, 4.0, 0.01), updated_at_us=make.now_us + 5)
    await storage.arms.replace(replace(arm, enabled=False, updated_at_us=make.now_us + 3))
    await storage.arms.replace(dearer)
    assert await storage.arms.arms("default") == [dearer]
    assert await storage.arms.price_history("default", "cheap") == [
        (make.now_us, arm.price), (make.now_us + 5, dearer.price),
    ]  # fmt: skip


async def test_a_deleted_arm_is_gone_and_comes_back_with_its_totals(storage, make):
    await storage.arms.add(make.arm("cheap"))
    await storage.arms.add(make.arm("dear"))
    await storage.decisions.append([make.decision()])
    assert await storage.arms.delete("default", "cheap", make.now_us + 1) is True
    assert await storage.arms.delete("default", "cheap", make.now_us + 2) is False
    assert [arm.arm for arm in await storage.arms.arms("default")] == ["dear"]
    with pytest.raises(NotFoundError):
        await storage.arms.replace(make.arm("cheap"))
    await storage.arms.add(make.arm("cheap", enabled=False))
    assert [arm.arm for arm in await storage.arms.arms("default")] == ["cheap", "dear"]
    assert (await storage.arms.usage("default"))["cheap"].decisions == 1


async def test_replicas_that_add_the_same_arm_add_it_once(storage, open_replica, make):
    async with open_replica() as other:
        answers = await asyncio.gather(
            *(store.arms.add(make.arm()) for _ in range(5) for store in (storage, other)),
            return_exceptions=True,
        )
    assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError"] * 9 + ["NoneType"]
    assert len(await storage.arms.price_history("default", "cheap")) == 1
