"""What a learner does with rewards that have piled up while nobody learned."""

from __future__ import annotations

import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_reward_walk import reward, route

from banditd.bootstrap import Daemon
from banditd.services.learner import Learner


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
    assert left[0] == 0
