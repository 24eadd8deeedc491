from __future__ import annotations

import numpy as np
import pytest

from banditd.bandit.posterior.statistics import ArmSums, check_row
from banditd.core.errors import InvalidInputError, InvariantError


def some_sums(seed: int = 0, rows: int = 7) -> ArmSums:
    generator = np.random.default_rng(seed)
    sums = ArmSums(5)
    for _ in range(rows):
        sums.add(generator.normal(size=5), 0.5, float(generator.random()))
    return sums


def test_sums_are_what_their_names_say() -> None:
    x = np.array([[1.0, 2.0], [1.0, -1.0]])
    w, r = np.array([2.0, 0.5]), np.array([0.25, 1.0])
    sums = ArmSums(2)
    for i in range(2):
        sums.add(x[i], w[i], r[i])
    np.testing.assert_allclose(sums.gram, (x.T * w) @ x)
    np.testing.assert_allclose(sums.xr, x.T @ (w * r))
    assert (sums.weight, sums.wr, sums.wrr, sums.n) == (2.5, 1.0, 0.625, 2.0)


def test_packed_bytes_come_back_bit_for_bit() -> None:
    sums = some_sums()
    back = ArmSums.unpack(sums.pack())
    np.testing.assert_array_equal(back.xr, sums.xr)
    np.testing.assert_array_equal(back.gram, sums.gram)
    assert (back.n, back.weight, back.wr, back.wrr) == (sums.n, sums.weight, sums.wr, sums.wrr)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b"XXXX" + b[4:], lambda b: b[:20] + bytes([b[20] ^ 1]) + b[21:], lambda _b: b""],
)
def test_damaged_bytes_are_refused(damage) -> None:
    with pytest.raises(InvariantError):
        ArmSums.unpack(damage(some_sums().pack()))


@pytest.mark.parametrize(
    ("x", "weight", "reward"),
    [
        (np.ones(4), 1.0, 0.5),
        (np.full(5, np.nan), 1.0, 0.5),
        (np.full(5, np.inf), 1.0, 0.5),
        (np.ones(5), 0.0, 0.5),
        (np.ones(5), float("nan"), 0.5),
        (np.ones(5), 1.0, 1.01),
        (np.ones(5), 1.0, -0.01),
    ],
)
def test_rows_that_would_poison_the_sums_are_refused(x, weight, reward) -> None:
    with pytest.raises(InvalidInputError):
        check_row(x, 5, weight, reward)
