"""Deviations of cells: those of the model where it fits, wider where it does not."""

from __future__ import annotations

import numpy as np

from banditd.services.reports.discrepancy import Cells, cell_deviation


def cells_of(generator: np.random.Generator, *, misfit: float, spread: float = 0.3, n: int = 12):  # type: ignore[no-untyped-def]
    """(truth, model mean, deviation, noise, cells): a conjugate model that expects cells within 0.1 of 0.5."""
    shape, noise, prior = (60, 5), 0.09, 0.01
    truth = 0.5 + generator.normal(size=shape) * np.sqrt(prior + misfit**2)
    rewards = truth + spread * generator.normal(size=(n, *shape))
    observed = rewards.mean(axis=0)
    share = prior / (prior + noise / n)
    mean, deviation = 0.5 + share * (observed - 0.5), np.full(shape, np.sqrt(share * noise / n))
    scatter = ((rewards - observed) ** 2).sum(axis=0)
    count = np.full(shape, float(n))
    return truth, mean, deviation, np.full(5, noise), Cells(count, n * observed, count, scatter)


def covered(truth: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> float:
    return float(np.mean(np.abs(truth - mean) <= 1.96 * deviation))


def test_a_model_that_fits_is_left_alone() -> None:
    truth, mean, deviation, noise, cells = cells_of(np.random.default_rng(1), misfit=0.0)
    found = cell_deviation(mean, deviation, noise, cells)
    assert abs(np.median(found) / deviation[0, 0] - 1.0) < 0.05
    assert 0.92 <= covered(truth, mean, found) <= 0.98


def test_a_model_that_does_not_fit_gets_wider_until_it_covers() -> None:
    truth, mean, deviation, noise, cells = cells_of(np.random.default_rng(2), misfit=0.2, n=4)
    assert covered(truth, mean, deviation) < 0.85
    assert 0.92 <= covered(truth, mean, cell_deviation(mean, deviation, noise, cells)) <= 0.98


def test_rewards_that_scatter_more_than_the_noise_widen_their_cells() -> None:
    _, mean, deviation, noise, cells = cells_of(np.random.default_rng(3), misfit=0.0, n=40)
    loud = Cells(cells.weight, cells.reward, cells.count, cells.scatter * np.array([1, 1, 1, 1, 4.0]))
    before, after = (cell_deviation(mean, deviation, noise, one) for one in (cells, loud))
    assert (after[:, 4] > 1.2 * before[:, 4]).all()
    np.testing.assert_allclose(after[:, :4], before[:, :4], rtol=0.1)


def test_without_rewards_the_models_word_is_all_there_is() -> None:
    nothing = np.zeros((3, 2))
    deviation = np.full((3, 2), 0.2)
    found = cell_deviation(nothing + 0.5, deviation, np.full(2, 0.1), Cells(nothing, nothing, nothing, nothing))
    np.testing.assert_allclose(found, deviation)


def test_a_cell_never_seen_is_as_uncertain_as_the_others_show() -> None:
    _, mean, deviation, noise, cells = cells_of(np.random.default_rng(4), misfit=0.2)
    for part in (cells.weight, cells.reward, cells.count, cells.scatter):
        part[0, 0] = 0.0
    found = cell_deviation(mean, deviation, noise, cells)
    assert found[0, 0] > found[0, 1] > deviation[0, 1]
