"""Budgets, profiles and priced resources of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from banditd.core.money import ALL, CHEAPEST, REJECT
from banditd.settings.arms import ArmSettings
from banditd.settings.base import NAME_PATTERN, Section


class BudgetSettings(Section):
    """One budget; see docs/money.md."""

    name: str = Field(min_length=1, max_length=64, pattern=NAME_PATTERN, description="shown in answers and metrics")
    usd: float = Field(gt=0, le=1e12, description="mean per decision, or sum per calendar window in UTC")
    per: Literal["decision", "hour", "day", "month"] = Field("decision", description="what the dollars are for")
    of: str = Field(
        ALL,
        pattern=r"^(all|key|tag:.{1,128})$",
        description="all; key or tag:NAME: one per API key or value of that tag",
    )
    at_stop: str = Field(
        CHEAPEST,
        min_length=1,
        max_length=128,
        pattern=NAME_PATTERN,
        description="when the money is used up: cheapest (arm), reject (429), or an arm",
    )

    @model_validator(mode="after")
    def _stops(self) -> BudgetSettings:
        if self.per == "decision" and self.at_stop != CHEAPEST:
            raise ValueError(
                f"budget {self.name}: a budget per decision slows spending down and never ends, so at_stop does not "
                "apply; give one per hour, day or month for a limit"
            )
        return self


class ProfileSettings(Section):
    """A named objective; what is left out comes from the policy."""

    cost_weight: float | None = Field(None, ge=0, description="as the policy's")
    keep: float | None = Field(None, ge=0.5, le=1, description="overrides the promise's")
    max_cost_usd: float | None = Field(None, gt=0, description="dearer arms are excluded")
    max_latency_ms: float | None = Field(None, gt=0, description="slower arms are excluded")
    quality_floor: float | None = Field(None, ge=0, le=1, description="the cheapest arm predicted to earn this")
    quality_confidence: float | None = Field(None, ge=0.5, lt=1, description="with this confidence; null: 0.9")


class ResourceSettings(Section):
    """What energy is worth; for cost weights, not for budgets."""

    usd_per_kwh: float = Field(0.0, ge=0, description="of energy that no provider bills")
    kg_co2_per_kwh: float = Field(0.0, ge=0, description="carbon intensity of the electricity")
    usd_per_kg_co2: float = Field(0.0, ge=0, description="what a kilogram of CO2 is worth to you")


def default_profiles() -> dict[str, ProfileSettings]:
    return {
        "quality": ProfileSettings(cost_weight=0.0),
        "balanced": ProfileSettings(cost_weight=0.1),
        "economy": ProfileSettings(cost_weight=0.3),
    }


def check_budgets(budgets: Sequence[BudgetSettings], arms: Sequence[ArmSettings]) -> None:
    """Refuse budgets with the same name, and those whose ``at_stop`` arm does not exist. Raises ValueError."""
    names = [budget.name for budget in budgets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"budgets named twice: {', '.join(twice)}")
    known = {arm.arm for arm in arms}
    for budget in budgets:
        if budget.at_stop not in {CHEAPEST, REJECT} and known and budget.at_stop not in known:
            raise ValueError(
                f"budget {budget.name}: at_stop is {budget.at_stop}; write cheapest, reject or one of the arms "
                f"{', '.join(sorted(known))}"
            )


def check_shares(arms: Sequence[ArmSettings]) -> None:
    """Refuse shares that contradict each other. Raises ValueError."""
    enabled = [arm for arm in arms if arm.enabled]
    least = sum(arm.min_share for arm in enabled)
    most = sum(arm.max_share for arm in enabled)
    if least > 1.0:
        raise ValueError(f"the arms' min_share add up to {least:g}; the sum may be at most 1")
    if enabled and most < 1.0:
        raise ValueError(f"the arms' max_share add up to {most:g}: no arm may answer the rest of the traffic")
