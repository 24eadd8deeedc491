"""RouterArena: its score, and the files that it reads (Lu et al. 2025, arXiv:2510.00202).

A router is given prompts with an index and names a model for each; RouterArena calls the models and grades.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import FloatArray, IntArray

BETA: Final = 0.1
DEAREST_USD: Final = 200.0
CHEAPEST_USD: Final = 0.0044
"""Per 1,000 queries; costs beyond either end count as that end."""
_RIGHT: Final = 1.0


@dataclass(frozen=True, slots=True)
class ArenaPrompt:
    """index : RouterArena's, a text."""

    index: str
    text: str


def arena_score(accuracy: float, cost_usd_per_1000: float) -> float:
    """RouterArena's score in [0, 1]: mostly accuracy, a little of how cheap it is on a logarithmic scale.

    With C = (log2 200 - log2 c) / (log2 200 - log2 .0044) for a cost of c dollars per 1,000 queries, within these
    ends, and the accuracy A in [0, 1]

        score = (1 + beta) A C / (beta A + C),   beta = .1

    Source: ``compute_arena_score`` in llm_evaluation/run.py of RouteWorks/RouterArena; its published metrics.json
    (A .718454, c .136396) says .714759, and so does this.
    """
    cost = min(max(cost_usd_per_1000, CHEAPEST_USD), DEAREST_USD)
    cheap = math.log2(DEAREST_USD / cost) / math.log2(DEAREST_USD / CHEAPEST_USD)
    divisor = BETA * accuracy + cheap
    return (1.0 + BETA) * accuracy * cheap / divisor if divisor else 0.0


def optimality(
    score: FloatArray, cost_usd: FloatArray, chosen: IntArray, spent_usd: FloatArray
) -> tuple[float, float] | None:
    """(share of its right answers that came at the least cost, that cost over what it has spent on them).

    score, cost_usd : float64 (n, K), NaN where not known. chosen : (n,); spent_usd : (n,), of its answers. None where
    none of them is wholly right.

    Source: ``compute_optimality_from_predictions`` in the same file, Opt.Sel and Opt.Cost; right is a score of 1.
    """
    right = score >= _RIGHT
    rows = np.flatnonzero(right[np.arange(len(chosen)), chosen])
    if not rows.size:
        return None
    least, spent = np.where(right[rows], cost_usd[rows], np.inf).min(axis=1), spent_usd[rows]
    return float((spent <= least).mean()), float(least.sum() / spent.sum()) if spent.sum() > 0.0 else 1.0


def arena_figures(
    score: FloatArray, cost_usd: FloatArray, runs: Sequence[tuple[IntArray, IntArray, FloatArray]]
) -> dict[str, object]:
    """What RouterArena would say of runs: means over them.

    score, cost_usd : float64 (rows, K), NaN where a score is not known. runs : each the rows, the arm chosen on each
    and what that has cost. ``cost_usd_per_1000`` is of queries.
    """
    each = []
    for rows, chosen, spent_usd in runs:
        got = score[rows, chosen]
        accuracy = float(got[np.isfinite(got)].mean()) if np.isfinite(got).any() else math.nan
        cost = 1000.0 * float(spent_usd.mean())
        best = optimality(score[rows], cost_usd[rows], chosen, spent_usd)
        each.append((arena_score(accuracy, cost), accuracy, cost, *(best or (math.nan, math.nan))))
    names = ("score", "accuracy", "cost_usd_per_1000", "optimal_selection", "optimal_cost")
    means = np.array(each).mean(axis=0).tolist()
    return {name: mean if math.isfinite(mean) else None for name, mean in zip(names, means, strict=True)}


def read_prompts(path: Path) -> list[ArenaPrompt]:
    """The prompts of RouterArena's data set file (router_data.json): those of prompt_formatted, else of prompt.

    Raises InvalidInputError for anything else.
    """
    try:
        listed: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInputError(f"{path} is no JSON: {error}") from error
    if not isinstance(listed, list) or not listed:
        raise InvalidInputError(
            f'{path} is no list of prompts; one is {{"global index": "...", "prompt_formatted": "..."}}'
        )
    found = []
    for number, one in enumerate(listed):
        entry = one if isinstance(one, dict) else {}
        index = entry.get("global index") or entry.get("global_index")
        text = entry.get("prompt_formatted") or entry.get("prompt")
        if index is None or not isinstance(text, str):
            raise InvalidInputError(f'entry {number} of {path} has no "global index", or no "prompt_formatted"')
        found.append(ArenaPrompt(str(index), text))
    return found


def write_predictions(path: Path, prompts: Sequence[ArenaPrompt], models: Sequence[str]) -> None:
    """The prediction file, whose answers, costs and grades RouterArena's own scripts fill in."""
    listed = [
        {
            "global index": prompt.index,
            "prompt": prompt.text,
            "prediction": model,
            "generated_result": None,
            "cost": None,
            "accuracy": None,
            "for_optimality": False,
        }
        for prompt, model in zip(prompts, models, strict=True)
    ]
    path.write_text(json.dumps(listed, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write_config(path: Path, router_name: str, models: Sequence[str]) -> None:
    """RouterArena's configuration of a router: its name and the models that it may name."""
    content = {"pipeline_params": {"router_name": router_name, "models": list(models)}}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
