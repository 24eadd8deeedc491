"""The walk of a reward through the real parts: exactly once, whatever is retried, corrected or restarted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import numpy as np
import pytest
from tests.one_query import predict
from tests.walks.conftest import OpenDaemon, leads

from banditd.core.errors import BanditdError, ConflictError, GoneError, NotFoundError
from banditd.core.rewards import RewardReceipt, UsageReport
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.services.learning.changes import evidence_of_changes
from banditd.services.learning.rebuild import RebuildReport, rebuild
from banditd.services.reports.savings import fixed_arm_sums
from banditd.services.walks import RewardInput


async def route(daemon: Daemon, **query: object) -> str:
    values: dict[str, object] = {"text": "what is the capital of France?"}
    decision = await daemon.services.routing.route(Query(**(values | query)))  # type: ignore[arg-type]
    return decision.decision_id


async def reward(daemon: Daemon, decision_id: str, value: float | None, **more: object) -> RewardReceipt:
    body = repr((decision_id, value, sorted(more.items())))
    given: dict[str, object] = {"source": "metric", "body_hash": body}
    [outcome] = await daemon.services.rewards.submit(
        [RewardInput(decision_id=decision_id, value=value, **(given | more))]  # type: ignore[arg-type]
    )
    if isinstance(outcome, BanditdError):
        raise outcome
    return outcome


async def learned(daemon: Daemon) -> tuple[float, float]:
    """(weight, weighted reward) in the statistics of all arms, as committed."""
    await daemon.learner.drained()
    totals = await daemon.storage.reports.arm_totals("default", None)
    return sum(float(t["weight"]) for t in totals), sum(float(t["weighted_reward"]) for t in totals)


async def refolded(daemon: Daemon, policy: str = "default") -> RebuildReport:
    await daemon.learner.drained()
    return await rebuild(
        daemon.runtimes[policy],
        store=daemon.learner._store,
        leases=daemon.storage.leases,
        jobs=daemon.storage.jobs,
        clock=daemon.learner._clock,
        holder="test",
        write=False,
    )


async def test_a_reward_is_learned_and_survives_a_restart(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        receipt = await reward(daemon, decision_id, 0.8)
        assert (receipt.status, receipt.duplicate, receipt.reward) == ("recorded", False, 0.8)
        assert await learned(daemon) == (1.0, pytest.approx(0.8))
        version = daemon.runtimes["default"].view.snapshot.version
        assert version >= 1
    async with open_daemon() as daemon:
        assert daemon.runtimes["default"].view.snapshot.version == version
        assert (await refolded(daemon)).agrees


async def test_retries_count_once(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        outcomes = await asyncio.gather(
            *(reward(daemon, decision_id, 1.0, idempotency_key="k1") for _ in range(20)),
            *(reward(daemon, decision_id, 1.0) for _ in range(20)),
        )
        assert sum(not o.duplicate for o in outcomes) == 2  # one for the key, one for the source
        assert len({o.reward_id for o in outcomes}) == 2
        assert (await learned(daemon))[0] == pytest.approx(1.0, abs=1e-3)
        with pytest.raises(ConflictError):
            await reward(daemon, decision_id, 0.0, idempotency_key="k1")


async def test_corrections_and_retractions_leave_exactly_what_should_stand(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        await reward(daemon, decision_id, 0.2)
        assert await learned(daemon) == (1.0, pytest.approx(0.2))
        receipt = await reward(daemon, decision_id, 0.9)
        assert receipt.revision == 1
        assert await learned(daemon) == (1.0, pytest.approx(0.9))
        await daemon.services.rewards.retract(receipt.reward_id)
        assert await learned(daemon) == (pytest.approx(0.0), pytest.approx(0.0))
        again = await daemon.services.rewards.retract(receipt.reward_id)
        assert again.duplicate
        await reward(daemon, decision_id, 0.9)
        assert await learned(daemon) == (1.0, pytest.approx(0.9))
        assert (await refolded(daemon)).agrees


async def test_a_reward_that_comes_again_after_its_retraction_was_counted_before(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon, candidates=("small",))
        for _ in range(3):
            receipt = await reward(daemon, decision_id, 0.9)
            await daemon.learner.drained()
            await daemon.services.rewards.retract(receipt.reward_id)
            await daemon.learner.drained()
        await reward(daemon, decision_id, 0.9)
        await daemon.learner.drained()
        assert sum(rewards for _, rewards in await daemon.storage.reports.delays("default")) == 1
        assert evidence_of_changes(daemon.runtimes["default"].learned)["small"][1] == 1


async def test_a_deferred_decision_learns_only_after_its_activation(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon, defer_activation=True)
        assert (await reward(daemon, decision_id, 1.0)).status == "held"
        assert await learned(daemon) == (0.0, 0.0)
        assert await daemon.services.rewards.activate(decision_id) == (True, False)
        assert await daemon.services.rewards.activate(decision_id) == (False, False)
        assert await learned(daemon) == (1.0, 1.0)
        with pytest.raises(NotFoundError):
            await daemon.services.rewards.activate("01890000-0000-7000-8000-000000000000")


async def test_the_arm_that_served_is_credited(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision = await daemon.services.routing.route(Query(text="x", candidates=("small",)))
        await reward(daemon, decision.decision_id, 1.0)
        await learned(daemon)
        receipt = await daemon.services.rewards.report_usage(
            UsageReport(decision_id=decision.decision_id, served_arm="large", input_tokens=1000, output_tokens=100)
        )
        assert receipt.cost_usd == pytest.approx(0.003 + 0.0015)
        await learned(daemon)
        by_arm = {t["arm"]: t for t in await daemon.storage.reports.arm_totals("default", None)}
        assert by_arm["large"]["weight"] == pytest.approx(1.0)
        assert float(by_arm.get("small", {"weight": 0.0})["weight"]) == pytest.approx(0.0)
        row = await daemon.storage.decisions.get(decision.decision_id)
        assert row is not None
        assert row["arm"] == "small"
        assert (await refolded(daemon)).agrees


async def test_late_rewards_follow_the_policy(open_daemon: OpenDaemon) -> None:
    async with open_daemon(reward={"window_s": 1e-6, "late_policy": "reject"}) as daemon:
        decision_id = await route(daemon)
        with pytest.raises(GoneError):
            await reward(daemon, decision_id, 1.0)
    async with open_daemon(reward={"window_s": 1e-6, "late_policy": "log"}) as daemon:
        decision_id = await route(daemon)
        assert (await reward(daemon, decision_id, 1.0)).status == "logged"
        assert await learned(daemon) == (0.0, 0.0)
    async with open_daemon(reward={"window_s": 1e-6, "late_policy": "learn"}) as daemon:
        decision_id = await route(daemon)
        receipt = await reward(daemon, decision_id, 1.0)
        assert (receipt.status, receipt.late) == ("recorded", True)
        assert await learned(daemon) == (1.0, 1.0)


@pytest.mark.parametrize("rules", [{"late_policy": "log"}, {"log_only_metrics": ["quality"]}], ids=str)
async def test_a_retraction_unlearns_also_after_a_correction_that_was_only_logged(
    open_daemon: OpenDaemon, rules: dict[str, object]
) -> None:
    async with open_daemon(reward={"window_s": 1e-6, "late_policy": "learn"}) as daemon:
        decision_id = await route(daemon)
        await reward(daemon, decision_id, 1.0)
        assert await learned(daemon) == (1.0, 1.0)
    async with open_daemon(reward=rules) as daemon:
        receipt = await reward(daemon, decision_id, 0.5)
        assert receipt.status == "logged"
        assert await learned(daemon) == (1.0, 1.0)
        await daemon.services.rewards.retract(receipt.reward_id)
        assert await learned(daemon) == (0.0, 0.0)
        assert (await refolded(daemon)).agrees


async def test_a_default_stands_in_until_a_real_reward_comes(open_daemon: OpenDaemon) -> None:
    rules = {"window_s": 1e-6, "default_reward": 0.25}
    async with open_daemon(reward=rules) as daemon:
        await daemon.jobs.run_now("default_rewards")  # at the start of a daemon; from then on it counts
        silent, spoken = await route(daemon), await route(daemon)
        deferred = await route(daemon, defer_activation=True)
        await reward(daemon, spoken, 1.0)
        await daemon.jobs.run_now("default_rewards")
        await daemon.jobs.run_now("default_rewards")
        assert await learned(daemon) == (2.0, pytest.approx(1.25))
        await reward(daemon, silent, 0.75)
        assert await learned(daemon) == (2.0, pytest.approx(1.75))
        row = await daemon.storage.decisions.get(deferred)
        assert row is not None
        assert row["rewards"] == []
        assert (await refolded(daemon)).agrees


async def test_a_call_that_failed_teaches_no_default(open_daemon: OpenDaemon) -> None:
    async with open_daemon(reward={"window_s": 1e-6, "default_reward": 0.25}) as daemon:
        await daemon.jobs.run_now("default_rewards")
        failed, answered = await route(daemon), await route(daemon)
        await daemon.services.rewards.report_usage(UsageReport(decision_id=failed, error="timeout"))
        await daemon.services.rewards.report_usage(UsageReport(decision_id=answered, input_tokens=10))
        await daemon.jobs.run_now("default_rewards")
        assert await learned(daemon) == (1.0, 0.25)


async def test_a_default_is_for_windows_that_close_while_it_is_set(open_daemon: OpenDaemon) -> None:
    window = {"window_s": 1e-6}
    with_default = window | {"default_reward": 0.25}
    async with open_daemon(reward=window) as daemon:
        await route(daemon)
        await daemon.jobs.run_now("default_rewards")
    async with open_daemon(reward=with_default) as daemon:
        for _ in range(3):
            await daemon.jobs.run_now("default_rewards")
        assert await learned(daemon) == (0.0, 0.0)
        await route(daemon)
        await daemon.jobs.run_now("default_rewards")
        assert await learned(daemon) == (1.0, 0.25)
    async with open_daemon(reward=window) as daemon:
        await daemon.jobs.run_now("default_rewards")
        await route(daemon)
    async with open_daemon(reward=with_default) as daemon:
        for _ in range(3):
            await daemon.jobs.run_now("default_rewards")
        assert await learned(daemon) == (1.0, 0.25)


async def test_what_teaches_nothing_leaves_room_for_the_default(open_daemon: OpenDaemon) -> None:
    rules = {"window_s": 1e-6, "default_reward": 0.25, "log_only_metrics": ["latency"]}
    async with open_daemon(reward=rules) as daemon:
        await daemon.jobs.run_now("default_rewards")
        logged, retracted = await route(daemon), await route(daemon)
        await reward(daemon, logged, 1.0, metric="latency")
        receipt = await reward(daemon, retracted, 1.0)
        await daemon.services.rewards.retract(receipt.reward_id)
        await daemon.jobs.run_now("default_rewards")
        assert await learned(daemon) == (2.0, pytest.approx(0.5))
        row = await daemon.storage.decisions.get(retracted)
        assert row is not None
        [default] = [event for event in row["rewards"] if event["kind"] == "default"]  # type: ignore[attr-defined]
        await daemon.services.rewards.retract(default["reward_id"])
        await daemon.jobs.run_now("default_rewards")
        assert await learned(daemon) == (1.0, pytest.approx(0.25))


async def test_several_sources_merge_into_one_observation(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        await reward(daemon, decision_id, 1.0, source="human")
        await reward(daemon, decision_id, 0.5, source="judge")
        weight, weighted = await learned(daemon)
        assert 0.9 < weight < 1.0
        assert 0.5 < weighted / weight < 0.65
        assert (await refolded(daemon)).agrees


async def test_silent_usage_is_settled_at_the_estimate(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        maintenance = daemon.jobs._jobs["usage_silence"].run.__self__  # type: ignore[attr-defined]
        maintenance._window_us = 0
        await daemon.jobs.run_now("usage_silence")
        row = await daemon.storage.decisions.get(decision_id)
        assert row is not None
        assert row["usage"]["cost_usd"] == pytest.approx(row["predicted_cost_usd"])  # type: ignore[index]
        receipt = await daemon.services.rewards.report_usage(
            UsageReport(decision_id=decision_id, cost_usd=0.5, body_hash="real")
        )
        assert receipt.cost_usd == 0.5


async def test_usage_is_taken_once(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        decision_id = await route(daemon)
        report = UsageReport(decision_id=decision_id, cost_usd=0.01, body_hash="a")
        assert not (await daemon.services.rewards.report_usage(report)).duplicate
        assert (await daemon.services.rewards.report_usage(report)).duplicate
        with pytest.raises(NotFoundError):
            await daemon.services.rewards.report_usage(UsageReport(decision_id="nobody", cost_usd=0.02))


async def test_many_mixed_rewards_refold_to_the_same_state(open_daemon: OpenDaemon) -> None:
    rng = np.random.default_rng(7)
    async with open_daemon(half_life_decisions=300) as daemon:
        for _ in range(6):
            texts = [f"query {rng.integers(1000)} about {rng.integers(9)}" for _ in range(100)]
            decisions = await asyncio.gather(*(route(daemon, text=text) for text in texts))
            rewards = [
                (decision_id, float(np.round(rng.random(), 2)), str(rng.choice(["metric", "judge", "human"])))
                for decision_id in decisions
                for _ in range(int(rng.integers(1, 4)))
            ]
            await asyncio.gather(*(reward(daemon, d, value, source=source) for d, value, source in rewards))
        report = await refolded(daemon)
        assert report.decisions == 600
        assert report.agrees, report
        await daemon.jobs.run_now("integrity")
        runs = {run["job"]: run for run in await daemon.storage.jobs.runs()}
        assert runs["integrity"]["error"] is None


async def test_policies_learn_apart(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        here, there = await route(daemon), await route(daemon, policy="other")
        await reward(daemon, there, 1.0)
        assert await learned(daemon) == (0.0, 0.0)
        await reward(daemon, here, 1.0)
        assert await learned(daemon) == (1.0, 1.0)


async def test_the_policy_comes_to_prefer_the_arm_that_is_rewarded(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        for step in range(15):
            queries = [Query(text=f"question number {step} of {i}") for i in range(20)]
            decisions = await asyncio.gather(*(daemon.services.routing.route(q) for q in queries))
            values = [(d.decision_id, 0.9 if d.arm == "small" else 0.2) for d in decisions]
            await asyncio.gather(*(reward(daemon, decision_id, value) for decision_id, value in values))
            await daemon.learner.drained()
        last = await asyncio.gather(*(daemon.services.routing.route(Query(text=f"question {i}")) for i in range(100)))
        assert sum(d.arm == "small" for d in last) > 85


async def test_a_second_replica_follows_and_takes_over(open_daemon: OpenDaemon) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_daemon())
        second_stack = await stack.enter_async_context(AsyncExitStack())
        await leads(first)
        second = await second_stack.enter_async_context(open_daemon())
        decision_id = await route(second)
        await reward(second, decision_id, 1.0)
        await first.learner.drained()
        version = first.runtimes["default"].view.snapshot.version
        while second.runtimes["default"].view.snapshot.version != version:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert not second.learner.leader
        context = second.runtimes["default"].builder.build(text="x", embedding=await _embedding(second, "x"))
        mine = predict(second.runtimes["default"].view.snapshot, context)
        theirs = predict(first.runtimes["default"].view.snapshot, context)
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
        await first.learner.stop()
        other = await route(second)
        await reward(second, other, 1.0)
        await leads(second)
        assert (await refolded(second)).agrees
        assert (await learned(second))[0] == pytest.approx(2.0)


async def _embedding(daemon: Daemon, text: str) -> np.ndarray:
    vector: np.ndarray = await daemon.services.routing._encoder.encode(text)
    return vector


async def test_what_fixed_arms_would_earn_follows_every_correction(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        rewarded = []
        for i in range(12):
            decision = await daemon.services.routing.route(Query(text=f"estimated {i}"))
            await reward(daemon, decision.decision_id, 0.2)
            rewarded.append(decision)
        await daemon.learner.drained()
        for decision in rewarded[::2]:
            await reward(daemon, decision.decision_id, 0.9)  # a correction
        other = next(arm for arm in rewarded[0].arms if arm != rewarded[0].arm)
        await daemon.services.rewards.report_usage(
            UsageReport(decision_id=rewarded[0].decision_id, served_arm=other, body_hash="fallback")
        )
        await daemon.learner.drained()
        sums = {str(row["arm"]): row for row in await daemon.storage.reports.arm_totals("default", None)}
        for arm in rewarded[0].arms:
            kept = [(d, 0.9 if i % 2 == 0 else 0.2) for i, d in enumerate(rewarded) if i > 0]
            drawn = [(d, value) for d, value in kept if d.arm == arm]
            found = fixed_arm_sums(sums[arm])
            assert (found.rated, found.drawn) == (11, len(drawn))  # a fallback tells nothing of what was not drawn
            assert found.estimate == pytest.approx(sum(_phi(d, arm, value) for d, value in kept))
            assert found.gain == pytest.approx(sum(_phi(d, arm, value) - value for d, value in kept))
            assert found.inverse_probability == pytest.approx(
                sum(1 / d.probability[d.arms.index(arm)] for d, _ in kept)
            )
            missed = [value - float(d.mean[d.arms.index(arm)]) for d, value in drawn]
            assert found.residual_power == pytest.approx(sum(one * one for one in missed))


def _phi(decision: Decision, arm: str, value: float) -> float:
    mean = float(decision.mean[decision.arms.index(arm)])
    return mean + (value - mean) / decision.propensity if arm == decision.arm else mean
