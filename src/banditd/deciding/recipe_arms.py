"""A recipe as an arm: its price, context window and capabilities follow from its parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.recipes import Recipe
from banditd.core.types import Arm, FloatArray, IntArray, Price
from banditd.deciding.recipes import SettlingRates, expected_calls, expected_price

# Fields that follow from the parts and cannot be set on the recipe itself.
_OF_PARTS: Final[Mapping[str, object]] = {
    "price": Price(),
    "upstream": None,
    "params": {},
    "rename_params": {},
    "first_token_s": None,
    "context_window_tokens": None,
    "capabilities": frozenset(),
    "quality_tier": None,
    "expected_output_tokens": 400.0,
    "kwh_per_mtok_in": 0.0,
    "kwh_per_mtok_out": 0.0,
}


def check_recipe(arm: Arm, arms: Sequence[Arm], *, parts: bool = True) -> None:
    """Refuse a recipe that could not be run.

    arms : of its policy, with or without the recipe itself.
    parts : whether the parts must be among them; a part may be deleted later.

    Raises
    ------
    InvalidInputError : it sets a field that follows from its parts, or a part is not a model of this policy.
    """
    if arm.recipe is None:
        return
    for name, nothing in _OF_PARTS.items():
        if getattr(arm, name) != nothing:
            raise InvalidInputError(
                f"{arm.arm} is a recipe and has no {name} of its own: it follows from {', '.join(arm.recipe.parts)}; "
                f"leave {name} out",
                field=f"/{name}",
            )
    if arm.upstream_model not in {arm.arm, ""}:
        raise InvalidInputError(
            f"{arm.arm} is a recipe: only its parts have models; leave upstream_model out",
            field="/upstream_model",
        )
    models = {other.arm for other in arms if other.recipe is None and other.arm != arm.arm}
    recipes = {other.arm for other in arms if other.recipe is not None} | {arm.arm}
    choice = ", ".join(sorted(models)) or "the models (add some first)"
    for place, part in _places(arm.recipe) if parts else ():
        if part in recipes:
            raise InvalidInputError(
                f"{arm.arm} is made of {part}, which is itself a recipe: a recipe needs models; use one of {choice}",
                code="RECIPE_NESTED",
                field=f"/recipe/{place}",
            )
        if part not in models:
            raise InvalidInputError(
                f"{arm.arm} is made of {part}, which is not an arm of this policy; use one of {choice}",
                code="ARM_UNKNOWN",
                field=f"/recipe/{place}",
            )


def _places(recipe: Recipe) -> list[tuple[str, str]]:
    """(where it is named, name) of every part."""
    named = [(f"members/{i}", member) for i, member in enumerate(recipe.members)]
    return named if recipe.otherwise is None else [*named, ("else", recipe.otherwise)]


def unserved(arms: Sequence[Arm]) -> dict[str, str]:
    """Arm -> reason why it cannot serve: disabled, or a recipe with a part that is disabled or missing."""
    enabled = {arm.arm: arm.enabled for arm in arms}
    found = {}
    for arm in arms:
        reasons = [] if arm.enabled else ["disabled"]
        parts = () if arm.recipe is None else arm.recipe.parts
        reasons += [f"member_{'disabled' if p in enabled else 'deleted'}:{p}" for p in parts if not enabled.get(p)]
        if reasons:
            found[arm.arm] = reasons[0]
    return found


def calls_of(arms: Sequence[Arm], rates: SettlingRates) -> FloatArray | None:
    """Expected calls of every arm per decision for each arm: float64 (K, K); a model calls itself once.

    None if no arm is a recipe. A recipe with a missing part makes no calls, because it cannot serve.
    """
    place = {arm.arm: i for i, arm in enumerate(arms)}
    recipes = [arm.recipe for arm in arms if arm.recipe is not None]
    if not recipes:
        return None
    whole = [one for one in recipes if all(part in place for part in one.parts)]
    models = [arm.arm for arm in arms if arm.recipe is None]
    columns = [place[model] for model in models]
    calls = np.eye(len(arms))
    for recipe in recipes:
        calls[place[recipe.arm]] = 0.0
    for recipe, row in zip(whole, expected_calls(whole, models, rates), strict=True):
        calls[place[recipe.arm], columns] = row
    return calls


def resolved(arms: Sequence[Arm], calls: FloatArray | None) -> tuple[Arm, ...]:
    """The arms, with recipes' fields filled in from their parts.

    A recipe's price is the sum of its models' prices times their expected calls; its window is the smallest; it can
    do what all of them can. calls : ``calls_of``.
    """
    if calls is None:
        return tuple(arms)
    by_name = {arm.arm: arm for arm in arms}
    prices = [arm.price for arm in arms]
    per_out = np.array([price.usd_per_mtok_out for price in prices])
    tokens = recipe_tokens(np.array([arm.expected_output_tokens for arm in arms]), per_out, calls, _recipes(arms))
    made = []
    for i, arm in enumerate(arms):
        parts = [] if arm.recipe is None else [by_name[name] for name in arm.recipe.parts if name in by_name]
        if not parts:
            made.append(arm)
            continue
        windows = [part.context_window_tokens for part in parts if part.context_window_tokens is not None]
        made.append(
            replace(
                arm,
                price=expected_price(calls[i], prices),
                capabilities=frozenset.intersection(*(part.capabilities for part in parts)),
                context_window_tokens=min(windows, default=None),
                expected_output_tokens=float(tokens[i]),
                kwh_per_mtok_in=float(calls[i] @ [one.kwh_per_mtok_in for one in arms]),
                kwh_per_mtok_out=float(calls[i] @ [one.kwh_per_mtok_out for one in arms]),
            )
        )
    return tuple(made)


def _recipes(arms: Sequence[Arm]) -> IntArray:
    return np.array([i for i, arm in enumerate(arms) if arm.recipe is not None], dtype=np.intp)


def recipe_tokens(output_tokens: FloatArray, per_out: FloatArray, calls: FloatArray, recipes: IntArray) -> FloatArray:
    """Output tokens of every arm; for recipes the number that, at the recipe's price, costs what its calls cost.

    Parameters
    ----------
    output_tokens : float64 (..., K), of models; those of recipes are replaced.
    per_out : float64 (K,), price of a model's output, in any unit.
    recipes : intp, indices of the recipes.
    """
    weights = calls[recipes] * per_out
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0.0, weights, calls[recipes])
    total = weights.sum(axis=1)
    found = output_tokens.copy()
    found[..., recipes] = output_tokens @ weights.T / np.where(total > 0.0, total, 1.0)
    return found


def recipe_latency_ms(
    latency_ms: FloatArray, arms: Sequence[Arm], index: Mapping[str, int], calls: FloatArray
) -> FloatArray:
    """Latency of every arm; a recipe without data of its own gets it from its parts: float64 (n, K), as given.

    Members that are asked at once take as long as the slowest; an arm asked afterwards adds its time where it is
    called. NaN if a part's latency is unknown.
    """
    found = latency_ms.copy()
    for i, arm in enumerate(arms):
        recipe = arm.recipe
        if recipe is None or not all(part in index for part in recipe.parts):
            continue
        members = [index[member] for member in recipe.members]
        if recipe.kind == "fallback":
            from_parts = latency_ms[:, members] @ calls[i, members]
        else:
            from_parts = latency_ms[:, members].max(axis=1)
        if recipe.otherwise is not None:
            other = index[recipe.otherwise]
            from_parts = from_parts + calls[i, other] * latency_ms[:, other]
        found[:, i] = np.where(np.isnan(latency_ms[:, i]), from_parts, latency_ms[:, i])
    return found
