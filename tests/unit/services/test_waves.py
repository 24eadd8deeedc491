"""Waves keep the order among those that touch the same, and have an end."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.services.waves import MOST_ACCOUNTS, MOST_CHARGED, next_wave


def waves_of(touched: list[list[int]], accounts: list[list[int]], at_once: int = 1) -> list[list[int]]:
    rest, found = list(range(len(touched))), []
    while rest:
        limits = {key: at_once for keys in accounts for key in keys}
        found.append(next_wave(rest, touched.__getitem__, dict(enumerate(accounts)), limits))
        assert found[-1], "nobody is decided: it would never end"
        rest = [i for i in rest if i not in found[-1]]
    return found


@pytest.mark.parametrize("at_once", [1, 2, 64])
@pytest.mark.parametrize("seed", range(20))
def test_nobody_overtakes_whom_he_touches_and_all_come_once(seed: int, at_once: int) -> None:
    generator = np.random.default_rng(seed)
    touched = [generator.choice(30, generator.integers(0, 2), replace=False).tolist() for _ in range(60)]
    accounts = [(100 + generator.choice(6, generator.integers(0, 3), replace=False)).tolist() for _ in range(60)]
    waves = waves_of(touched, accounts, at_once)
    assert sorted(i for wave in waves for i in wave) == list(range(60))
    place = {i: number for number, wave in enumerate(waves) for i in wave}
    for later in range(60):
        for earlier in range(later):
            if set(touched[earlier]) & set(touched[later]):
                assert place[earlier] < place[later]
            if set(accounts[earlier]) & set(accounts[later]):
                assert place[earlier] <= place[later]
    for wave in waves:
        charged = [key for i in wave for key in accounts[i]]
        assert all(charged.count(key) <= at_once for key in charged)
        assert len(set(charged)) <= MOST_ACCOUNTS
        assert sum(bool(accounts[i]) for i in wave) <= MOST_CHARGED


def test_those_that_touch_nothing_are_one_wave() -> None:
    assert waves_of([[]] * 64, [[]] * 64) == [list(range(64))]


def test_those_of_one_account_are_as_many_as_it_says() -> None:
    assert [len(wave) for wave in waves_of([[]] * 10, [[1]] * 10, 4)] == [4, 4, 2]


def test_one_with_more_accounts_than_a_wave_may_have_is_a_wave() -> None:
    many = MOST_ACCOUNTS + 1
    assert waves_of([[], []], [list(range(many)), list(range(many, 2 * many))]) == [[0], [1]]
