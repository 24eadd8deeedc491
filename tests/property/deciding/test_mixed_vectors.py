"""Two vectors become one: marginals are exact, both sides agree as often as any two can, the number says the arm."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from banditd.bandit.policies.exploration import draw
from banditd.deciding.rollout import distance, mixed, place_of

PARTS = st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda parts: sum(parts) > 1e-3)
GRID = (np.arange(100) + 0.5) / 100


@given(first=PARTS, second=PARTS, share=st.floats(0.01, 1.0))
@example(first=[0.0, 1.0, 0.0], second=[0.0, 1.0, 1.0], share=1.0 - 2.0**-53)
@settings(max_examples=25)
def test_each_side_draws_from_its_own_vector_and_both_agree_as_often_as_they_can(
    first: list[float], second: list[float], share: float
) -> None:
    own, other = np.array(first) / sum(first), np.array(second) / sum(second)
    arms = {}
    for on_own, vector in ((True, own), (False, other)):
        if share >= 1.0 and not on_own:
            continue  # nobody is on that side
        drawn = []
        for uniform in GRID.tolist():
            one = mixed(own, other, share, uniform, on_own=on_own)
            np.testing.assert_allclose(one.probability, share * own + (1.0 - share) * other, atol=1e-12)
            assert 0.0 <= one.uniform < 1.0
            arm = int(draw(one.probability[None, :], np.array([one.uniform]))[0])
            assert vector[arm] > 0.0
            drawn.append((arm, one.differ))
        # A grid of numbers hits each stretch as often as it is long, but for its two ends.
        counts = np.bincount([arm for arm, _ in drawn], minlength=3) / GRID.size
        np.testing.assert_allclose(counts, vector, atol=5 / GRID.size)
        assert abs(np.mean([differ for _, differ in drawn]) - distance(own, other)) <= 4 / GRID.size
        arms[on_own] = drawn
    for (mine, differ), (theirs, _) in zip(*arms.values(), strict=True) if len(arms) == 2 else ():
        assert differ or mine == theirs


def test_over_units_and_numbers_each_arm_is_drawn_as_often_as_is_logged() -> None:
    """10,000 draws of a release: what is logged is what happens, and the logged number is uniform."""
    generator = np.random.default_rng(0)
    candidate, incumbent, share, n = np.array([0.5, 0.2, 0.3, 0.0]), np.array([0.1, 0.2, 0.2, 0.5]), 0.3, 10_000
    counts, logged, uniforms, sides = np.zeros(4), np.zeros(4), [], 0
    for i, uniform in enumerate(generator.random(n).tolist()):
        on_own = place_of("a release", f"unit {i}") < share
        one = mixed(candidate, incumbent, share, uniform, on_own=on_own)
        counts[int(draw(one.probability[None, :], np.array([one.uniform]))[0])] += 1
        logged, sides = one.probability, sides + on_own
        uniforms.append(one.uniform)
    assert abs(sides / n - share) <= 3 * np.sqrt(share * (1.0 - share) / n)
    np.testing.assert_allclose(counts / n, logged, atol=4 * 0.5 / np.sqrt(n))
    np.testing.assert_allclose(np.histogram(uniforms, bins=10, range=(0, 1))[0] / n, 0.1, atol=0.015)
