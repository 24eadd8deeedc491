"""What a policy's arms cost, can do and may do, aligned with one snapshot: all that a decision reads of a policy.

``RouteView`` is immutable and is replaced by one reference assignment, so a decision never sees half a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from banditd.bandit.snapshot import Snapshot
from banditd.budget.amounts import AmountModel, Amounts
from banditd.core.recipes import Recipe
from banditd.core.types import Arm, ArmUsage, BoolArray, FloatArray, IntArray
from banditd.deciding.objectives import ResourcePrices
from banditd.deciding.recipe_arms import calls_of, recipe_latency_ms, recipe_tokens, resolved, unserved
from banditd.deciding.recipes import SettlingRates

TYPICAL_INPUT_TOKENS = 300.0
# An assumed latency is worth this many usage reports ...
ASSUMPTION_WORTH = 10.0
# ... and is assumed to be right within this factor.
ASSUMED_WITHIN = 3.0
# A new arm's guaranteed share of the traffic, and that of all new arms together.
ONBOARDING_SHARE = 0.20
ONBOARDING_TOTAL = 0.30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RouteView:
    """Snapshot and arms, aligned: every vector has shape (n_arms,) in the order of ``arms``.

    serves : which are enabled; for recipes, whether all parts are. unserved : why the others do not serve.
    models : which are not recipes. upstreams : of the models, '' for none.
    calls : (n_arms, n_arms), expected calls of every arm per decision for each; None without recipes.
    capped : those whose share of the traffic has a cap.
    window_tokens : longest input, infinite if unknown.
    cost_scale_usd : expected cost of the dearest enabled model on a typical query; cost weights refer to it.
    typical_input_tokens : of a query, as learned or assumed.
    output_tokens, latency_ms : means over queries; ``amounts`` predicts them by query once usage has been reported.
    kwh_per_token_in, kwh_per_token_out : energy, 0 if unknown.
    generations : of the arms that have had more than one.
    """

    snapshot: Snapshot
    arms: tuple[Arm, ...]
    index: Mapping[str, int]
    enabled: IntArray
    serves: BoolArray
    unserved: Mapping[str, str]
    models: BoolArray
    calls: FloatArray | None
    capped: tuple[Arm, ...]
    upstreams: frozenset[str]
    window_tokens: FloatArray
    usd_per_token_in: FloatArray
    usd_per_token_out: FloatArray
    usd_per_request: FloatArray
    typical_input_tokens: float
    usd_saved_per_cached_token: FloatArray
    output_tokens: FloatArray
    latency_ms: FloatArray
    tokens_model: AmountModel | None
    latency_model: AmountModel | None
    cost_scale_usd: float
    onboarding_share: FloatArray
    min_share: FloatArray
    kwh_per_token_in: FloatArray
    kwh_per_token_out: FloatArray
    generations: Mapping[str, int]

    def with_snapshot(self, snapshot: Snapshot) -> RouteView:
        """The same view with a newer snapshot of the same arms."""
        return replace(self, snapshot=snapshot)

    def expected_output_tokens(self, x: FloatArray) -> FloatArray:
        """Output tokens of every arm on each query: float64 (n, n_arms), for x (n, n_features)."""
        if self.tokens_model is None:
            return _repeated(self.output_tokens, x.shape[0])
        tokens = self.tokens_model.predict(x)
        if self.calls is None:
            return tokens
        return recipe_tokens(tokens, self.usd_per_token_out, self.calls, np.flatnonzero(~self.models))

    def expected_latency_ms(self, x: FloatArray) -> FloatArray:
        """Latency of every arm on each query, (n, n_arms); NaN if unknown."""
        if self.latency_model is None:
            latency_ms = _repeated(self.latency_ms, x.shape[0])
        else:
            latency_ms = self.latency_model.predict(x)
        return latency_ms if self.calls is None else recipe_latency_ms(latency_ms, self.arms, self.index, self.calls)

    def cost_usd(self, input_tokens: float | FloatArray, output_tokens: FloatArray) -> FloatArray:
        """Cost of every arm in dollars. input_tokens : (n, 1) or one number. output_tokens : (n, n_arms)."""
        return self.usd_per_request + self.usd_per_token_in * input_tokens + self.usd_per_token_out * output_tokens

    def cost_spread_usd(self, output_tokens: FloatArray) -> FloatArray:
        """Standard deviation of a call's cost around the prediction for an answer of this length."""
        spread = 1.0 if self.tokens_model is None else self.tokens_model.spread
        deviation: FloatArray = self.usd_per_token_out * output_tokens * spread
        if self.calls is None:
            return deviation
        # For a recipe it is also uncertain which of its calls are made.
        cost_usd = self.cost_usd(self.typical_input_tokens, output_tokens)
        variance = deviation**2 @ self.calls.T + cost_usd**2 @ (self.calls * (1.0 - self.calls)).T
        return np.where(self.models, deviation, np.sqrt(variance))

    def energy_kwh(self, input_tokens: float | FloatArray, output_tokens: FloatArray) -> FloatArray:
        """Energy of every arm in kilowatt-hours; shapes as in ``cost_usd``."""
        return self.kwh_per_token_in * input_tokens + self.kwh_per_token_out * output_tokens

    def penalty(
        self,
        cost_usd: FloatArray,
        input_tokens: FloatArray,
        output_tokens: FloatArray,
        *,
        weight: FloatArray,
        price_per_usd: FloatArray,
        resources: ResourcePrices,
    ) -> FloatArray:
        """Utility that cost takes away: weight x cost / scale + price of the budgets x cost, (n, n_arms).

        Energy and carbon count for the weight but not for the budgets, since nobody is billed for them.

        input_tokens, weight, price_per_usd : (n, 1). cost_usd, output_tokens : (n, n_arms).
        """
        per_usd = weight / self.cost_scale_usd if self.cost_scale_usd > 0 else np.zeros(weight.shape)
        penalty = cost_usd * (per_usd + price_per_usd)
        if resources.per_kwh > 0.0:
            penalty += self.energy_kwh(input_tokens, output_tokens) * (resources.per_kwh * per_usd)
        return penalty


