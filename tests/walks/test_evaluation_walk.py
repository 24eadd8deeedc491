"""What the log says of a candidate, from the decisions of a whole daemon: knowledge, verdicts, who works on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.walks.conftest import ARMS, OpenDaemon, ShiftedClock

from banditd.core.errors import ConflictError, InvalidInputError, NotFoundError
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.services.candidates.evaluating import EvaluationService
from banditd.services.walks import RewardInput

# Much is tried, so that the log knows of every arm.
POLICY = {"exploration_floor": 0.4, "cost_weight": 0.1, "session_sticky": True}
WORTH = {"small": 0.4, "large": 0.9, "vision": 0.5}
GIVEN: Any = {"against": "incumbent", "since_us": None, "until_us": None, "margin": 0.01, "interval": "fixed"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """SQLite alone: its SQL is tested on both databases in test_evaluation_knowledge.py and tests/contract."""
    return sqlite_url


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run draws the same, and nobody else needs the processor."""
    monkeypatch.setattr("banditd.services.candidates.evaluating.RESTS", 0.0)
    monkeypatch.setattr("banditd.daemon.open.np.random.default_rng", lambda: np.random.Generator(np.random.PCG64(7)))


async def live(daemon: Daemon, n: int, **query: Any) -> list[Decision]:
    """Queries in twenties, each rewarded, learned and solved for before the next come."""
    made: list[Decision] = []
    for start in range(0, n, 20):
        queries = [Query(text=f"a query, number {start + i}", **query) for i in range(20)]
        some = [one for one in await daemon.services.routing.route_batch(queries) if isinstance(one, Decision)]
        given = [
            RewardInput(
                decision_id=one.decision_id, value=WORTH[one.arm] + 0.1 * (i % 2), idempotency_key=one.decision_id
            )
            for i, one in enumerate(some)
        ]
        await daemon.services.rewards.submit(given)
        await daemon.learner.drained()
        await daemon.promises.step()
        made += some
    return made


async def evaluate(daemon: Daemon, settings: Mapping[str, object], arms: Any = None, **asked: Any) -> dict[str, Any]:
    """The finished evaluation of a candidate that is created for it."""
    candidates, evaluations = daemon.services.candidates, daemon.services.evaluations
    assert candidates is not None
    assert evaluations is not None
    name = f"c{abs(hash((str(settings), str(arms), str(asked)))) % 10**9}"
    await candidates.create("default", name, settings=settings, arms=arms or {})
    begun: Any = await evaluations.ask("default", name, **GIVEN | asked)
    assert begun["phase"] == "running"
    while True:
        found: Any = await evaluations.get(begun["evaluation_id"])
        if found["phase"] != "running":
            return dict(found)
        await asyncio.sleep(0.01)


async def test_the_log_says_what_it_can_and_no_more(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**POLICY) as daemon:
        await daemon.services.arms.patch("default", "vision", {"enabled": False})
        made = await live(daemon, 120)
        main = max(WORTH, key=lambda arm: sum(one.arm == arm for one in made))
        same = await evaluate(daemon, {})
        assert (same["phase"], same["interval"], same["differs"]) == ("passed", [0.0, 0.0], 0.0)
        assert same["rated"] + same["left_out"].get("young", 0) == 120
        assert same["knowledge"] == "restored"
        assert same["replay_differs"] < 0.1  # made again from what was known then, decisions are what they were
        other = await evaluate(daemon, {"kind": "linucb", "exploration_floor": 0.05})
        assert other["interval"][0] <= other["estimate"] <= other["interval"][1]
        assert 0.0 < other["differs"] < 1.0
        assert other["interval"][1] <= other["differs"]
        cheap = await evaluate(daemon, {"cost_weight": 50.0, "exploration_floor": 0.0})
        assert cheap["phase"] == "failed"  # it answers all with the cheap arm, which earns half
        assert cheap["interval"][1] < -0.2
        assert cheap["cost_usd"] < cheap["other_cost_usd"]
        without = await evaluate(daemon, {}, {main: {"enabled": False}})
        assert without["phase"] == "inconclusive"
        assert f"takes out {main}" in without["reason"]
        unseen = await evaluate(daemon, {}, {"vision": {"enabled": True}})
        assert unseen["phase"] == "inconclusive"
        assert unseen["uncovered"] > 0.05
        assert "could not have been drawn" in unseen["reason"]
        assert "release" in unseen["settles"]
        otherwise = await evaluate(daemon, {}, {main: {"params": {"temperature": 0.3}}})
        assert otherwise["phase"] == "inconclusive"
        assert "an arm of its own" in otherwise["settles"]
        better = await evaluate(daemon, {"exploration_floor": 0.0, "cost_weight": 0.0}, against="small")
        assert better["phase"] == "passed"
        assert better["interval"][0] > 0.1
        watched = await evaluate(daemon, {"kind": "uniform"}, interval="anytime")
        assert watched["phase"] == "inconclusive"
        assert "500" in watched["reason"]


async def test_decisions_under_a_cap_are_made_again_as_they_were(open_daemon: OpenDaemon) -> None:
    arms = [{**one, "max_share": 0.4} if one["arm"] == "large" else one for one in ARMS]
    async with open_daemon(**(POLICY | {"arms": arms})) as daemon:
        made = await live(daemon, 240)
        money = daemon.runtimes["default"].config.cost_weight
        asked = [one.penalty[one.arms.index("large")] > money + 0.01 for one in made if "large" in one.arms]
        assert any(asked), "calls of the capped arm never had a price"
        same = await evaluate(daemon, {})
        assert (same["phase"], same["differs"]) == ("passed", 0.0)
        assert same["replay_differs"] < 0.1


