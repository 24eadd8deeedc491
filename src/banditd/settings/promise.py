"""A promise instead of a cost weight: which share of a baseline's quality to keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import Field

from banditd.settings.arms import ArmSettings
from banditd.settings.base import NAME_PATTERN, Section
from banditd.settings.money import ProfileSettings

DEAREST: Final = "dearest"
# Policies that do not weigh reward against cost, so that a promise would have no effect.
UNWEIGHED: Final = frozenset({"fixed", "rules", "uniform"})
Keep = Annotated[float, Field(ge=0.5, le=1)]


class PromiseSettings(Section):
    """Keep a share of the baseline's quality at the least cost."""

    baseline: str = Field(
        DEAREST,
        min_length=1,
        max_length=128,
        pattern=NAME_PATTERN,
        description="the arm you would use without a router: dearest, or a name",
    )
    keep: Keep = Field(0.95, description="share of the baseline's mean reward that is kept")
    reference_share: float = Field(
        0.05, ge=0, le=0.5, description="the baseline's share until the difference is known"
    )
    precision: float = Field(
        0.02, gt=0, le=0.5, description="half-width that counts as known; then a tenth of the share"
    )
    keep_by_tag: dict[str, dict[str, Keep]] = Field(
        default_factory=dict,
        max_length=32,
        description="tag to value to its keep; the highest applies",
    )


def check_promise(
    promise: PromiseSettings | None,
    *,
    kind: str,
    cost_weight: float,
    arms: Iterable[ArmSettings],
    profiles: Mapping[str, ProfileSettings],
) -> None:
    """Refuse promises that cannot be kept. Raises ValueError."""
    for name, profile in profiles.items():
        if profile.keep is not None and profile.cost_weight is not None:
            raise ValueError(f"profile {name}: keep and cost_weight cannot be combined; leave one of them out")
        if profile.keep is not None and promise is None:
            raise ValueError(
                f"profile {name} says keep: {profile.keep:g}, and the policy has no promise that says of which "
                "baseline; write promise: {baseline: dearest}, or leave keep out"
            )
    if promise is None:
        return
    if cost_weight > 0.0:
        raise ValueError(
            f"promise and cost_weight: {cost_weight:g} cannot be combined, since the promise finds the price of a "
            "dollar itself; write cost_weight: 0, or promise: null"
        )
    if kind in UNWEIGHED:
        raise ValueError(f"a policy of kind {kind} weighs no cost, so it can keep no promise; write promise: null")
    _check_baseline(promise.baseline, {arm.arm: arm for arm in arms})


def _check_baseline(baseline: str, arms: Mapping[str, ArmSettings]) -> None:
    if baseline == DEAREST or not arms:
        return
    arm = arms.get(baseline)
    if arm is None:
        raise ValueError(
            f"promise.baseline is {baseline}, which is not an arm; write dearest, or one of {', '.join(arms)}"
        )
    if arm.recipe is not None:
        raise ValueError(
            f"promise.baseline is {baseline}, a recipe: a baseline is the one model that you would use without a "
            "router; write dearest, or a model's name"
        )
    if arm.max_share < 1.0:
        raise ValueError(
            f"promise.baseline is {baseline}, whose max_share is {arm.max_share:g}: a baseline must be able to "
            "answer everything; write max_share: 1, or name another arm"
        )


def promise_advice(promise: PromiseSettings | None) -> str | None:
    """Advice to an operator on a valid promise, or None."""
    if promise is None or promise.keep <= 0.99:
        return None
    return (
        f"keep: {promise.keep:g} leaves almost nothing to learn from: only about one per cent of the traffic tries "
        "other arms; .98 mostly saves far more"
    )
