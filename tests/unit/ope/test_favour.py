from __future__ import annotations

import numpy as np
import pytest

from banditd.ope.favour import Favour, FavourTest, LabelledScore, favour_among


def _scores(seed, quality, favour, n=600, *, graded=False):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        arm = int(rng.integers(len(quality)))
        good = rng.random() < quality[arm]
        mean = (0.9 if good else 0.2) + favour[arm]
        score = float(np.clip(mean + rng.normal(0.0, 0.1), 0.0, 1.0)) if graded else float(rng.random() < mean)
        yield LabelledScore(f"arm{arm}", score, float(good))


def _refused(seeds, quality, favour, **more) -> list[Favour]:
    tests = [favour_among(_scores(seed, quality, favour, **more)) for seed in range(seeds)]
    return [test.found for test in tests if test.found is not None]


def test_a_judge_that_favours_an_arm_is_refused_for_it():
    found = _refused(20, (0.85, 0.85), (0.0, 0.1))
    assert len(found) >= 17
    assert {(one.arm, one.direction) for one in found} == {("arm1", "for")}
    assert all(one.by > 0.05 and one.labels < 600 for one in found)


@pytest.mark.parametrize("quality", [(0.85, 0.85), (0.9, 0.6), (0.9, 0.7, 0.5)])
def test_an_honest_judge_is_left_alone_also_where_arms_differ(quality):
    assert len(_refused(15, quality, (0.0,) * len(quality))) <= 3


def test_a_judge_that_is_strict_with_one_of_three_is_named_so():
    found = _refused(10, (0.8, 0.8, 0.8), (0.0, -0.3, 0.0), graded=True)
    assert {(one.arm, one.direction) for one in found} == {("arm1", "against")}
    assert len(found) == 10


def test_mildness_with_everybody_is_no_favour():
    assert not _refused(10, (0.8, 0.8), (0.1, 0.1))


def test_an_arm_that_comes_later_is_compared_too():
    test = FavourTest()
    for one in _scores(1, (0.8, 0.8), (0.0, 0.0), n=200):
        test.add(one)
    for one in _scores(2, (0.8, 0.8, 0.8), (0.0, 0.0, 0.3), n=300, graded=True):
        test.add(one)
    assert test.found is not None
    assert (test.found.arm, test.found.direction) == ("arm2", "for")


def test_one_arm_alone_is_favoured_by_nobody():
    test = favour_among(LabelledScore("only", 1.0, 0.0) for _ in range(300))
    assert test.found is None
    assert test.labels == 300
