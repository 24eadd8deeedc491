from __future__ import annotations

import asyncio

import numpy as np
import pytest
from sqlalchemy import delete

from banditd.core.errors import InvalidInputError, NotFoundError, StorageUnavailableError
from banditd.core.request_keys import RequestKey
from banditd.ports import DecisionFilter
from banditd.storage.schema import decision

HOUR_US = 3_600_000_000


async def test_a_decision_comes_back_as_it_was_appended(storage, make):
    made = make.decision(session_id="s", input_text="naïve ☃ prompt", degraded="encoder_timeout")
    await storage.decisions.append([made])
    found = await storage.decisions.get(made.decision_id)
    for name in (
        "decision_id", "policy", "policy_kind", "created_at_us", "expires_at_us", "arm", "upstream_model",
        "propensity", "uniform", "explored", "reason", "degraded", "schema_hash", "snapshot_version", "epoch",
        "cost_weight", "input_tokens", "input_hash", "input_text", "session_id", "deferred",
    ):  # fmt: skip
        assert found[name] == getattr(made, name), name
    for name in ("probability", "mean", "deviation", "cost_usd", "penalty"):
        assert found[name] == getattr(made, name).tolist(), name
    assert found["arms"] == list(made.arms)
    assert found["x"] == made.context.x.tolist()
    assert found["cluster"] == 7
    assert found["facts"] == made.context.facts
    assert found["tags"] == made.tags
    assert found["exclusions"] == made.exclusions
    assert found["predicted_cost_usd"] == made.cost_usd[0]
    assert found["rewards"] == []
    assert found["usage"] is None
    assert found["contribution"] is None
    assert found["activated_at_us"] is None


async def test_what_cannot_be_stored_is_no_fault_of_those_beside_it(storage, make):
    made = [make.decision(), make.decision(session_id="caf\udce9"), make.decision()]
    committed = await storage.decisions.append(made)
    assert list(committed.failed) == [made[1].decision_id]
    assert isinstance(committed.failed[made[1].decision_id], InvalidInputError)
    assert committed.not_made == {made[1].decision_id}
    stored = [await storage.decisions.get(one.decision_id) for one in made]
    assert [one is not None for one in stored] == [True, False, True]
    with pytest.raises(InvalidInputError, match="cannot be stored"):
        await storage.decisions.append([make.decision(session_id="caf\udce9")])


async def test_numpy_scalars_are_stored_as_plain_numbers(storage, make):
    made = make.decision(
        propensity=np.float64(0.5),
        uniform=np.float64(0.125),
        explored=np.bool_(True),
        epoch=np.int64(4),
        input_tokens=np.int64(9),
        cost_weight=np.float32(0.5),
    )
    await storage.decisions.append([made])
    found = await storage.decisions.get(made.decision_id)
    assert found["explored"] is True
    assert [type(found[name]) for name in ("propensity", "epoch", "input_tokens", "cost_weight")] == [
        float, int, int, float,
    ]  # fmt: skip
    assert (found["epoch"], found["input_tokens"], found["cost_weight"]) == (4, 9, 0.5)


async def test_prompts_that_a_database_cannot_hold_are_kept_readable(storage, make):
    made = make.decision(input_text="a\x00b\ud800c", tags={"k": "a\x00b"})
    await storage.decisions.append([made])
    found = await storage.decisions.get(made.decision_id)
    assert found["input_text"].startswith("a�b")
    assert found["tags"] == {"k": "a\x00b"}


async def test_an_unknown_decision_is_none(storage):
    assert await storage.decisions.get("no-such-decision") is None


async def test_concurrent_appends_all_arrive_and_are_counted_once(storage, make):
    made = [make.decision(make.now_us + i, arm=("cheap", "dear")[i % 2]) for i in range(300)]
    await asyncio.gather(*(storage.decisions.append([one]) for one in made))
    rows = [row async for row in storage.whole_log.stream("default", batch_rows=64)]
    assert [row["decision_id"] for row in rows] == sorted(one.decision_id for one in made)
    totals = {row["arm"]: row for row in await storage.reports.arm_totals("default", None)}
    assert totals["cheap"]["decisions"] == totals["dear"]["decisions"] == 150
    assert (await storage.reports.totals())["decision"] == 300


