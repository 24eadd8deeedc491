"""The vectors that arms are drawn from: the policy's with floors, a session's arm, or least cost above a quality
floor.

Pure: the uniform numbers are an argument. Arrays are (n_queries, n_arms) unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.bandit.policies.exploration import draw, least_shares
from banditd.core.types import BoolArray, FloatArray, IntArray, Query
from banditd.deciding.account import Account
from banditd.deciding.money import cut_floors
from banditd.deciding.objectives import DEFAULT_CONFIDENCE, least_cost_above
from banditd.deciding.rollout import Rollout, rolled_out
from banditd.deciding.view import RouteView

# Utilities closer than this are tied: drawing either arm counts as greedy.
TIE: Final = 1e-12


@dataclass(slots=True, eq=False)
class Draw:
    """One draw for each query.

    arms : the arms that the vector covers. probability : 0 elsewhere.
    index, propensity, uniform, explored : (n_queries,).
    reason : ``policy``, ``session``, ``pinned``, ``quality_floor`` or ``shadow``.
    """

    arms: BoolArray
    probability: FloatArray
    index: IntArray
    propensity: FloatArray
    uniform: FloatArray
    explored: BoolArray
    reason: list[str]


def least_probabilities(
    view: RouteView,
    allowed: BoolArray,
    cost_usd: FloatArray,
    accounts: Sequence[Sequence[Account]],
    exploration_floor: float,
) -> FloatArray:
    """Floor of each arm: the largest of exploration, probing of changed arms, and new arms' guaranteed shares.

    Budgets do not cut the probing of changed arms: it is short, rare for expensive arms anyway, and a recovery must
    be noticed.

    accounts : of each query.
    """
    probes = view.snapshot.probe_share
    floors = least_shares(cost_usd, allowed, exploration_floor, probes)
    if np.count_nonzero(view.onboarding_share):
        floors = np.maximum(floors, np.where(allowed, view.onboarding_share, 0.0))
    charged = [i for i, own_accounts in enumerate(accounts) if own_accounts]
    if charged:
        uncut = least_shares(cost_usd[charged], allowed[charged], 0.0, probes)
        for row, i in enumerate(charged):
            floors[i] = np.maximum(cut_floors(accounts[i], floors[i], cost_usd[i], allowed[i]), uncut[row])
    total = np.add.reduce(floors, 1, keepdims=True)  # each kind of floor sums to less than 1, but not all together
    floors /= np.maximum(total, 1.0)
    return floors


def draw_arms(
    queries: Sequence[Query],
    held: Sequence[int],
    scores: Scores,
    allowed: BoolArray,
    cost_usd: FloatArray,
    penalty: FloatArray,
    exploration_floor: float,
    uniforms: FloatArray,
    rollouts: Sequence[Rollout | None] = (),
) -> Draw:
    """Draw an arm for each query.

    held : for each query the arm that its session keeps or that it names, -1 for none.
    scores : of the policy, with floors.
    uniforms : float64 (n_queries,), in [0, 1).
    rollouts : one per query; empty for none.
    """
    n, row = len(queries), np.arange(len(queries))
    arms, probability = allowed, scores.probability
    reason = ["policy"] * n
    utility = np.where(allowed, scores.mean - penalty, -np.inf)
    best = utility.argmax(1)
    kept = [i for i, arm in enumerate(held) if arm >= 0]
    floored = [i for i, query in enumerate(queries) if query.quality_floor is not None and held[i] < 0]
    if floored or kept:
        arms, probability, uniforms = arms.copy(), probability.copy(), uniforms.copy()
    for i in kept:
        reason[i] = "pinned" if queries[i].pinned else "session"
        probability[i], uniforms[i] = 0.0, 0.0
        probability[i, held[i]] = 1.0
    above: list[int] = []
    if floored:
        found = least_cost_above(
            scores.mean[floored],
            scores.deviation[floored],
            cost_usd[floored],
            allowed[floored],
            floor=np.array([queries[i].quality_floor for i in floored], dtype=np.float64),
            confidence=np.array([_confidence(queries[i]) for i in floored]),
            exploration_floor=exploration_floor,
        )
        above = [i for i, clears in zip(floored, found.clears.tolist(), strict=True) if clears]
        probability[above], best[above] = found.probability[found.clears], found.best[found.clears]
        arms[above] = found.arms[found.clears]
    sides = {i: one for i, one in enumerate(rollouts) if one is not None and held[i] < 0 and allowed[i, one.baseline]}
    if sides:
        arms, probability, uniforms = arms.copy(), probability.copy(), uniforms.copy()
    for i, one in sides.items():
        probability[i], uniforms[i] = rolled_out(probability[i], one, float(uniforms[i]))
        arms[i, one.baseline] = True
    index = draw(probability, uniforms)
    explored = utility[row, index] < utility[row, best] - TIE
    for i in above:
        reason[i] = "quality_floor"
        explored[i] = index[i] != best[i]
    for i, one in sides.items():
        explored[i] &= one.side == "policy"
        reason[i] = "shadow" if one.side == "shadow" else reason[i]
    return Draw(arms, probability, index, probability[row, index], uniforms, explored, reason)


def _confidence(query: Query) -> float:
    return DEFAULT_CONFIDENCE if query.quality_confidence is None else query.quality_confidence


def held_arms(view: RouteView, session_arms: Sequence[str | None], allowed: BoolArray) -> list[int]:
    """Index of the arm that each session keeps or query names; -1 if there is none or it may not answer."""
    held = [-1 if arm is None else view.index.get(arm, -1) for arm in session_arms]
    return [i if i >= 0 and allowed[row, i] else -1 for row, i in enumerate(held)]
