"""Which arms may answer: masks come before the probabilities, never after. Pure.

Hard exclusions (disabled, not a candidate, forbidden, too dear, too slow, ...) always hold. Soft ones (an open
breaker, a traffic cap, an arm that others are preferred to) give way when they would leave nothing: serving something
beats serving nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

import numpy as np

from banditd.core.errors import BanditdError, InvalidInputError, NoEligibleArmError
from banditd.core.types import Arm, BoolArray, FloatArray, Query
from banditd.deciding.view import RouteView

RECIPES: Final = "*recipes"
"""Key in a query's ``upstreams`` that stands for all recipes: why none of them can answer. No upstream has this
name.
"""
NAMED: Final = 10
"""Most unknown arms that an error lists; a batch may contain hundreds of thousands."""


@dataclass(frozen=True, slots=True, eq=False)
class Eligible:
    """arms : bool (n, n_arms), which may answer. exclusions : by query, arm -> reason. refused : query -> error."""

    arms: BoolArray
    exclusions: list[dict[str, str]]
    refused: dict[int, BanditdError]


def eligible_arms(
    view: RouteView,
    queries: Sequence[Query],
    *,
    cost_usd: FloatArray,
    latency_ms: FloatArray | None,
    input_tokens: FloatArray,
    soft: Mapping[str, str],
) -> Eligible:
    """The arms that may answer each query, and the reason of every exclusion.

    A query that no arm may answer is refused with NoEligibleArmError, one that names an unknown arm with
    InvalidInputError.

    Parameters
    ----------
    cost_usd, latency_ms : float64 (n, n_arms); ``latency_ms`` is None if no query limits it. input_tokens : float64
    (n, 1).
    soft : arm -> reason.
    """
    arms: BoolArray = view.serves & (input_tokens <= view.window_tokens)
    free: list[bool] = np.logical_and.reduce(arms, 1).tolist()
    exclusions: list[dict[str, str]] = [{} for _ in queries]
    refused: dict[int, BanditdError] = {}
    for i, query in enumerate(queries):
        if free[i] and not soft and is_plain(query, view) and view.arms:
            continue
        try:
            wait_ms = None if latency_ms is None else latency_ms[i]
            exclusions[i] = _exclusions(view, query, cost_usd[i], wait_ms, float(input_tokens[i, 0]), soft)
        except BanditdError as error:
            refused[i] = error
            continue
        arms[i] = [arm.arm not in exclusions[i] for arm in view.arms]
    return Eligible(arms, exclusions, refused)


def is_plain(query: Query, view: RouteView) -> bool:
    """Whether the query constrains nothing: the fast path."""
    return (
        query.candidates is None
        and not query.excluded_arms
        and not query.capabilities
        and (query.upstreams is None or _all_callable(view, query.upstreams))
        and query.max_cost_usd is None
        and query.max_latency_ms is None
        and not query.constraints
        and query.recipes
    )


def _all_callable(view: RouteView, upstreams: Mapping[str, str | None]) -> bool:
    """Whether ``_unable`` would exclude no arm: a fast check, made for every query."""
    if view.calls is not None and upstreams.get(RECIPES) is not None:
        return False
    return all(upstreams.get(upstream, "no_upstream") is None for upstream in view.upstreams)


def _exclusions(
    view: RouteView,
    query: Query,
    cost_usd: FloatArray,
    latency_ms: FloatArray | None,
    input_tokens: float,
    soft: Mapping[str, str],
) -> dict[str, str]:
    _require_known(view, query)
    candidates = None if query.candidates is None else frozenset(query.candidates)
    hard: dict[str, str] = {}
    for i, arm in enumerate(view.arms):
        wait_ms = None if latency_ms is None else float(latency_ms[i])
        reason = _reason(view, query, candidates, i, float(cost_usd[i]), input_tokens, wait_ms)
        if reason is not None:
            hard[arm.arm] = reason
    left = [arm.arm for arm in view.arms if arm.arm not in hard]
    if not left:
        raise NoEligibleArmError(
            "no arm may answer this query: "
            + ("; ".join(f"{arm}: {why}" for arm, why in hard.items()) or "the policy has no arms")
            + ". Relax the constraints, or add or enable an arm.",
            exclusions=hard,
        )
    return hard | _soft_exclusions(left, query, soft)


def _soft_exclusions(left: Sequence[str], query: Query, soft: Mapping[str, str]) -> dict[str, str]:
    """Exclusions that give way when nothing else is left; the operator's preferences give way first."""
    excluded = {} if all(arm in soft for arm in left) else {arm: soft[arm] for arm in left if arm in soft}
    for constraint in query.constraints:
        if constraint.action == "prefer":
            others = {arm: constraint.reason for arm in left if arm not in excluded and constraint.excludes(arm)}
            if len(excluded) + len(others) < len(left):
                excluded |= others
    return excluded


def _reason(
    view: RouteView,
    query: Query,
    candidates: frozenset[str] | None,
    i: int,
    cost_usd: float,
    input_tokens: float,
    latency_ms: float | None,
) -> str | None:
    arm = view.arms[i]
    if arm.arm in view.unserved:
        return view.unserved[arm.arm]
    unable = _unable(arm, view, query)
    if unable is not None:
        return unable
    if candidates is not None and arm.arm not in candidates:
        return "not_a_candidate"
    called = (arm.arm,) if arm.recipe is None else (arm.arm, *arm.recipe.parts)
    if not query.excluded_arms.isdisjoint(called):
        return "excluded_by_request"
    for constraint in query.constraints:
        # An arm that must not see a query must not see it as part of a recipe either.
        named = called if constraint.action == "forbid" else (arm.arm,)
        if constraint.action != "prefer" and any(map(constraint.excludes, named)):
            return constraint.reason
    if not query.capabilities <= arm.capabilities:
        return "capability_missing"
    if arm.context_window_tokens is not None and input_tokens > arm.context_window_tokens:
        return "context_window"
    if query.max_cost_usd is not None and cost_usd > query.max_cost_usd:
        return "max_cost_usd"
    if query.max_latency_ms is not None and latency_ms is not None and latency_ms > query.max_latency_ms:
        return "max_latency_ms"
    return None


def _unable(arm: Arm, view: RouteView, query: Query) -> str | None:
    """Why the arm cannot be called; for a recipe every part must be callable."""
    upstreams = query.upstreams
    if arm.recipe is not None and not query.recipes:
        return "recipes_unwanted"
    if upstreams is None:
        return None
    if arm.recipe is None:
        return upstreams.get(arm.upstream or "", "no_upstream")
    parts = [view.arms[view.index[part]].upstream or "" for part in arm.recipe.parts]
    reasons = [upstreams.get(RECIPES), *(upstreams.get(upstream, "no_upstream") for upstream in parts)]
    return next((reason for reason in reasons if reason is not None), None)


def _require_known(view: RouteView, query: Query) -> None:
    for field, names in (("candidates", query.candidates or ()), ("excluded_arms", query.excluded_arms)):
        unknown = [name for name in names if name not in view.index]
        if unknown:
            shown, more = nsmallest(NAMED, unknown), max(0, len(unknown) - NAMED)
            raise InvalidInputError(
                f"no such arm: {', '.join(shown)}{f' and {more} more' if more else ''}; "
                f"arms of policy {query.policy} are {', '.join(view.index) or '(none)'}",
                code="ARM_UNKNOWN",
                field=f"/{field}",
            )