async def test_a_decision_that_cannot_be_stored_does_not_hurt_the_others_of_its_group(storage, make):
    good = [make.decision(make.now_us + i) for i in range(40)]
    twice = good[0]
    results = await asyncio.gather(
        *(storage.decisions.append([one]) for one in [*good, twice]), return_exceptions=True
    )
    assert sum(isinstance(result, Exception) for result in results) == 1
    rows = [row async for row in storage.whole_log.stream(None)]
    assert len(rows) == 40
    totals = await storage.reports.totals()
    assert totals["decision"] == 40


async def test_pages_are_newest_first_and_filtered(storage, make):
    made = [
        make.decision(
            make.now_us + i * HOUR_US,
            arm=("cheap", "middle", "dear")[i % 3],
            explored=i % 2 == 0,
            session_id=f"s{i % 2}",
            policy="other" if i == 5 else "default",
            input_text=None if i == 1 else f"Mend the CHAIN of bike {i}, 100%_sure",
        )
        for i in range(9)
    ]
    await storage.decisions.append(made)

    async def ids(**filters):
        return [row["decision_id"] for row in await storage.decisions.page(DecisionFilter(**filters))]

    def expect(*indices):
        return [made[i].decision_id for i in indices]

    assert await ids(limit=3) == expect(8, 7, 6)
    assert await ids(before_id=made[6].decision_id, limit=2) == expect(5, 4)
    assert await ids(policy="default", arm="dear") == expect(8, 2)
    assert await ids(policy="other") == expect(5)
    assert await ids(explored=True) == expect(8, 6, 4, 2, 0)
    assert await ids(session_id="s1") == expect(7, 5, 3, 1)
    assert await ids(cluster=6) == []
    assert await ids(text="the chain of bike", limit=3) == expect(8, 7, 6)
    assert await ids(text="BIKE 5") == expect(5)
    assert await ids(text="bike", policy="default", arm="middle") == expect(7, 4)  # one was stored without its text
    assert await ids(text="0%_S", limit=1) == expect(8)  # no wildcards
    assert await ids(text="bike_5") == []
    since, until = make.now_us + 2 * HOUR_US, make.now_us + 4 * HOUR_US
    assert await ids(since_us=since, until_us=until) == expect(3, 2)


async def test_a_session_keeps_the_arm_of_its_newest_decision(storage, make):
    assert await storage.decisions.session_arm("default", "s") is None
    await storage.decisions.append([make.decision(make.now_us + 5, session_id="s", arm="dear")])
    await storage.decisions.append([make.decision(make.now_us, session_id="s", arm="cheap")])
    assert await storage.decisions.session_arm("default", "s") == "dear"
    assert await storage.decisions.session_arm("other", "s") is None


async def test_sessions_that_are_looked_up_together_get_each_their_own_arm(storage, make):
    names = [f"s{i}" for i in range(600)]
    await storage.decisions.append(
        [make.decision(session_id=name, arm=("cheap", "dear")[i % 2]) for i, name in enumerate(names)]
    )
    await storage.decisions.append([make.decision(session_id="s0", policy="other", arm="middle")])
    look = storage.decisions.session_arm
    cancelled = asyncio.ensure_future(look("default", "s1"))
    keys = [*(("default", name) for name in [*names, "s0", "nobody"]), ("other", "s0"), ("other", "s1")]
    waiting = asyncio.gather(*(look(*key) for key in keys))
    await asyncio.sleep(0)
    cancelled.cancel()
    expected = ["cheap", "dear"] * 300 + ["cheap", None, "middle", None]
    assert await waiting == expected


async def test_a_look_up_that_fails_fails_those_that_asked_and_no_others(storage, make, monkeypatch):
    await storage.decisions.append([make.decision(session_id="s")])

    async def down(_work):
        raise StorageUnavailableError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(storage.database, "read", down)
        looks = (storage.decisions.session_arm("default", "s") for _ in range(3))
        answers = await asyncio.gather(*looks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageUnavailableError] * 3
    assert await storage.decisions.session_arm("default", "s") == "cheap"


