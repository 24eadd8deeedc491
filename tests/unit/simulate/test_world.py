from __future__ import annotations

import random

import pytest

from banditd.simulate import feedback, world
from banditd.simulate.families import FAMILIES, draw
from banditd.simulate.tally import Tally, percentile


def _prompts(count: int = 3000):
    return [draw(random.Random(f"p{i}")) for i in range(count)]


def test_no_fixed_arm_is_best_everywhere_so_there_is_something_to_learn() -> None:
    arms, prompts = world.simulated_arms(world.EXAMPLE_ARMS), _prompts()
    best = {
        family: max(arms, key=lambda arm: sum(arm.mean_reward(p) for p in prompts if p.family == family)).name
        for family in FAMILIES
    }
    assert len(set(best.values())) >= 3
    fixed = max(sum(arm.mean_reward(p) for p in prompts) / len(prompts) for arm in arms)
    oracle = sum(max(arm.mean_reward(p) for arm in arms) for p in prompts) / len(prompts)
    assert oracle > fixed + 0.05


def test_the_best_fixed_arm_is_the_dearest_and_learning_can_save_money() -> None:
    arms, prompts = world.simulated_arms(world.EXAMPLE_ARMS), _prompts(500)
    spend = {
        arm.name: sum(world.outcome(arm, p, seed=0, index=i).cost_usd for i, p in enumerate(prompts)) for arm in arms
    }
    assert max(spend, key=lambda name: spend[name]) == "large-reasoner"
    assert spend["large-reasoner"] > 5 * spend["small-general"]


def test_outcomes_are_in_range_centred_on_the_truth_and_repeatable() -> None:
    arm = world.simulated_arms(world.EXAMPLE_ARMS)[1]
    # In the middle: at the ends of [0, 1] clipping moves the mean.
    prompt = next(p for p in _prompts(100) if 0.4 < arm.mean_reward(p) < 0.6)
    outcomes = [world.outcome(arm, prompt, seed=0, index=i) for i in range(4000)]
    assert all(0 <= o.reward <= 1 and o.cost_usd > 0 and o.latency_ms > 0 for o in outcomes)
    assert sum(o.reward for o in outcomes) / 4000 == pytest.approx(arm.mean_reward(prompt), abs=0.03)
    assert world.outcome(arm, prompt, seed=0, index=7) == outcomes[7]


def test_unknown_arms_get_qualities_that_depend_on_price_and_family() -> None:
    views = [
        {"arm": "a", "price": {"usd_per_mtok_out": 0.1}},
        {"arm": "b", "price": {"usd_per_mtok_out": 30.0}},
        {"arm": "c"},
    ]
    cheap, dear, free = world.simulated_arms(views)
    assert sum(dear.quality.values()) > sum(cheap.quality.values())
    assert len({round(q, 6) for q in cheap.quality.values()}) == len(FAMILIES)
    assert free.cost_usd(100, 100) == 0
    assert world.strangers(["a", "small-general"]) == ["a"]


def test_feedback_is_missing_late_doubled_and_corrected_in_its_shares() -> None:
    arm = world.simulated_arms(world.EXAMPLE_ARMS)[0]
    outcome = world.outcome(arm, _prompts(1)[0], seed=0, index=0)
    plans = [feedback.plan(decision_id=f"d{i}", outcome=outcome, index=i, seed=0) for i in range(5000)]
    posts = [post for post in plans if post is not None]
    kinds = [post.follow_up.kind for post in posts if post.follow_up is not None]
    assert 1 - len(posts) / 5000 == pytest.approx(feedback.SILENT_SHARE, abs=0.02)
    assert kinds.count("duplicate") / len(posts) == pytest.approx(feedback.DUPLICATE_SHARE, abs=0.015)
    assert kinds.count("correction") / len(posts) == pytest.approx(feedback.CORRECTED_SHARE, abs=0.015)
    for index, post in enumerate(plans):
        if post is None:
            continue
        assert post.due > index
        again = post.follow_up
        if again is not None and again.kind == "duplicate":
            assert (again.body, again.idempotency_key) == (post.body, post.idempotency_key)
        if again is not None and again.kind == "correction":
            # A correction is told from a retry by its value, and must not carry the key of the first post.
            assert again.idempotency_key is None
            assert again.due > post.due


def test_the_tally_compares_with_every_fixed_arm_on_the_same_queries() -> None:
    arms = world.simulated_arms(world.EXAMPLE_ARMS)
    tally = Tally(arms=tuple(arm.name for arm in arms))
    for index, prompt in enumerate(_prompts(90)):
        outcomes = {arm.name: world.outcome(arm, prompt, seed=0, index=index) for arm in arms}
        tally.decision(
            prompt=prompt, answer={"arm": "small-general", "explored": index < 9}, outcomes=outcomes, latency_ms=2.0
        )
    summary = tally.summary()
    always = {arm["arm"]: arm for arm in summary["arms"]}
    assert summary["reward"]["mean"] == pytest.approx(always["small-general"]["fixed_reward"])
    assert summary["cost_usd"] == pytest.approx(always["small-general"]["fixed_cost_usd"])
    assert summary["explored_share"] == pytest.approx(0.1)
    assert summary["reward"]["oracle"] >= max(arm["fixed_reward"] for arm in summary["arms"])
    assert always["small-general"]["pulls"] == 90


def test_an_empty_tally_has_no_invented_figures() -> None:
    summary = Tally(arms=("a",)).summary()
    assert summary["reward"]["mean"] is None
    assert summary["explored_share"] is None
    assert summary["latency_ms"]["p50"] is None


@pytest.mark.parametrize(("q", "expected"), [(0.5, 2), (0.75, 3), (0.99, 4), (0.0, 1)])
def test_a_percentile_is_a_value_that_was_seen(q: float, expected: float) -> None:
    assert percentile([4, 1, 3, 2], q) == expected
