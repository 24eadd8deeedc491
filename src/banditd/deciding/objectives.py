"""A request's objective: filling in profiles, and least cost above a quality floor. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from banditd.bandit.policies.exploration import dollar_floors
from banditd.core.errors import InvalidInputError
from banditd.core.types import BoolArray, FloatArray, IntArray, Query

DEFAULT_CONFIDENCE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named objective. Fields that are None are left to the policy."""

    cost_weight: float | None = None
    keep: float | None = None
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    quality_floor: float | None = None
    quality_confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePrices:
    """Prices of energy and carbon, in dollars, beyond the money on the price list.

    usd_per_kwh : energy that the provider's price does not include.
    kg_co2_per_kwh : carbon intensity of the electricity.
    usd_per_kg_co2 : what a kilogram is worth to the operator.
    """

    usd_per_kwh: float = 0.0
    kg_co2_per_kwh: float = 0.0
    usd_per_kg_co2: float = 0.0

    @property
    def per_kwh(self) -> float:
        """Dollars per kilowatt-hour, carbon included."""
        return self.usd_per_kwh + self.kg_co2_per_kwh * self.usd_per_kg_co2


def cost_weight_of(query: Query, usual: float) -> float:
    """The query's cost weight, else ``usual``; 0 with a quality floor: if no arm reaches it, only quality counts."""
    if query.quality_floor is not None:
        return 0.0
    return usual if query.cost_weight is None else query.cost_weight


def with_profile(query: Query, profiles: dict[str, Profile]) -> Query:
    """The query with its profile's values where it has none of its own.

    Raises
    ------
    InvalidInputError : the policy has no such profile.
    """
    if query.profile is None:
        return query
    profile = profiles.get(query.profile)
    if profile is None:
        known = ", ".join(profiles) or "(none)"
        raise InvalidInputError(
            f"policy {query.policy} has no profile {query.profile}; there are {known}",
            code="PROFILE_UNKNOWN",
            field="/profile",
        )
    filled = {
        field.name: getattr(profile, field.name)
        for field in dataclasses.fields(Profile)
        if getattr(query, field.name) is None and getattr(profile, field.name) is not None
    }
    if query.cost_weight is not None or query.keep is not None:  # a weight and a promise cannot be combined
        filled = {name: value for name, value in filled.items() if name not in {"cost_weight", "keep"}}
    return dataclasses.replace(query, **filled) if filled else query


def check_keep(query: Query, *, promised: bool) -> None:
    """Refuse a query's own ``keep`` if it cannot apply.

    promised : whether the policy has a promise, and so a baseline.

    Raises
    ------
    InvalidInputError : says what to leave out.
    """
    if query.keep is None:
        return
    for name in ("cost_weight", "quality_floor"):
        if getattr(query, name) is not None:
            raise InvalidInputError(f"keep and {name} cannot be combined: leave one of them out", field="/keep")
    if not promised:
        raise InvalidInputError(
            f"policy {query.policy} has no promise, so there is no baseline to keep a share of; leave keep out, or "
            f"set policies.{query.policy}.promise (PATCH /v1/policies/{query.policy} does it while the daemon runs)",
            code="PROMISE_NONE",
            field="/keep",
        )


@dataclass(frozen=True, slots=True, eq=False)
class FloorChoice:
    """The choice for each of n queries.

    clears : bool (n,), whether any arm reaches the floor.
    best : intp (n,), the cheapest arm that does.
    arms : bool (n, n_arms), that arm and cheaper ones that may still reach it.
    probability : float64 (n, n_arms), to draw from.
    """

    clears: BoolArray
    best: IntArray
    arms: BoolArray
    probability: FloatArray


def least_cost_above(
    mean: FloatArray,
    deviation: FloatArray,
    cost_usd: FloatArray,
    allowed: BoolArray,
    *,
    floor: FloatArray,
    confidence: FloatArray,
    exploration_floor: float,
) -> FloorChoice:
    """The cheapest arm whose reward reaches the query's floor with the stated confidence.

    Where no arm does, the policy should choose for quality as if there were no floor.

    Parameters
    ----------
    mean, deviation, cost_usd, allowed : (n, n_arms). floor : float64 (n,). confidence : float64 (n,), in [0.5, 1).
    exploration_floor : share of the traffic, in [0, 1), for cheaper arms whose reward may reach the floor (is not
    below it with that confidence); without it they would never be tried.
    """
    quantile = np.array([[NormalDist().inv_cdf(one)] for one in confidence.tolist()])
    margin = quantile * deviation
    clear: BoolArray = allowed & (mean - margin >= floor[:, None])
    best, row = np.where(clear, cost_usd, np.inf).argmin(1), np.arange(mean.shape[0])
    hopeful = allowed & (cost_usd < cost_usd[row, best][:, None]) & (mean + margin >= floor[:, None])
    hopeful[row, best] = True
    probability = dollar_floors(cost_usd, hopeful, exploration_floor)
    probability[row, best] = 0.0
    probability[row, best] = 1.0 - probability.sum(1)
    return FloorChoice(np.any(clear, axis=1), best, hopeful, probability)
