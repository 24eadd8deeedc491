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
