from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from banditd.core.errors import ConflictError, InvalidInputError, NotFoundError
from banditd.core.types import Price
from banditd.ports import ArmChange


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
        storage.arms.update("default", "cheap", lambda one, _: ArmChange(replace(one, enabled=False))),
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
    await storage.arms.update(
        "default", "cheap", lambda one, _: ArmChange(replace(one, enabled=False, updated_at_us=make.now_us + 3))
    )
    await storage.arms.update("default", "cheap", lambda _one, _all: ArmChange(dearer))
    assert await storage.arms.arms("default") == [dearer]
    assert (await storage.arms.price_histories("default"))["cheap"] == [
        (make.now_us, arm.price), (make.now_us + 5, dearer.price),
    ]  # fmt: skip


async def test_a_deleted_arm_is_gone_and_comes_back_with_its_totals(storage, make):
    await storage.arms.add(make.arm("cheap"))
    await storage.arms.add(make.arm("dear"))
    await storage.decisions.append([make.decision()])
    assert await storage.arms.delete("default", "cheap", make.now_us + 1) is False
    with pytest.raises(NotFoundError):
        await storage.arms.delete("default", "cheap", make.now_us + 2)
    assert [arm.arm for arm in await storage.arms.arms("default")] == ["dear"]
    with pytest.raises(NotFoundError):
        await storage.arms.update("default", "cheap", lambda one, _: ArmChange(replace(one, enabled=False)))
    await storage.arms.add(make.arm("cheap", enabled=False), anew=False)
    assert [(arm.arm, arm.generation) for arm in await storage.arms.arms("default")] == [("cheap", 1), ("dear", 1)]
    assert (await storage.arms.usage("default"))["cheap"].decisions == 1


async def test_an_arm_under_a_deleted_ones_name_counts_from_nothing(storage, make):
    await storage.arms.add(make.arm("cheap"))
    await storage.decisions.append([make.decision()])
    for generation in (2, 3):
        await storage.arms.delete("default", "cheap", make.now_us + generation)
        await storage.arms.add(make.arm("cheap"))
        [arm] = await storage.arms.arms("default")
        assert arm.generation == generation
        assert "cheap" not in await storage.arms.usage("default")
        await storage.decisions.append([make.decision(make.now_us + 9, generations={"cheap": generation})])
        usage = await storage.arms.usage("default")
        assert {name: one.decisions for name, one in usage.items() if name.startswith("cheap")} == {
            "cheap": 1, **{f"cheap ({before})": 1 for before in range(1, generation)},
        }  # fmt: skip


async def test_replicas_that_add_the_same_arm_add_it_once(storage, open_replica, make):
    async with open_replica() as other:
        answers = await asyncio.gather(
            *(store.arms.add(make.arm()) for _ in range(5) for store in (storage, other)),
            return_exceptions=True,
        )
    assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError"] * 9 + ["tuple"]
    assert len((await storage.arms.price_histories("default"))["cheap"]) == 1


async def test_replicas_that_seed_at_once_make_each_arm_once_and_all_of_one_time(storage, open_replica, make):
    arms = [make.arm(name) for name in ("d", "b", "a", "c")]
    async with open_replica() as other:
        for policy in ("one", "two", "three"):
            mine = [replace(arm, policy=policy) for arm in arms]
            added = await asyncio.gather(
                *(store.arms.seed(policy, mine, make.now_us + i) for i, store in enumerate((storage, other) * 3))
            )
            stored = await storage.arms.arms(policy)
            assert sorted(added) == [0, 0, 0, 0, 0, 4]
            assert [arm.arm for arm in stored] == ["d", "b", "a", "c"]
            assert len({arm.created_at_us for arm in stored}) == 1
            assert [len(prices) for prices in (await storage.arms.price_histories(policy)).values()] == [1] * 4


async def test_no_arm_ever_gets_the_place_of_another(storage, make):
    """Colours go by it: neither deleting an arm nor adding it anew moves another, or itself."""
    await storage.arms.seed("default", [make.arm("b"), make.arm("a"), make.arm("c")], make.now_us)
    assert await storage.arms.positions("default") == {"b": 1, "a": 2, "c": 3}
    await storage.arms.delete("default", "a", make.now_us + 1)
    await storage.arms.add(make.arm("d"))
    assert await storage.arms.positions("default") == {"b": 1, "a": 2, "c": 3, "d": 4}
    await storage.arms.add(make.arm("a"))
    assert await storage.arms.positions("default") == {"b": 1, "a": 2, "c": 3, "d": 4}
    assert await storage.arms.positions("nobody") == {}


