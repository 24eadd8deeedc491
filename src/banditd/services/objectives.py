"""What a request wants: profiles filled in, and the least cost whose predicted quality clears a floor. Pure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from banditd.bandit.policies.exploration import dollar_floors
from banditd.core.errors import InvalidInputError
from banditd.core.types import FloatArray, Query

DEFAULT_CONFIDENCE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named objective. What is None is left to the policy."""

    cost_weight: float | None = None
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    quality_floor: float | None = None
    quality_confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePrices:
    """What energy and carbon are worth beside the money of the price list, in dollars.

    usd_per_kwh : of energy that the provider's price does not contain. kg_co2_per_kwh : carbon intensity of the
    electricity. usd_per_kg_co2 : what a kilogram is worth to the operator.
    """

    usd_per_kwh: float = 0.0
    kg_co2_per_kwh: float = 0.0
    usd_per_kg_co2: float = 0.0

    @property
    def per_kwh(self) -> float:
        """Dollars per kilowatt-hour, carbon included."""
        return self.usd_per_kwh + self.kg_co2_per_kwh * self.usd_per_kg_co2


def cost_weight_of(query: Query, usual: float) -> float:
    """Above a quality floor the least cost is chosen; where none clears it, quality is all that counts."""
    if query.quality_floor is not None:
        return 0.0
    return usual if query.cost_weight is None else query.cost_weight


def with_profile(query: Query, profiles: dict[str, Profile]) -> Query:
    """The query with the values of its profile where it says nothing itself.

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
    return dataclasses.replace(query, **filled) if filled else query


@dataclass(frozen=True, slots=True)
class FloorChoice:
    """Draw from ``probability`` over the arms at ``positions`` (of those given); ``best`` is the least cost.

    ``positions`` are the arm of the least cost that clears the floor and the cheaper ones that may yet clear it.
    """

    positions: np.ndarray
    probability: FloatArray
    best: int


def least_cost_above(
    mean: FloatArray,
    deviation: FloatArray,
    cost_usd: FloatArray,
    *,
    floor: float,
    confidence: float,
    exploration_floor: float,
) -> FloorChoice | None:
    """The cheapest arm whose reward is at least ``floor`` with the stated confidence.

    Parameters
    ----------
    mean, deviation, cost_usd : float64, shape (n,), of the eligible arms. confidence : in [0.5, 1).
    exploration_floor : share of traffic in [0, 1) that cheaper arms get whose reward may be above the floor as well
        (not below it with that confidence): without it they would never be known.

    Returns
    -------
    None when no arm clears the floor: then the policy chooses as if there were none, for quality.
    """
    margin = NormalDist().inv_cdf(confidence) * deviation
    clears = mean - margin >= floor
    if not clears.any():
        return None
    best = int(np.where(clears, cost_usd, np.inf).argmin())
    hopeful = (cost_usd < cost_usd[best]) & (mean + margin >= floor)
    hopeful[best] = True
    positions = np.flatnonzero(hopeful)
    probability = dollar_floors(cost_usd[positions], exploration_floor)
    at_best = int(np.flatnonzero(positions == best)[0])
    probability[at_best] = 0.0
    probability[at_best] = 1.0 - float(probability.sum())
    return FloorChoice(positions, probability, best)