def _repeated(row: FloatArray, n: int) -> FloatArray:
    """The row n times; ``broadcast_to`` would cost ten times as much."""
    found = np.empty((n, row.shape[0]))
    found[:] = row
    return found


def expected_latency_ms(arm: Arm, usage: ArmUsage | None) -> float:
    """Mean latency in ms, NaN if unknown.

    Without an assumption the mean of a few reports could be anything, and one wrong number would shut an arm out;
    then the fitted models decide.
    """
    if arm.expected_latency_ms is None:
        return float("nan")
    reports = usage.latency_reports if usage is not None else 0
    total = usage.latency_ms_sum if usage is not None else 0.0
    mean = (ASSUMPTION_WORTH * arm.expected_latency_ms + total) / (ASSUMPTION_WORTH + reports)
    # The fitted models replace this as soon as there are any; until then no report moves it far.
    low, high = arm.expected_latency_ms / ASSUMED_WITHIN, arm.expected_latency_ms * ASSUMED_WITHIN
    return min(max(mean, low), high)


def is_onboarding(arm: Arm, usage: ArmUsage | None, first_created_at_us: int) -> bool:
    """Whether an arm that was added later still has some of its onboarding quota left."""
    if arm.onboarding_decisions == 0 or arm.created_at_us <= first_created_at_us:
        return False
    if usage is None:
        return True
    return usage.decisions < arm.onboarding_decisions and (
        arm.onboarding_usd == 0 or usage.cost_usd < arm.onboarding_usd
    )


