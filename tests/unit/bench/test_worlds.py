from __future__ import annotations

import numpy as np
import pytest
from bench import worlds


@pytest.mark.parametrize("name", worlds.LEVELS)
def test_a_world_is_what_its_name_says_and_the_same_for_one_seed(name: str) -> None:
    one, again = worlds.make(name, 3, 200), worlds.make(name, 3, 200)
    np.testing.assert_array_equal(one.mean, again.mean)
    assert one.mean.shape == (200, len(one.cost_usd))
    assert ((one.mean > 0) & (one.mean < 1)).all()
    assert len(one.contexts) == 200
    assert (one.cost_usd > 0).all() == name.startswith("the dearest")


def test_a_reward_that_does_not_come_teaches_nobody_and_is_scored_all_the_same() -> None:
    name = "the dearest of six the worst, .8 to .5"
    silent = worlds.make(name, 0, 200, rewarded=0.0)
    half = worlds.make(name, 0, 500, rewarded=0.5)
    assert half.rewarded.mean() == pytest.approx(0.5, abs=0.07)
    beta = worlds.LEARNERS["Beta-Thompson"]
    assert beta(silent, 0).mean() == pytest.approx(silent.mean.mean(), abs=0.03)
    assert beta(half, 0).mean() > silent.mean.mean() + 0.05
    learned = worlds.LEARNERS["thompson"](silent, 0)
    assert len(set(learned)) > 1
    found = worlds.measure(name, seeds=1, n=10, rewarded=0.0)
    assert found["dearest"] == pytest.approx(-0.3)
    assert worlds.measure("two arms, .3 and .8", seeds=1, n=10)["dearest"] is None


def test_learners_are_scored_by_what_they_chose_and_beat_uniform_where_arms_differ() -> None:
    world = worlds.make("two arms, .3 and .8", 0, 400)
    for play in worlds.LEARNERS.values():
        earned = play(world, 0)
        assert set(np.unique(earned)) <= {0.3, 0.8}
        assert earned.mean() > 0.7
    found = worlds.measure("two arms, .3 and .8", seeds=2, n=300)
    assert found["uniform"] == pytest.approx(-0.25)
    for learner in worlds.LEARNERS:
        gap = found[learner]
        assert isinstance(gap, dict)
        assert gap["worst"] <= gap["all"] < 0
        assert gap["last_third"] > found["uniform"]
