"""The intervals that banditd reports hold the truth 93 to 97 times in 100 (``bench/calibration.py``)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from bench.calibration import (
    DATA,
    KINDS,
    SETS,
    Interval,
    World,
    coverage,
    reported_intervals,
    stored_world,
    synthetic_world,
)


def logged(world: World, seeds: range, lengths: Sequence[int]) -> list[Interval]:
    return [one for seed in seeds for n in lengths for one in reported_intervals(world, seed=seed, draws=n)]


@pytest.fixture(scope="module")
def synthetic() -> list[Interval]:
    return [one for seed in range(25) for one in logged(synthetic_world(seed), range(seed, seed + 1), (400, 1500))]


@pytest.fixture(scope="module")
def stored() -> list[Interval]:
    absent = [name for name, _ in SETS if not (DATA / name).is_dir()]
    if absent:
        pytest.skip(f"no {', '.join(absent)} under {DATA}; set BANDITD_DATA to the folder of replay data")
    return [one for name, pool in SETS for one in logged(stored_world(name, pool), range(200, 206), (500, 2000))]


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_on_synthetic_worlds_cover(synthetic: list[Interval], kind: str) -> None:
    those = [one for one in synthetic if one.kind == kind]
    assert len(those) >= 200
    assert 0.93 <= coverage(those) <= 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_on_replayed_data_cover(stored: list[Interval], kind: str) -> None:
    those = [one for one in stored if one.kind == kind]
    assert len(those) >= 300
    assert 0.93 <= coverage(those) <= 0.97


def test_a_control_narrower_intervals_do_not(synthetic: list[Interval]) -> None:
    for kind in KINDS:
        those = [one for one in synthetic if one.kind == kind]
        inside = [abs(one.truth - (one.low + one.high) / 2) <= 0.8 * (one.high - one.low) / 2 + 1e-9 for one in those]
        assert sum(inside) / len(inside) < 0.93, kind
