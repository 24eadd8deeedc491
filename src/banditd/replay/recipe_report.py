"""What recipes brought in a replay: references with and without them, and what each was chosen for. Plays nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from banditd.core.recipes import Recipe
from banditd.core.types import FloatArray
from banditd.replay.plan import Plan, SeedRun
from banditd.replay.recipe_arms import RecipeArms
from banditd.replay.references import column_means, known_mean

FOLDS: Final = 5
RIDGES: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


def recipe_report(
    plan: Plan, utility: FloatArray, runs: Sequence[SeedRun], x: FloatArray | None
) -> dict[str, object] | None:
    """``recipes`` of the report; None for a pool without any.

    utility : float64 (n, K). x : contexts of all rows, float64 (n, d), or None where they are not known.
    """
    arms = plan.data.recipes
    if arms is None:
        return None
    models = len(arms.models)
    scored = utility[plan.scored]
    return {
        "answers": "classes" if plan.options.answers is None else plan.options.answers.kind,
        "references": {
            "best_fixed_model": _best(scored[:, :models], arms.models),
            "best_fixed": _best(scored, plan.data.arms),
            "routed_models": _routed(plan, models, x),
            "routed": _routed(plan, len(plan.data.arms), x),
            "oracle_models": known_mean(np.nanmax(scored[:, :models], axis=1)),
            "oracle": known_mean(np.nanmax(scored, axis=1)),
        },
        "arms": [
            _one(plan, arms, place, utility, runs, plan.data.arms.index(arms.like()[recipe.arm]))
            for place, recipe in enumerate(arms.recipes)
        ],
    }


def _best(utility: FloatArray, arms: Sequence[str]) -> dict[str, object]:
    means = column_means(utility)
    return {"arm": arms[int(means.argmax())], "utility": float(means.max())}


def _routed(plan: Plan, n_arms: int, x: FloatArray | None) -> float | None:
    if x is None:
        return None
    rows = plan.scored
    return routed(x[rows], plan.data.score[rows, :n_arms], plan.penalty[:n_arms])


def routed(x: FloatArray, score: FloatArray, penalty: FloatArray) -> float | None:
    """Utility of a linear router that is told the score of every arm on the other four fifths of the queries.

    Ridge regression per arm; how strong is found on the told queries alone. None for fewer queries than folds.

    Parameters
    ----------
    x : float64 (n, d). score : float64 (n, K), NaN where missing. penalty : float64 (K,).
    """
    n = x.shape[0]
    if n < FOLDS:
        return None
    fold = np.random.default_rng(0).permutation(n) % FOLDS
    earned = np.full(n, np.nan)
    for one in range(FOLDS):
        seen, held = fold != one, np.flatnonzero(fold == one)
        predicted = np.column_stack([_ridge(x[seen], score[seen, k], x[held]) for k in range(score.shape[1])])
        choice = (predicted - penalty).argmax(axis=1)
        earned[held] = score[held, choice] - penalty[choice]
    return known_mean(earned)


def _ridge(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """Predictions at ``at``, float64 (m,); the strength with the least generalised cross-validation error."""
    known = np.isfinite(y)
    if not known.any():
        return np.full(at.shape[0], -np.inf)
    centre, level = x[known].mean(axis=0), float(y[known].mean())
    left, values, right = np.linalg.svd(x[known] - centre, full_matrices=False)
    turned = left.T @ (y[known] - level)
    n = int(known.sum())

    def error(ridge: float) -> float:
        kept = values**2 / (values**2 + ridge)
        residual = float(((y[known] - level) ** 2).sum() - (turned**2 * (2.0 * kept - kept**2)).sum())
        return residual / max(n - 1.0 - float(kept.sum()), 1.0) ** 2

    ridge = min(RIDGES, key=error)
    weights = right.T @ (values / (values**2 + ridge) * turned)
    found: FloatArray = level + (at - centre) @ weights
    return found


def _one(
    plan: Plan, arms: RecipeArms, place: int, utility: FloatArray, runs: Sequence[SeedRun], like: int
) -> dict[str, object]:
    """What one recipe is and was chosen for, all seeds together. like : index of the model that it is like."""
    recipe, played = arms.recipes[place], arms.played[place]
    arm = len(arms.models) + place
    rows, chosen = np.concatenate([run.rows for run in runs]), np.concatenate([run.chosen for run in runs])
    is_recipe = chosen == arm
    recipe_rows = rows[is_recipe]
    categories = plan.data.category[rows]
    names = {int(plan.data.category[row]): plan.data.category_of(int(row)) for row in plan.scored}
    return {
        **_named(recipe),
        "like": plan.data.arms[like],
        "share": float(is_recipe.mean()),
        "share_of_category": {
            names[label]: float(is_recipe[categories == label].mean()) for label in np.unique(categories).tolist()
        },
        "calls": float(played.called[recipe_rows].sum(axis=1).mean()) if recipe_rows.size else None,
        "settled": None if recipe.stage is None else float(1.0 - played.unsettled[recipe.stage][plan.scored].mean()),
        "utility": known_mean(utility[recipe_rows, arm]),
        "gain_over_like": known_mean(utility[recipe_rows, arm] - utility[recipe_rows, like]),
    }


def _named(recipe: Recipe) -> dict[str, object]:
    return {"arm": recipe.arm, "kind": recipe.kind, "members": list(recipe.members), "else": recipe.otherwise}