async def test_what_was_not_drawn_by_the_policy_is_left_out_and_counted(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**POLICY) as daemon:
        await live(daemon, 40)
        await live(daemon, 20, session_id="s")  # the first of it is drawn, the others keep its arm
        await live(daemon, 20, cost_weight=0.7)
        await live(daemon, 20, quality_floor=0.1)
        found = await evaluate(daemon, {})
        assert found["left_out"]["not_drawn"] == 19
        assert found["left_out"]["own_objective"] == 40
        early = await evaluate(daemon, {}, until_us=1)
        assert (early["phase"], early["rated"]) == ("inconclusive", 0)
        assert "no decision of the log can be used" in early["reason"]


async def test_another_promise_is_kept_anew_over_the_log(open_daemon: OpenDaemon) -> None:
    async with open_daemon(exploration_floor=0.2, promise={"keep": 0.9}) as daemon:
        made = await live(daemon, 160)
        same = await evaluate(daemon, {"kind": "thompson"})
        assert same["phase"] == "passed"
        assert same["rated"] > 40
        assert same["replay_differs"] < 0.1  # terms are solved anew while rewards come
        named = await evaluate(daemon, {"promise": {"keep": 0.9, "baseline": "large"}})
        assert (named["differs"], named["phase"]) == (0.0, "passed")
        assert named["replay_differs"] < 0.1  # the promise is kept anew, and asks what it did
        less = await evaluate(daemon, {"promise": {"keep": 0.6}})
        more = await evaluate(daemon, {"promise": {"keep": 0.99}})
        assert less["cost_usd"] < less["other_cost_usd"] < more["cost_usd"]
        assert less["reward"] < more["reward"]
        late = await evaluate(daemon, {"promise": {"keep": 0.6}}, since_us=made[80].created_at_us)
        assert late["left_out"]["warming"] == 80
        assert late["rated"] <= 80
        none = await evaluate(daemon, {"promise": None, "cost_weight": 50.0})
        assert none["cost_usd"] < less["cost_usd"]
        without = await evaluate(daemon, {}, {"small": {"enabled": False}})
        assert without["rated"] > 40


async def test_a_promise_in_place_of_a_weight_is_kept_from_the_first_decision_on(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**POLICY) as daemon:
        await live(daemon, 100)
        found = await evaluate(daemon, {"promise": {"keep": 0.95}, "cost_weight": 0.0})
        assert found["rated"] > 60
        shares = {one["arm"]: one["share"] for one in found["arms"]}
        assert shares["large"] > 0.5  # at first the baseline answers nearly all


async def test_what_cannot_be_asked_is_refused(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        evaluations, candidates = daemon.services.evaluations, daemon.services.candidates
        assert evaluations is not None
        assert candidates is not None
        await candidates.create("default", "c", settings={}, arms={})
        with pytest.raises(NotFoundError):
            await evaluations.ask("default", "nobody", **GIVEN)
        with pytest.raises(InvalidInputError):
            await evaluations.ask("default", "c", **{**GIVEN, "against": "nobody"})
        with pytest.raises(InvalidInputError):
            await evaluations.ask("default", "c", **{**GIVEN, "since_us": 5, "until_us": 5})


async def test_what_a_dead_replica_has_left_another_one_finishes(
    open_daemon: OpenDaemon, clock: ShiftedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EvaluationService, "_begin", lambda _: None)
    async with open_daemon(**POLICY) as daemon:
        await live(daemon, 20)
        evaluations, store = daemon.services.evaluations, daemon.storage.evaluations
        candidates = daemon.services.candidates
        assert evaluations is not None
        assert candidates is not None
        await candidates.create("default", "c", settings={"cost_weight": 0.2}, arms={})
        begun: Any = await evaluations.ask("default", "c", **GIVEN | {"margin": 0.5})
        # Somebody claims it, and is never heard of again.
        claimed = await store.claim("the dead", now_us=clock.now_us(), until_us=clock.now_us() + 60_000_000)
        assert claimed is not None
        await daemon.jobs.run_now("evaluations")
        assert (await store.get(begun["evaluation_id"])).phase == "running"  # type: ignore[union-attr]
        clock.hours = 1.0
        await daemon.jobs.run_now("evaluations")
        found = await store.get(begun["evaluation_id"])
        assert found is not None
        assert (found.phase, found.attempts) == ("passed", 2)
        assert found.finding is not None
        assert not await store.finish(begun["evaluation_id"], "the dead", found.finding, at_us=1)
        # One that the daemon does not survive ends, too.
        begun = await evaluations.ask("default", "c", **GIVEN)
        for attempt in range(3):
            now_us = clock.now_us() + attempt * 60_000_000
            assert await store.claim(f"dead {attempt}", now_us=now_us, until_us=now_us + 60_000_000)
        clock.hours = 2.0
        await daemon.jobs.run_now("evaluations")
        assert (await evaluations.get(begun["evaluation_id"]))["phase"] == "error"


async def test_only_so_many_run_at_once(open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banditd.services.candidates.evaluating.MOST_RUNNING", 1)
    async with open_daemon() as daemon:
        evaluations, candidates = daemon.services.evaluations, daemon.services.candidates
        assert evaluations is not None
        assert candidates is not None
        await candidates.create("default", "c", settings={}, arms={})
        await evaluations.ask("default", "c", **GIVEN)
        with pytest.raises(ConflictError):
            await evaluations.ask("default", "c", **GIVEN)
