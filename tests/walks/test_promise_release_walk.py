"""A release whose candidate promises otherwise: two promises side by side, each kept, logged and shown as its own."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
import pytest
from tests.walks import test_promise_walk
from tests.walks.conftest import OpenDaemon, leads
from tests.walks.test_promise_walk import ask, live, standing

from banditd.core.release import Metric, ReleaseTerms
from banditd.core.types import Decision
from banditd.daemon.open import Daemon

PROMISE: dict[str, Any] = {"promise": {"keep": 0.95}, "session_sticky": False}
HALF = ReleaseTerms(steps=(0.5, 1.0), least_units=(1000,), metrics=(Metric(worse_by=0.5),), guardrails=())


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """SQLite alone: what is stored is tested on both databases in tests/contract."""
    return sqlite_url


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run draws the same, and the cheap arm keeps three quarters of the dear one's quality."""
    monkeypatch.setitem(test_promise_walk.WORTH, "small", 0.6)
    monkeypatch.setattr("banditd.daemon.open.np.random.default_rng", _generator)


def _generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(7))


def released(one: Decision) -> Any:
    """What a decision keeps of the release."""
    assert one.release is not None
    return one.release


def of_candidate(daemon: Daemon) -> Any:
    """The candidate's only promise."""
    [found] = cast("list[Any]", standing(daemon)["of_candidate"])
    return found


async def begin(daemon: Daemon, settings: Any, arms: Any = None) -> str:
    assert daemon.services.candidates is not None
    assert daemon.services.releases is not None
    await leads(daemon)
    await daemon.services.candidates.create("default", "less", settings=settings, arms=arms or {})
    begun: Any = await daemon.services.releases.start("default", "less", HALF)
    await daemon.promises.step()
    return str(begun["release_id"])


async def test_each_side_keeps_its_own_promise_and_a_restart_and_a_replica_know_both(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon, open_daemon(**PROMISE) as other:
        await live(daemon, 60)
        release_id = await begin(daemon, {"promise": {"keep": 0.8}})
        made = await live(daemon, 40)
        for one in made:
            kept = released(one)
            vectors = [kept["candidate"], kept["incumbent"]]
            assert list(one.probability) == pytest.approx([0.5 * q + 0.5 * p for q, p in zip(*vectors, strict=True)])
            assert one.propensity == one.probability[one.chosen_index]
            assert (one.keep, kept["promise"]["keep"], kept["promise"]["baseline"]) == (0.95, 0.8, "large")
            assert kept["own"]["candidate"] == kept["own"]["incumbent"]  # the same rule, before its promise
            share, own = kept["promise"]["share"], kept["own"]["candidate"][one.arms.index("large")]
            assert vectors[0][one.arms.index("large")] == pytest.approx(share * own + 1.0 - share)
        assert max(released(one)["distance"] for one in made) > 0.05
        shown, theirs = standing(daemon), of_candidate(daemon)
        assert (theirs["keep"], shown["keep"]) == (0.8, 0.95)
        assert theirs["share"] > shown["share"]
        sides = [released(one)["side"] for one in made]
        assert theirs["quality"]["rated"] == sides.count("candidate")
        assert shown["quality"]["rated"] == 60 + sides.count("incumbent")
        await other.releases.step()
        await other.promises.step()
        # It follows within a second.
        while of_candidate(other)["quality"]["rated"] < theirs["quality"]["rated"]:  # noqa: ASYNC110 - in its own loop
            await asyncio.sleep(0.02)
        assert of_candidate(other)["quality"] == theirs["quality"]
        assert standing(other)["quality"] == shown["quality"]
        assert {one.release is None for one in [await ask(other, i) for i in range(5)]} == {False}
        assert other.services.releases is not None
        answer: Any = await other.services.releases.get(release_id)
        assert [one["keep"] for one in answer["promises"]] == [0.8]
        assert "keeps at least 80 %" in answer["words"]
    async with open_daemon(**PROMISE) as daemon:
        await daemon.promises.step()
        again = of_candidate(daemon)
        assert again["quality"] == theirs["quality"]
        assert again["share"] == pytest.approx(theirs["share"], abs=0.1)
        assert daemon.services.releases is not None
        await daemon.services.releases.change(release_id, "abort", key_name=None, reason=None)
        assert standing(daemon)["of_candidate"] == []
        assert (await ask(daemon)).release is None


async def test_where_both_promise_the_same_the_vectors_are_the_same(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        await live(daemon, 40)
        await begin(daemon, {"promise": {"keep_by_tag": {"team": {"legal": 0.99}}}})
        plain = await live(daemon, 20)
        legal = await live(daemon, 20, tags={"team": "legal"})
        for one in plain:
            kept = released(one)
            assert (kept["candidate"], kept["differ"], kept["distance"]) == (kept["incumbent"], False, 0.0)
            assert kept["promise"]["keep"] == one.keep == 0.95
        assert {released(one)["promise"]["keep"] for one in legal} == {0.99}
        assert max(released(one)["distance"] for one in legal) > 0.0
        rated: Any = standing(daemon)["quality"]
        sides = [released(one)["side"] for one in legal]
        assert rated["rated"] == 40 + 20 + sides.count("incumbent")


async def test_a_candidate_without_an_arm_solves_its_promise_without_it(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**PROMISE) as daemon:
        await live(daemon, 60)
        await begin(daemon, {}, {"small": {"enabled": False}})
        made = await live(daemon, 20)
        for one in made:
            kept = released(one)
            small = one.arms.index("small")
            assert (kept["candidate"][small], kept["own"]["candidate"][small]) == (0.0, None)
            assert kept["own"]["incumbent"][small] is not None
        assert of_candidate(daemon)["saves_usd_per_decision"] < standing(daemon)["saves_usd_per_decision"]


async def test_a_promise_is_promoted_and_taken_back_on_every_replica_and_after_a_restart(
    open_daemon: OpenDaemon,
) -> None:
    weighed: dict[str, Any] = {"cost_weight": 0.1, "session_sticky": False}
    async with open_daemon(**weighed) as daemon, open_daemon(**weighed) as other:
        release_id = await begin(daemon, {"promise": {"keep": 0.9}, "cost_weight": 0.0})
        assert released(await ask(daemon))["promise"]["keep"] == 0.9
        releases = daemon.services.releases
        assert releases is not None
        for _ in HALF.steps:
            await releases.change(release_id, "promote", key_name=None, reason=None, force=True)
        await other.releases.step()
        for here in (daemon, other):
            assert (standing(here)["keep"], here.runtimes["default"].config.cost_weight) == (0.9, 0.0)
            made = await ask(here)
            assert (made.keep, made.cost_weight, made.release) == (0.9, 0.0, None)
        await daemon.services.promises.change("default", {"promise": {"keep": 0.92}})
    async with open_daemon(**weighed) as daemon:
        assert standing(daemon)["keep"] == 0.92
        releases = daemon.services.releases
        assert releases is not None
        undone: Any = await releases.roll_back("default", key_name=None, reason=None)
        assert undone["dropped"] == ["promise.keep: 0.92"]
        assert "drops what was changed after the promotion: promise.keep: 0.92" in undone["words"]
        found: Any = await releases.events(release_id)
        assert "promise.keep: 0.92" in found["events"][-1]["reason"]
        assert (standing(daemon)["on"], daemon.runtimes["default"].config.cost_weight) == (False, 0.1)
        made = await ask(daemon)
        assert (made.keep, made.cost_weight) == (None, 0.1)
