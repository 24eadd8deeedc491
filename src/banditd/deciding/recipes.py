"""Recipes: arms that combine a few models by a rule that picks one of their answers. Pure.

``agree`` asks its members at once; if they agree, theirs is the answer, else another arm is asked. ``best_of`` asks
all members and gives the answer that most of them gave. ``fallback`` asks one member after another until one answers
at all. A recipe is one arm: one decision, one probability, one reward. It has no price of its own: its cost follows
from its members' prices and from how often they leave a query unsettled, which is learned (``SettlingRates``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from banditd.core.errors import ConfigurationError
from banditd.core.recipes import Recipe, Stage
from banditd.core.types import BoolArray, FloatArray, IntArray, Price

# Prior: how often members leave a query unsettled, and how many plays that assumption is worth. Answers of two cheap
# models differ on a third to a half of the queries of public data sets; a model that gives no answer at all is rare.
UNSETTLED: Final = {"agree": 0.5, "best_of": 0.0, "fallback": 0.05}
ASSUMPTION_WORTH: Final = 4.0


def last_model(recipe: Recipe, recipes: Sequence[Recipe]) -> str:
    """The model that a recipe's rewards are expected to resemble: the one asked last, or the first named.

    Where two cheap models agree, an expensive one nearly always says the same, so a recipe is about as good as that
    one.
    """
    by_name = {one.arm: one for one in recipes}
    name = recipe.arm
    while name in by_name:
        name = by_name[name].otherwise or by_name[name].members[0]
    return name


def in_order(recipes: Sequence[Recipe], models: Collection[str]) -> tuple[Recipe, ...]:
    """The recipes, each after those that it is made of.

    Raises
    ------
    ConfigurationError : a name is taken, a member is unknown, or a recipe contains itself.
    """
    known = dict.fromkeys(models)
    by_name = {recipe.arm: recipe for recipe in recipes}
    if len(by_name) < len(recipes) or not known.keys().isdisjoint(by_name):
        taken = next(r.arm for i, r in enumerate(recipes) if r.arm in known or r.arm in {o.arm for o in recipes[:i]})
        raise ConfigurationError(f"There is already an arm {taken!r}: a recipe needs a name of its own.")
    for recipe in recipes:
        for part in recipe.parts:
            if part not in known and part not in by_name:
                there = [*known, *(name for name in by_name if name != recipe.arm)]
                raise ConfigurationError(
                    f"Recipe {recipe.arm} names {part!r}, which is not an arm here; arms: {', '.join(there)}."
                )
    found: dict[str, Recipe] = {}
    while len(found) < len(by_name):
        ready = [r for r in recipes if r.arm not in found and all(p in known or p in found for p in r.parts)]
        if not ready:
            circle = ", ".join(sorted(by_name.keys() - found.keys()))
            raise ConfigurationError(f"A recipe must not contain itself: {circle}.")
        found.update((recipe.arm, recipe) for recipe in ready)
    return tuple(found.values())


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """The result of playing an arm on n queries.

    answered : intp (n,), the model whose answer counts. called : bool (n, n_models).
    unsettled : by stage, bool (n,): the members left the query open; False where the stage was not reached.
    reached : by stage, bool (n,): the stage was reached.
    """

    answered: IntArray
    called: BoolArray
    unsettled: Mapping[Stage, BoolArray] = field(default_factory=dict)
    reached: Mapping[Stage, BoolArray] = field(default_factory=dict)

    def take(self, rows: IntArray) -> Played:
        """The result on these queries only."""
        return Played(
            self.answered[rows],
            self.called[rows],
            {stage: where[rows] for stage, where in self.unsettled.items()},
            {stage: where[rows] for stage, where in self.reached.items()},
        )


def play(recipes: Sequence[Recipe], models: Sequence[str], same: BoolArray) -> dict[str, Played]:
    """Play every recipe on every query.

    Parameters
    ----------
    recipes : ordered (``in_order``). models : names.
    same : bool (n, n_models, n_models), whether two models gave the same answer; the diagonal says whether a model
    answered at all.
    """
    n = same.shape[0]
    found: dict[str, Played] = {}
    for i, model in enumerate(models):
        called = np.zeros((n, len(models)), dtype=bool)
        called[:, i] = True
        found[model] = Played(np.full(n, i, dtype=np.intp), called)
    for recipe in recipes:
        parts = [found[part] for part in recipe.parts]
        found[recipe.arm] = {"agree": _agree, "best_of": _best_of, "fallback": _fallback}[recipe.kind](
            recipe, parts, same
        )
    return {recipe.arm: found[recipe.arm] for recipe in recipes}


def _agree(recipe: Recipe, parts: Sequence[Played], same: BoolArray) -> Played:
    members, otherwise = parts[:-1], parts[-1]
    rows, first = np.arange(same.shape[0]), members[0].answered
    differ = ~np.logical_and.reduce([same[rows, first, one.answered] for one in members])
    called = np.logical_or.reduce([one.called for one in members]) | (otherwise.called & differ[:, None])
    stages = {} if recipe.stage is None else {recipe.stage: (np.ones_like(differ), differ)}
    return _joined(
        np.where(differ, otherwise.answered, first),
        called,
        [*((one, np.ones_like(differ)) for one in members), (otherwise, differ)],
        stages,
    )


def _best_of(recipe: Recipe, parts: Sequence[Played], same: BoolArray) -> Played:
    rows = np.arange(same.shape[0])
    votes = np.stack([sum(same[rows, one.answered, other.answered].astype(int) for other in parts) for one in parts])
    best = votes.argmax(axis=0)  # the first among equals
    answered = np.stack([one.answered for one in parts])[best, rows]
    everywhere = np.ones(rows.size, dtype=bool)
    called = np.logical_or.reduce([one.called for one in parts])
    return _joined(answered, called, [(one, everywhere) for one in parts], {})


def _fallback(recipe: Recipe, parts: Sequence[Played], same: BoolArray) -> Played:
    rows = np.arange(same.shape[0])
    open_ = np.ones(rows.size, dtype=bool)
    answered, called = parts[0].answered.copy(), np.zeros_like(parts[0].called)
    stages: dict[Stage, tuple[BoolArray, BoolArray]] = {}
    reached = []
    for i, one in enumerate(parts):
        called |= one.called & open_[:, None]
        answered[open_] = one.answered[open_]
        reached.append((one, open_))
        still = open_ & ~same[rows, one.answered, one.answered]
        stages["fallback", recipe.members[: i + 1]] = (open_, still)
        open_ = still
    return _joined(answered, called, reached, stages)


def _joined(
    answered: IntArray,
    called: BoolArray,
    parts: Sequence[tuple[Played, BoolArray]],
    stages: Mapping[Stage, tuple[BoolArray, BoolArray]],
) -> Played:
    """The result, including the stages of the parts where they were reached."""
    reached = {stage: where for stage, (where, _) in stages.items()}
    unsettled = {stage: where for stage, (_, where) in stages.items()}
    for one, where in parts:
        for stage in one.reached:
            nothing = np.zeros_like(where)
            reached[stage] = reached.get(stage, nothing) | (one.reached[stage] & where)
            unsettled[stage] = unsettled.get(stage, nothing) | (one.unsettled[stage] & where)
    return Played(answered, called, unsettled, reached)


class SettlingRates:
    """How often the members of each stage leave a query open, learned from plays; mutable, owned by one learner.

    Recipes that ask the same members share a stage, and so learn from each other.

    counts : by stage, how often it was reached, and how often it was then left open.
    """

    def __init__(self, counts: Mapping[Stage, tuple[float, float]] | None = None) -> None:
        self._reached: dict[Stage, float] = {stage: reached for stage, (reached, _) in (counts or {}).items()}
        self._unsettled: dict[Stage, float] = {stage: left for stage, (_, left) in (counts or {}).items()}

    def observe(self, stage: Stage, *, unsettled: bool) -> None:
        self._reached[stage] = self._reached.get(stage, 0.0) + 1.0
        self._unsettled[stage] = self._unsettled.get(stage, 0.0) + unsettled

    def unsettled(self, stage: Stage) -> float:
        """Expected share of the queries, in [0, 1], that the members leave open."""
        assumed = UNSETTLED[stage[0]] * ASSUMPTION_WORTH
        return (assumed + self._unsettled.get(stage, 0.0)) / (ASSUMPTION_WORTH + self._reached.get(stage, 0.0))


def expected_calls(recipes: Sequence[Recipe], models: Sequence[str], rates: SettlingRates) -> FloatArray:
    """Expected calls of every model per play of each recipe: float64 (n_recipes, n_models), at most 1.

    recipes : ordered (``in_order``).
    """
    calls = {model: np.eye(len(models))[i] for i, model in enumerate(models)}
    for recipe in recipes:
        total, open_ = np.zeros(len(models)), 1.0
        for i, member in enumerate(recipe.members):
            total += open_ * calls[member]
            if recipe.kind == "fallback":
                open_ *= rates.unsettled(("fallback", recipe.members[: i + 1]))
        if recipe.otherwise is not None and recipe.stage is not None:
            total += rates.unsettled(recipe.stage) * calls[recipe.otherwise]
        calls[recipe.arm] = np.minimum(total, 1.0)  # a model is asked at most once
    return np.array([calls[recipe.arm] for recipe in recipes]).reshape(len(recipes), len(models))


def expected_price(calls: FloatArray, prices: Sequence[Price]) -> Price:
    """A recipe's price: the sum of its models' prices times their expected calls.

    calls : float64 (n_models,). There is no price for cached input, since members differ in what they cache.
    """
    return Price(
        usd_per_mtok_in=float(sum(c * price.usd_per_mtok_in for c, price in zip(calls, prices, strict=True))),
        usd_per_mtok_out=float(sum(c * price.usd_per_mtok_out for c, price in zip(calls, prices, strict=True))),
        usd_per_request=float(sum(c * price.usd_per_request for c, price in zip(calls, prices, strict=True))),
    )


def propose(n: int, cost_usd: Mapping[str, float]) -> tuple[Recipe, ...]:
    """The n ``agree`` recipes that save most over the model they end in, judged by typical cost alone.

    Each asks two of the three cheapest models, and a dearer one when they differ, assumed for every second query.
    Fewer than n if fewer would save anything. Nothing is tuned.
    """
    order = sorted(cost_usd, key=lambda model: (cost_usd[model], model))
    found = []
    for i, first in enumerate(order[:3]):
        for second in order[i + 1 : 3]:
            for other in order:
                pair = cost_usd[first] + cost_usd[second]
                saved = (1.0 - UNSETTLED["agree"]) * cost_usd[other] - pair
                if saved > 0.0 and cost_usd[other] > cost_usd[second]:
                    name = f"{first}+{second}>{other}"
                    recipe = Recipe(arm=name, kind="agree", members=(first, second), otherwise=other)
                    found.append((-saved, name, recipe))
    return tuple(recipe for _, _, recipe in sorted(found, key=lambda one: one[:2])[:n])


def parse_recipe(text: str, arms: Collection[str]) -> Recipe:
    """``a+b>c`` asks a and b, and c if they differ; ``a+b+c`` gives what most of them say; ``a|b`` falls back.

    arms : known names, only used in the error message.

    Raises
    ------
    ConfigurationError : it is none of these.
    """
    pair, arrow, otherwise = (part.strip() for part in text.partition(">"))
    joined, fallback = (tuple(part.strip() for part in pair.split(sign)) for sign in "+|")
    if arrow and len(joined) > 1:
        recipe = Recipe(arm=f"{'+'.join(joined)}>{otherwise}", kind="agree", members=joined, otherwise=otherwise)
    elif not arrow and len(joined) > 2:
        recipe = Recipe(arm="+".join(joined), kind="best_of", members=joined)
    elif not arrow and len(fallback) > 1:
        recipe = Recipe(arm="|".join(fallback), kind="fallback", members=fallback)
    else:
        raise ConfigurationError(
            f"{text!r} is not a recipe: a+b>c asks a and b, and c if they differ; a+b+c gives what most of the three "
            f"say; a|b asks b if a gives no answer. Arms: {', '.join(arms)}."
        )
    if not all(recipe.parts):
        raise ConfigurationError(f"{text!r} is not a recipe: a name is missing.")
    return recipe
