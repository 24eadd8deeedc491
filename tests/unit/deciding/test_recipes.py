"""Recipes: what they answer, whom they ask, what they are expected to cost, and which are refused."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.core.errors import ConfigurationError
from banditd.core.recipes import Recipe
from banditd.core.types import Price
from banditd.deciding.recipes import (
    SettlingRates,
    expected_calls,
    expected_price,
    in_order,
    last_model,
    parse_recipe,
    play,
    propose,
)

MODELS = ("a", "b", "c", "d")
DUO = Recipe(arm="duo", kind="agree", members=("a", "b"), otherwise="c")


def same(*answers: str) -> np.ndarray:
    """One query a text: what each model said, ``-`` for nothing."""
    given = np.array([list(one) for one in answers])
    found: np.ndarray = (given[:, :, None] == given[:, None, :]) & (given != "-")[:, :, None]
    return found


@pytest.mark.parametrize(
    ("recipe", "given", "answered", "called"),
    [
        (" a + b > c", "xxyy", "a", "ab"),
        ("a+b>c", "xxyy", "a", "ab"),
        ("a+b>c", "xyxx", "c", "abc"),
        ("a+b>c", "--xx", "c", "abc"),  # nothing equals nothing
        ("a+b+d>c", "xxyz", "c", "abdc"),
        ("a+b+c", "xyyz", "b", "abc"),
        ("a+b+c", "xyzw", "a", "abc"),  # the first among equals
        ("a+b+c", "-yzz", "b", "abc"),
        ("a|b|c", "xyzw", "a", "a"),
        ("a|b|c", "--zw", "c", "abc"),
        ("a|b", "--zw", "b", "ab"),  # the last one's word counts, whatever it is
    ],
)
def test_a_recipe_answers_as_its_text_says(recipe: str, given: str, answered: str, called: str) -> None:
    parsed = parse_recipe(recipe, MODELS)
    played = play(in_order([parsed], MODELS), MODELS, same(given))[recipe.replace(" ", "")]
    assert MODELS[played.answered[0]] == answered
    assert {model for model, was in zip(MODELS, played.called[0], strict=True) if was} == set(called)


def test_recipes_of_recipes_ask_only_what_is_needed() -> None:
    safe = Recipe(arm="safe", kind="fallback", members=("duo", "d"))
    recipes = in_order([safe, DUO], MODELS)
    assert [recipe.arm for recipe in recipes] == ["duo", "safe"]
    played = play(recipes, MODELS, same("xxyz", "xyzw", "xy-w"))["safe"]
    assert [MODELS[i] for i in played.answered] == ["a", "c", "d"]
    assert played.called.sum(axis=1).tolist() == [2, 3, 4]
    assert last_model(safe, recipes) == "c"


@pytest.mark.parametrize(
    ("recipes", "why"),
    [
        ([Recipe(arm="r", kind="agree", members=("a", "x"), otherwise="c")], "'x', which is not an arm here"),
        ([Recipe(arm="a", kind="agree", members=("b", "c"), otherwise="d")], "already an arm 'a'"),
        ([DUO, DUO], "already an arm 'duo'"),
        ([Recipe(arm="r", kind="fallback", members=("r", "a"))], "contain itself: r"),
        (
            [
                Recipe(arm="r", kind="fallback", members=("a", "s")),
                Recipe(arm="s", kind="agree", members=("a", "b"), otherwise="r"),
                DUO,
            ],
            "contain itself: r, s",
        ),
    ],
)
def test_recipes_that_cannot_be_asked_are_refused(recipes: list[Recipe], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        in_order(recipes, MODELS)


@pytest.mark.parametrize("text", ["a", "a>c", "a+b", "a+b>", "a+>c", "a+b>a", "a+a>c", "a|", "a|a", "", "+>"])
def test_a_text_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_recipe(text, MODELS)


def test_a_recipe_costs_what_its_models_cost_as_often_as_they_are_asked() -> None:
    prices = [Price(usd_per_mtok_in=1, usd_per_mtok_out=2, usd_per_request=usd) for usd in (1.0, 2.0, 10.0, 0.0)]
    rates = SettlingRates()

    def price() -> float:
        return expected_price(expected_calls([DUO], MODELS, rates)[0], prices).usd_per_request

    assert price() == pytest.approx(1.0 + 2.0 + 0.5 * 10.0)  # before any play
    sibling = Recipe(arm="other", kind="agree", members=("b", "a"), otherwise="d")
    for i in range(996):
        rates.observe(sibling.stage, unsettled=i % 4 == 0)  # type: ignore[arg-type]
    assert price() == pytest.approx(3.0 + 10.0 * (2 + 249) / 1000)  # a recipe that asks the same two taught it


def test_proposals_are_cheap_pairs_before_a_dear_model_and_save_most_first() -> None:
    cost = {"dear": 10.0, "dearer": 12.0, "cheap": 1.0, "second": 1.5, "third": 2.5}
    found = [recipe.arm for recipe in propose(9, cost)]
    assert found[:3] == ["cheap+second>dearer", "cheap+second>dear", "cheap+third>dearer"]
    assert len(found) == len(set(found)) == 6  # third in the last place would save nothing
    assert [recipe.arm for recipe in propose(2, cost)] == found[:2]
    assert propose(3, {"a": 1.0, "b": 1.0, "c": 1.5}) == ()
    assert propose(3, {"a": 0.0, "b": 0.0, "c": 0.0}) == ()
