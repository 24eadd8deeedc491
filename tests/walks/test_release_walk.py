"""A release on the walk of a query and of a reward: sides, both vectors, tests, verbs, and every way out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon, ShiftedClock, leads
from tests.walks.test_reward_walk import refolded

from banditd.core.errors import ConflictError, InvalidInputError, NotFoundError
from banditd.core.release import Guardrail, Metric, ReleaseTerms
from banditd.core.rewards import UsageReport
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.services.walks import RewardInput

DEAR: dict[str, Any] = {"kind": "fixed", "options": {"arm": "large"}, "exploration_floor": 0.0}
CHEAP = {"kind": "fixed", "options": {"arm": "small"}}
HALF = ReleaseTerms(steps=(0.5, 0.8, 1.0), least_units=(5,), metrics=(Metric(worse_by=0.1),))


async def ask(daemon: Daemon, session: object = None, **query: Any) -> Decision:
    session_id = None if session is None else f"s{session}"
    return await daemon.services.routing.route(Query(text="a query", session_id=session_id, **query))


async def offer(daemon: Daemon, name: str = "cheap", *, settings: Any = CHEAP, arms: Any = None) -> None:
    assert daemon.services.candidates is not None
    await daemon.services.candidates.create("default", name, settings=settings, arms=arms or {})


async def begin(daemon: Daemon, terms: ReleaseTerms = HALF, **candidate: Any) -> str:
    await leads(daemon)
    await offer(daemon, **candidate)
    assert daemon.services.releases is not None
    begun = await daemon.services.releases.start("default", candidate.get("name", "cheap"), terms)
    return str(begun["release_id"])


async def do(daemon: Daemon, release_id: str, verb: Any, *, force: bool = False) -> Mapping[str, Any]:
    assert daemon.services.releases is not None
    return await daemon.services.releases.change(release_id, verb, key_name="ops", reason="a reason", force=force)


async def look(daemon: Daemon, release_id: str) -> Mapping[str, Any]:
    assert daemon.services.releases is not None
    return await daemon.services.releases.get(release_id)


async def history(daemon: Daemon, release_id: str) -> list[str]:
    assert daemon.services.releases is not None
    found: Any = await daemon.services.releases.events(release_id)
    return [one["event"] for one in found["events"]]


async def reward(daemon: Daemon, made: Sequence[Decision], worth: Mapping[str, float]) -> None:
    given = [RewardInput(decision_id=one.decision_id, value=worth[one.arm]) for one in made]
    await daemon.services.rewards.submit(given)
    await daemon.learner.drained()


def sides(made: Sequence[Decision]) -> list[object]:
    return [None if one.release is None else one.release["side"] for one in made]


async def test_two_replicas_split_alike_log_both_vectors_and_follow_within_one_look(open_daemon: OpenDaemon) -> None:
    free = {**DEAR, "session_sticky": False}
    async with open_daemon(**free) as daemon, open_daemon(**free) as other:
        release_id = await begin(daemon)
        await other.releases.step()
        first = [await ask(daemon, i) for i in range(40)]
        assert sides([await ask(other, i) for i in range(40)]) == sides(first)
        assert 5 <= sides(first).count("candidate") <= 35
        for one in first:
            kept = one.release
            assert kept is not None
            assert one.arm == ("small" if kept["side"] == "candidate" else "large")
            assert (kept["share"], kept["differ"]) == (0.5, True)
            vectors = [np.array(kept[name]) for name in ("candidate", "incumbent")]
            assert one.probability == pytest.approx(0.5 * vectors[0] + 0.5 * vectors[1])
            assert one.propensity == one.probability[one.chosen_index]
            below = one.probability[: one.chosen_index].sum()
            assert below - 1e-9 <= one.uniform <= below + one.propensity + 1e-9
        row = await daemon.services.reports.decision(first[0].decision_id)
        assert row["release"] == dict(first[0].release or {})
        await do(daemon, release_id, "promote", force=True)
        await other.releases.step()
        more = sides([await ask(other, i) for i in range(40)])
        assert all(now == "candidate" for then, now in zip(sides(first), more, strict=True) if then == "candidate")
        assert more.count("candidate") > sides(first).count("candidate")
        assert (await do(other, release_id, "abort"))["phase"] == "aborted"
        await daemon.releases.step()
        assert {one.arm for one in [await ask(daemon, i) for i in range(20)]} == {"large"}
        assert sides([await ask(daemon, 0), await ask(other, 0)]) == [None, None]
        assert await history(daemon, release_id) == ["started", "promoted", "aborted"]
    async with open_daemon(**DEAR) as daemon:
        assert (await ask(daemon, 1)).release is None


async def test_a_worse_candidate_is_taken_back_in_the_learners_own_commit(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**DEAR) as daemon, open_daemon(**DEAR) as other:
        release_id = await begin(daemon)
        await other.releases.step()
        made = [await ask(daemon) for _ in range(24)]
        await reward(daemon, made, {"small": 1.0, "large": 1.0})
        await reward(daemon, made, {"small": 0.0, "large": 1.0})  # corrections: their units were counted
        shown: Any = await look(daemon, release_id)
        units = shown["metrics"][0]["units"]
        assert units["candidate"] + units["incumbent"] == 24
        assert shown["metrics"][0]["evidence"] < 1.0
        while (await look(daemon, release_id))["phase"] == "running":
            await reward(daemon, [await ask(daemon) for _ in range(20)], {"small": 0.0, "large": 1.0})
        shown = await look(other, release_id)
        assert shown["phase"] == "rolled_back"
        assert "worse than tolerated" in shown["words"]
        await other.releases.step()
        await daemon.releases.step()
        assert {one.arm for one in [await ask(d) for d in (daemon, other) for _ in range(10)]} == {"large"}
        with pytest.raises(ConflictError, match="ended"):
            await do(daemon, release_id, "promote", force=True)


async def test_a_good_candidate_goes_step_by_step_and_becomes_the_incumbent_until_it_is_taken_back(
    open_daemon: OpenDaemon,
) -> None:
    arms = {"vision": {"enabled": False}, "large": {"min_share": 0.1}}
    async with open_daemon(**DEAR) as daemon, open_daemon(**DEAR) as other:
        assert daemon.services.releases is not None
        release_id = await begin(daemon, arms=arms)
        with pytest.raises(ConflictError, match="not over"):
            await do(daemon, release_id, "promote")
        with pytest.raises(ConflictError, match="open release"):
            await daemon.services.releases.start("default", "cheap", HALF)
        assert daemon.services.candidates is not None
        with pytest.raises(ConflictError, match="abort it first"):
            await daemon.services.candidates.delete("default", "cheap")
        for share in (0.5, 0.8):
            assert (await look(daemon, release_id))["share"] == share
            while not (await look(daemon, release_id))["due"]:
                await reward(daemon, [await ask(daemon) for _ in range(10)], {"small": 1.0, "large": 1.0})
                await daemon.releases.step()
            await do(daemon, release_id, "promote")
        with pytest.raises(ConflictError, match="5 more rated units"):
            await do(daemon, release_id, "promote")
        while not (await look(daemon, release_id))["due"]:
            await reward(daemon, [await ask(daemon) for _ in range(10)], {"small": 1.0, "large": 1.0})
            await daemon.releases.step()
        assert (await do(daemon, release_id, "pause"))["phase"] == "paused"
        assert (await do(daemon, release_id, "resume"))["phase"] == "running"
        last = await ask(daemon)
        drawn_from = dict(zip(last.arms, last.probability, strict=True))
        assert drawn_from == pytest.approx({"small": 0.9, "large": 0.1, "vision": 0.0})
        assert (await do(daemon, release_id, "promote"))["phase"] == "promoted"
        await other.releases.step()
        for one in (daemon, other):
            assert one.runtimes["default"].config.settings.options == {"arm": "small"}
            assert (await ask(one)).release is None
        assert await history(daemon, release_id) == [
            "started", "step_due", "promoted", "step_due", "promoted", "step_due", "paused", "resumed", "finished",
        ]  # fmt: skip
    async with open_daemon(**DEAR) as daemon:
        assert daemon.services.releases is not None
        assert not (await daemon.services.arms.get("default", "vision")).arm.enabled
        assert "small" in {(await ask(daemon)).arm for _ in range(10)}
        undone = await daemon.services.releases.roll_back("default", key_name=None, reason=None)
        assert (undone["undone"], undone["release_id"]) == ("promotion", release_id)
        shown = await look(daemon, release_id)
        assert (shown["phase"], shown["share"]) == ("promoted", 0.0)
        assert "taken back" in str(shown["words"])
        assert (await daemon.services.arms.get("default", "vision")).arm.enabled
        assert {(await ask(daemon)).arm for _ in range(10)} == {"large"}
        with pytest.raises(ConflictError, match="nothing to take back"):
            await daemon.services.releases.roll_back("default", key_name=None, reason=None)


async def test_refusals_that_are_reported_take_a_candidate_back(open_daemon: OpenDaemon) -> None:
    watched = (Guardrail(measure="refusal"), Guardrail(measure="cost", limit=1.0))
    terms = ReleaseTerms(steps=(0.5, 1.0), guardrails=watched)
    async with open_daemon(**DEAR) as daemon:
        release_id = await begin(daemon, terms)
        while daemon.releases.open("default") is not None:
            for one in [await ask(daemon) for _ in range(40)]:
                finish = "content_filter" if one.arm == "small" else "stop"
                report = UsageReport(decision_id=one.decision_id, finish_reason=finish, cost_usd=0.1)
                await daemon.services.rewards.report_usage(report)
            await daemon.releases.step()
        shown: Any = await look(daemon, release_id)
        assert shown["phase"] == "rolled_back"
        assert "refusal" in shown["reason"]
        refusals, cost = shown["guardrails"]
        assert refusals["evidence"] >= refusals["needed"]
        assert cost["evidence"] < 1.0
        assert refusals["units"] == cost["units"]
        assert {(await ask(daemon)).arm for _ in range(10)} == {"large"}


async def test_what_a_release_cannot_carry_is_refused_with_the_reason(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**DEAR) as daemon:
        releases = daemon.services.releases
        assert releases is not None
        for name, settings, arms, why in (
            ("capped", {}, {"large": {"max_share": 0.5}}, "counts the traffic of both sides"),
            ("other-model", {}, {"large": {"upstream_model": "larger"}}, "add an arm of its own"),
            ("same", {}, {}, "does not differ"),
        ):
            await offer(daemon, name, settings=settings, arms=arms)
            with pytest.raises(InvalidInputError, match=why):
                await releases.start("default", name, HALF)
        with pytest.raises(NotFoundError):
            await releases.start("default", "nobody", HALF)
        await offer(daemon)
        for steps, least, why in (
            ((1.0,), (5,), "nothing is left to compare"),
            ((0.5, 1.0), (5, 0), "0 rated units"),
        ):
            auto = ReleaseTerms(steps=steps, least_units=least, promote="auto")
            with pytest.raises(InvalidInputError, match=f"{why}.*leave out promote: auto"):
                await releases.start("default", "cheap", auto)
        await daemon.services.promises.change("default", {"rollout": 0.5})
        with pytest.raises(InvalidInputError, match="rollout: 1"):
            await releases.start("default", "cheap", HALF)


async def test_a_rollout_goes_before_a_release_and_none_means_none(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon(**DEAR) as daemon:
        release_id = await begin(daemon)
        assert (await ask(daemon)).release is not None
        assert (await ask(daemon, candidates=("vision",), pinned=True)).release is None
        await daemon.services.promises.change("default", {"rollout": 0.0})
        assert (await ask(daemon)).release is None
        assert "decides nothing" in (await look(daemon, release_id))["words"]
        await daemon.services.promises.change("default", {"rollout": 1.0})
        assert "decides nothing" not in (await look(daemon, release_id))["words"]
        await do(daemon, release_id, "abort")
        monkeypatch.setattr("banditd.services.decider.decide_between", None)
        assert (await ask(daemon)).release is None


async def test_a_session_is_one_unit_and_stays_on_its_side(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**DEAR) as daemon:
        release_id = await begin(daemon)
        turns = [await ask(daemon, "one") for _ in range(6)]
        assert len({one.arm for one in turns}) == 1
        assert [one.reason for one in turns] == ["policy"] + 5 * ["session"]
        await reward(daemon, turns, {"small": 1.0, "large": 1.0})
        shown: Any = await look(daemon, release_id)
        assert sum(shown["metrics"][0]["units"].values()) == 1
        before = {i: await ask(daemon, i) for i in range(20)}
        assert {one.arm for one in before.values()} == {"small", "large"}
        await do(daemon, release_id, "abort")
        after = {i: await ask(daemon, i) for i in before}
        assert {one.arm for one in after.values()} == {"large"}  # a session too that had its arm of the candidate
        kept = {i for i, one in after.items() if one.reason == "session"}
        assert kept == {i for i, one in before.items() if one.arm == "large"}


async def test_a_key_may_be_the_unit_and_steps_may_be_taken_without_being_called_for(open_daemon: OpenDaemon) -> None:
    terms = ReleaseTerms(steps=(0.5, 1.0), least_units=(3,), unit="key", promote="auto", guardrails=())
    async with open_daemon(**DEAR) as daemon:
        release_id = await begin(daemon, terms)
        by_key = [[await ask(daemon, key_name=f"key {i}") for _ in range(2)] for i in range(20)]
        assert all(sides(two)[0] == sides(two)[1] for two in by_key)
        assert len({two[0].arm for two in by_key}) == 2
        await reward(daemon, [one for two in by_key for one in two], {"small": 1.0, "large": 1.0})
        shown: Any = await look(daemon, release_id)
        assert sum(shown["metrics"][0]["units"].values()) == len(by_key)
        for _ in range(3):
            await daemon.releases.step()
        assert (await look(daemon, release_id))["missing_units"] == {"reward": 3}  # of the last step
        more = [await ask(daemon, key_name=f"another key {i}") for i in range(3)]
        assert {one.arm for one in more} == {"small"}
        await reward(daemon, more, {"small": 1.0})
        await daemon.releases.step()
        assert daemon.releases.open("default") is None
        assert (await history(daemon, release_id))[-2:] == ["promoted", "finished"]
        assert {(await ask(daemon)).arm for _ in range(5)} == {"small"}


async def test_an_arm_that_goes_away_ends_the_release_of_a_candidate_that_needs_it(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**DEAR) as daemon:
        release_id = await begin(daemon, settings={}, arms={"vision": {"enabled": False}})
        await daemon.services.arms.delete("default", "vision")
        assert (await ask(daemon)).arm == "large"
        await daemon.releases.step()
        shown = await look(daemon, release_id)
        assert shown["phase"] == "error"
        assert "no arm vision" in str(shown["reason"])


async def test_a_commit_that_fails_in_the_middle_of_a_rollback_leaves_everything_as_it_was(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    from banditd.storage import release_rows

    written = release_rows.append_events
    failures = []

    def fail(connection: Any, release_id: str, events: Sequence[Any]) -> None:
        if any(one.event == "rolled_back" for one in events) and not failures:
            failures.append(release_id)
            raise RuntimeError("the power fails here")
        written(connection, release_id, events)

    monkeypatch.setattr(release_rows, "append_events", fail)
    async with open_daemon(**DEAR) as daemon:
        release_id = await begin(daemon)
        folded: list[Decision] = []
        while (await look(daemon, release_id))["phase"] == "running":
            some = [await ask(daemon) for _ in range(20)]
            await reward(daemon, some, {"small": 0.0, "large": 1.0})
            folded += some
        assert failures == [release_id]
        assert (await history(daemon, release_id)).count("rolled_back") == 1
        shown: Any = await look(daemon, release_id)
        assert sum(shown["metrics"][0]["units"].values()) <= len(folded)
        assert (await refolded(daemon)).agrees
        stats: Any = await daemon.services.reports.stats("default", None)
        assert sum(row["rewards"] for row in stats["arms"]) == len(folded)


async def test_an_arm_that_is_disabled_leaves_the_candidates_side_at_once_and_is_not_promoted(
    open_daemon: OpenDaemon,
) -> None:
    async with open_daemon(**DEAR) as daemon, open_daemon(**DEAR) as other:
        await daemon.services.arms.patch("default", "small", {"enabled": False})
        settings = {"kind": "uniform", "options": {}}
        release_id = await begin(daemon, settings=settings, arms={"small": {"enabled": True}})
        made = [await ask(daemon) for _ in range(30)]
        assert "small" in {one.arm for one in made}
        await daemon.services.arms.patch("default", "small", {"enabled": False})
        assert "small" not in {one.arm for one in [await ask(daemon) for _ in range(30)]}
        await other.releases.step()
        assert "small" not in {one.arm for one in [await ask(other) for _ in range(30)]}
        assert (await history(daemon, release_id))[-1] == "arm_disabled"
        for _ in HALF.steps:
            await do(daemon, release_id, "promote", force=True)
        assert not (await daemon.services.arms.get("default", "small")).arm.enabled


async def test_a_candidate_that_was_taken_back_rests_for_an_hour(
    open_daemon: OpenDaemon, clock: ShiftedClock
) -> None:
    async with open_daemon(**DEAR) as daemon:
        releases = daemon.services.releases
        assert releases is not None
        await do(daemon, await begin(daemon), "abort")
        await offer(daemon, "the-same")
        for name in ("cheap", "the-same"):
            with pytest.raises(ConflictError, match="less than an hour ago"):
                await releases.start("default", name, HALF)
        begun: Any = await releases.start("default", "cheap", HALF, again=True)
        await do(daemon, begun["release_id"], "abort")
        clock.hours += 1.01
        assert (await releases.start("default", "the-same", HALF))["phase"] == "running"


async def test_a_promotion_that_was_taken_back_rests_for_an_hour_and_says_what_goes_with_it(
    open_daemon: OpenDaemon, clock: ShiftedClock
) -> None:
    arms = {"large": {"min_share": 0.1}, "small": {"min_share": 0.1}, "vision": {"enabled": False}}
    async with open_daemon(**DEAR) as daemon:
        releases = daemon.services.releases
        assert releases is not None
        release_id = await begin(daemon, arms=arms)
        for _ in HALF.steps:
            await do(daemon, release_id, "promote", force=True)
        clock.hours += 2.0  # it counts from when it was taken back
        await daemon.services.arms.patch("default", "large", {"min_share": 0.3})
        await daemon.services.arms.patch("default", "vision", {"enabled": True})  # as before the promotion
        undone: Any = await releases.roll_back("default", key_name=None, reason="complaints")
        assert undone["dropped"] == ["large.min_share: 0.3"]
        assert "large.min_share: 0.3" in undone["words"]
        found: Any = await releases.events(release_id)
        assert found["events"][-1]["reason"] == (
            "complaints; drops what was changed after the promotion: large.min_share: 0.3"
        )
        await offer(daemon, "the-same", arms=arms)
        for name in ("cheap", "the-same"):
            with pytest.raises(ConflictError, match=r"less than an hour ago .*complaints") as refused:
                await releases.start("default", name, HALF)
            assert refused.value.code == "RELEASE_COOLING"
        await offer(daemon, "another", settings={"kind": "uniform", "options": {}})
        for name, again in (("another", False), ("cheap", True)):
            begun: Any = await releases.start("default", name, HALF, again=again)
            await do(daemon, begun["release_id"], "abort")
        clock.hours += 1.01
        assert (await releases.start("default", "the-same", HALF))["phase"] == "running"
