"""What an anchor keeps of a policy, and how that applies to the present arms. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.posterior.prior import Prior
from banditd.core.anchor import Frozen
from banditd.core.errors import ConfigurationError
from banditd.core.types import Arm
from banditd.services.policy import PolicyRuntime

_OF_AN_ARM: Final = ("enabled", "min_share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An anchor applied to the present arms.

    priors : of the arms, in order.
    shares : arm -> ``min_share``, for those that the anchor had enabled.
    """

    settings: PolicySettings
    cost_weight: float
    priors: tuple[ArmPrior, ...]
    shares: Mapping[str, float]

    def over(self, arms: Sequence[Arm]) -> tuple[Arm, ...]:
        """The arms as the anchor has them; arms that are disabled now, or did not exist then, are excluded."""
        return tuple(
            replace(arm, enabled=arm.enabled and arm.arm in self.shares, min_share=self.shares.get(arm.arm, 0.0))
            for arm in arms
        )


def frozen_of(runtime: PolicyRuntime) -> Frozen:
    """The present settings and arms of a policy."""
    config, prior = runtime.config, runtime.config.settings.prior
    settings = {
        one.name: getattr(config.settings, one.name)
        for one in dataclasses.fields(PolicySettings)
        if one.name != "prior"
    }
    arms = {arm.arm: arm for arm in runtime.arms}
    return Frozen(
        settings={**settings, "options": dict(config.settings.options), "cost_weight": config.cost_weight},
        arms={
            one.arm: asdict(one) | {name: getattr(arms[one.arm], name) for name in _OF_AN_ARM}
            for one in runtime.priors()
        },
        prior=None if prior is None else prior.to_json(),
    )


def held_by(frozen: Frozen, runtime: PolicyRuntime) -> Held:
    """The anchor applied to the present arms. Raises ConfigurationError if it cannot be."""
    values: dict[str, Any] = dict(frozen.settings)
    cost_weight = float(values.pop("cost_weight"))
    prior = None if frozen.prior is None else Prior.from_json(frozen.prior)
    try:
        settings = PolicySettings(**values, prior=prior)
    except TypeError as error:
        raise ConfigurationError(f"the anchor has settings that this banditd does not know: {error}") from error
    names, priors, shares = {arm.arm for arm in runtime.arms}, [], {}
    for now in runtime.priors():
        kept = dict(frozen.arms.get(now.arm, {}))
        enabled, min_share = bool(kept.pop("enabled", False)), float(kept.pop("min_share", 0.0))
        if not kept or kept["generation"] != now.generation:
            priors.append(now)
            continue
        before = ArmPrior(**kept)
        priors.append(before if before.like is None or before.like in names else now)
        if enabled:
            shares[now.arm] = min_share
    held = Held(settings=settings, cost_weight=cost_weight, priors=tuple(priors), shares=shares)
    if not any(arm.enabled for arm in held.over(runtime.arms)):
        raise ConfigurationError("none of its arms can be drawn any more")
    return held
