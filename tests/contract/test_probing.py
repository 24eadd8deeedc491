"""Probes on both databases: paid before they are made, made at most once, their verdicts rewards of their arms."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select

from banditd.core.comparing import Compared, ComparisonFilter, Orders, PairToCompare
from banditd.core.judging import AnswerToJudge, JudgeCost
from banditd.core.probing import ProbeRequest
from banditd.services.judging.counting import VerdictRewards
from banditd.storage import claims
from banditd.storage.schema import (
    arm_reward,
    comparison,
    judgement,
    probe,
    probe_answer,
    probe_judgement,
    reward_event,
)

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
COST = JudgeCost(calls=1, input_tokens=100, output_tokens=10, cost_usd=0.02)
RICH = {"quality": 1e6}


def requests(make, decisions, *, arm: str = "dear", usd: float = 0.1, at_us: int | None = None) -> list[ProbeRequest]:
    now_us = make.now_us if at_us is None else at_us
    return [
        ProbeRequest(
            decision_id=one.decision_id, judge="quality", policy="default", arm=arm, probability=0.25,
            reserve_usd=usd, surface="chat", body='{"messages": [{"role": "user", "content": "what\\u0000?"}]}',
            headers={"openai-beta": "x"}, input_tokens=7, created_at_us=now_us,
            expires_at_us=now_us + 60 * MINUTE_US,
        )
        for one in decisions
    ]  # fmt: skip


async def drawn(storage, make, n: int, **more: Any) -> list[ProbeRequest]:
    decisions = [make.decision() for _ in range(n)]
    await storage.decisions.append(decisions)
    made = requests(make, decisions, **more)
    assert await storage.probing.draw(made, RICH) == []
    return made


async def claim(storage, now_us: int, limit: int = 100, cap_usd: float = 1e6, without: Any = ()):
    return await storage.probing.claim(
        "quality", limit=limit, until_us=now_us + MINUTE_US, now_us=now_us, cap_usd=cap_usd, without=list(without)
    )


def answer_to(make, request: ProbeRequest) -> AnswerToJudge:
    return AnswerToJudge(
        decision_id=request.decision_id, judge="quality", version="v1", policy="default", arm=request.arm,
        probability=request.probability, question="what?", answer="that", created_at_us=make.now_us,
        expires_at_us=make.now_us + 60 * MINUTE_US,
    )  # fmt: skip


async def answered(storage, make, task, cost: JudgeCost = COST) -> bool:
    return await storage.probing.answered(
        task.probe_id, task.lease, cost=cost, answer=answer_to(make, task.request), now_us=make.now_us
    )


async def rows(storage, table) -> list[Any]:
    return await storage.database.read(lambda connection: connection.execute(select(table)).mappings().all())


async def account(storage, since_us: int | None = None):
    return (await storage.probing.accounts(since_us))["quality"]


async def test_two_replicas_share_one_cap_and_no_call_is_claimed_twice(storage, open_replica, make):
    await drawn(storage, make, 30, usd=0.1)
    cap_usd, spent = 1.0, []
    async with open_replica("second") as other:

        async def work(replica) -> list[str]:
            made = []
            while tasks := await claim(replica, make.now_us, limit=3, cap_usd=cap_usd + 1e-9):
                for task in tasks:
                    made.append(task.probe_id)
                    assert await answered(replica, make, task, JudgeCost(calls=1, cost_usd=0.04))
                    spent.append((await account(replica)).cost_usd)
            return made

        first, second = await asyncio.gather(work(storage), work(other))
        made = [*first, *second]
        assert len(made) == len(set(made))
        # 0.04 each while 0.1 still fits below the cap: as many as there is money for, and none more.
        assert 1.0 - 0.1 < 0.04 * len(made) <= 1.0
        assert max(spent) <= cap_usd + 1e-6
        assert (await account(storage)).cost_usd == pytest.approx(0.04 * len(made))
        # What falls out of the 24 hours makes room again; waiting calls are too old by then, and are deleted.
        late_us = make.now_us + DAY_US + 61 * MINUTE_US
        assert await claim(other, late_us) == []
        assert await other.probing.drop(late_us) == 30 - len(made)
        assert (await account(storage)).dropped == 30 - len(made)


async def test_nothing_is_kept_of_what_there_is_no_money_for(storage, make):
    decisions = [make.decision() for _ in range(5)]
    await storage.decisions.append(decisions)
    made = requests(make, decisions, usd=0.4)
    assert await storage.probing.draw(made, {"quality": 1.0}) == made[2:]
    assert await storage.probing.draw(made[:2], {"quality": 1.0}) == []  # sent again: nothing twice
    unknown = requests(make, [make.decision()], usd=0.0)
    assert await storage.probing.draw(unknown, RICH) == unknown
    assert len(await rows(storage, probe)) == 2
    found = await account(storage)
    assert (found.drawn, found.dropped) == (6, 4)
    assert await storage.probing.waiting() == {"quality": 2}


async def test_a_call_that_was_under_way_in_a_kill_is_lost_and_stays_paid(storage, open_replica, make):
    await drawn(storage, make, 3, usd=0.1)
    killed, living = await claim(storage, make.now_us, limit=2)
    async with open_replica("second") as other:
        [third] = await claim(other, make.now_us)
        assert third.probe_id not in {killed.probe_id, living.probe_id}
        assert await answered(storage, make, living)
        later = make.now_us + 2 * MINUTE_US
        assert await claim(other, later) == []  # nobody calls again what may have been called
        assert await other.probing.drop(later) == 2  # the killed one, and that of the second replica's claim
        assert await other.probing.drop(later) == 0
    # The first replica comes back with its answer: too late, and it changes nothing.
    assert not await answered(storage, make, killed)
    found = await account(storage)
    assert (found.answered, found.lost, found.calls) == (1, 2, 1)
    assert found.cost_usd == pytest.approx(0.02 + 2 * 0.1)
    assert len(await rows(storage, probe_answer)) == 1
    kept = await rows(storage, probe)
    assert sorted(row["state"] for row in kept) == ["answered", "lost", "lost"]
    assert {(row["body"], row["headers"], row["lease"]) for row in kept} == {(None, None, None)}
    assert sum(row["cost_usd"] for row in kept) == pytest.approx(found.cost_usd)
    assert {row["probability"] for row in kept} == {0.25}


async def test_a_call_that_failed_is_made_again_in_its_time_and_pays_for_what_it_took(storage, make):
    await drawn(storage, make, 1, usd=0.1)
    [task] = await claim(storage, make.now_us)
    assert task.request.headers == {"openai-beta": "x"}
    assert task.request.body.count("what\\u0000?") == 1
    part = JudgeCost(calls=1, input_tokens=5, cost_usd=0.01)
    later = make.now_us + 5 * MINUTE_US
    back = {"due_at_us": later, "cost": part, "now_us": make.now_us}
    assert await storage.probing.give_back(task.probe_id, task.lease, last=False, **back)
    assert not await storage.probing.give_back(task.probe_id, task.lease, last=False, **back)
    assert await claim(storage, make.now_us) == []
    assert await claim(storage, later, without=[("default", "dear")]) == []  # its breaker is open
    [again] = await claim(storage, later)
    assert (again.probe_id, again.attempts, again.request) == (task.probe_id, 2, task.request)
    assert await storage.probing.give_back(again.probe_id, again.lease, last=True, **back)
    found = await account(storage)
    assert (found.failed, found.calls, found.cost_usd) == (1, 2, pytest.approx(0.02))
    assert [row["body"] for row in await rows(storage, probe)] == [None]
    # One whose arm is gone costs nothing.
    await drawn(storage, make, 1)
    [gone] = await claim(storage, make.now_us)
    assert await storage.probing.withdraw(gone.probe_id, gone.lease, make.now_us)
    found = await account(storage)
    assert (found.dropped, found.cost_usd) == (1, pytest.approx(0.02))


class Rewards:
    """The reward log, behind the small judge of these tests."""

    def __init__(self, storage, make) -> None:
        self._storage, self._make = storage, make

    async def submit(self, given):
        made = [
            self._make.reward(
                one.decision_id, one.value, identity=f"src:{one.decision_id}/{one.source}/{one.arm}",
                source=one.source, retract=one.retract, body_hash=one.body_hash, arm=one.arm,
            )
            for one in given
        ]  # fmt: skip
        return await self._storage.rewards.record(made, self._make.judge)


async def test_its_verdict_is_its_arms_reward_beside_that_of_the_served_answer(storage, make):
    """The same judge scores both answers of a decision; each verdict exists once, whoever hands in what again."""
    [request] = await drawn(storage, make, 1)
    served = answer_to(make, request)
    assert await storage.judging.sample([served], {"quality": 10}) == []
    [task] = await claim(storage, make.now_us)
    assert await answered(storage, make, task)
    assert not await answered(storage, make, task)
    assert await storage.judging.waiting() == {"quality": 2}
    assert await storage.probing.unjudged("quality") == 1
    tasks = await storage.judging.lease(
        "quality", "v2", limit=9, until_us=make.now_us + MINUTE_US, now_us=make.now_us, max_attempts=5
    )
    assert [one.answer.version for one in tasks] == ["v2", "v2"]
    for one, score in zip(tasks, (0.75, 0.25), strict=True):
        done = {"score": score, "reason": "", "cost": COST, "now_us": make.now_us}
        kept = await storage.judging.finish(one.task_id, one.lease, **done)
        assert kept is not None
        assert await storage.judging.finish(one.task_id, one.lease, **done) is None
        assert await storage.judging.judgement_of_task(one.task_id) == kept
    settling = VerdictRewards(storage.judging, Rewards(storage, make))
    pending = await storage.judging.with_reward("quality", "pending", 9)
    assert [one.probed_arm for one in pending] == [None, "dear"]
    assert await settling.settle("quality") == 2
    assert await settling.settle("quality") == 0
    assert [(one["value"], one["arm"]) for one in await rows(storage, reward_event)] == [(0.75, None)]
    assert [(one["value"], one["arm"]) for one in await rows(storage, arm_reward)] == [(0.25, "dear")]
    for table in (judgement, probe_judgement):
        assert [row["reward"] for row in await rows(storage, table)] == ["counted"]
    # A refused judge's verdict on a probe is taken back like the others.
    counted = await storage.judging.counted_of("quality", "v2", 9)
    await storage.judging.mark(counted, "withdrawn")
    assert [row["reward"] for row in await rows(storage, probe_judgement)] == ["withdrawn"]


async def test_what_retention_deletes_takes_its_probes_along(storage, make, retention, monkeypatch):
    monkeypatch.setattr(claims, "CHUNK", 2)
    await drawn(storage, make, 5)
    [task] = await claim(storage, make.now_us, limit=1)
    await answered(storage, make, task)

    keeping = retention(storage, lambda: make.now_us + 60 * MINUTE_US)
    await keeping.run()  # of a judge that nobody configures any more: no text is left
    assert [row["body"] for row in await rows(storage, probe)] == [None] * 5
    assert await rows(storage, probe_answer) == []
    assert await storage.maintenance.prune(before_us=make.now_us + MINUTE_US, limit=100) == 5
    assert await rows(storage, probe) == []


async def test_spend_is_told_by_policy_and_hour(storage, make):
    await drawn(storage, make, 2)
    for task in await claim(storage, make.now_us):
        await answered(storage, make, task)
    assert await storage.probing.spent_usd("default", None, None) == pytest.approx(0.04)
    assert await storage.probing.spent_usd("other", None, None) == 0.0
    assert await storage.probing.spent_usd("default", make.now_us + 60 * MINUTE_US, None) == 0.0
    assert (await storage.judging.accounts())["quality"].sampled == 2


async def test_a_pair_is_compared_once_whoever_claims_it_and_its_texts_go(storage, open_replica, make):
    decisions = [make.decision() for _ in range(2)]
    await storage.decisions.append(decisions)
    made = [replace(one, served_arm="cheap", served_answer="this\0") for one in requests(make, decisions, usd=0.1)]
    assert await storage.probing.draw(made, RICH) == []
    for task in await claim(storage, make.now_us):
        assert task.request.served_answer == "this\ufffd"
        answer = answer_to(make, task.request)
        pair = PairToCompare(
            decision_id=answer.decision_id, judge="quality", policy="default", arm=answer.arm, served_arm="cheap",
            probability=answer.probability, question=answer.question, served_answer="this", answer=answer.answer,
            created_at_us=make.now_us, expires_at_us=answer.expires_at_us,
        )  # fmt: skip
        ended = {"cost": COST, "answer": answer, "now_us": make.now_us, "pair": pair}
        assert await storage.probing.answered(task.probe_id, task.lease, **ended)
        assert not await storage.probing.answered(task.probe_id, task.lease, **ended)
    assert {row["served_answer"] for row in await rows(storage, probe)} == {None}
    assert await storage.probing.unjudged("quality") == 4  # two answers, two pairs
    compare = {"until_us": make.now_us + MINUTE_US, "now_us": make.now_us, "max_attempts": 2}
    [killed] = await storage.comparing.lease("quality", limit=1, **compare)
    async with open_replica("second") as other:
        [tried] = await other.comparing.lease("quality", limit=9, **compare)
        back = {"due_at_us": make.now_us, "max_attempts": 2, "cost": COST, "now_us": make.now_us}
        assert await other.comparing.give_back(tried.task_id, tried.lease, **back)
        assert not await other.comparing.give_back(tried.task_id, tried.lease, **back)
        later = {"until_us": make.now_us + 9 * MINUTE_US, "now_us": make.now_us + MINUTE_US, "max_attempts": 2}
        again = await other.comparing.lease("quality", limit=9, **later)
        assert {one.task_id for one in again} == {killed.task_id, tried.task_id}
        orders = Orders(served_first="second", baseline_first="first")
        done = {"version": "v1", "orders": orders, "cost": COST, "now_us": make.now_us}
        for one in again:
            if one.task_id == killed.task_id:
                assert await other.comparing.judge_of(one.task_id) == "quality"
                kept = await other.comparing.finish(one.task_id, one.lease, **done)
            else:  # its last try
                assert await other.comparing.give_back(one.task_id, one.lease, **back)
    assert await storage.comparing.finish(killed.task_id, killed.lease, **done) is None
    assert await storage.comparing.judge_of(killed.task_id) is None
    assert kept is not None
    assert kept == await storage.comparing.of_task(killed.task_id)
    assert (kept.outcome, kept.orders, kept.served_chars) == ("baseline", orders, len("this"))
    assert await storage.comparing.compared("quality", "v1") == [
        Compared(policy="default", arm="dear", outcome="baseline", served_chars=4, answer_chars=kept.answer_chars)
    ]
    assert await storage.comparing.compared("quality", "v2") == []
    assert await storage.comparing.waiting() == {}
    assert (await storage.judging.accounts())["quality"].cost.calls == 3
    assert await storage.maintenance.prune(before_us=make.now_us + MINUTE_US, limit=100) == 2
    assert await rows(storage, comparison) == []


async def test_comparisons_are_paged_by_whole_decisions_and_old_ones_have_no_orders(storage, make):
    decisions = [make.decision() for _ in range(4)]
    await storage.decisions.append(decisions)
    ids = sorted(one.decision_id for one in decisions)
    row = {
        "version": "v1", "policy": "default", "served_arm": "cheap", "probability": 0.5, "outcome": "same",
        "cost_usd": 0.0, "compared_at_us": 1,
    }  # fmt: skip
    kept = [
        (ids[3], "b", "dear"),
        (ids[2], "a", "dear"),
        (ids[2], "a", "other"),
        (ids[2], "b", "dear"),
        (ids[0], "a", "dear"),
    ]
    made = [{**row, "decision_id": one, "judge": judge, "arm": arm} for one, judge, arm in kept]
    await storage.database.write(lambda connection: connection.execute(insert(comparison), made) and None)

    async def page(**which: object) -> list[tuple[str, str, str]]:
        found = await storage.comparing.page(ComparisonFilter(**which))
        assert {one.orders for one in found} <= {None}
        return [(one.decision_id, one.judge, one.arm) for one in found]

    assert await page(limit=9) == kept
    assert await page(limit=2) == kept[:4]  # the whole of the second decision
    assert await page(limit=2, before_id=ids[2]) == kept[4:]
    assert await page(limit=1, judge="a") == kept[1:3]
    assert await page(limit=9, policy="other") == []


async def test_where_the_newest_probes_went(storage, make):
    decisions = [make.decision() for _ in range(3)]
    await storage.decisions.append(decisions)
    assert await storage.probing.draw(requests(make, decisions, usd=0.1), RICH) == []
    [task, *_] = await claim(storage, make.now_us)
    ended = {"cost": COST, "answer": None, "now_us": make.now_us}
    assert await storage.probing.answered(task.probe_id, task.lease, **ended)
    [tally] = await storage.probing.by_arm(100)
    assert (tally.judge, tally.arm, tally.drawn) == ("quality", task.request.arm, 3)
    assert tally.cost_usd >= COST.cost_usd
    assert [one.drawn for one in await storage.probing.by_arm(2)] == [2]
