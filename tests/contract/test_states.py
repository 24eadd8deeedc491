from __future__ import annotations

import asyncio


async def test_a_lease_has_one_holder_until_it_expires(storage, make):
    now = make.now_us
    assert await storage.leases.holder("learner") is None
    assert await storage.leases.acquire("learner", "a", ttl_s=10, now_us=now)
    assert not await storage.leases.acquire("learner", "b", ttl_s=10, now_us=now + 9_999_999)
    assert await storage.leases.acquire("learner", "a", ttl_s=10, now_us=now + 9_000_000)
    assert not await storage.leases.acquire("learner", "b", ttl_s=10, now_us=now + 18_999_999)
    assert await storage.leases.acquire("learner", "b", ttl_s=10, now_us=now + 19_000_000)
    assert await storage.leases.holder("learner") == "b"
    assert await storage.leases.acquire("other", "a", ttl_s=10, now_us=now)


async def test_only_the_holder_can_release(storage, make):
    await storage.leases.acquire("learner", "a", ttl_s=10, now_us=make.now_us)
    await storage.leases.release("learner", "b")
    assert await storage.leases.holder("learner") == "a"
    await storage.leases.release("learner", "a")
    assert await storage.leases.holder("learner") is None


async def test_of_many_replicas_one_gets_the_lease(storage, open_replica, make):
    async with open_replica() as other:
        got = await asyncio.gather(
            *(
                store.leases.acquire("learner", f"{store.database!r}/{i}", ttl_s=10, now_us=make.now_us)
                for i in range(10)
                for store in (storage, other)
            )
        )
    assert sum(got) == 1


async def test_job_runs_are_counted(storage, make):
    assert await storage.jobs.runs() == []
    await storage.jobs.started("expiry", make.now_us)
    await storage.jobs.finished("expiry", make.now_us + 5, duration_s=0.5, error=None)
    await storage.jobs.started("expiry", make.now_us + 10)
    await storage.jobs.finished("expiry", make.now_us + 15, duration_s=0.25, error="it broke")
    [run] = await storage.jobs.runs()
    assert (run["job"], run["started_at_us"], run["finished_at_us"]) == (
        "expiry", make.now_us + 10, make.now_us + 15,
    )  # fmt: skip
    assert (run["runs"], run["failures"], run["duration_s"], run["error"]) == (2, 1, 0.25, "it broke")


async def test_a_cursor_survives_runs(storage, make):
    assert await storage.jobs.cursor("expiry") == 0
    await storage.jobs.set_cursor("expiry", 17)
    await storage.jobs.started("expiry", make.now_us)
    assert await storage.jobs.cursor("expiry") == 17
    await storage.jobs.set_cursor("expiry:default", 3)
    assert [run["job"] for run in await storage.jobs.runs()] == ["expiry"]


async def test_a_budget_is_kept_per_policy(storage, make):
    assert await storage.budgets.load("default") is None
    await storage.budgets.save("default", '{"a":1}', make.now_us)
    await storage.budgets.save("default", '{"a":2}', make.now_us)
    await storage.budgets.save("other", '{"b":1}', make.now_us)
    assert await storage.budgets.load("default") == '{"a":2}'
