"""A promise on the walk of a query, an answer and a reward: what is asked, logged, learned, shown and switched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.errors import InvalidInputError, NotFoundError
from banditd.core.rewards import UsageReport
from banditd.core.types import Decision, Price, Query
from banditd.daemon.open import Daemon
from banditd.services.walks import RewardInput

PROMISE = {"promise": {"baseline": "dearest", "keep": 0.95}}
# What the arms earn: the dearest of them nothing more than the cheap one.
WORTH = {"small": 0.8, "large": 0.8, "vision": 0.2}


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run draws the same: what is asserted of learning does not hang on luck."""
    monkeypatch.setattr("banditd.daemon.open.np.random.default_rng", lambda: np.random.Generator(np.random.PCG64(7)))


async def ask(daemon: Daemon, i: int = 0, **query: Any) -> Decision:
    return await daemon.services.routing.route(Query(text=f"a query, number {i}", **query))


async def reward(daemon: Daemon, decisions: list[Decision]) -> None:
    given = [
        RewardInput(decision_id=one.decision_id, value=WORTH[one.arm], idempotency_key=one.decision_id)
        for one in decisions
    ]
    await daemon.services.rewards.submit(given)
    await daemon.learner.drained()


async def live(daemon: Daemon, n: int, **query: Any) -> list[Decision]:
    """Queries in tens, each rewarded and learned before the next come."""
    made: list[Decision] = []
    for start in range(0, n, 10):
        some = [await ask(daemon, start + i, **query) for i in range(10)]
        made += some
        await reward(daemon, some)
        await daemon.promises.step()
    return made


def standing(daemon: Daemon) -> Mapping[str, Any]:
    return daemon.services.promises.promise("default")


