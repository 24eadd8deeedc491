"""RouterArena's score, what it says of runs, and the files that it reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from banditd.core.errors import InvalidInputError
from banditd.replay.arena import (
    ArenaPrompt,
    arena_figures,
    arena_score,
    read_prompts,
    write_config,
    write_predictions,
)


def test_the_score_is_what_routerarena_publishes() -> None:
    # metrics.json of RouteWorks/RouterArena: accuracy, dollars per 1,000 queries, score.
    assert arena_score(0.718453907843953, 0.13639649464285758) == pytest.approx(0.7147593301906191, abs=1e-12)
    # As dear as it gets earns nothing; as cheap as it gets a little more than the accuracy.
    assert arena_score(0.9, 200.0) == arena_score(0.9, 5000.0) == 0.0
    assert arena_score(0.9, 0.0) == arena_score(0.9, 0.0044) == pytest.approx(1.1 * 0.9 / 1.09)
    assert arena_score(0.0, 1.0) == arena_score(0.0, 200.0) == 0.0
    # Costs are on a logarithmic scale: each tenfold takes nearly the same off.
    steps = np.diff([arena_score(0.7, cost) for cost in (0.01, 0.1, 1.0, 10.0)])
    assert (steps < 0.0).all()


def test_the_figures_of_runs() -> None:
    score = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.5]])
    cost = np.array([[0.001, 0.01]] * 4)
    rows, chosen = np.arange(4), np.array([0, 1, 1, 1])
    found = arena_figures(score, cost, [(rows, chosen, cost[rows, chosen])])
    assert found["accuracy"] == pytest.approx(3.5 / 4)
    assert found["cost_usd_per_1000"] == pytest.approx(7.75)
    assert found["score"] == pytest.approx(arena_score(3.5 / 4, 7.75))
    # Three right answers; the cheapest that was right too would have cost .012 instead of .021.
    assert found["optimal_selection"] == pytest.approx(2 / 3)
    assert found["optimal_cost"] == pytest.approx(0.012 / 0.021)
    graded = arena_figures(score * 0.9, cost, [(rows, chosen, cost[rows, chosen])])
    assert (graded["optimal_selection"], graded["optimal_cost"]) == (None, None)
    unknown = arena_figures(np.full((4, 2), np.nan), cost, [(rows, chosen, cost[rows, chosen])])
    assert unknown["score"] is None


def test_prompts_become_predictions_as_routerarena_has_them(tmp_path: Path) -> None:
    given = tmp_path / "router_data_10.json"
    listed = [
        {"global index": "Sums_1", "prompt": "raw", "prompt_formatted": "What is 2 + 2? Answer in \\boxed{X}."},
        {"global_index": 7, "prompt": "ä 🎲"},
    ]
    given.write_text(json.dumps(listed), encoding="utf-8")
    prompts = read_prompts(given)
    assert prompts == [ArenaPrompt("Sums_1", listed[0]["prompt_formatted"]), ArenaPrompt("7", "ä 🎲")]  # type: ignore[arg-type]
    write_predictions(tmp_path / "out.json", prompts, ["maker/small", "maker/large"])
    out = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert out[0] == {
        "global index": "Sums_1", "prompt": listed[0]["prompt_formatted"], "prediction": "maker/small",
        "generated_result": None, "cost": None, "accuracy": None, "for_optimality": False,
    }  # fmt: skip
    write_config(tmp_path / "banditd.json", "banditd", ["maker/small", "maker/large"])
    assert json.loads((tmp_path / "banditd.json").read_text()) == {
        "pipeline_params": {"router_name": "banditd", "models": ["maker/small", "maker/large"]}
    }
    for wrong in (
        "{",
        "{}",
        "[]",
        "[1]",
        '[{"global index": "a"}]',
        '[{"prompt": "a"}]',
        '[{"global index": "a", "prompt": 1}]',
    ):
        given.write_text(wrong)
        with pytest.raises(InvalidInputError, match=r"router_data_10\.json"):
            read_prompts(given)
