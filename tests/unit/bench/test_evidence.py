from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # bench/ is not installed

from bench.evidence.__main__ import bounds, comparison_bounds, main
from bench.evidence.judges import Coverage, Refusals
from bench.evidence.preference import Comparisons


def test_one_simulation_of_each_gives_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--runs", "1", "--json"])
    tables = json.loads(capsys.readouterr().out)
    assert {one["runs"] for one in tables["coverage"]} == {2}
    assert {one["runs"] for one in tables["refusals"]} == {1}
    assert {one["runs"] for one in tables["comparisons"]} == {1}
    assert len(tables["bounds"]) == 26
    assert {one["watcher"] for one in tables["drift"]} >= {"anchor", "golden set, 50 prompts", "anchor, unit by unit"}


def test_a_bound_that_is_missed_is_said_to_be() -> None:
    covered = Coverage("random", 200, 10, 0.95, 0.04, 0.95, 0.05, 0.0)
    biased = Refusals("favours one", 600, 10, 0.95, 240, 1.0)
    honest = Refusals("honest, equal", 600, 10, 0.05, None, None)
    assert all(one.met for one in bounds([covered], [biased, honest]))
    for wrong in (
        ([replace(covered, powered=0.92)], [biased, honest]),
        ([replace(covered, judge_alone=0.1)], [biased, honest]),
        ([covered], [replace(biased, refused=0.94), honest]),
        ([covered], [biased, replace(honest, refused=0.06)]),
    ):
        assert sum(not one.met for one in bounds(*wrong)) == 1


def test_a_sequential_test_that_errs_or_dawdles_is_said_to() -> None:
    rare, often = Comparisons(0.1, 10, 0.05, 60, 143), Comparisons(0.2, 10, 0.96, 52, 131)
    assert all(one.met for one in comparison_bounds([rare, often, Comparisons(0.15, 10, 0.5, 94, 253)]))
    for wrong in (replace(rare, often=0.06), replace(often, often=0.9), replace(often, median=91)):
        assert sum(not one.met for one in comparison_bounds([wrong])) == 1