async def test_a_seed_leaves_what_was_there_and_what_was_deleted_alone(storage, make):
    await storage.arms.add(make.arm("a", enabled=False))
    await storage.arms.add(make.arm("b"))
    await storage.arms.delete("default", "b", make.now_us + 1)
    version = await storage.arms.arms_version()
    assert await storage.arms.seed("default", [make.arm("a"), make.arm("b")], make.now_us + 2) == 0
    assert await storage.arms.arms_version() == version
    assert await storage.arms.seed("default", [make.arm("c"), make.arm("b")], make.now_us + 3) == 1
    assert [(arm.arm, arm.enabled) for arm in await storage.arms.arms("default")] == [("a", False), ("c", True)]


async def test_changes_of_one_arm_at_once_all_arrive(storage, open_replica, make):
    await storage.arms.add(make.arm(context_window_tokens=0))

    def one_more(arm, _arms):
        return ArmChange(replace(arm, context_window_tokens=arm.context_window_tokens + 1))

    async with open_replica() as other:
        await asyncio.gather(
            *(store.arms.update("default", "cheap", one_more) for store in (storage, other) for _ in range(20)),
            storage.arms.update("default", "cheap", lambda arm, _: ArmChange(replace(arm, provider="maker"))),
        )
    [arm] = await storage.arms.arms("default")
    assert (arm.context_window_tokens, arm.provider) == (40, "maker")


async def test_a_change_that_is_refused_stores_nothing(storage, make):
    await storage.arms.add(make.arm("cheap"))
    before, version = await storage.arms.arms("default"), await storage.arms.arms_version()

    def refuse(_arm, arms):
        raise InvalidInputError(f"not beside {len(arms)} arms")

    with pytest.raises(InvalidInputError, match="beside 1"):
        await storage.arms.update("default", "cheap", refuse)
    with pytest.raises(InvalidInputError, match="beside 1"):
        await storage.arms.add(make.arm("dear"), refuse)
    assert await storage.arms.arms("default") == before
    assert await storage.arms.arms_version() == version


async def test_a_price_that_becomes_due_during_another_change_stays(storage, open_replica, make):
    await storage.arms.add(make.arm())
    due = Price(7.0, 8.0, 0.0)
    async with open_replica() as other:
        for i in range(10):
            at_us = make.now_us + 10 * (i + 1)
            price = replace(due, usd_per_request=float(i))
            await storage.arms.update("default", "cheap", lambda arm, _, p=price, t=at_us: ArmChange(arm, (p, t)))
            await asyncio.gather(
                other.arms.adopt_due_prices(at_us),
                *(
                    storage.arms.update("default", "cheap", lambda arm, _, n=n: ArmChange(replace(arm, provider=n)))
                    for n in (f"{i}", f"again {i}")
                ),
            )
            [arm] = await storage.arms.arms("default")
            assert (arm.price, arm.provider) == (price, f"again {i}")
    assert len((await storage.arms.price_histories("default"))["cheap"]) == 11


async def test_a_scheduled_price_goes_with_its_arm(storage, make):
    planned = Price(99.0, 99.0, 0.0)
    schedule = lambda arm, _: ArmChange(arm, (planned, make.now_us + 100))  # noqa: E731
    for at_us, back_at_us in ((50, 60), (50, 200)):
        await storage.arms.add(make.arm(updated_at_us=make.now_us + at_us - 10))
        await storage.arms.update("default", "cheap", schedule)
        await storage.arms.delete("default", "cheap", make.now_us + at_us)
        await storage.arms.add(make.arm(updated_at_us=make.now_us + back_at_us))
        assert await storage.arms.adopt_due_prices(make.now_us + 1000) == []
        [arm] = await storage.arms.arms("default")
        assert arm.price == make.arm().price
        await storage.arms.delete("default", "cheap", make.now_us)
