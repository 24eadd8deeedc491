"""Arms as the configuration names them: created at the first start, later changed over HTTP."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from banditd.core.calls import check_params
from banditd.core.types import QualityTier
from banditd.settings.base import NAME_PATTERN, Section


class PriceSettings(Section):
    """List price of an arm in US dollars."""

    usd_per_mtok_in: float = Field(0.0, ge=0, description="per million input tokens")
    usd_per_mtok_out: float = Field(0.0, ge=0, description="per million output tokens")
    usd_per_request: float = Field(0.0, ge=0, description="per request")
    usd_per_mtok_cached_in: float | None = Field(
        None, ge=0, description="per million input tokens that the provider had cached; null: like other input"
    )


class ArmSettings(Section):
    """An arm to create at the first start. Later changes: PATCH /v1/arms/{id}, or here and 'banditd apply'."""

    arm: str = Field(min_length=1, max_length=128, pattern=NAME_PATTERN, description="name of the arm")
    upstream_model: str | None = Field(None, max_length=256, description="model behind it; default: the name")
    upstream: str | None = Field(None, description="upstream that the gateway calls for it; null: only /v1/route")
    provider: str = Field("", max_length=128, description="who serves it; for reading only")
    price: PriceSettings = Field(PriceSettings(), description="list price")
    params: dict[str, Any] = Field(
        default_factory=dict, description="request parameters that win over the client's; null takes one out"
    )
    rename_params: dict[str, str] = Field(
        default_factory=dict, description="client's parameter to what this model calls it"
    )
    first_token_s: float | None = Field(
        None, gt=0, description="longest wait for its first token; null: its upstream's"
    )
    enabled: bool = Field(True, description="whether it may be routed to")
    capabilities: tuple[str, ...] = Field((), description="tags that requests may ask for, such as vision")
    context_window_tokens: int | None = Field(None, ge=1, description="longer queries exclude the arm")
    quality_prior: float | None = Field(None, ge=0, le=1, description="expected reward before any data")
    prior_worth: float = Field(10.0, gt=0, description="how many rewards that expectation is worth")
    quality_tier: QualityTier | None = Field(None, description="economy, standard, premium or frontier: a guess")
    expected_output_tokens: float = Field(400.0, gt=0, description="assumed until usage reports tell")
    expected_latency_ms: float | None = Field(None, gt=0, description="assumed until usage reports tell")
    min_share: float = Field(0.0, ge=0, lt=1, description="least probability of the arm where it may answer")
    max_share: float = Field(1.0, gt=0, le=1, description="cap on the arm's share of the traffic")
    kwh_per_mtok_in: float = Field(0.0, ge=0, description="energy per million input tokens; see resources")
    kwh_per_mtok_out: float = Field(0.0, ge=0, description="energy per million output tokens")
    onboarding_decisions: int = Field(20, ge=0, description="decisions that a new arm is granted")
    onboarding_usd: float = Field(1.0, ge=0, description="money after which the grant ends")

    @model_validator(mode="after")
    def _shares_agree(self) -> ArmSettings:
        check_params(self.params, self.rename_params)
        if self.min_share > self.max_share:
            raise ValueError(f"arm {self.arm}: min_share {self.min_share} is above max_share {self.max_share}")
        return self
