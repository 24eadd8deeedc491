"""A replay decides what the daemon decides: the same rows, rewards and uniform numbers through both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.types import Query
from banditd.daemon.open import Daemon
from banditd.replay.decider import InProcessDecider, Row, Terms
from banditd.replay.prices import Tariff
from banditd.services.walks import RewardInput

COST_USD = np.array([1e-4, 4e-4, 3e-3])
ARMS = [
    {"arm": f"arm-{i}", "price": {"usd_per_request": cost}, "onboarding_decisions": 0}
    for i, cost in enumerate(COST_USD.tolist())
]
TEXTS = [f"{word} of the number {i}" for i in range(15) for word in ("Explain the theory", "Give me code", "A poem")]


def reward_of(row: int, arm: int) -> float:
    return float((0.3, 0.6, 0.9)[arm] if row % 3 else (0.8, 0.5, 0.2)[arm])


async def rewarded(daemon: Daemon, decision_id: str, value: float, arm: str | None = None) -> None:
    submission = RewardInput(decision_id=decision_id, value=value, source="metric", arm=arm)
    [receipt] = await daemon.services.rewards.submit([submission])
    assert not isinstance(receipt, Exception), receipt
    await daemon.learner.drained()


@pytest.mark.parametrize(
    ("policy", "replayed"),
    [
        ({"cost_weight": 0.3}, {"cost_weight": 0.3}),
        ({"budget_usd_per_decision": 6e-4}, {"budget_usd": 6e-4}),
        ({"kind": "linucb", "exploration_floor": 0.05}, {}),
        ({"arms": [*ARMS[:2], {**ARMS[2], "max_share": 0.3}]}, {"max_shares": {"arm-2": 0.3}}),
    ],
    ids=["cost weight", "budget", "floors", "cap"],
)
async def test_a_replay_draws_from_the_daemons_vectors(
    open_daemon: OpenDaemon, policy: dict[str, Any], replayed: dict[str, Any]
) -> None:
    async with open_daemon(**{"arms": ARMS, **policy}) as daemon:
        runtime = daemon.runtimes["default"]
        routing = daemon.services.routing
        contexts = [
            runtime.builder.build(text=text, embedding=await routing._encoder.encode(text))  # type: ignore[attr-defined]
            for text in TEXTS
        ]
        decider = InProcessDecider(
            schema=runtime.builder.schema,
            settings=runtime.config.settings,
            arms=tuple(str(arm["arm"]) for arm in ARMS),
            contexts=contexts,
            seed=3,
            tariff=Tariff.of_means(COST_USD, len(TEXTS)),
            terms=Terms(**replayed),
        )
        routing._decider._rng = np.random.default_rng([3, 1])  # type: ignore[attr-defined]
        for row, text in enumerate(TEXTS):
            served = await decider.decide(Row(row, text))
            made = await routing.route(Query(text=text))
            assert served.probability is not None
            vector = np.zeros(3)
            vector[[int(arm[-1]) for arm in made.arms]] = made.probability
            np.testing.assert_allclose(vector, served.probability, atol=1e-9, err_msg=f"row {row}")
            assert made.arm == f"arm-{served.arm}"
            value = reward_of(row, served.arm)
            await decider.reward(served, reward=value, cost_usd=float(COST_USD[served.arm]))
            await rewarded(daemon, made.decision_id, value)
            others = {arm: reward_of(row, arm) for arm in range(3) if arm != served.arm and row % 5 == 0}
            await decider.reward_others(served, others)
            for arm, score in others.items():
                await rewarded(daemon, made.decision_id, score, arm=f"arm-{arm}")
