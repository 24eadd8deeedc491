"""What an evaluation takes for known at each decision, from either database and from a window's beginning."""

from __future__ import annotations

import pytest
from tests.walks.conftest import OpenDaemon
from tests.walks.test_evaluation_walk import POLICY, WORTH, live

from banditd.services.candidates.knowledge import Knowledge
from banditd.services.walks import RewardInput


async def test_the_walk_begins_before_the_first_reward_and_ends_with_what_is_known_now(
    open_daemon: OpenDaemon,
) -> None:
    async with open_daemon(**POLICY, half_life_decisions=700) as daemon:
        made = await live(daemon, 60)
        # The reward of an arm that did not serve teaches too.
        other = RewardInput(decision_id=made[3].decision_id, value=0.3, arm="vision", idempotency_key="other")
        await daemon.services.rewards.submit([other])
        await daemon.learner.drained()
        runtime = daemon.runtimes["default"]
        schema = runtime.builder.schema
        log, learning = daemon.storage.whole_log, daemon.storage.learning
        page, end = await log.taught("default", schema.hash, since_us=None, before_id=None, limit=500)
        assert end is None
        assert len(page) == 60
        rows = page[::-1]
        for first in (0, 40):
            knowledge = Knowledge(
                schema=schema, settings=runtime.config.settings, other=runtime.config.settings,
                arms=runtime.priors(), stored=await learning.load("default", schema.hash), rows=rows[first:],
            )  # fmt: skip
            list(knowledge.beginning())
            assert knowledge.restored
            state = knowledge._states[0]
            assert sum(state.sums(arm).n for arm in WORTH) == pytest.approx(first, abs=2.0)
            for index in range(len(rows) - first):
                knowledge.passed(index)
            list(knowledge.until(10**18))
            for arm in WORTH:
                ours, theirs = state.sums(arm), runtime.learned.sums(arm)
                assert ours.gram == pytest.approx(theirs.gram, abs=1e-9)
                assert ours.xr == pytest.approx(theirs.xr, abs=1e-9)
