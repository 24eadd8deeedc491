"""What would settle a verdict."""

from __future__ import annotations

import math

import numpy as np
import pytest

from banditd.ope.fixed import FixedArmSums, fixed_arm_terms
from banditd.ope.settling import decisions_to_settle


def play(n: int, share: float, rng: np.random.Generator, before: FixedArmSums | None = None) -> FixedArmSums:
    sums = np.zeros(7) if before is None else np.array([getattr(before, f) for f in FixedArmSums.__slots__])
    for _ in range(n):
        drawn = bool(rng.random() < share)
        sums = sums + fixed_arm_terms(0.6, share, float(rng.random() < 0.6), drawn=drawn)
    return FixedArmSums(*map(int, sums[:3]), *map(float, sums[3:]))


@pytest.mark.parametrize(("share", "wanted"), [(0.05, 0.05), (0.2, 0.03), (0.5, 0.02)])
def test_after_as_many_decisions_as_it_says_the_interval_is_about_as_narrow_as_was_wanted(share, wanted):
    rng = np.random.default_rng(1)
    sums = play(200, share, rng)
    missing = decisions_to_settle(sums, wanted, share)
    later = play(missing, share, rng, sums)
    assert later.half_width == pytest.approx(wanted, rel=0.15)
    assert decisions_to_settle(later, wanted * 1.2, share) == 0


def test_more_of_the_traffic_settles_sooner_and_none_of_it_never():
    sums = play(300, 0.05, np.random.default_rng(2))
    by_share = [decisions_to_settle(sums, 0.02, share) for share in (0.01, 0.05, 0.2, 0.9)]
    assert by_share == sorted(by_share, reverse=True)
    assert decisions_to_settle(sums, 0.02, 0.0) is None


def test_of_nothing_at_all_it_takes_two_answers_at_least():
    assert decisions_to_settle(FixedArmSums(), 0.4, 0.05) >= math.ceil(2 / 0.05)
    assert decisions_to_settle(FixedArmSums(), 0.05, 1.0) >= 2


def test_a_share_that_is_next_to_nothing_never_settles():
    sums = play(50, 0.05, np.random.default_rng(3))
    assert decisions_to_settle(sums, 0.0001, 1e-310) is None
