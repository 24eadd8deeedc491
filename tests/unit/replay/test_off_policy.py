"""The off-policy part of a replay's report: estimates from the log beside the truth."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from banditd.replay.decider import Row, Served
from banditd.replay.engine import run, run_with
from banditd.replay.off_policy import off_policy
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import make_plan
from banditd.replay.table import off_policy_table


def policies(report) -> dict[str, dict]:  # type: ignore[no-untyped-def, type-arg]
    return {one["policy"]: one for one in report.content["off_policy"]["policies"]}


def test_a_uniform_log_recovers_every_arm(two_topics: Path) -> None:
    report = run(ReplayOptions(directory=two_topics, policy="uniform", floor=0.0, seeds=2, workers=1))
    found = policies(report)
    assert set(found) == {*report.content["arms"], "uniform"}
    assert report.content["off_policy"]["rounds"] == 1200
    for one in found.values():
        assert one["agrees"] is True, one
        assert one["reason"] is None
        assert abs(one["snips"]["value"] - one["ground_truth"]) <= 3 * one["snips"]["standard_error"] + 1e-9
    assert found["uniform"]["ground_truth"] == pytest.approx(report.content["references"]["uniform"])
    assert found["uniform"]["snips"]["value"] == pytest.approx(report.content["off_policy"]["mean_reward"])


def test_what_the_log_cannot_say_is_refused_with_a_reason(two_topics: Path) -> None:
    report = run(ReplayOptions(directory=two_topics, policy="fixed", policy_options={"arm": "small"}, floor=0.0))
    found = policies(report)
    assert found["small"]["agrees"] is True
    for name in ("large", "uniform"):
        assert found[name]["agrees"] is None
        assert found[name]["snips"] is None
        assert "probability 0" in found[name]["reason"]
    short = run(ReplayOptions(directory=two_topics, policy="uniform", limit=60))
    assert "effective sample size" in policies(short)["small"]["reason"]
    assert policies(short)["small"]["agrees"] is None
    assert off_policy_table(short).row_count == len(policies(short))


class Silent:
    """Plays arm 0 and does not say how likely that was."""

    def __init__(self) -> None:
        self.choose_us: list[float] = []
        self.update_us: list[float] = []

    async def decide(self, row: Row) -> Served:
        return Served(0, row)

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float, weight: float = 1.0) -> None:
        """Learns nothing."""

    async def begin_scoring(self) -> None:
        """Nothing to reset."""

    async def close(self) -> None:
        """Nothing is held."""


def test_without_probabilities_there_is_no_estimate(two_topics: Path) -> None:
    report = asyncio.run(run_with(make_plan(ReplayOptions(directory=two_topics)), lambda _seed: Silent()))
    assert report.content["off_policy"] is None
    assert off_policy_table(report).row_count == 0


def test_wrong_propensities_are_found_out() -> None:
    generator = np.random.default_rng(4)
    score = (generator.random((5000, 2)) < [0.3, 0.7]).astype(np.float64)
    # Arm 1 is drawn where it does well more often than the log says.
    chance = np.where(score[:, 1] == 1.0, 0.7, 0.3)
    chosen = (generator.random(5000) < chance).astype(np.intp)
    found = off_policy(score, ("a", "b"), [(np.arange(5000), chosen, np.full((5000, 2), 0.5))])
    assert found is not None
    judged = {one["policy"]: one for one in found["policies"]}  # type: ignore[attr-defined]
    assert judged["b"]["agrees"] is False
    true = np.column_stack([1.0 - chance, chance])
    mended = off_policy(score, ("a", "b"), [(np.arange(5000), chosen, true)])
    assert mended is not None
    assert [one["agrees"] for one in mended["policies"]] == [True, True, True]  # type: ignore[attr-defined]
