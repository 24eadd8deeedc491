from __future__ import annotations

import numpy as np
import pytest

from banditd.budget.loglinear import LogLinear
from banditd.core.errors import ConfigurationError, InvalidInputError

D = 8
SLOPES = np.array([0.0, 0.9, -0.6, 0.4, 0.0, 0.0, 0.3, 0.0])
LEVEL = np.log([2.0, 0.5, 5.0])


def contexts(n: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, D))
    x[:, 0] = 1.0
    return x


def amounts(x: np.ndarray, arm: np.ndarray, seed: int = 0, spread: float = 0.7) -> np.ndarray:
    noise = np.random.default_rng([seed, 7]).normal(scale=spread, size=arm.size)
    return np.exp(x @ SLOPES + LEVEL[arm] + noise)


def fitted(n: int = 3000, seed: int = 0, shares: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)) -> LogLinear:
    x, arm = contexts(n, seed), np.random.default_rng([seed, 1]).choice(3, n, p=shares)
    model = LogLinear(D, 3)
    model.fit(x, arm, amounts(x, arm, seed))
    return model


def mean_of(x: np.ndarray, spread: float = 0.7) -> np.ndarray:
    """True mean amounts, (n, 3)."""
    return np.exp((x @ SLOPES)[:, None] + LEVEL + spread**2 / 2)


def test_means_are_right_in_ratio_on_every_arm() -> None:
    """Over seeds: one alone errs by what two hundred amounts of this spread err."""
    ratios = []
    for seed in range(8):
        model, x = fitted(1500, seed), contexts(1000, 100 + seed)
        ratios.append(np.stack([model.predict(row) for row in x]).mean(axis=0) / mean_of(x).mean(axis=0))
    assert np.mean(ratios, axis=0) == pytest.approx(np.ones(3), abs=0.06)


def test_means_are_right_where_residuals_are_not_normal() -> None:
    """A fifth of the calls cost fifty times the others: the normal smearing alone would be far off."""
    generator = np.random.default_rng(3)
    model, x = LogLinear(D, 1), contexts(4000, 3)
    amount = np.where(generator.random(4000) < 0.2, 50.0, 1.0)
    model.fit(x, np.zeros(4000, dtype=np.intp), amount)
    predicted = np.mean([model.predict(row)[0] for row in x])
    assert predicted == pytest.approx(10.8, rel=0.15)
    without = np.exp(np.log(amount).mean() + np.log(amount).var() / 2)
    assert abs(without / 10.8 - 1.0) > 0.2


def test_what_one_arm_shows_of_queries_is_known_of_all() -> None:
    """An arm with a dozen amounts is predicted by the slopes that others have shown."""
    model, x = fitted(3000, shares=(0.98, 0.016, 0.004)), contexts(500, 5)
    rare = np.log([model.predict(row)[2] for row in x])
    truth = np.log(mean_of(x)[:, 2])
    assert model.sums[2].n < 30
    assert np.corrcoef(rare, truth)[0, 1] > 0.95
    assert abs(rare.mean() - truth.mean()) < 0.7


def test_the_assumption_scales_what_is_predicted() -> None:
    """Learned on ratios to what was assumed: a price that doubles doubles the cost at once."""
    x, model = contexts(800), LogLinear(D, 1)
    for row, amount in zip(x, amounts(x, np.zeros(800, dtype=int)), strict=True):
        model.learn(0, row, 0.001 * amount, assumed=0.001)
    assert model.predict(x[0], np.array([0.002]))[0] == pytest.approx(2.0 * model.predict(x[0], np.array([0.001]))[0])


def test_the_ratio_follows_what_the_slopes_cannot_know() -> None:
    model, x = fitted(), contexts(900, 4)
    before = np.mean([model.predict(row)[1] for row in x])
    for row in x:
        model.learn(1, row, 4.0 * float(mean_of(row[None])[0, 1]))
    assert np.mean([model.predict(row)[1] for row in x]) / before > 2.5


def test_sums_do_not_depend_on_order() -> None:
    x, arm = contexts(60), np.arange(60) % 2
    amount = amounts(x, arm)
    whole, turned = LogLinear(D, 2), LogLinear(D, 2)
    whole.fit(x, arm, amount)
    turned.fit(x[::-1], arm[::-1], amount[::-1])
    for one, other in zip(whole.sums, turned.sums, strict=True):
        assert np.allclose(one.gram, other.gram, atol=1e-9)
        assert np.allclose(one.xy, other.xy, atol=1e-9)
        assert one.yy == pytest.approx(other.yy)
        assert one.n == other.n == 30.0


