"""Recipes: arms that are a few models and a rule that says which of their answers counts. Pure.

``agree`` asks its members at once: equal answers are the answer, else another arm is asked. ``best_of`` asks all and
gives the answer that most of them gave. ``fallback`` asks one after the other until one gives an answer at all. A
recipe is one arm: one decision, one probability, one reward. It has no price of its own: what it costs follows from
its members' prices and from how often they do not settle a query, which is learned (``SettlingRates``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from banditd.core.errors import ConfigurationError
from banditd.core.recipes import Recipe, Stage
from banditd.core.types import BoolArray, FloatArray, IntArray, Price

# Before any play: how often members leave a query unsettled, and the plays that this is worth. Two answers of cheap
# models differ on a third to a half of the queries of public sets; a model that gives no answer at all is rare.
UNSETTLED: Final = {"agree": 0.5, "best_of": 0.0, "fallback": 0.05}
ASSUMPTION_WORTH: Final = 4.0


def last_model(recipe: Recipe, recipes: Sequence[Recipe]) -> str:
    """The model that a recipe's rewards are expected to be like: who has the last word, or is named first.

    Where two cheap models agree, the dear one nearly always says the same: a recipe is about as good as that.
    """
    by_name = {one.arm: one for one in recipes}
    name = recipe.arm
    while name in by_name:
        name = by_name[name].otherwise or by_name[name].members[0]
    return name


def in_order(recipes: Sequence[Recipe], models: Collection[str]) -> tuple[Recipe, ...]:
    """The recipes, each behind those that it is made of.

    Raises
    ------
    ConfigurationError : a name is taken, a member is unknown, or a recipe is made of itself.
    """
    known = dict.fromkeys(models)
    by_name = {recipe.arm: recipe for recipe in recipes}
    if len(by_name) < len(recipes) or not known.keys().isdisjoint(by_name):
        taken = next(r.arm for i, r in enumerate(recipes) if r.arm in known or r.arm in {o.arm for o in recipes[:i]})
        raise ConfigurationError(f"There is an arm {taken!r} already: a recipe needs a name of its own.")
    for recipe in recipes:
        for part in recipe.parts:
            if part not in known and part not in by_name:
                there = [*known, *(name for name in by_name if name != recipe.arm)]
                raise ConfigurationError(
                    f"Recipe {recipe.arm} names {part!r}, which is no arm here; arms: {', '.join(there)}."
                )
    found: dict[str, Recipe] = {}
    while len(found) < len(by_name):
        ready = [r for r in recipes if r.arm not in found and all(p in known or p in found for p in r.parts)]
        if not ready:
            circle = ", ".join(sorted(by_name.keys() - found.keys()))
            raise ConfigurationError(f"Recipes must not be made of themselves: {circle}.")
        found.update((recipe.arm, recipe) for recipe in ready)
    return tuple(found.values())


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What became of an arm on some queries.

    answered : intp (n,), the model whose answer counts. called : bool (n, n_models).
    unsettled : by stage, bool (n,): the members left the query open; False too where the stage was not reached.
    reached : the same, where the stage was reached.
    """

    answered: IntArray
    called: BoolArray
    unsettled: Mapping[Stage, BoolArray] = field(default_factory=dict)
    reached: Mapping[Stage, BoolArray] = field(default_factory=dict)

    def take(self, rows: IntArray) -> Played:
        """On these queries alone."""
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
    recipes : in order (``in_order``). models : names. same : bool (n, n_models, n_models), whether two models gave
    the same answer; on the diagonal whether the model gave one at all.
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
    """With the stages of the parts, where these were reached."""
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

    A stage is its members: recipes that ask the same two models teach each other.

    counts : by stage, how often it was reached, and how often of these it was left open.
    """

    def __init__(self, counts: Mapping[Stage, tuple[float, float]] | None = None) -> None:
        self._reached: dict[Stage, float] = {stage: reached for stage, (reached, _) in (counts or {}).items()}
        self._unsettled: dict[Stage, float] = {stage: left for stage, (_, left) in (counts or {}).items()}

    def observe(self, stage: Stage, *, unsettled: bool) -> None:
        self._reached[stage] = self._reached.get(stage, 0.0) + 1.0
        self._unsettled[stage] = self._unsettled.get(stage, 0.0) + unsettled

    def unsettled(self, stage: Stage) -> float:
        """Expected share in [0, 1] of the queries that the members leave open."""
        assumed = UNSETTLED[stage[0]] * ASSUMPTION_WORTH
        return (assumed + self._unsettled.get(stage, 0.0)) / (ASSUMPTION_WORTH + self._reached.get(stage, 0.0))


def expected_calls(recipes: Sequence[Recipe], models: Sequence[str], rates: SettlingRates) -> FloatArray:
    """Calls of every model that a play of each recipe is expected to make: float64 (n_recipes, n_models), at most 1.

    recipes : in order (``in_order``).
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
        calls[recipe.arm] = np.minimum(total, 1.0)  # a model's answer is asked for once
    return np.array([calls[recipe.arm] for recipe in recipes]).reshape(len(recipes), len(models))


def expected_price(calls: FloatArray, prices: Sequence[Price]) -> Price:
    """The price of a recipe: those of its models, each as often as it is expected to be called.

    calls : float64 (n_models,). Recipes have no price for cached input: their members differ in what they cache.
    """
    return Price(
        usd_per_mtok_in=float(sum(c * price.usd_per_mtok_in for c, price in zip(calls, prices, strict=True))),
        usd_per_mtok_out=float(sum(c * price.usd_per_mtok_out for c, price in zip(calls, prices, strict=True))),
        usd_per_request=float(sum(c * price.usd_per_request for c, price in zip(calls, prices, strict=True))),
    )


def propose(n: int, cost_usd: Mapping[str, float]) -> tuple[Recipe, ...]:
    """The n ``agree`` recipes that save most beside the model they end in, by typical cost alone: nothing is tuned.

    Two of the three cheapest are asked, and a dearer one where they differ, which is assumed of every second query.
    Fewer where fewer would save anything.
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
    """``a+b>c`` asks a and b, and c where they differ; ``a+b+c`` gives what most of them say; ``a|b`` falls back.

    arms : names that may stand in it; only used to say which there are.

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
            f"{text!r} is no recipe: a+b>c asks a and b, and c where they differ; a+b+c gives what most of the three "
            f"say; a|b asks b where a gives no answer. Arms: {', '.join(arms)}."
        )
    if not all(recipe.parts):
        raise ConfigurationError(f"{text!r} is no recipe: a name is missing.")
    return recipe
