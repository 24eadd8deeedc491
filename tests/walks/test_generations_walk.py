"""An arm under the name of a deleted one begins anew; what is late of the old one teaches the old one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.rewards import UsageReport
from banditd.core.types import Arm, Decision, Price, Query
from banditd.daemon.open import Daemon
from banditd.services.learning.rebuild import rebuild
from banditd.services.walks import RewardInput

NEW = Arm(policy="default", arm="small", upstream_model="maker/another", price=Price(0.1, 0.4))


async def ask(daemon: Daemon, i: int = 0, **query: Any) -> Decision:
    return await daemon.services.routing.route(Query(text=f"query {i}", candidates=("small",), **query))


async def reward(daemon: Daemon, decision: Decision, value: float) -> None:
    given = RewardInput(decision_id=decision.decision_id, value=value, source="judge", body_hash=str(value))
    [outcome] = await daemon.services.rewards.submit([given])
    assert not isinstance(outcome, Exception), outcome


async def settle(daemon: Daemon, decision: Decision, tokens: int) -> None:
    report = UsageReport(
        decision_id=decision.decision_id, input_tokens=10, output_tokens=tokens, body_hash=str(tokens)
    )
    await daemon.services.rewards.report_usage(report)


async def agrees(daemon: Daemon) -> bool:
    storage = daemon.storage

    class Clock:
        def now_us(self) -> int:
            return 0

    report = await rebuild(
        daemon.runtimes["default"], store=storage.learning, leases=storage.leases, jobs=storage.jobs, clock=Clock(),
        holder="test", write=False,
    )  # fmt: skip
    return report.agrees


async def predicted(daemon: Daemon) -> float:
    made = await ask(daemon, dry_run=True)
    return float(made.mean[made.chosen_index])


def promised(daemon: Daemon) -> Any:
    return daemon.services.promises.promise("default")


async def replace_arm(daemon: Daemon, *, anew: bool = True) -> None:
    await daemon.services.arms.delete("default", "small")
    await daemon.services.arms.add(NEW, anew=anew)


async def test_a_new_arm_under_an_old_name_knows_nothing_of_it(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        untaught = await predicted(daemon)
        for i in range(30):
            decision = await ask(daemon, i)
            await settle(daemon, decision, 5000)
            await reward(daemon, decision, 0.0)
        late = await ask(daemon, 99)
        await daemon.learner.drained()
        taught = await predicted(daemon)
        assert taught < untaught - 0.2
        await replace_arm(daemon)
        fresh = await predicted(daemon)
        assert fresh > taught + 0.2
        view = await daemon.services.arms.get("default", "small")
        assert (view.arm.generation, view.usage.decisions, view.usage.output_tokens) == (2, 0, 0)
        assert view.statistics.get("rewards", 0) == 0
        assert view.onboarding["active"] is True
        # What is still to come of the old arm's decisions is the old arm's.
        await settle(daemon, late, 7000)
        await reward(daemon, late, 0.0)
        await daemon.learner.drained()
        assert await predicted(daemon) == pytest.approx(fresh, abs=1e-12)
        view = await daemon.services.arms.get("default", "small")
        assert (view.usage.usage_reports, view.statistics.get("rewards", 0)) == (0, 0)
        rows: Any = (await daemon.services.reports.stats("default", None))["arms"]
        assert {row["arm"]: row["rewards"] for row in rows if row["arm"].startswith("small")} == {
            "small": 0, "small (1)": 31,
        }  # fmt: skip
        # And what is new is the new one's.
        mine = await ask(daemon, 100)
        assert mine.generations == {"small": 2}
        await reward(daemon, mine, 1.0)
        await daemon.learner.drained()
        assert await predicted(daemon) > fresh
        assert await agrees(daemon)
    async with open_daemon() as daemon:
        assert await predicted(daemon) > fresh
        await reward(daemon, late, 0.5)  # a correction takes out of the old one what it had put there
        await daemon.learner.drained()
        assert await agrees(daemon)


async def test_asked_to_it_goes_on_where_the_old_one_was(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        for i in range(20):
            await reward(daemon, await ask(daemon, i), 0.0)
        await daemon.learner.drained()
        taught = await predicted(daemon)
        await replace_arm(daemon, anew=False)
        view = await daemon.services.arms.get("default", "small")
        assert (view.arm.generation, view.usage.decisions) == (1, 20)
        assert view.onboarding["active"] is False
        assert await predicted(daemon) == pytest.approx(taught, abs=1e-9)
        assert await agrees(daemon)


async def test_replicas_agree_on_whose_a_reward_is(open_daemon: OpenDaemon) -> None:
    """Whichever replica decided, and whichever takes the reward."""
    async with open_daemon() as first, open_daemon() as second:
        behind = await ask(second)  # decided for the old one, rewarded when there is a new one
        await replace_arm(first)
        await reward(first, behind, 1.0)
        await reward(second, await ask(first), 0.0)
        await first.learner.drained()
        rows: Any = (await first.services.reports.stats("default", None))["arms"]
        found = {row["arm"]: row["rewards"] for row in rows if row["arm"].startswith("small")}
        assert found == {"small": 1, "small (1)": 1}
        assert await agrees(first)


async def test_a_promise_about_a_new_arm_does_not_rest_on_the_old_one(open_daemon: OpenDaemon) -> None:
    """What the deleted baseline earned says nothing of the arm that has its name now."""
    new = Arm(policy="default", arm="large", upstream_model="maker/another", price=Price(3.0, 15.0))
    promise = {"baseline": "large", "keep": 0.95}
    async with open_daemon(promise=promise) as daemon, open_daemon(promise=promise) as replica:
        for i in range(20):
            await reward(daemon, await daemon.services.routing.route(Query(text=f"query {i}")), 0.9)
        await daemon.learner.drained()
        await daemon.promises.step()
        assert promised(daemon)["quality"]["rated"] == 20
        await replica.services.routing.route(Query(text="another query"))
        assert promised(replica)["decisions"] > 0
        await daemon.services.arms.delete("default", "large")
        await daemon.services.arms.add(new)
        await replica.learner.refresh_arms()  # sees the deletion and the addition at once
        fresh = promised(daemon)
        assert (fresh["quality"]["rated"], fresh["decisions"]) == (0, 0)
        assert promised(replica)["decisions"] == 0
        late = await daemon.services.routing.route(Query(text="the first query of the new one"))
        await reward(daemon, late, 0.4)
        await daemon.learner.drained()
        await daemon.promises.step()
        after = promised(daemon)
        assert (after["quality"]["rated"], after["decisions"]) == (1, 1)
    async with open_daemon(promise=promise) as again:
        assert promised(again)["quality"] == after["quality"]
        assert promised(again)["decisions"] == 1
