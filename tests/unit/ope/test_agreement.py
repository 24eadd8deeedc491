from __future__ import annotations

import random

import pytest

from banditd.ope.agreement import AgreementTest, agreement_of
from banditd.ope.favour import LabelledScore


def _judged(seed: int, passes_good: float, passes_bad: float, n: int = 500) -> AgreementTest:
    rng = random.Random(seed)
    scores = []
    for _ in range(n):
        good = rng.random() < 0.8
        score = float(rng.random() < (passes_good if good else passes_bad))
        scores.append(LabelledScore("a", score, float(good)))
    return agreement_of(scores)


def test_a_judge_that_has_it_the_wrong_way_round_is_contradicted_soon() -> None:
    found = [_judged(seed, 0.2, 0.9).contradicted_after for seed in range(20)]
    assert all(one is not None and one < 250 for one in found)


@pytest.mark.parametrize(("passes_good", "passes_bad"), [(0.9, 0.2), (0.6, 0.4), (0.5, 0.5), (1.0, 1.0), (0.0, 0.0)])
def test_a_judge_that_is_right_mild_strict_or_ignorant_is_not(passes_good: float, passes_bad: float) -> None:
    found = [_judged(seed, passes_good, passes_bad).contradicted_after for seed in range(40)]
    assert sum(one is not None for one in found) <= 2


def test_labels_that_say_neither_are_only_counted() -> None:
    test = agreement_of(LabelledScore("a", float(i % 2), 0.5) for i in range(200))
    assert (test.labels, test.contradicted_after) == (200, None)
