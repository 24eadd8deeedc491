"""Golden sets on both databases: paid before they are made, made at most once, every day counted once."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from sqlalchemy import select

from banditd.core.anchor import DriftRule
from banditd.core.golden import GoldenCase, GoldenRule
from banditd.core.judging import JudgeCost
from banditd.core.types import DAY_US
from banditd.ope.drops import BASELINE_DAYS, GoldenTest
from banditd.storage.golden import KEPT_DAYS
from banditd.storage.schema import golden_case

MINUTE_US = 60_000_000
DAY = 20_000
COST = JudgeCost(calls=1, input_tokens=100, output_tokens=10, cost_usd=0.02)
RULE = GoldenRule(policy="default", judge="quality", prompts=(), usd_per_day=1e6, drift=DriftRule())
PROMPTS = tuple(f"p{i}" for i in range(10))


def at(day: int = DAY, minutes: int = 1) -> int:
    return day * DAY_US + minutes * MINUTE_US


def cases(
    day: int = DAY, *, arms: tuple[str, ...] = ("a", "b"), prompts: tuple[str, ...] = PROMPTS, version: str = "v1"
) -> list[GoldenCase]:
    return [
        GoldenCase(
            policy="default", day=day, arm=arm, prompt_id=one, version=version, position=i, reserve_usd=0.1
        )
        for arm in arms
        for i, one in enumerate(prompts)
    ]  # fmt: skip


def rich(usd: float) -> GoldenRule:
    return GoldenRule(policy="default", judge="quality", prompts=(), usd_per_day=usd, drift=DriftRule())


async def claim(storage, *, rule: GoldenRule = RULE, day: int = DAY, limit: int = 100, minutes: int = 1, without=()):
    now_us = at(day, minutes)
    return await storage.golden.claim(
        rule, day, limit=limit, until_us=now_us + MINUTE_US, now_us=now_us, without=list(without)
    )


async def answer(storage, case: GoldenCase, cost: JudgeCost = COST) -> bool:
    now_us = at(case.day)
    return await storage.golden.answered(case, cost=cost, answer="t\x00hat", judge_usd=0.01, now_us=now_us)


async def rows(storage) -> list[Any]:
    query = select(golden_case).order_by(*golden_case.primary_key.columns)
    return await storage.database.read(lambda connection: connection.execute(query).mappings().all())


async def scored(storage, day: int, score: float, **more: Any) -> None:
    """A whole day of which every answer has this score."""
    await storage.golden.plan(cases(day, **more), at(day))
    for case in await claim(storage, day=day):
        assert await answer(storage, case)
    for case in await claim(storage, day=day):
        assert case.answer is not None
        assert await storage.golden.judged(case, cost=COST, score=score, now_us=at(day))


async def written(storage, day: int, scores: dict[str, float]) -> None:
    """A day that is over, by arm: rows as claims and verdicts leave them."""
    values = [
        {
            "policy": one.policy, "day": day, "arm": one.arm, "prompt_id": one.prompt_id, "version": "v1",
            "position": one.position, "state": "judged", "score": scores[one.arm], "reserve_usd": 0.1,
            "due_at_us": at(day),
        }
        for one in cases(day, arms=tuple(scores))
    ]  # fmt: skip
    await storage.database.write(lambda connection: connection.execute(golden_case.insert(), values) and None)


async def test_two_replicas_share_one_cap_and_no_call_is_claimed_twice(storage, open_replica):
    async with open_replica("second") as other:
        await asyncio.gather(*(one.golden.plan(cases(), at()) for one in (storage, other)))
        assert len(await rows(storage)) == 20

        async def work(replica) -> list[tuple[str, str]]:
            made = []
            while found := await claim(replica, rule=rich(1.2 + 1e-9), limit=3):
                made += [(one.arm, one.prompt_id) for one in found]
            return made

        made = [one for part in await asyncio.gather(work(storage), work(other)) for one in part]
    assert len(made) == len(set(made)) == 12
    assert await storage.golden.spent_usd(RULE, DAY) == pytest.approx(1.2)
    # In the order of the set: with little money the same prompts are asked of all arms.
    assert {prompt for _, prompt in made} == {f"p{i}" for i in range(6)}
    assert await claim(storage, rule=rich(1.3 + 1e-9), limit=3) != []


async def test_what_calls_have_cost_replaces_what_was_set_aside(storage):
    await storage.golden.plan(cases(arms=("a",), prompts=("p0", "p1")), at())
    first, second = await claim(storage)
    assert await answer(storage, first)
    assert not await answer(storage, first)
    assert await storage.golden.spent_usd(RULE, DAY) == pytest.approx(0.12)
    [judging] = await claim(storage)
    assert (judging.prompt_id, judging.answer, judging.attempts) == ("p0", "t\ufffdhat", 1)
    assert await storage.golden.judged(judging, cost=COST, score=0.5, now_us=at())
    again_us = at(minutes=5)
    assert await storage.golden.give_back(second, cost=COST, due_at_us=again_us, last=False, now_us=at())
    assert await claim(storage, minutes=4) == []
    [tried] = await claim(storage, minutes=5)
    assert (tried.prompt_id, tried.attempts) == ("p1", 2)
    assert await storage.golden.give_back(tried, cost=JudgeCost(), due_at_us=0, last=True, now_us=at())
    assert await storage.golden.spent_usd(RULE, DAY) == pytest.approx(3 * COST.cost_usd)
    kept = await rows(storage)
    assert [(row["state"], row["answer"]) for row in kept] == [("judged", None), ("failed", None)]
    assert sum(row["cost_usd"] for row in kept) == pytest.approx(3 * COST.cost_usd)
    assert await storage.golden.states("default", DAY) == {"judged": 1, "failed": 1}
    # It is beside what judges' probes may spend, and taken off what was saved.
    assert "quality" not in await storage.probing.accounts()
    assert await storage.probing.spent_usd("default", None, None) == pytest.approx(3 * COST.cost_usd)


async def test_a_call_under_way_in_a_kill_is_paid_and_lost(storage):
    await storage.golden.plan(cases(arms=("a",), prompts=("p0", "p1")), at())
    asked, other = await claim(storage)
    assert await answer(storage, other)
    [judging] = await claim(storage)
    assert await storage.golden.drop("default", DAY, at(minutes=1)) == 0
    assert await storage.golden.drop("default", DAY, at(minutes=3)) == 2
    assert await claim(storage, minutes=9) == []
    assert not await answer(storage, asked)
    assert not await storage.golden.judged(judging, cost=COST, score=1.0, now_us=at())
    assert [(row["state"], row["answer"], row["score"]) for row in await rows(storage)] == [("lost", None, None)] * 2
    assert await storage.golden.spent_usd(RULE, DAY) == pytest.approx(0.1 + COST.cost_usd + 0.01)
    await storage.golden.plan(cases(arms=("a",), prompts=("p0", "p1")), at(minutes=9))
    assert await claim(storage, minutes=9) == []


async def test_a_day_that_is_over_is_asked_no_more(storage):
    await storage.golden.plan(cases(arms=("a",), prompts=("p0", "p1", "p2")), at())
    [case] = await claim(storage, limit=1)
    assert await answer(storage, case)
    assert await storage.golden.drop("default", DAY + 1, at(DAY + 1)) == 3
    assert {row["state"] for row in await rows(storage)} == {"dropped"}
    assert await claim(storage, day=DAY + 1) == []
    # Yesterday's money is not today's.
    assert await storage.golden.spent_usd(RULE, DAY + 1) == 0.0


async def test_arms_with_an_open_breaker_are_left_alone_and_answers_are_scored_first(storage):
    await storage.golden.plan(cases(prompts=("p0", "p1")), at())
    found = await claim(storage, without=("a",))
    assert [one.arm for one in found] == ["b", "b"]
    assert await answer(storage, found[0])
    [first, *_] = await claim(storage, limit=1)
    assert (first.arm, first.answer is None) == ("b", False)


async def test_every_day_counts_once_whoever_counts(storage, open_replica):
    for day in range(3):
        await written(storage, DAY + day, {"a": 1.0, "b": 1.0})
    async with open_replica("second") as other:
        await asyncio.gather(*(one.golden.count(RULE, DAY + 3, at(DAY + 3)) for one in (storage, other)))
    assert await storage.golden.count(RULE, DAY + 3, at(DAY + 3)) == []
    watches = await storage.golden.watches("default")
    assert [one.arm for one in watches] == ["a", "b"]
    for one in watches:
        assert {count for count, *_ in GoldenTest.of_json(json.loads(one.test)).baseline.values()} == {3}


async def test_a_day_that_is_not_over_waits(storage):
    await storage.golden.plan(cases(arms=("a",), prompts=("p0", "p1")), at())
    first, second = await claim(storage)
    assert await storage.golden.give_back(first, cost=COST, due_at_us=at(), last=True, now_us=at())
    assert await storage.golden.count(RULE, DAY, at()) == []
    assert await answer(storage, second)
    [judging] = await claim(storage)
    assert await storage.golden.judged(judging, cost=COST, score=0.5, now_us=at())
    [watch] = await storage.golden.count(RULE, DAY, at())
    assert set(GoldenTest.of_json(json.loads(watch.test)).baseline) == {"p1"}


async def test_a_fall_is_an_alarm_of_its_arm_and_stays_one(storage, open_replica):
    """Days are counted by whichever replica comes; the last one after a restart."""
    async with open_replica("second") as other:
        for day in range(BASELINE_DAYS):
            await written(storage, DAY + day, {"a": 1.0, "b": 1.0})
        await storage.golden.count(RULE, DAY + BASELINE_DAYS, at(DAY + BASELINE_DAYS))
        for day in range(BASELINE_DAYS, BASELINE_DAYS + 8):
            await written(storage, DAY + day, {"a": 0.7, "b": 1.0})
            await (other if day % 2 else storage).golden.count(RULE, DAY + day, at(DAY + day))
    fallen, steady = await storage.golden.watches("default")
    assert steady.alarm_day is None
    assert fallen.alarm_day is not None
    assert DAY + BASELINE_DAYS <= fallen.alarm_day < DAY + BASELINE_DAYS + 8
    test = GoldenTest.of_json(json.loads(fallen.test))
    assert test.detector.log_evidence >= math.log(RULE.drift.days_per_false_alarm)
    assert test.detector.since_day == DAY + BASELINE_DAYS
    # What was counted some days ago is deleted; its test stays.
    days = {row["day"] for row in await rows(storage)}
    assert min(days) >= DAY + BASELINE_DAYS + 8 - 1 - KEPT_DAYS
    # Another model under the arm's name, or another judge, begins anew.
    new = DAY + BASELINE_DAYS + 8
    await scored(storage, new, 0.7, arms=("a",), prompts=("p0",), version="v2")
    [watch] = await storage.golden.count(RULE, new, at(new))
    assert (watch.version, watch.alarm_day) == ("v2", None)
    assert GoldenTest.of_json(json.loads(watch.test)).detector.days == 0


async def test_two_arms_in_one_day_of_two_versions_are_kept_apart(storage):
    """The arm was changed at noon: its morning is no score of what it is now."""
    await scored(storage, DAY, 1.0, arms=("a",), prompts=("p0",))
    await scored(storage, DAY, 0.0, arms=("a",), prompts=("p1",), version="v2")
    [watch] = await storage.golden.count(RULE, DAY, at(DAY))
    assert watch.version == "v2"
    assert set(GoldenTest.of_json(json.loads(watch.test)).baseline) == {"p1"}
