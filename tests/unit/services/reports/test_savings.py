"""What routing saves, from sums."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.ope.fixed import fixed_arm_terms
from banditd.services.reports.savings import savings

NAMES = (
    "estimated_rewards", "estimate_sum", "estimate_square", "difference_sum", "difference_square",
    "inverse_propensity_sum", "inverse_propensity_square",
)  # fmt: skip
COST = {"cheap": 0.001, "dear": 0.01}


def rows(n: int, *, share_dear: float, truth: dict[str, float], seed: int = 0, eligible: int | None = None):
    """A policy that draws the dear arm at random with that share."""
    rng = np.random.default_rng(seed)
    sums = {arm: np.zeros(7) for arm in COST}
    dear = 0
    for _ in range(n):
        drawn = "dear" if rng.random() < share_dear else "cheap"
        dear += drawn == "dear"
        reward = float(rng.random() < truth[drawn])
        for arm in COST:
            p = (share_dear if arm == "dear" else 1 - share_dear) if arm == drawn else None
            sums[arm] += fixed_arm_terms(truth[arm], reward, p)
    return [
        {
            "arm": arm, "decisions": dear if arm == "dear" else n - dear, "fixed_decisions": eligible or n,
            "fixed_cost_usd": COST[arm] * (eligible or n), **dict(zip(NAMES, sums[arm], strict=True)),
        }
        for arm in COST
    ], {"decisions": n, "predicted_spend_usd": dear * COST["dear"] + (n - dear) * COST["cheap"]}  # fmt: skip


def test_a_policy_that_plays_a_fixed_mix_is_the_mixture():
    found = savings(*_order(rows(4000, share_dear=0.3, truth={"cheap": 0.5, "dear": 0.8})))
    mixture = found["mixture"]
    shares = {part["arm"]: part["share"] for part in mixture["arms"]}
    assert shares == pytest.approx({"cheap": 0.7, "dear": 0.3}, abs=0.02)
    assert mixture["cost_usd_per_decision"] == pytest.approx(found["cost_usd_per_decision"])
    low, high = mixture["reward_difference"]["interval"]
    assert low < 0.0 < high
    assert mixture["verdict"] in {"undecided", "as good"}


def test_a_cheaper_policy_that_is_worse_is_called_so():
    found = savings(*_order(rows(4000, share_dear=0.3, truth={"cheap": 0.5, "dear": 0.8})))
    cheap, dear = found["arms"]
    assert dear["verdict"] == "cheaper, worse"
    assert dear["saved_share"] == pytest.approx(1 - found["cost_usd_per_decision"] / 0.01)
    assert cheap["verdict"] == "not cheaper, better"
    assert cheap["reward_difference"]["mean"] == pytest.approx(0.09, abs=0.03)


def test_of_arms_that_are_alike_a_twentieth_is_told_apart():
    told = 0
    for seed in range(60):
        found = savings(*_order(rows(1000, share_dear=0.5, truth={"cheap": 0.6, "dear": 0.6}, seed=seed)))
        told += found["arms"][1]["verdict"] not in {"cheaper, undecided", "cheaper, as good"}
    assert told <= 9  # 3 are expected; more than 9 of 60 come once in a thousand times


def test_too_little_is_said_to_be_too_little():
    few = savings(*_order(rows(300, share_dear=0.1, truth={"cheap": 0.5, "dear": 0.8})))
    assert few["arms"][1]["verdict"] is None
    assert "effective sample size" in few["arms"][1]["reason"]
    assert few["mixture"]["verdict"] is None
    nothing = savings([], ["cheap"], {})
    assert nothing["arms"][0]["verdict"] is None
    assert nothing["mixture"]["reason"].startswith("not enough data")


def test_an_arm_that_could_not_always_answer_is_not_compared():
    found = savings(*_order(rows(3000, share_dear=0.5, truth={"cheap": 0.5, "dear": 0.8}, eligible=2000)))
    assert {arm["reason"] for arm in found["arms"]} == {"not enough data: it was not eligible for every decision"}
    assert found["arms"][0]["saved_usd_per_decision"] is None


def _order(made):
    found, total = made
    return found, list(COST), total
