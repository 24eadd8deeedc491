"""What a policy is: its settings, its answers and its contract. No learning here.

The contract, tested for every registered policy:

1. ``scores(...).probability`` is non-negative and sums to 1 over the arms that are allowed, query by query; after
   floors every entry is at least its floor. A batch of queries is scored as its queries are one by one.
2. The arm is drawn from that very vector with a uniform that is an argument, so the propensity is the
   vector's entry exactly. An error of quadrature moves the policy, never the propensity.
3. Without forgetting the order of folds does not matter (within 1e-9).
4. Restoring the persisted state gives identical choices for the same uniforms.
5. A times its inverse is the identity at birth, after each fold, after forgetting, after adding an arm.
6. Arms are an argument; adding or removing one leaves the others' sums untouched.
7. The same uniforms give the same answers; nothing here draws random numbers.
8. A policy that is deterministic by nature (LinUCB, rules) is mixed with floors by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from banditd.bandit.posterior.prior import Prior
from banditd.core.contexts import Contexts
from banditd.core.errors import ConfigurationError
from banditd.core.generations import learned_as
from banditd.core.types import QUALITY_TIERS, BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """How one policy learns and explores. Everything has a default that needs no tuning.

    kind : name of a registered policy.
    options : of that policy; checked by its constructor in ``registry.py``.
    floor : total exploration floor in [0, 1): the share of decisions that the floors of all arms together
        may take (``exploration.dollar_floors`` spreads it).
    forgetting : half-life of evidence in rewarded decisions, or None to forget nothing.
    epoch_decisions : rewarded decisions per segment.
    live_epochs : segments kept apart; older ones are merged into one base segment per arm.
    tune : fit prior scales and noise by the evidence; False keeps the starting values.
    prior : sums of an earlier log, already scaled to what they shall be worth; None for a cold start.
    change_detection : watch every arm for a change of its rewards and act on it (``changes/arm_changes.py``).
    """

    kind: str = "thompson"
    options: Mapping[str, object] = field(default_factory=dict)
    floor: float = 0.005
    forgetting: float | None = None
    epoch_decisions: int = 500
    live_epochs: int = 16
    tune: bool = True
    prior: Prior | None = None
    change_detection: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor < 1.0:
            raise ConfigurationError(f"floor must lie in [0, 1), got {self.floor}.", field="/floor")
        if self.forgetting is not None and self.forgetting < 1.0:
            raise ConfigurationError("forgetting is a half-life in decisions: at least 1, or none.")
        if self.epoch_decisions < 1 or self.live_epochs < 1:
            raise ConfigurationError("epoch_decisions and live_epochs must be at least 1.")

    @property
    def epoch_discount(self) -> float:
        """Factor in (0, 1] that evidence loses per epoch of age."""
        if self.forgetting is None:
            return 1.0
        return float(0.5 ** (self.epoch_decisions / self.forgetting))


@dataclass(frozen=True, slots=True)
class ArmPrior:
    """What is believed of an arm before data.

    quality_prior : expected reward in [0, 1], or None for what the pool has in common.
    prior_worth : how many rewards that expectation is worth.
    cost_usd : typical cost of a call, or None when unknown. Only its ratio to the other arms' matters: dearer
        models are expected to be a little better until rewards say otherwise.
    quality_tier : one of ``QUALITY_TIERS``, in place of the guess from the cost; None when nobody said.
    generation : >= 1; each has sums of its own (``core.generations``).
    like : another arm here whose rewards its own are expected to be like (``posterior/families.py``), in place of a
        guess from the cost. None for an arm of its own.

    Raises
    ------
    ConfigurationError : no such tier.
    """

    arm: str
    quality_prior: float | None = None
    prior_worth: float = 10.0
    cost_usd: float | None = None
    quality_tier: str | None = None
    generation: int = 1
    like: str | None = None

    @property
    def learned_as(self) -> str:
        """The name that its sums stand under."""
        return learned_as(self.arm, self.generation)

    def __post_init__(self) -> None:
        if self.quality_tier is not None and self.quality_tier not in QUALITY_TIERS:
            raise ConfigurationError(
                f"Unknown quality tier {self.quality_tier!r}; known: {', '.join(QUALITY_TIERS)}.",
                field="/quality_tier",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A policy's view of the arms on some queries: float64, shape (n_queries, n_arms) each.

    mean : posterior mean reward. deviation : posterior standard deviation of that mean. Both of every arm.
    probability : of being chosen, 0 where an arm may not be.
    """

    mean: FloatArray
    deviation: FloatArray
    probability: FloatArray


class Policy(Protocol):
    """Bound to one immutable posterior. See the module for the contract."""

    kind: str

    def scores(self, contexts: Contexts, penalty: FloatArray, allowed: BoolArray) -> Scores:
        """Probabilities before floors.

        Parameters
        ----------
        contexts : features of the queries.
        penalty : float64, shape (n_queries, n_arms); what is taken off the reward (price of money x cost ...).
        allowed : bool, the same shape; at least one arm of every query.
        """
