"""From the arms that may answer to the one that will: the session's, the cheapest above a floor, or the policy's.

Pure but for what it is given: the uniform number is an argument, and nothing here commits or counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from banditd.bandit.policies.exploration import apply_floors, draw, least_shares
from banditd.bandit.snapshot import TIE
from banditd.core.types import Blend, Context, FloatArray, IntArray, Query
from banditd.services.objectives import DEFAULT_CONFIDENCE, least_cost_above
from banditd.services.policy import RouteView


@dataclass(frozen=True, slots=True)
class Drawn:
    """The outcome of the draw, before it becomes a decision: vectors over ``arms``, ``index`` among them."""

    arms: IntArray
    index: int
    propensity: float
    uniform: float
    explored: bool
    reason: str
    probability: FloatArray
    mean: FloatArray
    deviation: FloatArray
    mixture: Blend | None = None


@dataclass(frozen=True, slots=True)
class Restraint:
    """What budgets ask of the policy's draw.

    cut : from least probabilities and costs, (n,) each, to what exploration may spend. fixed : float64, shape (n,),
    the fixed-arm mixture over the arms that may answer, or None; share : of the policy's own vector in the blend.
    """

    cut: Callable[[FloatArray, FloatArray], FloatArray]
    fixed: FloatArray | None
    share: float


def draw_arm(
    view: RouteView,
    query: Query,
    context: Context,
    arms: IntArray,
    *,
    penalty: FloatArray,
    cost_usd: FloatArray,
    session_arm: str | None,
    exploration_floor: float,
    uniform: float,
    restraint: Restraint | None = None,
) -> Drawn:
    """Draw one of ``arms``.

    Parameters
    ----------
    arms : indices of the arms that may answer, at least one. penalty, cost_usd : float64, shape (n_arms,).
    session_arm : the arm that the query's session keeps; it has no say where it may not answer.
    uniform : in [0, 1), logged with the decision.
    """
    if query.pinned:
        return _held(view, context, arms, penalty[arms], int(arms[0]), "pinned")
    held = view.index.get(session_arm) if session_arm is not None else None
    if held is not None and held in arms:
        return _held(view, context, arms, penalty[arms], held, "session")
    if query.quality_floor is not None:
        drawn = _above_floor(view, query, context, arms, cost_usd[arms], exploration_floor, uniform)
        if drawn is not None:
            return drawn
    return _by_policy(view, context, arms, penalty[arms], cost_usd[arms], exploration_floor, uniform, restraint)


def _by_policy(
    view: RouteView,
    context: Context,
    arms: IntArray,
    penalty: FloatArray,
    cost_usd: FloatArray,
    exploration_floor: float,
    uniform: float,
    restraint: Restraint | None,
) -> Drawn:
    """The policy's own draw: its probabilities with floors, blended with the mixture where a budget asks for it."""
    least, blend, mixture = view.min_share[arms], None, None
    if restraint is not None and restraint.fixed is not None:
        blend = Blend(restraint.share, restraint.fixed)
        # Minimum shares are promised whatever is blended: both parts have them, and so the logged mixture.
        mixture = Blend(restraint.share, apply_floors(restraint.fixed, least))
    choice = view.snapshot.choose(
        context,
        arms=arms,
        penalty=penalty,
        floors=_floors(view, arms, cost_usd, exploration_floor, restraint),
        uniform=uniform,
        blend=blend,
        least=least,
    )
    return Drawn(
        arms,
        choice.index,
        choice.propensity,
        uniform,
        choice.explored,
        "policy",
        choice.probability,
        choice.mean,
        choice.deviation,
        mixture,
    )


def _floors(
    view: RouteView, arms: IntArray, cost_usd: FloatArray, exploration_floor: float, restraint: Restraint | None
) -> FloatArray:
    """Least probabilities: exploration, probes of changed arms, grants of new ones; the largest of each arm's.

    Probes are not cut by budgets: they are short, a dear arm's are rare already, and a recovery must be found.
    """
    probes = None if view.snapshot.probe_share is None else view.snapshot.probe_share[arms]
    floors = np.maximum(least_shares(cost_usd, exploration_floor, probes), view.onboarding_share[arms])
    if restraint is not None:
        floors = np.maximum(restraint.cut(floors, cost_usd), least_shares(cost_usd, 0.0, probes))
    total = float(floors.sum())
    if total > 1.0:  # shares that sum up to less by themselves, but not together
        floors /= total
    return floors


def _held(view: RouteView, context: Context, arms: IntArray, penalty: FloatArray, held: int, reason: str) -> Drawn:
    """The arm that the session keeps, or the query names."""
    mean, deviation = view.snapshot.predict(context, arms)
    probability = (arms == held).astype(float)
    index = int(np.argmax(probability))
    utility = mean - penalty
    explored = bool(utility[index] < utility.max() - TIE)
    return Drawn(arms, index, 1.0, 0.0, explored, reason, probability, mean, deviation)


def _above_floor(
    view: RouteView,
    query: Query,
    context: Context,
    arms: IntArray,
    cost_usd: FloatArray,
    exploration_floor: float,
    uniform: float,
) -> Drawn | None:
    """The least cost above the query's quality floor, or None when no arm clears it."""
    assert query.quality_floor is not None  # noqa: S101  (asked for by the caller)
    mean, deviation = view.snapshot.predict(context, arms)
    confidence = DEFAULT_CONFIDENCE if query.quality_confidence is None else query.quality_confidence
    choice = least_cost_above(
        mean,
        deviation,
        cost_usd,
        floor=query.quality_floor,
        confidence=confidence,
        exploration_floor=exploration_floor,
    )
    if choice is None:
        return None
    index = draw(choice.probability, uniform)
    kept = choice.positions
    return Drawn(
        arms[kept],
        index,
        float(choice.probability[index]),
        uniform,
        int(kept[index]) != choice.best,
        "quality_floor",
        choice.probability,
        mean[kept],
        deviation[kept],
    )