def build_view(
    snapshot: Snapshot,
    arms: Sequence[Arm],
    usage: Mapping[str, ArmUsage],
    amounts: Amounts | None = None,
    rates: SettlingRates | None = None,
) -> RouteView:
    """Align the arms with the snapshot. Arms that it does not contain yet wait for the next one.

    rates : how often the members of recipes settle a query, if known.
    """
    by_name = {arm.arm: arm for arm in arms}
    stated = [by_name[name] for name in snapshot.arms if name in by_name]
    if len(stated) != len(snapshot.arms):
        raise ValueError("the snapshot holds arms that the policy does not have")
    calls = calls_of(stated, rates or SettlingRates())
    ordered, away = resolved(stated, calls), unserved(stated)
    models = np.array([arm.recipe is None for arm in ordered], dtype=bool)
    tokens_in = TYPICAL_INPUT_TOKENS if amounts is None or amounts.input_tokens is None else amounts.input_tokens
    vector = _column(ordered)
    assumed = np.array([arm.expected_output_tokens for arm in ordered])
    tokens_model = _aligned(amounts, "output_tokens", ordered, assumed)
    out = assumed if tokens_model is None else tokens_model.typical
    per_in, per_out = vector("usd_per_mtok_in") / 1e6, vector("usd_per_mtok_out") / 1e6
    if calls is not None:
        out = recipe_tokens(out, per_out, calls, np.flatnonzero(~models))
    typical = vector("usd_per_request") + per_in * tokens_in + per_out * out
    latency = np.array([expected_latency_ms(a, usage.get(a.arm)) for a in ordered])
    serves = np.array([a.arm not in away for a in ordered], dtype=bool)
    first = min((a.created_at_us for a in ordered), default=0)
    new = np.array([a.arm not in away and is_onboarding(a, usage.get(a.arm), first) for a in ordered], dtype=float)
    share = min(ONBOARDING_SHARE, ONBOARDING_TOTAL / new.sum()) if new.any() else 0.0
    return RouteView(
        snapshot=snapshot,
        arms=ordered,
        index={a.arm: i for i, a in enumerate(ordered)},
        enabled=np.flatnonzero(serves),
        serves=serves,
        unserved=away,
        models=models,
        calls=calls,
        capped=tuple(a for a in ordered if a.max_share < 1.0),
        upstreams=frozenset(a.upstream or "" for a in ordered if a.recipe is None),
        window_tokens=np.array([a.context_window_tokens or np.inf for a in ordered], dtype=float),
        usd_per_token_in=per_in,
        usd_per_token_out=per_out,
        usd_per_request=vector("usd_per_request"),
        typical_input_tokens=tokens_in,
        usd_saved_per_cached_token=np.array([_saved_per_mtok(arm) for arm in ordered]) / 1e6,
        output_tokens=out,
        latency_ms=latency,
        tokens_model=tokens_model,
        latency_model=_aligned(amounts, "latency_ms", ordered, latency),
        cost_scale_usd=float(typical[serves & models].max(initial=0.0)),
        onboarding_share=new * share,
        min_share=np.array([a.min_share for a in ordered]),
        kwh_per_token_in=np.array([a.kwh_per_mtok_in for a in ordered]) / 1e6,
        kwh_per_token_out=np.array([a.kwh_per_mtok_out for a in ordered]) / 1e6,
        generations={a.arm: a.generation for a in ordered if a.generation > 1},
    )


def _saved_per_mtok(arm: Arm) -> float:
    """Dollars saved per million input tokens that the provider has cached; 0 if unknown."""
    cached = arm.price.usd_per_mtok_cached_in
    return 0.0 if cached is None else max(0.0, arm.price.usd_per_mtok_in - cached)


def _aligned(amounts: Amounts | None, name: str, arms: Sequence[Arm], otherwise: FloatArray) -> AmountModel | None:
    model: AmountModel | None = None if amounts is None else getattr(amounts, name)
    if amounts is None or model is None:
        return None
    return model.aligned(amounts.arms, [arm.arm for arm in arms], otherwise)


def _column(arms: Sequence[Arm]):  # type: ignore[no-untyped-def]
    return lambda name: np.array([getattr(a.price, name) for a in arms], dtype=float)


def handed_out(view: RouteView, arms: Sequence[str]) -> dict[str, Mapping[str, object]]:
    """For clients that run recipes themselves: recipe -> what it is made of, with the models to call."""
    if view.calls is None:
        return {}
    known = [view.arms[view.index[arm]].recipe for arm in arms if arm in view.index]
    return {recipe.arm: _handed_out(view, recipe) for recipe in known if recipe is not None}


def _handed_out(view: RouteView, recipe: Recipe) -> Mapping[str, object]:
    def part(name: str) -> dict[str, object]:
        known = view.arms[view.index[name]] if name in view.index else None
        return {"arm": name, "upstream_model": name if known is None else known.upstream_model}

    return {
        "kind": recipe.kind,
        "members": [part(member) for member in recipe.members],
        "else": None if recipe.otherwise is None else part(recipe.otherwise),
        "answers": recipe.answers,
    }
