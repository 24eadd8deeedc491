"""A recipe played answer by answer is the recipe that replay plays over arrays, and what counts of an answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from banditd.core.recipes import Recipe, stages_of
from banditd.deciding.playing import ModelAnswer, Play, key_of
from banditd.deciding.recipes import play

MODELS = ("a", "b", "c")
RECIPES = (
    Recipe(arm="agree", kind="agree", members=("a", "b"), otherwise="c"),
    Recipe(arm="most", kind="best_of", members=MODELS),
    Recipe(arm="first", kind="fallback", members=MODELS),
)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda one: one.arm)
def test_answer_by_answer_is_what_replay_plays(recipe: Recipe) -> None:
    rng = np.random.default_rng(3)
    for answers in rng.choice(["-", "x", "y"], size=(200, 3)):  # "-" is an answer of nothing
        same = (answers[:, None] == answers[None, :]) & (answers != "-")[:, None]
        played = play([recipe], MODELS, same[None])[recipe.arm]
        one, called = Play(recipe), []
        while waiting := one.ask():
            for arm in waiting:
                called.append(arm)
                one.put(
                    arm, ModelAnswer("" if answers[MODELS.index(arm)] == "-" else str(answers[MODELS.index(arm)]))
                )
        assert set(called) == {model for model, was in zip(MODELS, played.called[0], strict=True) if was}
        gave = answers[MODELS.index(str(one.chosen))]
        wanted = answers[played.answered[0]]
        assert wanted in {gave, "-"}  # where it has nothing to say, somebody else's word is given
        unsettled = {stage: bool(left[0]) for stage, left in played.unsettled.items() if played.reached[stage][0]}
        if recipe.kind == "agree":
            assert dict(stages_of(recipe, [(arm, None) for arm in called])) == unsettled


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("B", "The answer is B.", True),
        ("B) because", "C) because", False),
        ("$1,200", "So 3 x 400 ...\n#### 1200.0", True),
        ("There are 3 apples in each of the many baskets that we have counted here, and 12 in all of them together.",
         "12", False),
        ('{"a": 1, "b": [2.0]}', '```json\n{"b": [2], "a": 1}\n```', True),
        ("Paris is  the capital.", "Paris is the capital.", True),
        ("Paris is the capital.", "Lyon is the capital.", False),
        ("", "", False),
    ],
)  # fmt: skip
def test_answers_are_compared_as_what_they_are(first: str, second: str, same: bool) -> None:
    one, other = key_of(ModelAnswer(first)), key_of(ModelAnswer(second))
    assert (one is not None and one == other) is same


def test_calls_of_tools_are_compared_by_what_they_call() -> None:
    def called(**arguments: object) -> ModelAnswer:
        return ModelAnswer(tool_calls=(("look", json.dumps(arguments)),))

    assert key_of(called(a=1, b=2)) == key_of(called(b=2, a=1.0)) != key_of(called(a=2, b=2))
    assert key_of(ModelAnswer("look")) != key_of(called())
    assert key_of(ModelAnswer("No.", refused=True)) is None


@pytest.mark.parametrize("answers", ["auto", "choice", "number", "json", "tool_calls", "text"])
@pytest.mark.parametrize(
    "text",
    [
        "1" * 90_000 + "...", "," * 90_000, "1," * 45_000 + "x", "The answer is " + "." * 90_000 + "x",
        "answer" + "-_" * 45_000, "1" + " " * 90_000 + "x", "{" + "} " * 45_000 + "x",
        "(" * 45_000 + "1" + ")" * 45_000,
        "```\n" * 20_000 + "x", "9" * 5_000_000 + "x",
    ],
    ids=["digits", "commas", "groups", "dots", "lines", "blanks", "braces", "brackets", "fences", "longest"],
)  # fmt: skip
def test_an_answer_that_is_nearly_a_number_is_read_in_one_go(text: str, answers: str) -> None:
    """Tried in every division of its characters it would take minutes, and everybody would wait."""
    found = key_of(ModelAnswer(text), answers)
    assert found == key_of(ModelAnswer(text), answers)
    assert found is None or found[0] in {"text", "number", "choice"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.5", "2469/2"), ("$1,200.", "1200"), ("(.5)", "1/2"), ("**-3**", "-3"), ("1,.", "1"), ("2e3", "2000"),
        ("1 / 4", "1/4"), ("12,,", "12"), (", -7 %", "-7"),
    ],
)  # fmt: skip
def test_a_number_that_is_all_there_is(text: str, value: str) -> None:
    assert key_of(ModelAnswer(text)) == ("number", value)
