"""Shadows of candidates on the walk of a reward: what is counted, once, with which knowledge, and what stops it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update
from tests.walks.conftest import OpenDaemon, make_settings
from tests.walks.test_evaluation_walk import POLICY, evaluate, live
from tests.walks.test_repair import refold
from tests.walks.test_reward_walk import refolded

from banditd.bandit.state import PolicyState
from banditd.core.errors import (
    ConflictError,
    InvalidInputError,
    InvariantError,
    LeaseLostError,
    StorageUnavailableError,
)
from banditd.core.shadow import Shadow
from banditd.core.types import Query
from banditd.daemon.candidates import make_shadowing
from banditd.daemon.open import Daemon
from banditd.daemon.workbench import open_workbench
from banditd.ope.difference import FIELDS
from banditd.services.candidates.course import Course
from banditd.services.candidates.shadow_batch import _terms
from banditd.services.candidates.shadow_words import walked_of
from banditd.services.candidates.walk import LogWalk
from banditd.services.walks import RewardInput
from banditd.storage.schema import contribution, reward_event, shadow_decision


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run draws the same."""
    monkeypatch.setattr("banditd.services.candidates.evaluating.RESTS", 0.0)
    monkeypatch.setattr("banditd.services.candidates.shadowing.RESTS", 0.0)
    monkeypatch.setattr("banditd.daemon.open.np.random.default_rng", lambda: np.random.Generator(np.random.PCG64(7)))


async def shadow(
    daemon: Daemon, name: str, settings: Mapping[str, object] | None = None, *, running: bool = True
) -> dict[str, Any]:
    """Create it where it has settings; shadow it, or stop."""
    candidates = daemon.services.candidates
    assert candidates is not None
    if settings is not None:
        await candidates.create("default", name, settings=settings, arms={})
    return dict((await candidates.shadow("default", name, running=running))["shadow"])  # type: ignore[call-overload]


async def look(daemon: Daemon, name: str) -> dict[str, Any]:
    assert daemon.services.candidates is not None
    return dict((await daemon.services.candidates.get("default", name))["shadow"])  # type: ignore[call-overload]


async def verdict(daemon: Daemon, name: str, **asked: Any) -> dict[str, Any]:
    """What its sums say, which is there at once."""
    given = {"against": "incumbent", "since_us": None, "until_us": None, "margin": 0.01, "interval": "fixed"} | asked
    assert daemon.services.evaluations is not None
    found: Any = await daemon.services.evaluations.ask("default", name, method="shadow", **given)
    assert found["phase"] != "running"
    return dict(found)


async def check_sums(daemon: Daemon) -> int:
    """The sums of every shadow are those of its rows with the rewards that have taught; how many rows there are."""
    store = daemon.storage.shadows
    ids = await daemon.storage.database.read(
        lambda connection: list(connection.execute(select(shadow_decision.c.decision_id)).scalars())
    )
    put = await daemon.storage.database.read(
        lambda connection: {
            row.decision_id: row.reward
            for row in connection.execute(select(contribution.c.decision_id, contribution.c.reward))
        }
    )
    rows = await store.rows(ids)
    assert {one: row.reward for one, row in rows.items()} == {one: put.get(one) for one in ids}
    shadows = [found for _, found in await store.of_policy("default")]
    for one in shadows:
        parts = (await store.sums([one.shadow_id])).get(one.shadow_id, {})
        if not parts:
            continue  # nothing came since it began
        stored = sum(sums for part, sums in parts.items() if part.startswith("octave:"))
        mine = [row for row in rows.values() if one.shadow_id in row.parts and row.reward is not None]
        again = sum(_terms([row], list(row.parts).index(one.shadow_id), np.array([row.reward]))[0] for row in mine)
        assert stored[: len(FIELDS)] == pytest.approx(again, abs=1e-9)
        assert stored[len(FIELDS) + 1 :].sum() == pytest.approx(2.0 * len(mine))  # shares of both rules
        clusters = sum(sums for part, sums in parts.items() if part.startswith("cluster:"))
        assert clusters == pytest.approx(again, abs=1e-9)
    return len(rows)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_it_is_what_the_log_says_and_no_decision_is_made_by_its_own_reward(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**POLICY) as daemon:
        await shadow(daemon, "same", {})
        await shadow(daemon, "bold", {"kind": "linucb", "exploration_floor": 0.05})
        await live(daemon, 80, tags={"team": "legal"})
        await live(daemon, 20, cost_weight=0.7)
        assert await check_sums(daemon) == 80
        same = await verdict(daemon, "same")
        assert (same["phase"], same["interval"], same["differs"], same["rated"]) == ("passed", [0.0, 0.0], 0.0, 80)
        # Every twenty were decided and counted by the same snapshot: the one before their rewards.
        assert same["replay_differs"] == pytest.approx(0.0, abs=1e-9)
        assert same["left_out"] == {"own_objective": 20}
        bold = await verdict(daemon, "bold")
        assert (bold["interval_kind"], bold["phase"], bold["method"]) == ("anytime", "inconclusive", "shadow")
        assert "500" in bold["reason"]
        log = await evaluate(daemon, {"kind": "linucb", "exploration_floor": 0.05})
        # The log's scales are today's all along, and it leaves the young ones out.
        for name in ("estimate", "differs", "reward", "other_reward"):
            assert bold[name] == pytest.approx(log[name], abs=0.1), name
        assert sum(one["share"] for one in bold["arms"]) == pytest.approx(1.0)
        shown = await look(daemon, "bold")
        assert (shown["running"], shown["rated"], shown["differs"]) == (True, 80, bold["differs"])
        [tag] = [one for one in shown["slices"] if one["slice"].startswith("tag:")]
        assert (tag["slice"], tag["rated"]) == ("tag:team=legal", 80)
        assert tag["estimate"] == pytest.approx(shown["estimate"])
        assert "answers otherwise" in shown["words"]


