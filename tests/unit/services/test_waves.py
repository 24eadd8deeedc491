"""Waves keep the order among those that touch the same, and have an end."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.services.waves import MOST_CHARGES, next_wave


def waves_of(touched: list[list[int]], charges: list[int]) -> list[list[int]]:
    rest, found = list(range(len(touched))), []
    while rest:
        found.append(next_wave(rest, touched.__getitem__, charges.__getitem__))
        assert found[-1], "nobody is decided: it would never end"
        rest = [i for i in rest if i not in found[-1]]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_nobody_overtakes_whom_he_touches_and_all_come_once(seed: int) -> None:
    generator = np.random.default_rng(seed)
    touched = [generator.choice(6, generator.integers(0, 3), replace=False).tolist() for _ in range(60)]
    charges = [len(keys) for keys in touched]
    waves = waves_of(touched, charges)
    assert sorted(i for wave in waves for i in wave) == list(range(60))
    place = {i: number for number, wave in enumerate(waves) for i in wave}
    for later in range(60):
        for earlier in range(later):
            if set(touched[earlier]) & set(touched[later]):
                assert place[earlier] < place[later]
    assert all(sum(charges[i] for i in wave) <= MOST_CHARGES for wave in waves)


def test_those_that_touch_nothing_are_one_wave() -> None:
    assert waves_of([[]] * 64, [0] * 64) == [list(range(64))]


def test_one_with_more_accounts_than_a_wave_may_have_is_a_wave() -> None:
    many = MOST_CHARGES + 1
    assert waves_of([[1], [2]], [many, many]) == [[0], [1]]
