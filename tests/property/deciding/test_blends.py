"""The propensity of every decision is what it says: own vector, promise and rollout, by the draw itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from banditd.bandit.policies.exploration import draw
from banditd.deciding.pledge import Pledges, blended
from banditd.deciding.rollout import Rollout, Side, rolled_out, side_of

PARTS = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6).filter(lambda parts: sum(parts) > 1e-3)
SHARE = st.floats(0.0, 1.0)


@given(parts=PARTS, share=SHARE, rollout=SHARE, place=st.integers(0, 5), uniform=st.floats(0.0, 0.999999))
@settings(max_examples=300)
def test_the_vector_is_both_blends_and_the_number_gives_the_arm_of_the_side(
    parts: list[float], share: float, rollout: float, place: int, uniform: float
) -> None:
    own = np.array(parts) / sum(parts)
    baseline = place % own.size
    point = np.zeros(own.size)
    point[baseline] = 1.0
    pledged = blended(
        own[None, :], Pledges(slice(None), baseline, 0.0, share), np.array([share]), np.zeros((1, own.size))
    )[0]
    np.testing.assert_allclose(pledged, share * own + (1.0 - share) * point, atol=1e-12)
    sides: tuple[Side, ...] = ("policy", "baseline")
    for side in sides:
        if (rollout <= 0.0 and side == "policy") or (rollout >= 1.0 and side == "baseline"):
            continue  # nobody is on that side
        marginal, at = rolled_out(pledged, Rollout(baseline, rollout, side), uniform)
        np.testing.assert_allclose(marginal, rollout * pledged + (1.0 - rollout) * point, atol=1e-12)
        assert 0.0 <= at < 1.0
        drawn = int(draw(marginal[None, :], np.array([at]))[0])
        if side == "baseline":
            assert drawn == baseline
        else:
            wanted = int(draw(pledged[None, :], np.array([uniform]))[0])
            assert drawn == wanted or rollout * pledged[wanted] < 1e-12


def test_over_sides_and_numbers_each_arm_is_drawn_as_often_as_is_logged() -> None:
    generator = np.random.default_rng(0)
    own, share, n = np.array([0.5, 0.2, 0.3]), 0.4, 20_000
    counts, logged, uniforms = np.zeros(3), np.zeros(3), []
    for i, uniform in enumerate(generator.random(n).tolist()):
        logged, at = rolled_out(own, Rollout(1, share, side_of("default", f"unit {i}", share)), uniform)
        counts[int(draw(logged[None, :], np.array([at]))[0])] += 1
        uniforms.append(at)
    np.testing.assert_allclose(counts / n, logged, atol=4 * 0.5 / np.sqrt(n))
    # The logged number is uniform, so that whoever replays the log draws from it what was drawn.
    np.testing.assert_allclose(np.histogram(uniforms, bins=10, range=(0, 1))[0] / n, 0.1, atol=0.012)
