"""The budget bench's own arithmetic; what it plays is tested with replay."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from bench.budget import report
from bench.budget.play import PLAYERS, SETTLED, Task, drift_figures, figures
from bench.budget.setting import AIMS, BUDGETS, PUBLISHED
from bench.documents import write_between
from bench.scenario_streams import PHASE

REWARD, COST = np.array([0.7945, 0.9244, 0.9332]), np.array([2.843e-5, 5.134e-4, 1.505e-2])


def passes(reward: float, spend: tuple[float, float] = (0.98, 1.0), peer: float | None = None) -> report.Passes:
    found: dict[tuple[str, int | str], list[dict[str, float]]] = {}
    for case in range(len(BUDGETS)):
        found[PLAYERS[0], case] = [{"reward": reward, "over_budget": one} for one in spend]
        if peer is not None:
            found[PLAYERS[1], case] = [{"reward": peer, "over_budget": 0.9}]
    return found


def test_a_row_is_met_when_every_condition_is() -> None:
    row = report.budget_rows(passes(0.95), REWARD, COST)[3]
    assert row["met"] is True
    assert row["over_budget"] == pytest.approx(0.99)
    assert report.budget_rows(passes(0.95, spend=(0.9, 1.03)), REWARD, COST)[3]["met"] is False  # worst seed
    assert report.budget_rows(passes(0.95, spend=(1.0, 1.01)), REWARD, COST)[3]["met"] is False  # mean
    assert report.budget_rows(passes(0.95, peer=0.96), REWARD, COST)[3]["met"] is False  # the peer as run here
    assert report.budget_rows(passes(0.9210), REWARD, COST)[3]["met"] is False  # above the peer, below the mixture


def test_the_mixture_is_that_of_the_fixed_arms_at_the_budget() -> None:
    rows = report.budget_rows(passes(0.9), REWARD, COST)
    for row in rows:
        budget = float(str(row["budget_usd"]))
        assert row["mixture_at_budget"] <= REWARD.max()
        if budget > COST[1]:
            assert row["mixture_at_budget"] >= REWARD[1]
    assert len(rows) == len(BUDGETS) == len(PUBLISHED) == len(AIMS)


def test_tables_have_a_cell_for_every_head() -> None:
    for found in (passes(0.9), passes(0.9, peer=0.8)):
        heads, cells = report.budget_cells(report.budget_rows(found, REWARD, COST))
        assert all(len(row) == len(heads) for row in cells)
    drift = {(PLAYERS[0], "tight"): [drift_figures(np.ones(3 * PHASE), np.ones(3 * PHASE), 2.0)]}
    heads, cells = report.drift_cells(drift)
    assert all(len(row) == len(heads) for row in cells)
    assert cells[0][2] == "0.50 / 0.50 / 0.50"


def test_figures_of_a_pass() -> None:
    assert figures(np.array([0.0, 1.0]), np.array([1.0, 3.0]), 4.0) == {"reward": 0.5, "over_budget": 0.5}
    cost = np.zeros(3 * PHASE)
    cost[PHASE : PHASE + SETTLED] = 9.0
    cost[PHASE + SETTLED : 2 * PHASE] = 1.0
    found = drift_figures(np.zeros(3 * PHASE), cost, 1.0)
    assert found["cost after"] == 1.0
    assert found["cost 2"] > 3.0
    assert found["cost 1"] == found["cost 3"] == 0.0


def test_budgets_of_a_task() -> None:
    assert Task("banditd", 2, 0).budget_usd == BUDGETS[2]
    assert Task("banditd", "tight", 0).budget_usd == 3.0e-4


def test_tables_are_put_between_the_marks(tmp_path: Path) -> None:
    file = tmp_path / "b.md"
    file.write_text("before\n<!-- budget:start -->\nold\n<!-- budget:end -->\nafter\n", encoding="utf-8")
    write_between(file, "budget", report.markdown("title", ["a", "b"], [["1", "2"]]))
    text = file.read_text(encoding="utf-8")
    assert "old" not in text
    assert "| 1 | 2 |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