def test_an_arm_more_begins_with_what_all_share() -> None:
    x, arm = contexts(3000), np.random.default_rng(1).choice(3, 3000)
    model = LogLinear(D, 4)
    model.fit(x, arm, amounts(x, arm))
    known, new = (np.log([model.predict(row)[i] for row in contexts(300, 2)]) for i in (0, 3))
    assert np.corrcoef(known, new)[0, 1] > 0.9


def test_the_deviation_is_that_of_the_amounts() -> None:
    model, x = fitted(), contexts(1, 8)
    mean = model.predict(x[0])
    assert model.deviation(mean) / mean == pytest.approx(np.full(3, np.sqrt(np.expm1(0.49))), rel=0.1)


def test_before_any_amount_it_says_about_what_was_assumed() -> None:
    assert 0.5 < LogLinear(D, 2).predict(contexts(1)[0], np.ones(2))[0] < 2.0


@pytest.mark.parametrize(
    ("x", "amount", "assumed"),
    [
        (np.ones(D + 1), 1.0, 1.0),
        (np.full(D, np.nan), 1.0, 1.0),
        (np.ones(D), -1.0, 1.0),
        (np.ones(D), float("nan"), 1.0),
        (np.ones(D), 1.0, 0.0),
    ],
)
def test_what_is_no_amount_is_refused(x: np.ndarray, amount: float, assumed: float) -> None:
    model = LogLinear(D, 1)
    with pytest.raises(InvalidInputError):
        model.learn(0, x, amount, assumed)
    assert model.sums[0].n == 0.0


def test_a_free_call_is_an_amount() -> None:
    model = LogLinear(D, 1)
    model.learn(0, np.ones(D), 0.0)
    model.refit()
    assert np.isfinite(model.predict(np.ones(D))).all()
    with pytest.raises(ConfigurationError):
        LogLinear(0, 1)


def predicted(amount: np.ndarray, x: np.ndarray, assumed: np.ndarray | None = None) -> float:
    model = LogLinear(D, 1)
    model.fit(x, np.zeros(amount.shape, dtype=np.intp), amount, assumed)
    return float(np.mean([model.predict(row)[0] for row in contexts(200, 9)]))


WILD = [1e12, 1e6, 400.0, 50.0, 1e-3, 1e-12, 0.0]


@pytest.mark.parametrize("wild", WILD)
@pytest.mark.parametrize("n", [1, 5, 42, 1000])
def test_one_wild_amount_moves_a_prediction_by_a_bounded_factor(wild: float, n: int) -> None:
    x = contexts(n, 3)
    honest = np.exp(np.random.default_rng(4).normal(scale=0.7, size=n))
    dirty = honest.copy()
    dirty[n // 2] = wild
    base = predicted(honest, x) if n > 1 else 1.28  # what is assumed, before any amount
    ratio = predicted(dirty, x) / base
    assert 1 / 3 < ratio < 3
    if n >= 42:
        assert 0.7 < ratio < 1.4


@pytest.mark.parametrize("wild", WILD)
def test_a_few_per_cent_of_wild_amounts_hardly_matter(wild: float) -> None:
    n = 1000
    x, generator = contexts(n, 3), np.random.default_rng(5)
    honest = np.exp(generator.normal(scale=0.7, size=n))
    dirty = np.where(generator.random(n) < 0.03, wild, honest)
    assert predicted(dirty, x) == pytest.approx(predicted(honest, x), rel=0.25)


@pytest.mark.parametrize("factor", [0.2, 3.0, 10.0, 40.0])
def test_what_many_say_is_followed_however_far_it_is(factor: float) -> None:
    x, generator = contexts(700, 3), np.random.default_rng(6)
    amount = np.exp(generator.normal(scale=0.7, size=700))
    amount[300:] *= factor
    ratio = predicted(amount, x) / predicted(amount[:300], x[:300])
    assert np.log(ratio) / np.log(factor) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize("factor", [0.02, 50.0])
def test_a_wrong_assumption_is_believed_no_longer_than_a_few_amounts(factor: float) -> None:
    x = contexts(8, 3)
    amount = factor * np.exp(np.random.default_rng(7).normal(scale=0.3, size=8))
    assert np.log(predicted(amount, x)) / np.log(factor) > 0.6


def test_a_wild_amount_of_one_arm_leaves_the_others_alone() -> None:
    x, arm = contexts(600, 3), np.arange(600) % 3
    honest = amounts(x, arm)
    dirty = honest.copy()
    dirty[0] = 1e12
    clean, model = LogLinear(D, 3), LogLinear(D, 3)
    clean.fit(x, arm, honest)
    model.fit(x, arm, dirty)
    assert model.predict(x[1]) == pytest.approx(clean.predict(x[1]), rel=0.15)