async def test_without_a_promise_nothing_is_asked_and_nothing_logged(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        one = await ask(daemon)
        assert (one.keep, one.baseline, one.promise, one.own_probability) == (None, None, None, None)
        assert standing(daemon)["state"] == "off"
        row = await daemon.services.reports.decision(one.decision_id)
        assert row["keep"] is None


async def test_before_anything_is_known_the_baseline_answers(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        one = await ask(daemon)
        assert (one.arm, one.keep, one.baseline) == ("large", 0.95, "large")
        assert one.promise is not None
        assert one.promise["state"] == "learning"


async def test_a_cheap_arm_as_good_as_the_baseline_takes_over_and_every_propensity_is_exact(
    open_daemon: OpenDaemon,
) -> None:
    async with open_daemon(**PROMISE) as daemon:
        made = await live(daemon, 300)
        last = made[-100:]
        assert sum(one.arm == "small" for one in last) > 50
        assert sum(one.arm == "large" for one in last) > 0  # the reference
        for one in made:
            assert one.propensity == one.probability[one.chosen_index]
            assert one.own_probability is not None
            assert one.promise is not None
            share = float(one.promise["share"])
            blended = share * one.own_probability
            blended[one.arms.index("large")] += 1.0 - share
            assert one.probability == pytest.approx(blended, abs=1e-12)
        shown = standing(daemon)
        assert shown["state"] == "keeping"
        assert shown["quality"]["ratio"] == pytest.approx(0.98, abs=0.06)
        assert shown["quality"]["rated"] == 300
        assert shown["saves_usd_per_decision"] > 0.0
        row = await daemon.services.reports.decision(made[-1].decision_id)
        assert (row["keep"], row["baseline"]) == (0.95, "large")
        assert set(row["promise"]) >= {"share", "price_per_usd", "state"}  # type: ignore[call-overload]


async def test_a_restart_and_a_replica_know_what_the_log_knows(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        await live(daemon, 200)
        before = standing(daemon)
        async with open_daemon(**PROMISE) as other:
            assert standing(other)["quality"] == before["quality"]
            assert standing(other)["share"] > 0.5
    async with open_daemon(**PROMISE) as again:
        after = standing(again)
        assert after["quality"] == before["quality"]
        assert (await ask(again)).promise["share"] > 0.5  # type: ignore[index]


async def test_which_share_of_the_decisions_is_rated_is_read_from_the_log(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        made = [await ask(daemon, i) for i in range(12)]
        await ask(daemon, cost_weight=0.3)  # outside of the promise
        await reward(daemon, made[::3])
        since = daemon.storage.recent.promised_since
        assert await since("default", made[0].decision_id, 100) == 12
        assert await since("default", made[9].decision_id, 100) == 3
        assert await since("default", made[0].decision_id, 5) == 5
        assert await since("other", made[0].decision_id, 100) == 0


async def test_an_objective_of_its_own_stays_outside(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        for own in ({"cost_weight": 0.3}, {"quality_floor": 0.1}, {"profile": "economy"}):
            one = await ask(daemon, **own)
            assert one.keep is None, own
        pinned = await ask(daemon, candidates=("small",), pinned=True)
        assert (pinned.arm, pinned.keep) == ("small", None)
        assert standing(daemon)["outside"] == 4


async def test_keep_by_request_profile_and_tag(open_daemon: OpenDaemon) -> None:
    promise = {**PROMISE["promise"], "keep_by_tag": {"team": {"legal": 0.99}}}
    profiles = {"careful": {"keep": 0.98}, "cheap": {"cost_weight": 0.3}}
    async with open_daemon(promise=promise, profiles=profiles) as daemon:
        assert (await ask(daemon)).keep == 0.95
        assert (await ask(daemon, keep=0.9)).keep == 0.9
        assert (await ask(daemon, profile="careful")).keep == 0.98
        assert (await ask(daemon, profile="careful", cost_weight=0.1)).keep is None
        assert (await ask(daemon, profile="cheap", keep=0.9)).keep == 0.9
        assert (await ask(daemon, tags={"team": "legal"})).keep == 0.99
        assert (await ask(daemon, tags={"team": "sales"})).keep == 0.95
        assert [one["keep"] for one in standing(daemon)["promises"]] == [0.9, 0.95, 0.98, 0.99]
        with pytest.raises(InvalidInputError, match="cannot be combined"):
            await ask(daemon, keep=0.9, cost_weight=0.1)
    async with open_daemon() as daemon:
        with pytest.raises(InvalidInputError, match="has no promise"):
            await ask(daemon, keep=0.9)


async def test_a_patched_promise_holds_from_the_next_decision_on_after_a_restart_and_on_replicas(
    open_daemon: OpenDaemon,
) -> None:
    async with open_daemon(**PROMISE) as daemon, open_daemon(**PROMISE) as other:
        shown = await daemon.services.promises.change("default", {"promise": {"keep": 0.9, "baseline": "vision"}})
        assert (shown["keep"], shown["baseline"]) == (0.9, "vision")
        assert (await ask(daemon)).keep == 0.9
        while (await ask(other)).keep != 0.9:  # noqa: ASYNC110 - within a look of the other's
            await asyncio.sleep(0.05)
    async with open_daemon(**PROMISE) as again:
        one = await ask(again)
        assert (one.keep, one.baseline) == (0.9, "vision")
        overrides = standing(again)["overrides"]
        assert overrides["promise.keep"] == {"configured": 0.95, "stored": 0.9}
        # What the file says again is stored no longer.
        shown = await again.services.promises.change("default", {"promise": {"keep": 0.95, "baseline": "dearest"}})
        assert shown["overrides"] == {}


async def test_what_cannot_be_kept_is_refused_and_changes_nothing(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        for changes in ({"promise": {"baseline": "nobody"}}, {"promise": {"baseline": ""}}):
            with pytest.raises(InvalidInputError, match="no arm"):
                await daemon.services.promises.change("default", changes)
        with pytest.raises(InvalidInputError, match="weighs no cost"):
            await daemon.services.promises.change("other", {"promise": {}})
        with pytest.raises(NotFoundError):
            await daemon.services.promises.change("nowhere", {"rollout": 0.0})
        assert standing(daemon)["overrides"] == {}
    async with open_daemon(cost_weight=0.1) as daemon:
        with pytest.raises(InvalidInputError, match="cost_weight"):
            await daemon.services.promises.change("default", {"promise": {}})


async def test_the_dearest_arm_is_followed_by_price_and_by_name(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        await live(daemon, 40)
        assert standing(daemon)["baseline"] == "large"
        await daemon.services.arms.patch("default", "vision", {"price": Price(5.0, 60.0)})
        assert (await ask(daemon)).baseline == "vision"
        await daemon.services.arms.patch("default", "vision", {"enabled": False})
        one = await ask(daemon)
        assert one.baseline == "large"


async def test_a_named_baseline_that_is_away_leaves_the_promise_on_predictions(open_daemon: OpenDaemon) -> None:
    async with open_daemon(promise={"baseline": "large", "keep": 0.95}) as daemon:
        await live(daemon, 60)
        await daemon.services.arms.patch("default", "large", {"enabled": False})
        one = await ask(daemon)
        assert one.arm != "large"
        assert one.promise is not None
        assert one.promise["state"] == "baseline_away"
        assert standing(daemon)["state"] == "baseline_away"
        await daemon.services.arms.patch("default", "large", {"enabled": True})
        assert (await ask(daemon)).promise["state"] != "baseline_away"  # type: ignore[index]
        await daemon.services.arms.delete("default", "large")
        assert (await ask(daemon)).keep is None
        assert standing(daemon)["state"] == "baseline_away"


async def test_while_the_baseline_fails_it_is_not_said_to_answer(open_daemon: OpenDaemon) -> None:
    async with open_daemon(promise={"baseline": "large", "keep": 0.95}) as daemon:
        await live(daemon, 60)
        assert standing(daemon)["state"] != "baseline_away"
        failed = [one for i in range(60) if (one := await ask(daemon, i)).arm == "large"][:5]
        assert len(failed) == 5
        for one in failed:
            await daemon.services.rewards.report_usage(UsageReport(decision_id=one.decision_id, error="server"))
        later = [await ask(daemon, i) for i in range(20)]
        assert {one.arm for one in later}.isdisjoint({"large"})
        await reward(daemon, later)  # what is learned meanwhile does not bring it back
        await daemon.promises.step()
        assert standing(daemon)["state"] == "baseline_away"
        assert "may not answer now" in standing(daemon)["words"]


async def test_an_arm_that_is_added_later_finds_its_place(open_daemon: OpenDaemon) -> None:
    from banditd.core.types import Arm

    async with open_daemon(**PROMISE) as daemon:
        await live(daemon, 40)
        WORTH["new"] = 0.8
        await daemon.services.arms.add(Arm(policy="default", arm="new", upstream_model="new", price=Price(0.05, 0.2)))
        made = await live(daemon, 60)
        assert any(one.arm == "new" for one in made)
        assert standing(daemon)["quality"]["rated"] == 100


async def test_money_is_the_harder_limit_and_names_the_budget(open_daemon: OpenDaemon) -> None:
    budgets = [{"name": "tight", "usd": 1e-5}]
    async with open_daemon(**PROMISE, budgets=budgets) as daemon:
        made = await live(daemon, 120)
        assert any(one.promise["state"] == "budget_rules" for one in made if one.promise)  # type: ignore[union-attr]
        shown = standing(daemon)
        assert (shown["state"], shown["budget"]) == ("budget_rules", "tight")
        assert "tight" in shown["words"]


async def test_no_rewards_is_said_and_nearly_everything_stays_with_the_baseline(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        for i in range(110):
            await ask(daemon, i)
            if i % 10 == 0:
                await daemon.promises.step()
        await daemon.promises.step()
        shown = standing(daemon)
        assert shown["state"] == "no_rewards"
        assert shown["share"] <= 0.05 + 1e-9
        assert shown["held"] == "unknown"
