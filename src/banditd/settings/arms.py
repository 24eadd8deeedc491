"""Arms as the configuration names them: created at the start that first sees them, later changed over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from banditd.core.calls import check_params
from banditd.core.errors import ConfigurationError, InvalidInputError
from banditd.core.recipes import MOST_PARTS, Comparison, Recipe, RecipeKind
from banditd.core.types import PLAIN_FIELDS, PRICE_FIELDS, Arm, Price, QualityTier
from banditd.deciding.recipe_arms import check_recipe
from banditd.settings.base import NAME_PATTERN, Section


class PriceSettings(Section):
    """List price of a model in US dollars."""

    usd_per_mtok_in: float = Field(0.0, ge=0, description="per million input tokens")
    usd_per_mtok_out: float = Field(0.0, ge=0, description="per million output tokens")
    usd_per_request: float = Field(0.0, ge=0, description="per request")
    usd_per_mtok_cached_in: float | None = Field(
        None, ge=0, description="per million cached input tokens; null: as other input"
    )


class RecipeSettings(Section):
    """An arm made of a few models."""

    kind: RecipeKind = Field(description="see docs/recipe-arms.md")
    members: tuple[str, ...] = Field(min_length=2, max_length=MOST_PARTS, description="models that are asked")
    otherwise: str | None = Field(None, alias="else", description="for agree: asked if the members differ")
    answers: Comparison = Field(
        "auto",
        description="how answers are compared; auto: by their kind",
    )

    def named(self, arm: str) -> Recipe:
        """The same as a value. Raises ConfigurationError for what cannot be played."""
        return Recipe(arm=arm, kind=self.kind, members=self.members, otherwise=self.otherwise, answers=self.answers)


class ArmSettings(Section):
    """An arm, created at the start that first sees it; see docs/operations.md."""

    arm: str = Field(min_length=1, max_length=128, pattern=NAME_PATTERN, description="its name")
    upstream_model: str | None = Field(None, max_length=256, description="its name at the upstream; null: arm")
    upstream: str | None = Field(None, description="called by the gateway; null: /v1/route only")
    provider: str = Field("", max_length=128, description="shown only")
    price: PriceSettings = Field(PriceSettings(), description="list price")
    params: dict[str, Any] = Field(
        default_factory=dict, description="parameters that override the client's; null removes one"
    )
    rename_params: dict[str, str] = Field(
        default_factory=dict, description="a client's parameter to the model's name for it"
    )
    first_token_s: float | None = Field(
        None, gt=0, description="longest wait for its first token; null: its upstream's"
    )
    recipe: RecipeSettings | None = Field(None, description="what the arm is made of; see docs/recipe-arms.md")
    enabled: bool = Field(True, description="may be routed to")
    capabilities: tuple[str, ...] = Field((), description="what requests may ask for, such as vision")
    context_window_tokens: int | None = Field(None, ge=1, description="longer queries exclude the arm")
    quality_prior: float | None = Field(None, ge=0, le=1, description="expected reward before any data")
    prior_worth: float = Field(10.0, gt=0, description="rewards that this is worth")
    quality_tier: QualityTier | None = Field(None, description="a guess instead")
    expected_output_tokens: float = Field(400.0, gt=0, description="assumed until usage is reported")
    expected_latency_ms: float | None = Field(None, gt=0, description="assumed until usage is reported")
    min_share: float = Field(0.0, ge=0, lt=1, description="least probability where it is eligible")
    max_share: float = Field(1.0, gt=0, le=1, description="cap on its share of the traffic")
    kwh_per_mtok_in: float = Field(0.0, ge=0, description="see resources")
    kwh_per_mtok_out: float = Field(0.0, ge=0, description="see resources")
    onboarding_decisions: int = Field(20, ge=0, description="decisions granted to a new arm")
    onboarding_usd: float = Field(1.0, ge=0, description="cost that ends this")

    @model_validator(mode="after")
    def _shares_agree(self) -> ArmSettings:
        check_params(self.params, self.rename_params)
        if self.min_share > self.max_share:
            raise ValueError(f"arm {self.arm}: min_share {self.min_share} is above max_share {self.max_share}")
        return self

    def value(self, policy: str) -> Arm:
        """The same as a plain value, of that policy. Raises ConfigurationError for a recipe that cannot be played."""
        return Arm(
            policy=policy,
            arm=self.arm,
            price=Price(*(getattr(self.price, name) for name in PRICE_FIELDS)),
            capabilities=frozenset(self.capabilities),
            recipe=None if self.recipe is None else self.recipe.named(self.arm),
            **{name: getattr(self, name) for name in PLAIN_FIELDS}
            | {"upstream_model": self.upstream_model or self.arm},
        )


def check_arms(arms: Sequence[ArmSettings]) -> None:
    """Refuse arms of the same name, and recipes of what is no model here. Raises ValueError that names the line."""
    names = [arm.arm for arm in arms]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"arms named twice: {', '.join(sorted(twice))}")
    values = []
    for place, arm in enumerate(arms):
        try:
            values.append(arm.value(""))
        except ConfigurationError as error:
            raise ValueError(f"arms.{place}.recipe: {error.message}") from error
    for place, made in enumerate(values):
        try:
            check_recipe(made, values)
        except InvalidInputError as error:
            raise ValueError(f"arms.{place}{(error.field or '').replace('/', '.')}: {error.message}") from error
