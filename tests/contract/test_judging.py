"""The judges' queue, verdicts and accounts on both databases: once each, bounded, and nobody's after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, select

from banditd.core.judging import AnswerToJudge, JudgeCost, JudgeRule, Refusal
from banditd.core.rewards import RewardReceipt
from banditd.services.judging.counting import VerdictRewards
from banditd.services.judging.trust import TrustGate
from banditd.services.walks import RewardInput
from banditd.storage import claims
from banditd.storage.schema import judge_task, judgement, reward_event

MINUTE_US = 60_000_000
COST = JudgeCost(calls=1, input_tokens=100, output_tokens=10, cost_usd=0.5)
MOST = {"quality": 1000}


class Clock:
    def __init__(self, now_us: int) -> None:
        self.at_us = now_us

    def now_us(self) -> int:
        return self.at_us


async def sampled(storage, make, n: int, *, most=MOST, judge: str = "quality", version: str = "v1") -> list[str]:
    decisions = [make.decision(arm="cheap" if i % 2 else "dear") for i in range(n)]
    await storage.decisions.append(decisions)
    answers = [
        AnswerToJudge(
            decision_id=one.decision_id, judge=judge, version=version, policy="default", arm=one.arm,
            probability=0.25, question="what\0?", answer="that", created_at_us=make.now_us,
            expires_at_us=make.now_us + 60 * MINUTE_US,
        )
        for one in decisions
    ]  # fmt: skip
    await storage.judging.sample(answers, most)
    await storage.judging.sample(answers, most)  # sent again: nothing twice
    return [one.decision_id for one in decisions]


async def lease(storage, now_us: int, limit: int = 100, max_attempts: int = 5, version: str = "v1"):
    return await storage.judging.lease(
        "quality", version, limit=limit, until_us=now_us + MINUTE_US, now_us=now_us, max_attempts=max_attempts
    )


async def rows(storage, table) -> list[Any]:
    return await storage.database.read(lambda connection: connection.execute(select(table)).mappings().all())


async def test_a_claim_that_ran_out_is_anybodys_and_a_verdict_exists_once(storage, open_replica, make):
    ids = await sampled(storage, make, 6)
    async with open_replica("second") as other:
        first, second = await asyncio.gather(lease(storage, make.now_us, 4), lease(other, make.now_us, 4))
        assert len(first) + len(second) == 6
        assert {task.answer.decision_id for task in [*first, *second]} == set(ids)
        assert {task.answer.question for task in first} == {"what\ufffd?"}
        assert await lease(other, make.now_us) == []
        # The first replica is killed: a minute later its tasks are the other's, which judges all of them.
        later = make.now_us + MINUTE_US
        again = await lease(other, later)
        assert len(again) == 6
        for task in again:
            assert await other.judging.finish(task.task_id, task.lease, score=0.5, reason="", cost=COST, now_us=later)
        # Then it comes back with what it had claimed before.
        for task in [*first, *second]:
            kept = await storage.judging.finish(
                task.task_id, task.lease, score=1.0, reason="", cost=COST, now_us=later
            )
            assert kept is None
    found = await rows(storage, judgement)
    assert sorted((row["decision_id"], row["score"], row["probability"]) for row in found) == [
        (one, 0.5, 0.25) for one in sorted(ids)
    ]
    assert await rows(storage, judge_task) == []
    account = (await storage.judging.accounts())["quality"]
    assert (account.sampled, account.judged, account.cost) == (
        6,
        6,
        replace(COST, calls=6, input_tokens=600, output_tokens=60, cost_usd=3.0),
    )
    assert await storage.judging.spent_usd("default", None, None) == 3.0
    assert await storage.judging.spent_usd("other", None, None) == 0.0


async def test_what_a_clock_far_ahead_has_written_waits_no_longer_than_the_rest(storage, make):
    now_us = make.now_us
    make.now_us += 366 * 24 * 60 * MINUTE_US  # until it was killed
    await sampled(storage, make, 3)
    make.now_us = now_us
    [_] = await lease(storage, now_us + 366 * 24 * 60 * MINUTE_US, limit=1)
    assert await lease(storage, now_us) == []
    assert await storage.judging.drop(now_us, {}) == 0
    assert len(await lease(storage, now_us)) == 3
    assert await storage.judging.drop(now_us + 59 * MINUTE_US, {}) == 0
    assert await storage.judging.drop(now_us + 60 * MINUTE_US, {}) == 3
    assert await storage.judging.waiting() == {}


async def test_a_claim_is_kept_while_its_time_can_be_true(storage, make):
    await sampled(storage, make, 1)
    [task] = await storage.judging.lease(
        "quality", "v1", limit=1, until_us=make.now_us + 60 * MINUTE_US, now_us=make.now_us, max_attempts=5
    )
    assert await storage.judging.drop(make.now_us, {}) == 0
    assert await lease(storage, make.now_us) == []
    assert task.attempts == 1


async def test_the_queue_is_bounded_and_says_what_found_no_room(storage, make):
    await sampled(storage, make, 30, most={"quality": 10})
    assert await storage.judging.waiting() == {"quality": 10}
    # A replica that starts, or that has other judges, deletes none of them before their time.
    for limits in ({}, {"other": 1}, {"quality": 1}):
        assert await storage.judging.drop(make.now_us + MINUTE_US, limits) == 0
    account = (await storage.judging.accounts())["quality"]
    assert account.dropped >= 20
    assert account.sampled == account.dropped + 10
    assert await storage.judging.drop(make.now_us + 61 * MINUTE_US, {}) == 10
    assert await storage.judging.waiting() == {}
    assert (await storage.judging.accounts())["quality"].dropped == account.dropped + 10


async def test_tries_are_bounded_also_those_that_were_killed(storage, make):
    await sampled(storage, make, 2)
    now_us = make.now_us
    one, _killed = await lease(storage, now_us, max_attempts=2)
    assert await storage.judging.give_back(
        one.task_id, one.lease, due_at_us=now_us, max_attempts=2, cost=COST, now_us=now_us
    )
    [once_more] = await lease(storage, now_us, max_attempts=2)
    assert (once_more.task_id, once_more.attempts) == (one.task_id, 2)
    assert not await storage.judging.give_back(
        one.task_id, one.lease, due_at_us=now_us, max_attempts=2, cost=COST, now_us=now_us
    )
    assert await storage.judging.give_back(
        one.task_id, once_more.lease, due_at_us=now_us, max_attempts=2, cost=COST, now_us=now_us
    )
    assert len(await lease(storage, now_us + 2 * MINUTE_US, max_attempts=2)) == 1
    assert await lease(storage, now_us + 4 * MINUTE_US, max_attempts=2) == []
    assert await storage.judging.drop(now_us + 4 * MINUTE_US, {"quality": 2}) == 1
    account = (await storage.judging.accounts())["quality"]
    assert (account.failed, account.dropped, account.cost.calls) == (2, 0, 2)


async def test_what_retention_deletes_takes_its_judgements_along(storage, make):
    await sampled(storage, make, 4)
    task, *_ = await lease(storage, make.now_us)
    await storage.judging.finish(task.task_id, task.lease, score=1.0, reason="", cost=COST, now_us=make.now_us)
    assert await storage.maintenance.prune(before_us=make.now_us + MINUTE_US, limit=100) == 4
    assert await rows(storage, judge_task) == []
    assert await rows(storage, judgement) == []


class Rewards:
    """The reward log behind the small judge of these tests."""

    def __init__(self, storage, make) -> None:
        self._storage, self._make = storage, make

    async def submit(self, rewards: Sequence[RewardInput]) -> list[Any]:
        return await self._storage.rewards.record(
            [
                self._make.reward(
                    one.decision_id, one.value, identity=f"src:{one.decision_id}/quality/{one.source}",
                    source=one.source, retract=one.retract, body_hash=one.body_hash,
                )
                for one in rewards
            ],
            self._make.judge,
        )  # fmt: skip


async def judged(storage, make, verdict) -> list[str]:
    """Answers that the judge and people have scored: verdict(i) is (the judge's, theirs)."""
    ids = await sampled(storage, make, 80)
    place = {decision_id: i for i, decision_id in enumerate(ids)}
    for task in await lease(storage, make.now_us, 200):
        score, _ = verdict(place[task.answer.decision_id])
        await storage.judging.finish(task.task_id, task.lease, score=score, reason="", cost=COST, now_us=make.now_us)
    labels = [make.reward(decision_id, verdict(i)[1]) for i, decision_id in enumerate(ids)]
    assert all(isinstance(one, RewardReceipt) for one in await storage.rewards.record(labels, make.judge))
    return ids


async def test_a_judge_that_favours_an_arm_is_refused_and_its_rewards_are_taken_back(storage, open_replica, make):
    """Half the answers are bad whoever gave them; it passes those of the arm dear (every other decision)."""
    ids = await judged(storage, make, lambda i: (1.0 if i % 2 == 0 else float(i % 4 == 1), float(i % 4 < 2)))
    rule = JudgeRule(name="quality")
    store = storage.judging
    rewards = VerdictRewards(store, Rewards(storage, make))
    # Counted before people were looked at.
    while await rewards.settle("quality"):
        pass
    gate = TrustGate([rule], store, Clock(make.now_us))
    await gate.look()
    assert await store.refusals() == {}  # these are verdicts of another version
    await storage.database.write(
        lambda connection: connection.execute(judgement.update().values(version=rule.version))
    )
    async with open_replica("second") as other:
        await asyncio.gather(gate.look(), TrustGate([rule], other.judging, Clock(make.now_us)).look())
    [refusal] = (await store.refusals()).values()
    assert "scores higher than people do where dear answered" in refusal.reason
    while any(row["reward"] == "counted" for row in await rows(storage, judgement)):
        assert await rewards.settle("quality") > 0
    assert await rewards.settle("quality") == 0
    events = [row for row in await rows(storage, reward_event) if row["source"] == "judge:quality"]
    assert sorted((row["kind"], row["revision"]) for row in events) == sorted(
        [("reward", 0)] * len(ids) + [("retraction", 1)] * len(ids)
    )
    # What it says from now on is kept and does not count.
    await sampled(storage, make, 2, version=rule.version)
    for task in await lease(storage, make.now_us, version=rule.version):
        await store.finish(task.task_id, task.lease, score=1.0, reason="", cost=COST, now_us=make.now_us)
    await rewards.settle("quality")
    assert {row["reward"] for row in await rows(storage, judgement)} == {"withdrawn", "withheld"}
    assert len([row for row in await rows(storage, reward_event) if row["source"] == "judge:quality"]) == len(events)


async def test_a_judge_that_has_it_the_wrong_way_round_is_refused(storage, make):
    await judged(storage, make, lambda i: (float(i % 4 >= 2), float(i % 4 < 2)))
    rule = JudgeRule(name="quality")
    await storage.database.write(
        lambda connection: connection.execute(judgement.update().values(version=rule.version))
    )
    await TrustGate([rule], storage.judging, Clock(make.now_us)).look()
    [refusal] = (await storage.judging.refusals()).values()
    assert "what people call bad higher than what they call good" in refusal.reason


async def test_an_honest_judge_stays_and_a_retracted_label_is_none(storage, make):
    ids = await judged(storage, make, lambda i: (float(i % 4 < 2) * 0.8 + 0.1, float(i % 4 < 2)))
    rule = JudgeRule(name="quality")
    await storage.database.write(
        lambda connection: connection.execute(judgement.update().values(version=rule.version))
    )
    gate = TrustGate([rule], storage.judging, Clock(make.now_us))
    await gate.look()
    assert await storage.judging.refusals() == {}
    taken_back = make.reward(ids[0], None, retract=True, body_hash="back")
    corrected = make.reward(ids[1], 0.0, body_hash="corrected")
    await storage.rewards.record([taken_back, corrected], make.judge)
    standing = await gate.standing(rule)
    assert (standing.labels, standing.agreement) == (79, pytest.approx(78 / 79))
    assert standing.mean_score == pytest.approx(0.5)
    assert standing.people is not None
    assert standing.people.low < 0.5 < standing.people.high


async def test_a_verdict_is_handed_in_again_after_a_kill_without_counting_twice(storage, make):
    await judged(storage, make, lambda _: (0.75, 0.75))
    store = storage.judging
    rewards = Rewards(storage, make)
    pending = await store.with_reward("quality", "pending", 200)
    # Handed in, and killed before it was noted.
    await rewards.submit(
        [
            RewardInput(
                decision_id=one.decision_id,
                value=one.score,
                source="judge:quality",
                body_hash=f"judge:{one.version}:{one.score!r}",
            )
            for one in pending
        ]
    )
    while await VerdictRewards(store, rewards).settle("quality"):
        pass
    events = [row for row in await rows(storage, reward_event) if row["source"] == "judge:quality"]
    assert len(events) == 80
    assert {row["reward"] for row in await rows(storage, judgement)} == {"counted"}


async def test_a_verdict_is_of_the_version_that_gave_it(storage, make):
    """An answer was sampled, then the judge's model was changed: the new one is asked, and answers for itself."""
    await sampled(storage, make, 2, version="before")
    [first, second] = await lease(storage, make.now_us, version="after")
    assert (first.answer.version, second.answer.version) == ("after", "after")
    kept = await storage.judging.finish(
        first.task_id, first.lease, score=0.5, reason="", cost=COST, now_us=make.now_us
    )
    assert kept is not None
    assert [kept.version] == [row["version"] for row in await rows(storage, judgement)] == ["after"]


async def test_what_is_judged_is_not_sampled_again(storage, make):
    """The answer of the storing transaction was lost, and the verdict is there before it is sent once more."""
    decisions = [make.decision() for _ in range(2)]
    await storage.decisions.append(decisions)
    answers = [
        AnswerToJudge(
            decision_id=one.decision_id, judge="quality", version="v1", policy="default", arm=one.arm,
            probability=1.0, question="", answer="that", created_at_us=make.now_us,
            expires_at_us=make.now_us + MINUTE_US,
        )
        for one in decisions
    ]  # fmt: skip
    assert await storage.judging.sample(answers, MOST) == []
    [task, _] = await lease(storage, make.now_us)
    await storage.judging.finish(task.task_id, task.lease, score=1.0, reason="", cost=COST, now_us=make.now_us)
    assert await storage.judging.sample(answers, {"quality": 1}) == []
    assert await storage.judging.waiting() == {"quality": 1}
    account = (await storage.judging.accounts())["quality"]
    assert (account.sampled, account.dropped, account.judged) == (2, 0, 1)


async def test_the_statements_of_the_queue_do_not_grow_with_it(storage, make):
    """Decisions are written on the same connection, behind them; and accounts are booked in the order of keys."""
    decisions = [make.decision() for _ in range(40)]
    await storage.decisions.append(decisions)
    answers = [
        AnswerToJudge(
            decision_id=one.decision_id, judge="quality", version="v1", policy=f"p{(7 * i) % 5}", arm=one.arm,
            probability=1.0, question="", answer="that", created_at_us=make.now_us,
            expires_at_us=make.now_us + MINUTE_US,
        )
        for i, one in enumerate(decisions)
    ]  # fmt: skip
    written: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        if statement.split(None, 1)[0] in {"INSERT", "UPDATE", "DELETE"}:
            written.append((statement, parameters))

    event.listen(storage.database.engine, "before_cursor_execute", note)
    await storage.judging.sample(answers[:2], MOST)
    few = len(written)
    await storage.judging.sample(answers[2:], MOST)
    assert len(written) == 2 * few
    statement, booked = written[-1]
    assert "judge_account" in statement
    assert [next(value for value in _values(row) if str(value)[:1] == "p") for row in booked] == [
        f"p{i}" for i in range(5)
    ]
    written.clear()
    tasks = await lease(storage, make.now_us)
    assert (len(tasks), len(written)) == (40, 1)
    for task in tasks:
        await storage.judging.finish(task.task_id, task.lease, score=1.0, reason="", cost=COST, now_us=make.now_us)
    pending = await storage.judging.with_reward("quality", "pending", 100)
    written.clear()
    await storage.judging.mark(pending, "withheld")
    assert len(written) == 1
    assert {row["reward"] for row in await rows(storage, judgement)} == {"withheld"}


def _values(row: Any) -> list[Any]:
    return list(row.values() if isinstance(row, dict) else row)


@pytest.mark.parametrize("seen_before", [False, True])
async def test_a_reward_that_overtakes_the_refusal_of_its_judge_is_taken_back(
    storage, open_replica, make, seen_before
):
    """One replica hands verdicts in; meanwhile another refuses the judge, and withholds or takes back all of them."""
    await sampled(storage, make, 3)
    for task in await lease(storage, make.now_us):
        await storage.judging.finish(task.task_id, task.lease, score=1.0, reason="", cost=COST, now_us=make.now_us)
    async with open_replica("second") as other:
        elsewhere = VerdictRewards(other.judging, Rewards(other, make))

        class Overtaken(Rewards):
            async def submit(self, rewards: Sequence[RewardInput]) -> list[Any]:
                if not rewards[0].retract and not await storage.judging.refusals():
                    if seen_before:
                        await elsewhere.settle("quality")
                    await other.judging.refuse(Refusal(judge="quality", version="v1", reason="", at_us=make.now_us))
                    await elsewhere.settle("quality")
                return await super().submit(rewards)

        here = VerdictRewards(storage.judging, Overtaken(storage, make))
        while await here.settle("quality"):
            pass
    last = {row["decision_id"]: row["kind"] for row in sorted(
        (dict(row) for row in await rows(storage, reward_event)), key=lambda row: row["revision"]
    )}  # fmt: skip
    assert sorted(last.values()) == ["retraction"] * 3
    assert {row["reward"] for row in await rows(storage, judgement)} == {"withdrawn"}


async def test_answers_of_a_judge_that_nobody_configures_any_more_go_in_their_time(
    storage, make, retention, monkeypatch
):
    monkeypatch.setattr(claims, "CHUNK", 2)
    await sampled(storage, make, 5)
    clock = Clock(make.now_us + MINUTE_US)
    keeping = retention(storage, clock.now_us)
    await keeping.run()
    assert await storage.judging.waiting() == {"quality": 5}
    clock.at_us += 60 * MINUTE_US
    await keeping.run()
    assert await rows(storage, judge_task) == []
