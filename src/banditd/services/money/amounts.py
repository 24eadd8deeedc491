"""Output tokens and latency as they depend on the query, learned from the newest usage reports.

The models are functions of the last reports under today's feature schema, so they need no state of their own: every
replica makes them afresh when there are enough new reports, and a correction or a restart changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from banditd.budget.amounts import AmountModel, Amounts
from banditd.budget.loglinear import LogLinear
from banditd.core.types import Arm, FeatureSchema, FloatArray, IntArray, Price, price_at
from banditd.ports import ArmStore, RecentOutcomes, UsageOutcome
from banditd.services.policy import PolicyRuntime

REPORTS_USED: Final = 2000
REPORTS_OF_EACH_ARM: Final = 50  # kept of an arm that has none among those: it is not forgotten what it takes
FEWEST_NEW: Final = 10
GROWTH: Final = 0.05  # of the reports used, from which a fit is made again
# What an arm takes follows how long and of what kind a query is, not what it is about.
GROUPS: Final = frozenset({"bias", "lexical", "cluster"})
_LEAST_ASSUMED: Final = 1.0


Prices = Mapping[str, Sequence[tuple[int, Price]]]
"""Arm to its price history: (since, price), oldest first."""


def fit_amounts(
    outcomes: Sequence[UsageOutcome], arms: Sequence[Arm], schema: FeatureSchema, prices: Prices | None = None
) -> Amounts:
    """Fit both models.

    A report that gives dollars but no tokens tells the tokens that cost so much at the price of its time. An arm
    whose latency nobody has assumed or reported has none: NaN.
    """
    columns = np.concatenate([np.arange(g.start, g.stop) for g in schema.groups if g.name in GROUPS]).astype(np.intp)
    tokens = [(one.arm, one.x, n) for one in outcomes if (n := _output_tokens(one, prices or {})) is not None]
    latency = [(one.arm, one.x, float(one.latency_ms)) for one in outcomes if one.latency_ms is not None]
    typical_ms = float(np.median([amount for _, _, amount in latency])) if latency else _LEAST_ASSUMED
    reported = {arm for arm, _, _ in latency}
    unknown = frozenset(a.arm for a in arms if a.expected_latency_ms is None and a.arm not in reported)
    return Amounts(
        arms=tuple(arm.arm for arm in arms),
        output_tokens=_fit(tokens, {arm.arm: arm.expected_output_tokens for arm in arms}, columns),
        latency_ms=_fit(latency, {arm.arm: arm.expected_latency_ms or typical_ms for arm in arms}, columns, unknown),
    )


def _output_tokens(outcome: UsageOutcome, prices: Prices) -> float | None:
    if outcome.output_tokens is not None:
        return float(outcome.output_tokens)
    price = price_at(prices.get(outcome.arm, ()), outcome.decided_at_us)
    if outcome.cost_usd is None or price is None or price.usd_per_mtok_out <= 0.0:
        return None
    rest_usd = outcome.cost_usd - price.cost_usd(outcome.input_tokens, 0.0)
    return max(0.0, rest_usd / price.usd_per_mtok_out * 1e6)


def _fit(
    amounts: Sequence[tuple[str, FloatArray, float]],
    assumed: Mapping[str, float],
    columns: IntArray,
    unknown: frozenset[str] = frozenset(),
) -> AmountModel | None:
    index = {arm: i for i, arm in enumerate(assumed)}
    known = [one for one in amounts if one[0] in index]
    if not known:
        return None
    base = np.maximum(np.array(list(assumed.values())), _LEAST_ASSUMED)
    arm = np.array([index[one[0]] for one in known], dtype=np.intp)
    model = LogLinear(columns.shape[0], len(index))
    model.fit(np.stack([one[1][columns] for one in known]), arm, np.array([one[2] for one in known]), base[arm])
    exponents, factors = model.frozen()
    factors = np.where([arm in unknown for arm in assumed], np.nan, factors * base)
    typical = np.exp(np.stack([one[1][columns] for one in known]) @ exponents.T).mean(axis=0) * factors
    return AmountModel(columns, exponents, factors, model.deviation(np.ones(len(index))), typical)


def fit_is_due(reports: int, fitted: int) -> bool:
    """Whether enough was reported since the last fit. reports : until now. fitted : until then."""
    return reports - fitted >= max(FEWEST_NEW, GROWTH * min(fitted, REPORTS_USED))


class AmountModels:
    """Keeps the models of every policy up to date; ``refresh`` is one run of a job on every replica."""

    def __init__(self, *, runtimes: Mapping[str, PolicyRuntime], recent: RecentOutcomes, arms: ArmStore) -> None:
        self._runtimes = runtimes
        self._recent = recent
        self._arms = arms
        self._fitted_at: dict[str, tuple[int, tuple[Arm, ...]]] = {}

    async def refresh(self) -> None:
        """Fit where enough was reported since the last time, or the arms are others."""
        for name, runtime in self._runtimes.items():
            reports = sum(usage.usage_reports for usage in runtime.usage.values())
            fitted, arms = self._fitted_at.get(name, (0, ()))
            if not reports or (not fit_is_due(reports, fitted) and arms == runtime.arms):
                continue
            self._fitted_at[name] = (reports, runtime.arms)
            schema = runtime.builder.schema
            outcomes = await self._recent.usage(name, schema.hash, REPORTS_USED)
            prices = await self._arms.price_histories(name)
            runtime.adopt_amounts(await asyncio.to_thread(fit_amounts, outcomes, runtime.arms, schema, prices))
