"""Rewards of a policy: their sources, and how long they count."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from banditd.settings.base import Section


class SourceSettings(Section):
    """A source of rewards: its scale and noise."""

    minimum: float = Field(0.0, description="value that means reward 0")
    maximum: float = Field(1.0, description="value that means reward 1")
    noise_variance: float = Field(0.0, ge=0, description="variance of its error in reward units")
    learn: bool = Field(True, description="false: recorded, never learned")

    @model_validator(mode="after")
    def _ordered(self) -> SourceSettings:
        if self.maximum <= self.minimum:
            raise ValueError("maximum must be greater than minimum")
        return self


def default_sources() -> dict[str, SourceSettings]:
    return {
        "human": SourceSettings(noise_variance=0.05),
        "judge": SourceSettings(noise_variance=0.01),
        "metric": SourceSettings(),
        "implicit": SourceSettings(noise_variance=0.1),
    }


class RewardSettings(Section):
    """When and how rewards count."""

    window_s: float = Field(604_800.0, gt=0, description="how long after the decision rewards count")
    late_policy: Literal["learn", "log", "reject"] = Field("learn", description="what happens to later ones")
    default_reward: float | None = Field(
        None,
        ge=0,
        le=1,
        description="if none came in the window; null: unlabelled, not zero",
    )
    regeneration_reward: float | None = Field(
        None, ge=0, le=1, description="for an answer asked for again (source implicit); null: only logged"
    )
    sources: dict[str, SourceSettings] = Field(default_factory=default_sources, description="who may reward")
    log_only_metrics: tuple[str, ...] = Field((), description="metrics recorded, never learned")

    @model_validator(mode="after")
    def _has_source(self) -> RewardSettings:
        if self.regeneration_reward is not None and "implicit" not in self.sources:
            raise ValueError("regeneration_reward needs the source implicit: add it to sources")
        return self