async def test_activation_releases_held_rewards_once(storage, make):
    made = make.decision(deferred=True)
    await storage.decisions.append([made])
    [receipt] = await storage.rewards.record([make.reward(made.decision_id)], make.judge)
    assert receipt.status == "held"
    assert await storage.learning.claim("default", 10) == []
    assert await storage.decisions.activate(made.decision_id, make.now_us + 10) == (True, False)
    assert await storage.decisions.activate(made.decision_id, make.now_us + 20) == (False, False)
    [item] = await storage.learning.claim("default", 10)
    assert [event.reward for event in item.events] == [1.0]
    whole = await storage.decisions.get(made.decision_id)
    assert whole["activated_at_us"] == make.now_us + 10
    assert [event["status"] for event in whole["rewards"]] == ["recorded"]


async def test_activating_what_is_active_or_unknown(storage, make):
    made = make.decision()
    await storage.decisions.append([made])
    assert await storage.decisions.activate(made.decision_id, make.now_us) == (False, False)
    with pytest.raises(NotFoundError):
        await storage.decisions.activate("no-such-decision", make.now_us)


async def test_no_reward_stays_held_when_rewards_and_activation_race(storage, open_replica, make):
    async with open_replica() as other:
        for round_number in range(15):
            made = make.decision(make.now_us + round_number, deferred=True)
            await storage.decisions.append([made])
            rewards = [
                make.reward(made.decision_id, identity=f"key:{round_number}/{i}", keyed=True) for i in range(6)
            ]
            await asyncio.gather(
                *(storage.rewards.record([reward], make.judge) for reward in rewards[:3]),
                other.decisions.activate(made.decision_id, make.now_us),
                *(storage.rewards.record([reward], make.judge) for reward in rewards[3:]),
            )
            whole = await storage.decisions.get(made.decision_id)
            assert [event["status"] for event in whole["rewards"]] == ["recorded"] * 6


async def test_the_stream_carries_merged_reward_and_spend(storage, make):
    made = make.decision()
    await storage.decisions.append([made, make.decision(make.now_us + 1)._replace(policy="other")])
    rows = [row async for row in storage.whole_log.stream("default")]
    assert len(rows) == 1
    assert (rows[0]["reward"], rows[0]["spend_usd"], rows[0]["served_arm"]) == (None, None, None)
    assert len([row async for row in storage.whole_log.stream(None, batch_rows=1)]) == 2


async def test_what_no_database_can_store_is_the_callers_fault_and_hurts_nobody_else(storage, make):
    bad = make.decision(make.now_us, input_tokens=10**30)
    worse = make.decision(make.now_us + 1, session_id="lone \ud800 surrogate")
    good = [make.decision(make.now_us + 2 + i) for i in range(20)]
    answers = await asyncio.gather(
        *(storage.decisions.append([one]) for one in [*good[:10], bad, worse, *good[10:]]), return_exceptions=True
    )
    assert [type(answer).__name__ for answer in answers[10:12]] == ["InvalidInputError"] * 2
    assert len(await storage.decisions.page(DecisionFilter())) == 20
    with pytest.raises(InvalidInputError):
        await storage.decisions.get("lone \ud800 surrogate")


async def test_a_key_whose_decision_is_gone_decides_anew_once(storage, make):
    key = RequestKey(key="k", key_name="", operation="route", request_hash="h")
    old, new, twice = (make.decision(request_key=key) for _ in range(3))
    await storage.decisions.append([old])
    await storage.database.write(
        lambda connection: connection.execute(delete(decision).where(decision.c.decision_id == old.decision_id))
    )
    committed = await storage.decisions.append([new, twice])
    assert {one: made.decision_id for one, made in committed.repeated.items()} == {twice.decision_id: new.decision_id}
    assert await storage.decisions.get(twice.decision_id) is None
    [again] = await storage.decisions.repeated([("default", key)])
    assert (again.decision_id, again.duplicate) == (new.decision_id, True)
