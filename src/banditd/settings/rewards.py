"""Rewards of a policy: their sources, and how long they count."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from banditd.settings.base import Section


class SourceSettings(Section):
    """Where a reward comes from: its scale and how noisy it is."""

    minimum: float = Field(0.0, description="value that means reward 0")
    maximum: float = Field(1.0, description="value that means reward 1")
    noise_variance: float = Field(
        0.0, ge=0, description="variance of the source's error in reward units, beyond the model's own noise"
    )
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
    """The life of a reward."""

    window_s: float = Field(604_800.0, gt=0, description="time after the decision in which rewards count")
    late_policy: Literal["learn", "log", "reject"] = Field("learn", description="what happens after the window")
    default_reward: float | None = Field(
        None,
        ge=0,
        le=1,
        description="reward when none came in a window that closes from now on; null: unlabelled, not zero",
    )
    regeneration_reward: float | None = Field(
        None,
        ge=0,
        le=1,
        description="reward, of source implicit, of an answer that is asked for again; null: it is only logged",
    )
    sources: dict[str, SourceSettings] = Field(
        default_factory=default_sources, description="known sources; a reward from another one is refused"
    )
    log_only_metrics: tuple[str, ...] = Field((), description="metrics that are recorded but never learned")

    @model_validator(mode="after")
    def _has_source(self) -> RewardSettings:
        if self.regeneration_reward is not None and "implicit" not in self.sources:
            raise ValueError("regeneration_reward is of the source implicit: add it to sources")
        return self
