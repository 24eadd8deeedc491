from __future__ import annotations

import numpy as np
import pytest

from banditd.ope.prediction_powered import FEWEST_LABELS, powered_mean


def _judged(seed: int, n: int = 2000, labels: int = 200, *, sensitivity: float = 0.9, specificity: float = 0.8):
    rng = np.random.default_rng(seed)
    good = (rng.random(n) < 0.85).astype(float)
    scores = (rng.random(n) < np.where(good > 0.5, sensitivity, 1.0 - specificity)).astype(float)
    return scores, np.where(rng.random(n) < labels / n, good, np.nan)


def test_a_biased_judge_narrows_the_interval_and_does_not_move_it():
    held, narrower = 0, 0
    for seed in range(200):
        scores, labels = _judged(seed)
        found, people = powered_mean(scores, labels), powered_mean(np.zeros_like(scores), labels)
        held += found.low <= 0.85 <= found.high
        narrower += found.half_width < people.half_width
        assert abs(scores.mean() - 0.85) > 0.02  # the judge alone is far off, and sure of it
    assert held >= 0.9 * 200
    assert narrower == 200


def test_a_judge_that_knows_nothing_is_hardly_used_and_never_harms():
    scores, labels = _judged(1, sensitivity=0.5, specificity=0.5)
    found, people = powered_mean(scores, labels), powered_mean(np.zeros_like(scores), labels)
    assert found.power < 0.2
    assert found.half_width <= people.half_width * (1 + 1e-9)


def test_where_everything_is_labelled_it_is_the_mean_of_the_labels():
    scores, _ = _judged(2, n=300)
    labels = 1.0 - scores
    found = powered_mean(scores, labels)
    assert found.mean == pytest.approx(labels.mean())
    assert found.power == 0.0


def test_probabilities_undo_what_was_sampled_oftener():
    """Bad answers are judged and labelled four times as often; unweighted both means are far too low."""
    rng = np.random.default_rng(3)
    good = (rng.random(40_000) < 0.8).astype(float)
    judge_probability = np.where(good > 0.5, 0.25, 1.0)
    judged = rng.random(len(good)) < judge_probability
    good, judge_probability = good[judged], judge_probability[judged]
    label_probability = np.where(good > 0.5, 0.1, 0.4)
    labels = np.where(rng.random(len(good)) < label_probability, good, np.nan)
    scores = np.clip(good * 0.6 + 0.1 + 0.1 * rng.random(len(good)), 0.0, 1.0)
    found = powered_mean(scores, labels, judge_probability=judge_probability, label_probability=label_probability)
    assert found.low < 0.8 < found.high
    assert powered_mean(scores, labels).high < 0.6
    assert found.worth > 0.0


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_that_all_agree_are_no_certainty(label):
    scores = np.full(50, label)
    found = powered_mean(scores, np.full(50, label))
    assert found.half_width > 0.01
    assert 0.0 <= found.low <= found.high <= 1.0


def test_few_labels_give_no_interval():
    labels = np.full(100, np.nan)
    labels[: FEWEST_LABELS - 1] = 1.0
    assert powered_mean(np.ones(100), labels) is None