async def test_each_reward_is_counted_once_and_moves_the_sums_when_it_changes(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon(**POLICY) as daemon:
        early = await live(daemon, 20)
        await shadow(daemon, "bold", {"kind": "linucb"})
        commit, calls = daemon.storage.learning._commit, []

        def unreliable(connection: Any, fold: Any, holder: str) -> Any:
            """The first commit is not made; the second is, and its answer is lost."""
            outcome = commit(connection, fold, holder)
            calls.append(fold)
            if len(calls) == 1:
                raise StorageUnavailableError("away")
            return LeaseLostError("another one") if len(calls) == 2 else outcome

        monkeypatch.setattr(daemon.storage.learning, "_commit", unreliable)
        made = await live(daemon, 20)
        assert len(calls) >= 2
        assert await check_sums(daemon) == 20  # what was rated before it began is not in it
        [(_, standing)] = await daemon.storage.shadows.of_policy("default")
        before = (await daemon.storage.shadows.sums([standing.shadow_id]))[standing.shadow_id]
        given = [RewardInput(decision_id=one.decision_id, value=0.1, source="judge") for one in made[:10] + early[:5]]
        receipts: Any = await daemon.services.rewards.submit(given)
        await daemon.learner.drained()
        assert await check_sums(daemon) == 20
        for receipt in receipts:
            await daemon.services.rewards.retract(receipt.reward_id)
        await daemon.learner.drained()
        [after] = (await daemon.storage.shadows.sums([standing.shadow_id])).values()
        for part, sums in before.items():
            assert after[part] == pytest.approx(sums, abs=1e-9), part
        assert (await refolded(daemon)).agrees
        # It stops, and goes on from there.
        assert not (await shadow(daemon, "bold", running=False))["running"]
        await live(daemon, 20)
        assert (await verdict(daemon, "bold"))["rated"] == 20
        await shadow(daemon, "bold")
        await live(daemon, 20)
        assert (await look(daemon, "bold"))["rated"] == 40
        # Another policy is another comparison.
        await daemon.services.arms.patch("default", "vision", {"enabled": False})
        await live(daemon, 20)
        assert (await look(daemon, "bold"))["rated"] == 20
        # With its candidate it goes; what it kept of decisions follows.
        assert daemon.services.candidates is not None
        await daemon.services.candidates.delete("default", "bold")
        assert await daemon.storage.shadows.of_policy("default") == []
        assert await daemon.storage.shadows.forget_rows(10) == 10
        while await daemon.storage.shadows.forget_rows(1000):
            pass
        assert await check_sums(daemon) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_rebuild_that_changes_contributions_changes_the_sums(
    open_daemon: OpenDaemon, database_url: str
) -> None:
    async with open_daemon(**POLICY) as daemon:
        await shadow(daemon, "bold", {"kind": "linucb"})
        made = await live(daemon, 20)
        c = reward_event.c
        repaired = update(reward_event).where(c.decision_id == made[3].decision_id).values(reward=0.0)
        await daemon.storage.database.write(lambda connection: connection.execute(repaired) and None)
    async with open_workbench(make_settings(database_url, **POLICY)) as bench:
        report = await refold(bench, write=True, shadows=make_shadowing(bench).corrected)
        assert report.contributions_differ == 1
    async with open_daemon(**POLICY) as daemon:
        assert await check_sums(daemon) == 20
        # What was counted stays when the log goes.
        future_us = daemon.learner._clock.now_us() + 10**15
        assert await daemon.storage.maintenance.prune(before_us=future_us, limit=100) == 20
        assert (await look(daemon, "bold"))["rated"] == 20
        assert (await verdict(daemon, "bold"))["rated"] == 20


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_only_eight_and_none_that_cannot_be_decided_again(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banditd.services.candidates.shadow_batch.MOST_TAG_PARTS", 3)
    async with open_daemon(**POLICY) as daemon:
        candidates = daemon.services.candidates
        assert candidates is not None
        for number in range(8):
            await shadow(daemon, f"c{number}", {"exploration_floor": 0.01 * number})
        await shadow(daemon, "c0")  # once more changes nothing
        with pytest.raises(ConflictError, match=r"c0, c1, .* --stop"):
            await shadow(daemon, "ninth", {})
        await shadow(daemon, "c0", running=False)
        await shadow(daemon, "ninth")
        await candidates.create("default", "called", settings={}, arms={"large": {"params": {"seed": 1}}})
        with pytest.raises(InvalidInputError, match="an arm of its own"):
            await candidates.shadow("default", "called", running=True)
        with pytest.raises(ConflictError, match="never shadowed"):
            await verdict(daemon, "called")
        with pytest.raises(InvalidInputError, match="against"):
            await verdict(daemon, "c1", against="large")
        for number in range(5):
            decision = await daemon.services.routing.route(Query(text="x", tags={"user": f"u{number}"}))
            await daemon.services.rewards.submit([RewardInput(decision_id=decision.decision_id, value=0.5)])
        await daemon.learner.drained()
        assert await check_sums(daemon) == 5
        slices = {one["slice"]: one["rated"] for one in (await look(daemon, "ninth"))["slices"]}
        tags = {name: rated for name, rated in slices.items() if name.startswith("tag:")}
        assert len(tags) == 4
        assert tags["tag:(others)"] == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_shadow_that_cannot_be_decided_does_not_hold_up_learning(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise InvariantError("no posterior")

    async with open_daemon(**POLICY) as daemon:
        await shadow(daemon, "bold", {"cost_weight": 0.3})
        monkeypatch.setattr("banditd.services.candidates.shadowing.rebound", fails)
        await live(daemon, 20)
        assert (await look(daemon, "bold"))["rated"] == 0
        assert "shadow.failed" in caplog.text


PROMISE: dict[str, Any] = {"exploration_floor": 0.2, "promise": {"keep": 0.9}}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_another_promise_is_kept_anew_as_over_the_log(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The log's scales are today's all along: here they never change.
    monkeypatch.setattr(PolicyState, "tune_due", lambda *_, **__: False)
    monkeypatch.setattr(LogWalk, "_maturity_us", lambda _: 0)
    # Both decide twenty at once, by what was known before them.
    monkeypatch.setattr("banditd.services.candidates.walk.BLOCK", 20)
    monkeypatch.setattr("banditd.services.candidates.shadowing.COURSE_BLOCK", 20)
    async with open_daemon(**PROMISE) as daemon:
        less: dict[str, object] = {"promise": {"keep": 0.6}}
        candidates = daemon.services.candidates
        assert candidates is not None
        await candidates.create("default", "without", settings={}, arms={"small": {"enabled": False}})
        await shadow(daemon, "less", less)
        await shadow(daemon, "without")
        await shadow(daemon, "named", {"promise": {"keep": 0.9, "baseline": "large"}})
        await shadow(daemon, "same", {})
        await live(daemon, 80)
        await live(daemon, 20, keep=0.8)
        await live(daemon, 40)
        assert await check_sums(daemon) == 140
        mine = await verdict(daemon, "less")
        log = await evaluate(daemon, less, interval="anytime")
        assert (mine["rated"], mine["left_out"]) == (120, {"own_objective": 20})
        assert log["left_out"]["own_objective"] == 20
        for name in ("estimate", "interval", "differs", "cost_usd", "other_reward", "replay_differs"):
            assert mine[name] == pytest.approx(log[name], abs=1e-9), name
        assert mine["differs"] > 0.1
        assert mine["cost_usd"] < mine["other_cost_usd"]
        assert mine["replay_differs"] < 0.1
        without = await verdict(daemon, "without")
        assert {one["arm"]: one["share"] for one in without["arms"]}["small"] == 0.0
        named = await verdict(daemon, "named")
        # The policy's promise, too, is kept anew; of a candidate that promises the very same it is what was logged.
        assert (named["phase"], named["differs"], named["interval"]) == ("passed", 0.0, [0.0, 0.0])
        assert named["replay_differs"] == pytest.approx(mine["replay_differs"])
        same = await verdict(daemon, "same")
        assert (same["differs"], same["interval"], same["rated"]) == (0.0, [0.0, 0.0], 140)
        assert same["replay_differs"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_promise_kept_anew_begins_with_the_log_and_after_a_restart_again(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banditd.services.candidates.shadow_courses.PIECE", 20)
    noted: list[tuple[int, str]] = []
    begun: list[Course] = []  # kept, so that no two have the same id
    note = Course.note

    def noting(self: Course, row: Any, made: Any) -> None:
        begun.append(self)
        noted.append((id(self), row.decision_id))
        note(self, row, made)

    monkeypatch.setattr(Course, "note", noting)

    async def counted(daemon: Daemon) -> tuple[int, int]:
        found = await verdict(daemon, "less")
        return found["rated"], found["left_out"].get("warming", 0)

    async with open_daemon(**PROMISE) as daemon:
        await live(daemon, 60)
        await shadow(daemon, "less", {"promise": {"keep": 0.6}})
        await live(daemon, 20)  # 40 of the 60 are played
        assert await counted(daemon) == (0, 20)
        assert "warms up" in (await look(daemon, "less"))["words"]
        await live(daemon, 20)
        assert await counted(daemon) == (20, 20)
        mine, policy = ([row for one, row in noted if one == course] for course in {course for course, _ in noted})
        assert mine == policy == sorted(mine)
        assert len(mine) == 100
    monkeypatch.setattr("banditd.services.candidates.shadow_courses.PIECE", 60)
    async with open_daemon(**PROMISE) as daemon:
        made = await live(daemon, 20)  # 80 of the 100 are played
        assert await counted(daemon) == (20, 40)
        made += await live(daemon, 20)
        assert await counted(daemon) == (40, 40)
        commit, calls = daemon.storage.learning._commit, []

        def unreliable(connection: Any, fold: Any, holder: str) -> Any:
            calls.append(fold)
            if len(calls) == 1:
                raise StorageUnavailableError("away")
            return commit(connection, fold, holder)

        monkeypatch.setattr(daemon.storage.learning, "_commit", unreliable)
        await live(daemon, 20)
        # It was decided twice and is counted as what the log begins with.
        assert await counted(daemon) == (40, 60)
        given = [RewardInput(decision_id=one.decision_id, value=0.1, source="judge") for one in made]
        receipts: Any = await daemon.services.rewards.submit(given)
        await daemon.learner.drained()
        assert await check_sums(daemon) == 40
        moved = await verdict(daemon, "less")
        for receipt in receipts:
            await daemon.services.rewards.retract(receipt.reward_id)
        await daemon.learner.drained()
        assert await check_sums(daemon) == 40
        assert (await verdict(daemon, "less"))["reward"] != moved["reward"]
        # It stops and goes on: what it has missed it begins with.
        await shadow(daemon, "less", running=False)
        await live(daemon, 20)
        await shadow(daemon, "less")
        await live(daemon, 20)
        assert (await counted(daemon))[0] == 40
        assert len(set(noted)) == len(noted)


def test_the_later_half_is_the_newest_octaves() -> None:
    one = Shadow(shadow_id="s", candidate_id="c", policy="p", started_at_us=0)
    for n in (1, 2, 3, 7, 8, 12, 100, 1000):
        parts: dict[str, Any] = {}
        for number in range(1, n + 1):
            part = f"octave:{number.bit_length() - 1}"
            terms = np.zeros(len(FIELDS) + 1)
            terms[0] = 1.0
            parts[part] = parts.get(part, 0.0) + terms
        walked = walked_of(one, parts)
        assert walked.sums.rated == n
        assert n / 3 <= walked.halves[1].rated <= max(3 * n / 4, 1) + 1
