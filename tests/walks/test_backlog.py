"""What a learner does with rewards that have piled up while nobody learned."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_reward_walk import reward, route

from banditd.daemon.open import Daemon
from banditd.ports import ArmChange, FoldItem
from banditd.services.learning.learner import Learner


async def pile_up(daemon: Daemon, decision_ids: list[str], *sources: str) -> None:
    """Rewards in the queue and no learner: each source posts by itself, as a judge and a user would."""
    await daemon.learner.stop()
    for decision_id in decision_ids:
        for source in sources:
            await reward(daemon, decision_id, 1.0, source=source)


async def test_a_backlog_with_several_rewards_per_decision_is_folded_without_a_rest(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        await pile_up(daemon, [await route(daemon) for _ in range(10)], "judge", "human")
    left: list[int] = []
    rest = Learner._rest

    async def noting(learner: Learner) -> None:
        left.append(await learner._store.queue_depth())
        await rest(learner)

    monkeypatch.setattr(Learner, "_rest", noting)
    async with open_daemon(max_batch=4) as daemon:
        await daemon.learner.drained()
    assert not any(left)


async def test_an_arm_change_waits_for_one_batch_and_not_for_the_backlog(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        await pile_up(daemon, [await route(daemon) for _ in range(40)], "judge")
    folding, fold = asyncio.Event(), Learner._fold

    async def noting(learner: Learner, name: str, items: list[FoldItem]) -> None:
        folding.set()
        await fold(learner, name, items)

    monkeypatch.setattr(Learner, "_fold", noting)
    async with open_daemon(max_batch=1) as daemon:
        await folding.wait()
        await daemon.learner.refresh_arms()  # what the arm service waits for after a write
        assert await daemon.storage.learning.queue_depth() > 0
        await daemon.learner.drained()


async def test_what_another_replica_changes_is_adopted_amid_a_backlog(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        await pile_up(daemon, [await route(daemon) for _ in range(40)], "judge")
    changed, fold = 0, Learner._fold

    async def changing(learner: Learner, name: str, items: list[FoldItem]) -> None:
        nonlocal changed
        if not changed:  # as another replica would: this one is not told
            disabled = lambda arm, _: ArmChange(dataclasses.replace(arm, enabled=False))  # noqa: E731
            await learner._arms.update(name, "small", disabled)
        changed += 1
        learner._next_poll = 0.0  # it is due
        if changed == 3:
            seen.append([arm.enabled for arm in learner._runtimes[name].arms if arm.arm == "small"])
        await fold(learner, name, items)

    seen: list[list[bool]] = []
    monkeypatch.setattr(Learner, "_fold", changing)
    async with open_daemon(max_batch=1) as daemon:
        await daemon.learner.drained()
    assert seen == [[False]]


async def test_policies_take_turns_batch_by_batch(open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_daemon() as daemon:
        decisions = [await route(daemon, policy=policy) for policy in ("default", "other") for _ in range(3)]
        await pile_up(daemon, decisions, "judge")
    order, fold = [], Learner._fold

    async def noting(learner: Learner, name: str, items: list[FoldItem]) -> None:
        order.append(name)
        await fold(learner, name, items)

    monkeypatch.setattr(Learner, "_fold", noting)
    async with open_daemon(max_batch=1) as daemon:
        await daemon.learner.drained()
    assert order == ["default", "other"] * 3
