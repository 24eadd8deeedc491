"""Recipes in a replay: columns out of answers, costs that are learned, and a report of what they brought."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.unit.replay.conftest import WriteFolder

from banditd.cli import commands
from banditd.core.errors import InvalidInputError
from banditd.replay.engine import run
from banditd.replay.options import ReplayOptions
from banditd.replay.outcomes import LONGEST_CELL
from banditd.replay.plan import make_plan
from banditd.replay.recipe_arms import RecipePrices
from banditd.replay.recipe_report import routed
from banditd.replay.signals import AnswerKind
from banditd.replay.table import recipe_table

ROWS = 400
DUO = "weak+small>large"


@pytest.fixture
def exam(write_folder: WriteFolder) -> Path:
    """Two cheap models are right where they agree, which they do on two of three questions; ``large`` is always."""
    rng = np.random.default_rng(0)
    easy = rng.random(ROWS) < 2 / 3
    right = {"weak": easy, "small": easy | (rng.random(ROWS) < 0.3), "large": np.ones(ROWS, dtype=bool)}
    wrong = {"weak": 2, "small": 3, "large": 4}
    columns: dict[str, list[object]] = {}
    for cost, (arm, good) in zip((0.02, 0.03, 1.0), right.items(), strict=True):
        columns[arm] = good.astype(int).tolist()
        columns[f"{arm}|cost_usd"] = [cost] * ROWS
        columns[f"{arm}|signal_answer_id"] = np.where(good, 1, wrong[arm]).tolist()
        columns[f"{arm}|answer"] = [f"It is {1 if ok else wrong[arm]}.0" for ok in good]
    prompts = [{"prompt": f"Question {i} of many", "category": "even" if i % 2 else "odd"} for i in range(ROWS)]
    return write_folder(prompts, columns)


def test_a_recipe_is_a_column_of_scores_and_of_what_its_calls_cost(exam: Path) -> None:
    data = make_plan(ReplayOptions(directory=exam, recipes=DUO)).data
    assert data.arms == ("weak", "small", "large", DUO)
    agreed = data.score[:, 0] == 1.0
    assert (data.score[:, 3] == 1.0).all()
    assert data.cost_usd[:, 3] == pytest.approx(np.where(agreed, 0.05, 1.05))
    by_text = make_plan(ReplayOptions(directory=exam, recipes=DUO, answers=AnswerKind("number"))).data
    assert np.array_equal(by_text.cost_usd, data.cost_usd)
    by_letter = make_plan(ReplayOptions(directory=exam, recipes=DUO, answers=AnswerKind("json"))).data
    assert (by_letter.cost_usd[:, 3] > 1.0).all()  # no answer is JSON: nothing is ever equal


def test_cost_weights_refer_to_the_dearest_model_whatever_a_recipe_costs(exam: Path) -> None:
    plan = make_plan(ReplayOptions(directory=exam, recipes="weak+large>small", cost_weight=0.5))
    assert plan.penalty[2] == pytest.approx(0.5)  # large
    assert plan.penalty[3] > 0.5


def test_costs_of_recipes_are_learned_from_plays_and_are_not_told(exam: Path) -> None:
    plan = make_plan(ReplayOptions(directory=exam, recipes=DUO, cost_weight=0.1))
    tariff = plan.tariff()
    assert tariff.prices[3].usd_per_request == pytest.approx(0.05 + 0.5 * 1.0)
    assert tariff.recipes is not None
    learned = RecipePrices(tariff.recipes, tariff.prices[:3])
    assert not learned.observe(2, 0)  # a model teaches nothing of it
    for row in range(ROWS):
        learned.observe(3, row)
    assert learned.prices[0].usd_per_request == pytest.approx(plan.data.cost_usd[:, 3].mean(), abs=0.02)


def test_the_learner_finds_the_recipe_and_the_report_says_what_for(exam: Path) -> None:
    report = run(ReplayOptions(directory=exam, recipes="auto:1", cost_weight=0.1, limit=150))
    content = json.loads(report.to_json())
    recipes, [one] = content["recipes"], content["recipes"]["arms"]
    assert {"arm": one["arm"], "kind": one["kind"], "members": one["members"], "else": one["else"]} == {
        "arm": DUO, "kind": "agree", "members": ["weak", "small"], "else": "large",
    }  # fmt: skip
    assert one["share"] > 0.5
    assert set(one["share_of_category"]) == {"even", "odd"}
    assert one["calls"] == pytest.approx(3.0 - one["settled"], abs=0.1)
    assert one["gain_over_like"] == pytest.approx(0.1 - 0.1 * (0.05 + 1.0 - one["settled"]), abs=1e-6)
    references = recipes["references"]
    assert references["best_fixed_model"]["utility"] < references["best_fixed"]["utility"]
    assert references["routed_models"] <= references["oracle_models"]
    assert content["utility"]["mean"] > references["best_fixed_model"]["utility"]
    assert recipe_table(report) is not None
    plain = run(ReplayOptions(directory=exam, limit=5))
    assert plain.content["recipes"] is None
    assert recipe_table(plain) is None


def test_a_promise_is_about_the_dearest_model_and_recipes_may_keep_it(exam: Path) -> None:
    options = ReplayOptions(directory=exam, recipes="weak+large>small", keep=0.9, limit=40)
    assert make_plan(options).data.cost_usd[:, 3].mean() > 1.0  # dearer than any model
    promise = run(options).content["promise"]
    assert promise["baseline"] == "large"  # type: ignore[index]


def test_a_recipe_holds_a_budget_too(exam: Path) -> None:
    content = run(ReplayOptions(directory=exam, recipes=DUO, budget_usd=0.4, limit=60)).content
    assert content["cost"]["over_budget"] < 1.3  # type: ignore[index]


@pytest.mark.parametrize(
    ("recipes", "why"),
    [
        ("weak+small>huge", "'huge', which is not an arm here; arms: weak, small, large\\.$"),
        ("weak|large,weak+small>huge", "'huge', which is not an arm here; arms: weak, small, large, weak.large\\.$"),
        ("weak", "is not a recipe"),
        ("auto:0", "auto:2 for example"),
        ("auto", "auto:2 for example"),
        ("weak+small>large,weak+small>large", "already"),
    ],
)
def test_recipes_that_cannot_be_made_are_refused_by_name(exam: Path, recipes: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        make_plan(ReplayOptions(directory=exam, recipes=recipes))


def test_fewer_recipes_than_were_wished_for_are_noted(exam: Path) -> None:
    def notes(recipes: str) -> list[str]:
        return [
            note for note in make_plan(ReplayOptions(directory=exam, recipes=recipes)).data.notes if "auto" in note
        ]

    assert notes("auto:2") == ["auto:2: 1 recipe is all that would save anything here, by what the models cost"]
    assert notes("auto:1") == notes(DUO) == []


def test_a_data_set_without_answers_says_what_is_missing(two_topics: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"answer' \(texts\) and none .*signal_answer_id"):
        make_plan(ReplayOptions(directory=two_topics, recipes="small|large"))


def test_options_that_do_not_go_with_recipes_are_refused(exam: Path) -> None:
    with pytest.raises(InvalidInputError, match="recipes"):
        ReplayOptions(directory=exam, answers=AnswerKind("number"))
    with pytest.raises(InvalidInputError, match="to be the baseline"):
        make_plan(ReplayOptions(directory=exam, recipes=DUO, keep=0.9, baseline=DUO))
    for text in ("poem", "number:0.5", "prose:2", "prose:x"):
        with pytest.raises(InvalidInputError):
            AnswerKind.parse(text)


def test_an_answer_that_is_too_long_for_a_cell_is_named_not_a_crash(write_folder: WriteFolder) -> None:
    folder = write_folder([{"prompt": "Write"}], {"a": [1], "a|answer": ["x" * (LONGEST_CELL + 1)]})
    with pytest.raises(InvalidInputError, match="cannot be read as CSV"):
        make_plan(ReplayOptions(directory=folder))


def test_prose_is_compared_by_likeness(write_folder: WriteFolder) -> None:
    folder = write_folder(
        [{"prompt": "Where is the meeting?"}, {"prompt": "And when?"}],
        {
            "a": [1, 0], "a|answer": ["The meeting is in the large room", "At noon on Monday"],
            "b": [1, 0], "b|answer": ["The meeting is in the large room!", "Nobody has ever seen such a purple cow"],
            "c": [0, 1], "c|answer": ["", "Tuesday"],
        },
    )  # fmt: skip
    data = make_plan(ReplayOptions(directory=folder, recipes="a+b>c,c|a", answers=AnswerKind.parse("prose:0.8"))).data
    assert data.score[:, 3].tolist() == [1.0, 1.0]
    assert data.score[:, 4].tolist() == [1.0, 1.0]  # where c says nothing a is asked


def test_a_step_is_a_context_tag_and_recipes_are_on_the_command_line(exam: Path) -> None:
    def shown(*options: str) -> dict[str, object]:
        result = CliRunner().invoke(commands, ["replay", str(exam), "--limit", "10", "--json", "-", *options])
        assert result.exit_code == 0, result.output
        content = json.loads(result.stdout)
        return {key: content[key] for key in ("utility", "conditions", "arms")}

    assert shown("--step", "category") == shown("--context-tags", "category")
    assert shown("--recipes", DUO, "--answers", "number")["arms"] == ["weak", "small", "large", DUO]
    live = CliRunner().invoke(commands, ["replay", str(exam), "--recipes", DUO, "--url", "http://127.0.0.1:1"])
    assert live.exit_code == 2
    assert "played in process" in live.output


def test_full_information_routing_finds_what_a_line_can_tell() -> None:
    rng = np.random.default_rng(0)
    x = np.c_[np.ones(300), rng.normal(size=(300, 3))]
    good = x[:, 1] > 0
    score = np.column_stack([good, ~good]).astype(float)
    score[:5, 0] = np.nan
    found = routed(x, score, np.zeros(2))
    assert found is not None
    assert found > 0.9
    assert routed(x[:3], score[:3], np.zeros(2)) is None
