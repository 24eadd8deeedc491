"""What one process holds of one policy: its settings, its arms and its current snapshot.

``RouteView`` is immutable; the learner and the arm service replace it by one reference assignment, so a
route in flight never sees half a change. Nothing here draws, learns or stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.snapshot import Snapshot
from banditd.budget.amounts import AmountModel, Amounts
from banditd.core.errors import NotFoundError
from banditd.core.money import BudgetRule
from banditd.core.types import Arm, ArmUsage, Context, FloatArray, IntArray, Query
from banditd.features.context import ContextBuilder
from banditd.services.objectives import Profile, ResourcePrices

TYPICAL_INPUT_TOKENS = 300.0
# An assumed latency is worth this many usage reports.
ASSUMPTION_WORTH = 10.0
# And is believed to be right within this factor.
ASSUMED_WITHIN = 3.0
# A new arm's guaranteed share of the traffic, and that of all new arms together.
ONBOARDING_SHARE = 0.20
ONBOARDING_TOTAL = 0.30


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRule:
    """Scale and noise of one reward source: ``minimum`` means 0, ``maximum`` means 1."""

    minimum: float = 0.0
    maximum: float = 1.0
    noise_variance: float = 0.0
    learn: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRules:
    """The life of a reward in one policy; late_policy is ``learn``, ``log`` or ``reject``."""

    window_s: float = 604_800.0
    late_policy: str = "learn"
    default_reward: float | None = None
    sources: Mapping[str, SourceRule] = field(default_factory=dict)
    log_only_metrics: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """The operator's settings of one policy, as plain values."""

    name: str
    settings: PolicySettings
    cost_weight: float = 0.0
    budgets: tuple[BudgetRule, ...] = ()
    profiles: dict[str, Profile] = field(default_factory=dict)
    resources: ResourcePrices = field(default_factory=ResourcePrices)
    session_sticky: bool = True
    breaker_errors: int = 5
    breaker_s: float = 30.0
    caller_features: tuple[str, ...] = ()
    rewards: RewardRules = field(default_factory=RewardRules)
    seed_arms: tuple[Arm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RouteView:
    """Snapshot and arms, aligned: every vector has shape (n_arms,) in the order of ``arms``.

    cost_scale_usd : expected cost of the dearest enabled arm on a typical query; cost weights refer to it.
    output_tokens, latency_ms : means over queries; the models know them by query, where usage was reported.
    kwh_per_token_in, kwh_per_token_out : energy, all 0 where nobody said.
    """

    snapshot: Snapshot
    arms: tuple[Arm, ...]
    index: Mapping[str, int]
    enabled: IntArray
    usd_per_token_in: FloatArray
    usd_per_token_out: FloatArray
    usd_per_request: FloatArray
    output_tokens: FloatArray
    latency_ms: FloatArray
    tokens_model: AmountModel | None
    latency_model: AmountModel | None
    cost_scale_usd: float
    onboarding_share: FloatArray
    min_share: FloatArray
    kwh_per_token_in: FloatArray
    kwh_per_token_out: FloatArray

    def expected_output_tokens(self, x: FloatArray) -> FloatArray:
        """Output tokens of every arm on the query with these features."""
        return self.output_tokens if self.tokens_model is None else self.tokens_model.predict(x)

    def penalty(
        self,
        cost_usd: FloatArray,
        input_tokens: float,
        output_tokens: float | FloatArray,
        *,
        weight: float,
        price_per_usd: float,
        resources: ResourcePrices,
    ) -> FloatArray:
        """Utility that money takes away, of every arm: weight x cost / scale + price of the budgets x cost.

        Energy and carbon count for the weight, not for the budgets: nobody is billed for them.
        """
        per_usd = weight / self.cost_scale_usd if self.cost_scale_usd > 0 else 0.0
        penalty = cost_usd * (per_usd + price_per_usd)
        if per_usd > 0.0 and resources.per_kwh > 0.0:
            penalty += self.energy_kwh(input_tokens, output_tokens) * (resources.per_kwh * per_usd)
        return penalty

    def cost_spread_usd(self, output_tokens: float | FloatArray) -> FloatArray:
        """Standard deviation of a call's cost about what is predicted for an answer of this length."""
        spread = 1.0 if self.tokens_model is None else self.tokens_model.spread
        deviation: FloatArray = self.usd_per_token_out * output_tokens * spread
        return deviation

    def expected_latency_ms(self, x: FloatArray) -> FloatArray:
        """Latency of every arm on the query with these features; NaN where nothing is known."""
        return self.latency_ms if self.latency_model is None else self.latency_model.predict(x)

    def energy_kwh(self, input_tokens: float, output_tokens: float | FloatArray) -> FloatArray:
        """Energy of every arm for a query and an answer of this length, in kilowatt-hours."""
        return self.kwh_per_token_in * input_tokens + self.kwh_per_token_out * output_tokens

    def cost_usd(self, input_tokens: float, output_tokens: float | FloatArray) -> FloatArray:
        """Cost of every arm for a query and an answer of this length, in dollars."""
        return self.usd_per_request + self.usd_per_token_in * input_tokens + self.usd_per_token_out * output_tokens


def expected_latency_ms(arm: Arm, usage: ArmUsage | None) -> float:
    """Mean latency in ms, NaN when nothing is known of it."""
    reports = usage.latency_reports if usage is not None else 0
    total = usage.latency_ms_sum if usage is not None else 0.0
    if arm.expected_latency_ms is None:
        return total / reports if reports else float("nan")
    mean = (ASSUMPTION_WORTH * arm.expected_latency_ms + total) / (ASSUMPTION_WORTH + reports)
    # The models of amounts know better as soon as there are any; until then no report moves it far.
    low, high = arm.expected_latency_ms / ASSUMED_WITHIN, arm.expected_latency_ms * ASSUMED_WITHIN
    return min(max(mean, low), high)


def is_onboarding(arm: Arm, usage: ArmUsage | None, first_created_at_us: int) -> bool:
    """Whether a later added arm still has some of its onboarding quota left."""
    if arm.onboarding_decisions == 0 or arm.created_at_us <= first_created_at_us:
        return False
    if usage is None:
        return True
    return usage.decisions < arm.onboarding_decisions and (
        arm.onboarding_usd == 0 or usage.cost_usd < arm.onboarding_usd
    )


def build_view(
    snapshot: Snapshot, arms: Sequence[Arm], usage: Mapping[str, ArmUsage], amounts: Amounts | None = None
) -> RouteView:
    """Align the arms with the snapshot. Arms that the snapshot does not know yet are left for the next one."""
    by_name = {arm.arm: arm for arm in arms}
    ordered = tuple(by_name[name] for name in snapshot.arms if name in by_name)
    if len(ordered) != len(snapshot.arms):
        raise ValueError("the snapshot holds arms that the policy does not have")
    learned_in = None if amounts is None else amounts.input_tokens
    tokens_in = TYPICAL_INPUT_TOKENS if learned_in is None else learned_in
    vector = _column(ordered)
    assumed = np.array([arm.expected_output_tokens for arm in ordered])
    tokens_model = _aligned(amounts, "output_tokens", ordered, assumed)
    out = assumed if tokens_model is None else tokens_model.typical
    per_in, per_out = vector("usd_per_mtok_in") / 1e6, vector("usd_per_mtok_out") / 1e6
    typical = vector("usd_per_request") + per_in * tokens_in + per_out * out
    latency = np.array([expected_latency_ms(a, usage.get(a.arm)) for a in ordered])
    enabled = np.array([i for i, a in enumerate(ordered) if a.enabled], dtype=np.intp)
    first = min((a.created_at_us for a in ordered), default=0)
    new = np.array([a.enabled and is_onboarding(a, usage.get(a.arm), first) for a in ordered], dtype=float)
    share = min(ONBOARDING_SHARE, ONBOARDING_TOTAL / new.sum()) if new.any() else 0.0
    return RouteView(
        snapshot=snapshot,
        arms=ordered,
        index={a.arm: i for i, a in enumerate(ordered)},
        enabled=enabled,
        usd_per_token_in=per_in,
        usd_per_token_out=per_out,
        usd_per_request=vector("usd_per_request"),
        output_tokens=out,
        latency_ms=latency,
        tokens_model=tokens_model,
        latency_model=_aligned(amounts, "latency_ms", ordered, latency),
        cost_scale_usd=float(typical[enabled].max()) if enabled.size else 0.0,
        onboarding_share=new * share,
        min_share=np.array([a.min_share for a in ordered]),
        kwh_per_token_in=np.array([a.kwh_per_mtok_in for a in ordered]) / 1e6,
        kwh_per_token_out=np.array([a.kwh_per_mtok_out for a in ordered]) / 1e6,
    )


def _aligned(amounts: Amounts | None, name: str, arms: Sequence[Arm], otherwise: FloatArray) -> AmountModel | None:
    model: AmountModel | None = None if amounts is None else getattr(amounts, name)
    if amounts is None or model is None:
        return None
    return model.aligned(amounts.arms, [arm.arm for arm in arms], otherwise)


def _column(arms: Sequence[Arm]):  # type: ignore[no-untyped-def]
    return lambda name: np.array([getattr(a.price, name) for a in arms], dtype=float)


class PolicyRuntime:
    """The mutable cell of one policy: routing reads ``view``, the learner and the arm service replace it."""

    def __init__(self, config: PolicyConfig, builder: ContextBuilder) -> None:
        self.config = config
        self.builder = builder
        self.arms: tuple[Arm, ...] = ()
        self.usage: dict[str, ArmUsage] = {}
        self._amounts: Amounts | None = None
        self._view: RouteView | None = None
        self.published_at_us = 0

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def view(self) -> RouteView:
        if self._view is None:
            raise RuntimeError(f"policy {self.name} has no snapshot yet")
        return self._view

    @property
    def ready(self) -> bool:
        return self._view is not None

    def context(self, query: Query, embedding: FloatArray | None) -> Context:
        """The features of a query; ``embedding`` None: of its text alone (degraded)."""
        if embedding is None:
            return self.builder.degraded(text=query.text, turns=query.turns, tools=query.tools, caller=query.features)
        return self.builder.build(
            text=query.text, embedding=embedding, turns=query.turns, tools=query.tools, caller=query.features
        )

    def publish(self, snapshot: Snapshot, now_us: int) -> None:
        """Swap in a new snapshot."""
        self._view = build_view(snapshot, self.arms, self.usage, self._amounts)
        self.published_at_us = now_us

    def refresh_usage(self, usage: Mapping[str, ArmUsage]) -> None:
        """Adopt newer usage totals: they move predicted costs and onboarding, not the statistics."""
        self.usage = dict(usage)
        self._rebuild()

    def adopt_amounts(self, amounts: Amounts) -> None:
        """Adopt newer models of output tokens and latency."""
        self._amounts = amounts
        self._rebuild()

    def _rebuild(self) -> None:
        if self._view is not None:
            self._view = build_view(self._view.snapshot, self.arms, self.usage, self._amounts)

    def priors(self) -> list[ArmPrior]:
        """What the configuration says of the arms before data: never what usage reports say, lest it drift."""
        return [
            ArmPrior(
                arm=a.arm,
                quality_prior=a.quality_prior,
                prior_worth=a.prior_worth,
                quality_tier=a.quality_tier,
                cost_usd=a.price.cost_usd(TYPICAL_INPUT_TOKENS, a.expected_output_tokens) or None,
            )
            for a in self.arms
        ]


def runtime_of(runtimes: Mapping[str, PolicyRuntime], policy: str) -> PolicyRuntime:
    """The policy of that name. Raises NotFoundError."""
    runtime = runtimes.get(policy)
    if runtime is None:
        raise NotFoundError(
            f"no such policy: {policy}; this daemon serves {', '.join(runtimes)}",
            code="POLICY_UNKNOWN",
            field="/policy",
        )
    return runtime
