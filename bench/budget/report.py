"""Figures of the passes as tables (rich and Markdown) and as a plot of reward over cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from banditd.budget.frontier import fixed_mixture_at_cost
from banditd.core.types import FloatArray
from bench.budget.play import PLAYERS
from bench.budget.setting import AIMS, ARMS, BUDGETS, DRIFT_BUDGETS, DRIFT_PUBLISHED, PUBLISHED
from bench.documents import line

Passes = Mapping[tuple[str, int | str], Sequence[Mapping[str, float]]]
AS_PUBLISHED: Final = "ParetoBandit, published"
MOST_BELOW: Final = 0.002  # of reward, that a policy may be below the mixture


def budget_rows(passes: Passes, reward: FloatArray, cost_usd: FloatArray) -> list[dict[str, object]]:
    """One entry per budget: every figure that the table shows, as numbers.

    reward, cost_usd : float64 (3,), means of the fixed arms on the scored rows.
    """
    rows: list[dict[str, object]] = []
    for case, (budget, published) in enumerate(zip(BUDGETS, PUBLISHED, strict=True)):
        if not passes.get((PLAYERS[0], case)):
            continue
        mine, half, spend, worst = _estimate(passes[PLAYERS[0], case])
        at_budget = fixed_mixture_at_cost(reward, cost_usd, budget).reward
        row: dict[str, object] = {
            "budget_usd": budget,
            "reward": mine,
            "half_width": half,
            "over_budget": spend,
            "worst_over_budget": worst,
            "mixture_at_budget": at_budget,
            "mixture_at_cost": fixed_mixture_at_cost(reward, cost_usd, spend * budget).reward,
            "minus_mixture": mine - at_budget,
            "published": {"reward": published.reward, "over_budget": published.over_budget},
            "aim": AIMS[case],
        }
        if peer := passes.get((PLAYERS[1], case)):
            theirs, its_half, its_spend, its_worst = _estimate(peer)
            row["peer"] = {"reward": theirs, "half_width": its_half, "over_budget": its_spend, "worst": its_worst}
        row["met"] = met(row)
        rows.append(row)
    return rows


def met(row: Mapping[str, object]) -> bool:
    """Whether a budget's row has all that it must: above the peer, within the budget, hardly below the mixture."""
    peers = [one["reward"] for one in (row["published"], row.get("peer")) if isinstance(one, dict)]
    return bool(
        all(float(str(row["reward"])) > peer for peer in peers)
        and round(float(str(row["over_budget"])), 3) <= 1.0
        and float(str(row["worst_over_budget"])) <= 1.02
        and float(str(row["minus_mixture"])) >= -MOST_BELOW
    )


def budget_cells(rows: Sequence[Mapping[str, object]]) -> tuple[list[str], list[list[str]]]:
    heads = ["budget $", "reward", "cost/budget (worst)", "mixture", "ParetoBandit here", "published"]
    cells = []
    for row in rows:
        peer, published = row.get("peer"), row["published"]
        assert isinstance(published, dict)
        here = "-"
        if isinstance(peer, dict):
            here = (
                f"{peer['reward']:.4f} ± {peer['half_width']:.4f} @ {peer['over_budget']:.2f} ({peer['worst']:.2f})"
            )
        cells.append(
            [
                f"{row['budget_usd']:.3e}{'' if row['met'] else ' NO'}",
                f"{row['reward']:.4f} ± {row['half_width']:.4f}",
                f"{row['over_budget']:.3f} ({row['worst_over_budget']:.3f})", f"{row['mixture_at_budget']:.4f}",
                here, f"{published['reward']:.4f} @ {published['over_budget']:.2f}",
            ]
        )  # fmt: skip
    return heads, cells


def drift_cells(passes: Passes) -> tuple[list[str], list[list[str]]]:
    """Phases of the drift scenario, one row per budget and player."""
    heads = ["budget", "policy", "cost/budget 1 / 2 / 3", "worst seed", "reward 1 / 2 / 3"]
    cells = []
    for name in DRIFT_BUDGETS:
        for player in PLAYERS:
            if found := passes.get((player, name)):
                mean = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
                worst = [max(one[f"cost {n}"] for one in found) for n in (1, 2, 3)]
                cells.append(
                    [
                        name, player, " / ".join(f"{mean[f'cost {n}']:.2f}" for n in (1, 2, 3)),
                        " / ".join(f"{value:.2f}" for value in worst),
                        " / ".join(f"{mean[f'reward {n}']:.4f}" for n in (1, 2, 3)),
                    ]
                )  # fmt: skip
        costs, rewards = DRIFT_PUBLISHED[name]
        published = [" / ".join(f"{v:.2f}" for v in costs), "-", " / ".join(f"{v:.4f}" for v in rewards)]
        cells.append([name, AS_PUBLISHED, *published])
    return heads, cells


def arm_cells(reward: FloatArray, cost_usd: FloatArray) -> tuple[list[str], list[list[str]]]:
    cells = [[arm, f"{r:.4f}", f"{c:.3e}"] for arm, r, c in zip(ARMS, reward, cost_usd, strict=True)]
    return ["always", "reward", "cost $"], cells


def markdown(title: str, heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Without the columns and rows that the terminal alone has."""
    kept = [number for number, head in enumerate(heads) if head != "worst seed"]
    lines = [f"### {title}", "", line(heads, kept), "|---" + "|---:" * (len(kept) - 1) + "|"]
    return "\n".join([*lines, *(line(row, kept) for row in cells if AS_PUBLISHED not in row)])


def plot(path: Path, rows: Sequence[Mapping[str, object]], reward: FloatArray, cost_usd: FloatArray) -> None:
    """Reward over mean cost: both policies at every budget, the fixed arms, and the frontier of their mixtures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    grid = np.geomspace(float(cost_usd.min()), 1.1 * max(BUDGETS), 200)
    frontier = [fixed_mixture_at_cost(reward, cost_usd, float(at)).reward for at in grid]
    axes.plot(grid, frontier, "k--", linewidth=1, label="fixed-arm mixtures, hindsight")
    axes.plot(cost_usd, reward, "ks", label="fixed arms")
    spent = [float(str(row["budget_usd"])) * float(str(row["over_budget"])) for row in rows]
    axes.plot(spent, [float(str(row["reward"])) for row in rows], "o-", label="banditd")
    peers = [(row["budget_usd"], row["peer"]) for row in rows if isinstance(row.get("peer"), dict)]
    if peers:
        axes.plot(
            [float(str(b)) * p["over_budget"] for b, p in peers],  # type: ignore[index]
            [p["reward"] for _, p in peers],  # type: ignore[index]
            "^-", color="tab:red", label="ParetoBandit 0.1.1, run here",
        )  # fmt: skip
    axes.plot(
        [b * p.over_budget for b, p in zip(BUDGETS, PUBLISHED, strict=True)], [p.reward for p in PUBLISHED],
        "v:", color="tab:orange", label="ParetoBandit, published (1,824 prompts)",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("mean cost of a request, $")
    axes.set_ylabel("mean reward")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _estimate(found: Sequence[Mapping[str, float]]) -> tuple[float, float, float, float]:
    """(mean reward, half width of its 95 % interval over seeds, mean cost over budget, worst of it)."""
    reward = np.array([one["reward"] for one in found])
    half = 1.96 * float(reward.std(ddof=1)) / np.sqrt(reward.size) if reward.size > 1 else 0.0
    spend = np.array([one["over_budget"] for one in found])
    return float(reward.mean()), float(half), float(spend.mean()), float(spend.max())
