"""The scales of the prior and of the noise: plain numbers, fitted by the evidence. No fitting here.

The model of one policy: the reward of arm a on context x is

    r = c_a + x'(beta + delta_a) + noise,   beta ~ N(0, diag(v0)),  delta_a ~ N(0, diag(v1)),
    noise ~ N(0, s2_a / w),

with one v0 and one v1 per feature group. ``beta`` is what the arms have in common (some queries are hard for every
arm), ``delta_a`` is what distinguishes arm a. c_a is 1/2, plus a little for arms of a high quality tier, or else for
arms that cost more than the others (``centres``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from banditd.core.errors import InvariantError
from banditd.core.types import QUALITY_TIERS, FeatureSchema, FloatArray

CENTRE: Final = 0.5
SMALLEST_SCALE: Final = 1e-3  # a standard deviation of this size is "off"; smaller ones only cost digits

# Standard deviations of effects on the reward before any data, per feature group.
BIAS_SHARED: Final = 0.25
BIAS_OWN: Final = 0.10
GROUP_SHARED: Final = 0.10
# Where queries differ for all arms, arms are expected to differ from each other too, by this share of the scale.
# Without it a rarely played arm would be assumed to follow the others everywhere, and not be tried where it is best.
# Fitted with full information, public pools have .2 to .8 on form, .1 to .8 on meaning and .1 to 1 on clusters.
OWN_SHARES: Final = {"lexical": 0.5, "embedding": 0.2}
OWN_SHARE: Final = 0.35  # of any other group
OWN_LEAST: Final = 0.01
PRICE_SLOPE: Final = 0.02  # expected reward per factor e of cost, over public pools of models
PRICE_REACH: Final = 0.05  # most that the cost may change it
TIER_STEP: Final = 0.03  # expected reward per quality tier; the whole scale spans about as much as the cost can
NOISE_START: Final = 0.15  # variance; a fair coin's is 0.25, a judge's score varies less


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """Standard deviations per feature group, and noise variances per arm.

    shared, own : group name -> standard deviation of beta and of delta_a on that group's columns, at the top
        of the evidence.
    averaged : the arms' own scales that the posterior works with: root mean square over all scales that the
        data leave possible. A group that is missing (all before a fit and for disjoint arms) is as in ``own``.
    noise : arm -> variance of its rewards around the model; ``common_noise`` for an arm not listed.
    log_evidence : of the fit that made these, in nats; None before any fit.
    """

    shared: Mapping[str, float]
    own: Mapping[str, float]
    noise: Mapping[str, float] = field(default_factory=dict)
    common_noise: float = NOISE_START
    log_evidence: float | None = None
    averaged: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def start(cls, schema: FeatureSchema) -> Hyperparameters:
        """What is assumed before any data."""
        shared = {g.name: BIAS_SHARED if g.name == "bias" else GROUP_SHARED for g in schema.groups}
        return cls(
            shared=shared,
            own=expected_own(shared),
        )

    def noise_of(self, arm: str) -> float:
        return self.noise.get(arm, self.common_noise)

    def shared_variance(self, schema: FeatureSchema) -> FloatArray:
        """v0 by column: float64, shape (n_features,)."""
        return by_column(self.shared, schema)

    def own_variance(self, schema: FeatureSchema) -> FloatArray:
        """v1 by column at the top of the evidence: float64, shape (n_features,)."""
        return by_column(self.own, schema)

    def averaged_variance(self, schema: FeatureSchema) -> FloatArray:
        """v1 by column as the posterior takes it, see ``averaged``: float64, shape (n_features,)."""
        return by_column({**self.own, **self.averaged}, schema)

    def to_json(self) -> str:
        return json.dumps(
            {
                "shared": dict(self.shared),
                "own": dict(self.own),
                "noise": dict(self.noise),
                "common_noise": self.common_noise,
                "log_evidence": self.log_evidence,
                "averaged": dict(self.averaged),
            }
        )

    @classmethod
    def from_json(cls, text: str, schema: FeatureSchema) -> Hyperparameters:
        """Inverse of ``to_json``.

        Raises
        ------
        InvariantError : a group of the schema is missing.
        """
        values = json.loads(text)
        missing = {group.name for group in schema.groups} - set(values["shared"])
        if missing:
            raise InvariantError(f"Stored hyperparameters lack the feature groups {sorted(missing)}.")
        return cls(**values)


def expected_own(shared: Mapping[str, float]) -> dict[str, float]:
    """Scales of the arms' own parts that go with given shared scales, before the data says more."""
    return {
        name: BIAS_OWN if name == "bias" else max(OWN_LEAST, OWN_SHARES.get(name, OWN_SHARE) * scale)
        for name, scale in shared.items()
    }


def centres(costs_usd: Sequence[float | None], tiers: Sequence[str | None] | None = None) -> FloatArray:
    """Expected reward of each arm before data, from its quality tier, else its relative cost: float64 (K,).

    1/2 plus ``TIER_STEP`` per tier above the middle of the scale. Without a tier: 1/2 plus ``PRICE_SLOPE`` times
    log(cost / geometric mean of the known costs), within ``PRICE_REACH``; 1/2 for an arm whose cost is unknown or
    zero. Both are worth about as many rewards as the arms' own bias: noise / ``BIAS_OWN``^2, some fifteen.
    """
    known = np.array([cost if cost is not None and cost > 0 else np.nan for cost in costs_usd])
    result = np.full(known.shape, CENTRE)
    has = np.isfinite(known)
    if has.sum() > 1:
        logs = np.log(known[has])
        result[has] += np.clip(PRICE_SLOPE * (logs - logs.mean()), -PRICE_REACH, PRICE_REACH)
    for index, tier in enumerate(tiers or ()):
        if tier is not None:
            result[index] = CENTRE + TIER_STEP * (QUALITY_TIERS.index(tier) - (len(QUALITY_TIERS) - 1) / 2)
    return result


def by_column(scales: Mapping[str, float], schema: FeatureSchema) -> FloatArray:
    """Variances by column from standard deviations by group: float64, shape (n_features,)."""
    variance = np.empty(schema.n_features)
    for group in schema.groups:
        variance[group.start : group.stop] = max(scales[group.name], SMALLEST_SCALE) ** 2
    return variance
