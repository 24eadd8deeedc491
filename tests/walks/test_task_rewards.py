"""Rewards of whole tasks: shared out once, overruled by a step's own, kept out of what is measured."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.over_http import ask, client_of
from tests.walks.conftest import OpenDaemon, ShiftedClock, leads, make_settings
from tests.walks.test_context_tags import sums
from tests.walks.test_reward_walk import refolded, reward

from banditd.core.errors import ConflictError, GoneError, InvalidInputError, NotFoundError
from banditd.core.origins import Origin
from banditd.core.rewards import TaskName, TaskReceipt, UsageReport
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.services.walks import RewardInput


async def step(daemon: Daemon, task: str | None = "run", key_name: str | None = None, **more: Any) -> Decision:
    query = Query(text="a step", origin=Origin(task_id=task), key_name=key_name, **more)
    return await daemon.services.routing.route(query)


async def reward_task(
    daemon: Daemon, value: float | None, task: str = "run", key_name: str | None = None, **more: Any
) -> TaskReceipt:
    stated = {"value": value, "retract": value is None, "source": "metric", "key_name": key_name} | more
    given = RewardInput(task=TaskName(task, key_name), body_hash=str(sorted(map(str, stated.items()))), **stated)
    receipt = await daemon.services.rewards.submit_task(given)
    await daemon.learner.drained()
    return receipt


def taught(daemon: Daemon) -> tuple[float, float]:
    """(weight, weighted reward) of all arms together."""
    found = sums(daemon).values()
    return pytest.approx(sum(w for w, _ in found)), pytest.approx(sum(wr for _, wr in found))  # type: ignore[return-value]


async def measured(daemon: Daemon) -> tuple[int, Any]:
    stats: Any = await daemon.services.tags.stats("default", None)
    return stats["rewards"], stats["mean_reward"]


async def test_each_decision_learns_its_share_and_nothing_is_measured_by_it(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        made = [await step(daemon) for _ in range(4)]
        await step(daemon, "other")
        await step(daemon, None)
        receipt = await reward_task(daemon, 0.75)
        assert (receipt.decisions, receipt.recorded, receipt.reward, receipt.duplicate) == (4, 4, 0.75, False)
        assert taught(daemon) == (1.0, 0.75)
        by_arm = {arm: sum(one.arm == arm for one in made) / 4 for arm in {one.arm for one in made}}
        assert {arm: weight for arm, (weight, _) in sums(daemon).items()} == pytest.approx(by_arm)
        assert await measured(daemon) == (0, None)
        whole: Any = await daemon.services.reports.decision(made[0].decision_id)
        assert whole["contribution"] is None
        assert [(one["kind"], one["reward"], one["status"]) for one in whole["rewards"]] == [
            ("task", 0.75, "recorded")
        ]
        [put] = whole["arm_rewards"]
        assert (put["arm"], put["reward"], put["weight"]) == (made[0].arm, 0.75, pytest.approx(0.25))
        assert (await refolded(daemon)).agrees
        await daemon.jobs.run_now("integrity")
        assert {run["job"]: run["error"] for run in await daemon.storage.jobs.runs()}["integrity"] is None


@pytest.mark.parametrize("task_first", [True, False])
async def test_a_steps_own_reward_stands_in_place_of_its_share(open_daemon: OpenDaemon, task_first: bool) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        own, *others = [await step(daemon) for _ in range(3)]
        if task_first:
            await reward_task(daemon, 1.0)
            assert taught(daemon) == (1.0, 1.0)
        receipt = await reward(daemon, own.decision_id, 0.25)
        await daemon.learner.drained()
        if not task_first:
            shared = await reward_task(daemon, 1.0)
            assert (shared.decisions, shared.recorded, shared.outweighed) == (3, 2, 1)
        assert taught(daemon) == (1.0 + 2 / 3, 0.25 + 2 / 3)
        assert await measured(daemon) == (1, pytest.approx(0.25))
        assert (await refolded(daemon)).agrees
        again = await reward_task(daemon, 1.0)
        assert (again.recorded, again.outweighed, again.duplicate) == (2, 1, True)
        await daemon.services.rewards.retract(receipt.reward_id)  # and its share is back
        await daemon.learner.drained()
        assert taught(daemon) == (1.0, 1.0)
        again = await reward_task(daemon, 1.0)
        assert (again.recorded, again.outweighed) == (3, 0)
        assert await measured(daemon) == (0, None)
        # Who served is who learns: a report that comes after the reward moves the share.
        other = next(arm for arm in others[0].arms if arm != others[0].arm)
        await daemon.services.rewards.report_usage(UsageReport(decision_id=others[0].decision_id, served_arm=other))
        await daemon.learner.drained()
        assert sums(daemon)[other][0] >= 1 / 3 - 1e-9
        assert taught(daemon) == (1.0, 1.0)
        assert (await refolded(daemon)).agrees


async def test_only_a_reward_of_who_served_outweighs_a_share(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        rerouted, other = [await step(daemon) for _ in range(2)]
        another = next(arm for arm in rerouted.arms if arm != rerouted.arm)
        not_served = next(arm for arm in other.arms if arm != other.arm)
        for made, arm in ((rerouted, another), (other, not_served)):
            await reward(daemon, made.decision_id, 0.25, arm=arm)
        receipt = await reward_task(daemon, 1.0, idempotency_key="k")
        assert (receipt.recorded, receipt.outweighed) == (2, 0)
        await daemon.services.rewards.report_usage(UsageReport(decision_id=rerouted.decision_id, served_arm=another))
        receipt = await reward_task(daemon, 1.0)
        assert (receipt.recorded, receipt.outweighed) == (1, 1)
        again = await reward_task(daemon, 1.0, idempotency_key="k")  # as it was told then
        assert (again.recorded, again.outweighed) == (2, 0)
        assert (await refolded(daemon)).agrees


async def test_it_counts_once_is_corrected_as_a_difference_and_taken_back_whole(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        for _ in range(3):
            await step(daemon)
        assert not (await reward_task(daemon, 1.0)).duplicate
        assert (await reward_task(daemon, 1.0)).duplicate
        assert taught(daemon) == (1.0, 1.0)
        assert not (await reward_task(daemon, 0.5)).duplicate
        assert taught(daemon) == (1.0, 0.5)
        await step(daemon)  # the task went on: said again, it is of four decisions
        again = await reward_task(daemon, 0.5)
        assert (again.decisions, again.duplicate) == (4, False)
        assert taught(daemon) == (1.0, 0.5)
        assert (await reward_task(daemon, None)).reward is None
        assert (await reward_task(daemon, None)).duplicate
        assert taught(daemon) == (0.0, 0.0)
        assert (await refolded(daemon)).agrees


async def test_a_key_is_answered_as_the_first_time_though_the_task_has_grown(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        await step(daemon)
        first = await reward_task(daemon, 1.0, idempotency_key="k")
        await step(daemon)
        again = await reward_task(daemon, 1.0, idempotency_key="k")
        assert (again.decisions, again.recorded, again.duplicate) == (first.decisions, 1, True)
        with pytest.raises(ConflictError):
            await reward_task(daemon, 0.5, idempotency_key="k")
        assert taught(daemon) == (1.0, 1.0)


async def test_replicas_that_are_told_at_once_count_it_once(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as one, open_daemon() as two:
        for _ in range(3):
            await step(one)
        given = [reward_task(daemon, 1.0, idempotency_key=key) for daemon in (one, two) for key in (None, "k", "k")]
        receipts = await asyncio.gather(*given)
        assert sum(not receipt.duplicate for receipt in receipts) <= 2  # the key's own first answer may be one
        leader = one if one.learner.leader else two
        await leader.learner.drained()
        assert taught(leader) == (1.0, 1.0)
        assert (await refolded(leader)).agrees
    async with open_daemon() as again:
        assert taught(again) == (1.0, 1.0)


async def test_what_was_told_before_the_end_is_learned_after_it_and_once(open_daemon: OpenDaemon) -> None:
    for _ in range(2):
        async with open_daemon() as daemon:
            await step(daemon, "other")
            await step(daemon)
            stated = RewardInput(task=TaskName("run"), value=1.0, source="metric", idempotency_key="k", body_hash="b")
            receipt = await daemon.services.rewards.submit_task(stated)  # and the daemon ends
    assert (receipt.decisions, receipt.duplicate) == (1, True)
    async with open_daemon() as daemon:
        await leads(daemon)
        await daemon.learner.drained()
        assert taught(daemon) == (1.0, 1.0)
        assert (await refolded(daemon)).agrees


async def test_tasks_belong_to_their_api_key_and_none_or_too_many_decisions_are_refused(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        await step(daemon, key_name="mine")
        for task, key_name in (("run", None), ("run", "theirs"), ("ru", "mine")):
            with pytest.raises(NotFoundError, match="no decision of this API key has the task"):
                await reward_task(daemon, 1.0, task, key_name)
        assert (await reward_task(daemon, 1.0, key_name="mine")).recorded == 1
        with pytest.raises(InvalidInputError, match="unknown source"):
            await reward_task(daemon, 1.0, key_name="mine", source="nobody")
        with pytest.raises(InvalidInputError, match="outside the scale"):
            await reward_task(daemon, 7.0, key_name="mine")
        monkeypatch.setattr("banditd.storage.task_rewards.MOST_STEPS", 1)
        await step(daemon, key_name="mine")
        with pytest.raises(InvalidInputError, match="name shorter tasks"):
            await reward_task(daemon, 1.0, key_name="mine")
        assert taught(daemon) == (1.0, 1.0)
        assert (await reward_task(daemon, None, key_name="mine")).reward is None  # what was given can be taken back
        assert taught(daemon) == (0.0, 0.0)


async def test_what_may_not_be_rewarded_any_more_is_left_out_and_what_waits_is_held(
    open_daemon: OpenDaemon, clock: ShiftedClock
) -> None:
    async with open_daemon(reward={"window_s": 3600, "late_policy": "reject"}) as daemon:
        await leads(daemon)
        await step(daemon)
        clock.hours += 2
        with pytest.raises(GoneError):
            await reward_task(daemon, 1.0)
        held = await step(daemon, defer_activation=True)
        abandoned = await step(daemon)
        await daemon.services.rewards.abandon(abandoned.decision_id)
        receipt = await reward_task(daemon, 1.0)
        assert (receipt.decisions, receipt.recorded, receipt.held) == (3, 0, 1)
        assert taught(daemon) == (0.0, 0.0)
        await daemon.services.rewards.activate(held.decision_id)
        await daemon.learner.drained()
        assert taught(daemon) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


async def test_a_decision_that_has_a_share_gets_no_default(open_daemon: OpenDaemon, clock: ShiftedClock) -> None:
    async with open_daemon(reward={"window_s": 3600, "default_reward": 0.0}) as daemon:
        await leads(daemon)
        await daemon.jobs.run_now("default_rewards")  # it goes on from where it has looked
        await step(daemon)
        await step(daemon, "other")
        await reward_task(daemon, 1.0)
        clock.hours += 2
        await daemon.jobs.run_now("default_rewards")
        await daemon.learner.drained()
        assert taught(daemon) == (2.0, 1.0)
        assert await measured(daemon) == (1, pytest.approx(0.0))


async def test_over_http_a_task_is_rewarded_alone(sqlite_url: str) -> None:
    async with client_of(make_settings(sqlite_url)) as client:
        for name in ("plan", "act"):
            await ask(client, "POST", "/v1/route", {"input": "?", "task_id": "run 1", "step": name})
        body = {"task_id": "run 1", "value": 1.0, "source": "metric"}
        status, receipt = await ask(client, "POST", "/v1/rewards", body, Idempotency_Key="k1")
        assert (status, receipt) == (
            200,
            {"task_id": "run 1", "decisions": 2, "recorded": 2, "outweighed": 0, "held": 0, "logged": 0,
             "reward": 1.0, "duplicate": False},
        )  # fmt: skip
        _, again = await ask(client, "POST", "/v1/rewards", body, Idempotency_Key="k1")
        assert again == receipt | {"duplicate": True}
        for bad, expected, where in (
            ({**body, "decision_id": "01890a5d-ac96-774b-bcce-b302099a8057"}, 422, "/decision_id"),
            ({**body, "arm": "small"}, 422, ""), ([body], 422, "/0/task_id"),
            ({**body, "task_id": "nobody"}, 404, "/task_id"), ({**body, "task_id": ""}, 422, "/task_id"),
        ):  # fmt: skip
            status, problem = await ask(client, "POST", "/v1/rewards", bad)
            assert (status, problem["errors"][0]["pointer"]) == (expected, where), bad
        status, problem = await ask(client, "POST", "/v1/rewards", {**body, "value": 0.5}, Idempotency_Key="k1")
        assert (status, problem["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
