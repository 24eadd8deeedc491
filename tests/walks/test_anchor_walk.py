"""An anchor on the walk of a query and of a reward: what it holds on to, exact marginals, its test, who renews it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from tests.walks.conftest import OpenDaemon, leads
from tests.walks.test_release_walk import ask, begin, do
from tests.walks.test_reward_walk import refolded

from banditd.core.errors import ConflictError, NotFoundError
from banditd.core.types import Arm, Decision, FloatArray
from banditd.daemon.open import Daemon
from banditd.services.anchoring import keeping
from banditd.services.anchoring.keeping import AnchorKeeping
from banditd.services.walks import RewardInput
from banditd.storage.schema import release_unit

LARGE: dict[str, Any] = {"kind": "fixed", "options": {"arm": "large"}, "exploration_floor": 0.0}
SMALL = LARGE | {"options": {"arm": "small"}}
HALF: dict[str, Any] = {"drift": {"anchor": {"share": 0.5}}, "session_sticky": False}
LEARNING: dict[str, Any] = {"kind": "linucb", "exploration_floor": 0.0, **HALF}


def anchors(daemon: Daemon) -> AnchorKeeping:
    found = daemon.services.anchors
    assert isinstance(found, AnchorKeeping)
    return found


async def renew(daemon: Daemon, reason: str | None = "good") -> str:
    await leads(daemon)
    return (await anchors(daemon).renew("default", key_name="ops", reason=reason)).anchor_id


async def reward(daemon: Daemon, made: Sequence[Decision], worth: Mapping[str, float]) -> None:
    given = [RewardInput(decision_id=one.decision_id, value=worth.get(one.arm, 0.5)) for one in made]
    await daemon.services.rewards.submit(given)
    await daemon.learner.drained()


async def own(daemon: Daemon) -> Any:
    assert daemon.services.drift is not None
    found: Any = await daemon.services.drift.drift("default")
    return found["own"]


def sides(made: Sequence[Decision]) -> list[object]:
    return [None if one.release is None else one.release["side"] for one in made]


def believed(daemon: Daemon, *, live: bool = False) -> FloatArray:
    """What the anchor, or the policy, expects of every arm on some contexts."""
    runtime, book = daemon.runtimes["default"], anchors(daemon).book("default")
    snapshot = runtime.view.snapshot if live else book._snapshot
    assert snapshot is not None
    return np.concatenate(snapshot.predict(np.eye(runtime.builder.schema.n_features)[:3]))


async def test_settings_of_then_decide_beside_those_of_now_with_exact_marginals_on_all_replicas(
    open_daemon: OpenDaemon,
) -> None:
    async with open_daemon(**LARGE, **HALF) as daemon:
        await reward(daemon, [await ask(daemon)], {"large": 1.0})
        anchor_id = await renew(daemon)
    async with open_daemon(**SMALL, **HALF) as daemon, open_daemon(**SMALL, **HALF) as other:
        made = [await ask(daemon, i) for i in range(40)]
        assert sides([await ask(other, i) for i in range(40)]) == sides(made)
        assert 5 <= sides(made).count("anchor") <= 35
        for one in made:
            kept = one.release
            assert kept is not None
            assert one.arm == ("large" if kept["side"] == "anchor" else "small")
            assert (kept["anchor"], kept["share"], kept["differ"], kept["distance"]) == (anchor_id, 0.5, True, 1.0)
            vectors = [np.array(kept[name]) for name in ("anchored", "live")]
            assert one.probability == pytest.approx(0.5 * vectors[0] + 0.5 * vectors[1])
            assert one.propensity == one.probability[one.chosen_index]
            below = one.probability[: one.chosen_index].sum()
            assert below - 1e-9 <= one.uniform <= below + one.propensity + 1e-9
        row = await daemon.services.reports.decision(made[0].decision_id)
        assert row["release"] == dict(made[0].release or {})
    # Where it is switched off nobody is on its side; it is kept for when it is on again.
    async with open_daemon(**SMALL) as daemon:
        assert sides([await ask(daemon, i) for i in range(9)]) == [None] * 9
    async with open_daemon(**SMALL, **HALF) as daemon:
        assert sides([await ask(daemon, i) for i in range(40)]) == sides(made)


async def test_what_is_learned_later_moves_the_policy_and_not_its_anchor(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**LEARNING) as daemon:
        await reward(daemon, [await ask(daemon) for _ in range(30)], {"small": 0.2, "large": 1.0})
        await renew(daemon)
        before = believed(daemon)
        assert before == pytest.approx(believed(daemon, live=True))
        await reward(daemon, [await ask(daemon) for _ in range(60)], {"small": 1.0, "large": 0.0})
        assert np.abs(believed(daemon, live=True) - before).max() > 0.05
        await anchors(daemon).step()
        assert (believed(daemon) == before).all()
        assert (await refolded(daemon)).agrees
    async with open_daemon(**LEARNING) as daemon:
        assert believed(daemon) == pytest.approx(before, abs=1e-12)
        assert sides([await ask(daemon)]) != [None]


async def test_a_loss_of_our_own_is_an_alarm_in_the_learners_commit_and_every_unit_counts_once(
    open_daemon: OpenDaemon,
) -> None:
    worth = {"small": 0.0, "large": 1.0}
    async with open_daemon(**LARGE, **HALF) as daemon:
        await reward(daemon, [await ask(daemon)], worth)
        await renew(daemon)
    async with open_daemon(**SMALL, **HALF) as daemon:
        await leads(daemon)
        made = [await ask(daemon, i) for i in range(20)]
        await reward(daemon, made, worth)
        await reward(daemon, made, {"small": 1.0, "large": 0.0})  # corrections: their units were counted
        await reward(daemon, [await ask(daemon, i) for i in range(20)], worth)  # the same sessions again
        found = await own(daemon)
        assert found["units"] == {"live": sides(made).count("live"), "anchor": sides(made).count("anchor")}
        assert (found["alarm"], found["deciding"], found["problem"]) == (False, True, None)
        while not (found := await own(daemon))["alarm"]:
            await reward(daemon, [await ask(daemon) for _ in range(20)], worth)
        assert found["difference"] == pytest.approx(-1.0)
        assert (found["evidence"] >= 1.0, found["since"]) == (True, found["alarmed_on"])
        assert "Own learning or settings: routing earns -1.000" in found["words"]
        assert [one["event"] for one in found["events"]] == ["alarm", "taken"]
        late = [await ask(daemon, f"late {i}") for i in range(6)]
        await renew(daemon, "it is cheaper")
        await reward(daemon, late, worth)  # decisions beside the old one
        found = await own(daemon)
        assert (found["alarm"], found["units"], found["reason"]) == (False, {"live": 0, "anchor": 0}, "it is cheaper")
        newest = found["events"][0]
        assert (newest["event"], newest["key_name"], newest["reason"]) == ("renewed", "ops", "it is cheaper")
        query = select(release_unit.c.release_id).distinct()
        marked = await daemon.storage.database.read(lambda connection: connection.execute(query).scalars().all())
        assert marked == []


async def test_a_release_goes_first_and_its_promotion_renews_the_anchor(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**LARGE, **HALF) as daemon:
        await reward(daemon, [await ask(daemon)], {"large": 1.0})
        first = await renew(daemon)
        release_id = await begin(daemon)
        made = [await ask(daemon, i) for i in range(9)]
        assert {("release" in (one.release or {})) for one in made} == {True}
        assert not (await own(daemon))["deciding"]
        for _ in range(3):
            await do(daemon, release_id, "promote", force=True)
        await anchors(daemon).step()
        found = await own(daemon)
        assert found["anchor_id"] != first
        assert (found["reason"], found["deciding"]) == (f"release {release_id} was promoted", True)
        assert {one.arm for one in [await ask(daemon, i) for i in range(9)]} == {"small"}
        await anchors(daemon).step()
        assert (await own(daemon))["anchor_id"] == found["anchor_id"]
        assert daemon.services.releases is not None
        await daemon.services.releases.roll_back("default", key_name="ops", reason=None)
        await anchors(daemon).step()
        found = await own(daemon)
        assert found["reason"] == "a promotion was taken back"
        assert {one.arm for one in [await ask(daemon, i) for i in range(9)]} == {"large"}


async def test_an_anchor_draws_no_arm_that_is_disabled_new_or_gone(open_daemon: OpenDaemon) -> None:
    even: dict[str, Any] = {"kind": "uniform", **HALF}
    async with open_daemon(**even) as daemon:
        await reward(daemon, [await ask(daemon)], {"large": 1.0, "small": 1.0})
        await renew(daemon)

        async def drawn() -> tuple[set[str], set[str]]:
            """(arms with a probability on the anchor's side, and on the other)."""
            await anchors(daemon).step()
            kept = [(one.arms, one.release) for one in [await ask(daemon, i) for i in range(3)]]
            return tuple(  # type: ignore[return-value]
                {arm for arms, r in kept if r for arm, p in zip(arms, r[side], strict=True) if p > 0.0}
                for side in ("anchored", "live")
            )

        assert await drawn() == ({"small", "large", "vision"}, {"small", "large", "vision"})
        await daemon.services.arms.add(Arm(policy="default", arm="new", upstream_model="new"))
        assert await drawn() == ({"small", "large", "vision"}, {"small", "large", "vision", "new"})
        await daemon.services.arms.patch("default", "small", {"enabled": False})
        # Until the next look the anchor decides over the arms that it was made for: none that was disabled.
        assert all("small" not in one.arms for one in [await ask(daemon, i) for i in range(9)])
        assert await drawn() == ({"large", "vision"}, {"large", "vision", "new"})
        for name in ("small", "large", "vision"):
            await daemon.services.arms.delete("default", name)
        await anchors(daemon).step()
        found = await own(daemon)
        assert (found["deciding"], found["problem"]) == (False, "none of its arms can be drawn any more")
        assert sides([await ask(daemon)]) == [None]
        await renew(daemon)
        assert (await drawn())[0] == {"new"}


async def test_the_first_anchor_is_taken_once_there_is_something_to_hold_on_to(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FIRST_REWARDS", 3)
    async with open_daemon(**LARGE, **HALF) as daemon:
        await leads(daemon)
        await anchors(daemon).step()
        found = await own(daemon)
        assert (found["anchor_id"], found["first_after"], found["deciding"]) == (None, 500, False)
        with pytest.raises(ConflictError, match="learned nothing yet"):
            await anchors(daemon).renew("default", key_name=None, reason=None)
        await reward(daemon, [await ask(daemon) for _ in range(3)], {"large": 1.0})
        await anchors(daemon).step()
        found = await own(daemon)
        assert (found["reason"], found["deciding"], found["version"]) == (
            "first", True, daemon.runtimes["default"].view.snapshot.version,
        )  # fmt: skip
        with pytest.raises(ConflictError, match=r"policies\.other\.drift\.anchor"):
            await anchors(daemon).renew("other", key_name=None, reason=None)
        with pytest.raises(NotFoundError):
            await anchors(daemon).renew("nobody", key_name=None, reason=None)
    async with open_daemon(**LARGE) as daemon:
        assert await own(daemon) is None
        assert anchors(daemon)._loop._task is None


async def test_while_a_rollout_or_a_shadow_is_on_the_anchor_stands_still(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**LARGE, **HALF) as daemon:
        await reward(daemon, [await ask(daemon)], {"large": 1.0})
        await renew(daemon)
        await daemon.services.promises.change("default", {"rollout": 0.5})
        assert sides([await ask(daemon)]) == [None]
        await daemon.services.promises.change("default", {"rollout": 1.0, "mode": "shadow"})
        assert sides([await ask(daemon)]) == [None]
        await daemon.services.promises.change("default", {"mode": "route"})
        assert sides([await ask(daemon)]) != [None]
        pinned = await ask(daemon, candidates=("large",), pinned=True)
        assert pinned.release is None
