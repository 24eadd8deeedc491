"""Recipes as arms of a replay: scores and costs out of their models' answers, and what is learned of the costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from banditd.core.recipes import Recipe
from banditd.core.types import BoolArray, FloatArray, IntArray, Price
from banditd.deciding.recipes import Played, SettlingRates, expected_calls, expected_price, last_model, play

NOTICED: Final = 0.005  # of a call: what prices follow from is not made anew for less


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecipeArms:
    """Recipes, and what becomes of each on every row.

    models : names; the first arms of the data. recipes : in order; the arms behind the models. played : of each.
    """

    models: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    played: tuple[Played, ...]

    @classmethod
    def of(cls, recipes: Sequence[Recipe], models: Sequence[str], same: BoolArray) -> RecipeArms:
        """Play them once. recipes : in order. same : see ``deciding.recipes.play``."""
        played = play(recipes, models, same)
        return cls(
            models=tuple(models), recipes=tuple(recipes), played=tuple(played[recipe.arm] for recipe in recipes)
        )

    def take(self, rows: IntArray) -> RecipeArms:
        """On these rows alone."""
        return replace(self, played=tuple(one.take(rows) for one in self.played))

    def columns(self, score: FloatArray, cost_usd: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Scores and costs of the recipes, float64 (n, n_recipes) each, from those of the models, (n, n_models)."""
        rows = np.arange(score.shape[0])
        scores = np.column_stack([score[rows, one.answered] for one in self.played])
        costs = np.column_stack([np.where(one.called, cost_usd, 0.0).sum(axis=1) for one in self.played])
        return scores, costs

    def like(self) -> Mapping[str, str]:
        """Of every recipe the model that its rewards are expected to be like."""
        return {recipe.arm: last_model(recipe, self.recipes) for recipe in self.recipes}


class RecipePrices:
    """What recipes are expected to cost, while plays tell how often their members settle a query.

    prices : of the models, in their order.
    """

    def __init__(self, arms: RecipeArms, prices: Sequence[Price]) -> None:
        self._arms = arms
        self._rates = SettlingRates()
        self._models = tuple(prices)
        self._calls = expected_calls(arms.recipes, arms.models, self._rates)
        self.prices = self._priced()

    def observe(self, arm: int, row: int) -> bool:
        """Arm ``arm`` of the data answered that row. True where prices have moved by more than ``NOTICED``."""
        place = arm - len(self._arms.models)
        if place < 0:
            return False
        played = self._arms.played[place]
        for stage, reached in played.reached.items():
            if reached[row]:
                self._rates.observe(stage, unsettled=bool(played.unsettled[stage][row]))
        calls = expected_calls(self._arms.recipes, self._arms.models, self._rates)
        if np.abs(calls - self._calls).max() <= NOTICED:
            return False
        self._calls = calls
        self.prices = self._priced()
        return True

    def _priced(self) -> list[Price]:
        return [expected_price(of_models, self._models) for of_models in self._calls]
