"""Scenario tables and targets on made-up figures: what is met, what does not apply, and how it is written."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from bench.scenario_figures import Figures, summary
from bench.scenario_tables import as_json, markdown, rich_tables, target_rows
from bench.scenario_targets import NOT_APPLICABLE, Result, figure_text, judge

LEFT, RATIO = "degraded share where another is clearly better", "recovery ratio"
ADOPTED, INFORMED = "adopted after (published)", "onboarding share, full information"


def _result(scenario: str, *seeds: Mapping[str, float | None], case: str = "K=3, tight") -> Result:
    made: list[Figures] = [dict(seed) for seed in seeds]
    return Result(scenario, case, summary(made))


def _degraded(left: float, ratio: float, **more: str) -> Result:
    return _result(more.pop("scenario", "degradation"), {LEFT: left, RATIO: ratio}, **more)


def _newcomer(*adopted: float | None, informed: float = 0.3) -> Result:
    return _result("new-good-arm", *({ADOPTED: one, INFORMED: informed} for one in adopted), case="K=4, tight")


@pytest.mark.parametrize(
    ("left", "ratio", "met"),
    [(0.15, 0.985, [True, True]), (0.151, 0.9849, [False, False]), (0.0, 0.5, [True, False])],
)
def test_what_is_left_on_a_degraded_arm_and_its_recovery(left: float, ratio: float, met: list[bool]) -> None:
    for scenario in ("degradation", "degradation-scaled"):
        assert [verdict.met for verdict in judge([_degraded(left, ratio, scenario=scenario)])] == met
    assert judge([_degraded(left, ratio, scenario="arm-disappears")]) == []


@pytest.mark.parametrize(
    ("adopted", "met", "shown"),
    [
        ((90.0, 100.0, 120.0), True, "100 (3 of 3 seeds): yes"),
        ((90.0, 101.0, 120.0), False, "101 (3 of 3 seeds): no"),
        ((90.0, 80.0, None), True, "90 (2 of 3 seeds): yes"),
        ((50.0, None, None), False, "never (1 of 3 seeds): no"),
        ((None,), False, "never (0 of 1 seeds): no"),
    ],
)
def test_adoption_is_the_median_over_all_seeds(adopted: tuple[float | None, ...], met: bool, shown: str) -> None:
    (verdict,) = judge([_newcomer(*adopted)])
    assert verdict.met is met
    assert verdict.shown() == shown


@pytest.mark.parametrize(("informed", "applies"), [(0.0, False), (0.01, False), (0.011, True)])
def test_nobody_need_adopt_what_full_information_would_not_play(informed: float, applies: bool) -> None:
    (verdict,) = judge([_newcomer(None, None, informed=informed)])
    assert (verdict.met is not None) is applies
    assert (verdict.shown() == NOT_APPLICABLE) is not applies


def test_figures_as_text() -> None:
    never = summary([{"found after": None}, {"found after": 7.0}, {"found after": 9.0}, {"share": 0.25}])
    assert figure_text("found after", never["found after"]) == "9 (2 of 3 seeds)"
    assert figure_text("share", never["share"]) == "25.0 %"
    assert figure_text("share", None) == "-"
    assert figure_text("cost/budget", summary([{"cost/budget": None}])["cost/budget"]) == "-"
    assert figure_text("reward", summary([{"reward": 0.5}, {"reward": 0.7}])["reward"]) == "0.600 ± 0.196"


def test_the_targets_come_first_on_the_terminal_in_markdown_and_in_json() -> None:
    results = [_degraded(0.154, 1.002), _degraded(0.06, 0.98, case="K=4, tight"), _newcomer(90.0, None)]
    heads, rows = target_rows(results)
    assert heads == ["target", "scenario", "K=3, tight", "K=4, tight"]
    assert [row[1:] for row in rows] == [
        ["degradation", "15.4 %: no", "6.0 %: yes"],
        ["degradation", "1.002: yes", "0.980: no"],
        ["new-good-arm", "-", "never (1 of 2 seeds): no"],
    ]
    text = markdown(results, "Header.")
    targets = text.partition("Header.\n\n### Targets\n\n")[2].split("\n")
    assert [line.partition("met in ")[2] for line in targets[:3]] == [
        "1 of 2 cases; K=3, tight: 15.4 %, NO",
        "1 of 2 cases; K=4, tight: 0.980, NO",
        "0 of 1 cases; K=4, tight: never (1 of 2 seeds), NO",
    ]
    assert text.count("### ") == 3
    shown = io.StringIO()
    tables = rich_tables(results)
    Console(file=shown, width=200).print(tables[0])
    assert len(tables) == 3
    assert "15.4 %: no" in shown.getvalue()
    content = json.loads(json.dumps(as_json(results), allow_nan=False))
    assert list(content) == ["targets", "scenarios"]
    assert [one["met"] for one in content["targets"]] == [False, True, True, False, False]
    assert content["targets"][-1] | {"target": ""} == {
        "target": "",
        "scenario": "new-good-arm",
        "case": "K=4, tight",
        "figure": ADOPTED,
        "value": None,
        "seeds": 1,
        "of": 2,
        "limit": 100.0,
        "met": False,
        "reason": "",
    }
    assert [one["scenario"] for one in content["scenarios"]] == ["degradation", "degradation", "new-good-arm"]


def test_without_a_target_there_is_no_table_of_them() -> None:
    results = [_result("covariate-shift", {"utility": 0.5})]
    assert "Targets" not in markdown(results, "Header.")
    assert as_json(results)["targets"] == []
