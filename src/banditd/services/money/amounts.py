"""Output tokens and latency as functions of the query, learned from the newest usage reports.

The models depend only on the latest reports under the present feature schema, so they have no state of their own:
every replica refits them when there are enough new reports, and corrections and restarts change nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from banditd.budget.amounts import AmountModel, Amounts
from banditd.budget.loglinear import LogLinear
from banditd.core.types import Arm, FeatureSchema, FloatArray, IntArray, Price, price_at
from banditd.features.context import tag_group
from banditd.ports import ArmStore, RecentOutcomes, UsageOutcome
from banditd.services.policy import PolicyRuntime

REPORTS_USED: Final = 2000
REPORTS_OF_EACH_ARM: Final = 50  # older reports kept for every arm, so that rare arms are not forgotten
FEWEST_NEW: Final = 10
GROWTH: Final = 0.05  # a fit is repeated when the number of reports has grown by this share
# An arm's amounts depend on the length and kind of a query (which the caller's tags know best), not on its topic.
GROUPS: Final = frozenset({"bias", "lexical", "cluster"})
_LEAST_ASSUMED: Final = 1.0
# Reports outside these limits are ignored: no answer takes less than a millisecond, or more than an hour.
LEAST_LATENCY_MS: Final = 1.0
MOST_LATENCY_MS: Final = 3_600_000.0
FEWEST_LATENCIES: Final = 5  # reports needed for an arm without an assumed latency, since fewer could be anything
MOST_TOKENS: Final = 2_000_000  # for an arm whose context window is not known
WILD_INPUT: Final = 20.0  # input above this many times the median is an outlier
FEWEST_BILLED: Final = 10  # reports of an arm needed before its dollars are compared with its price ...
BILLED_WITHIN: Final = 1.25  # ... from which they may differ by this factor, since token counts differ a little


Prices = Mapping[str, Sequence[tuple[int, Price]]]
"""Arm -> its price history: (since, price), oldest first."""


def fit_amounts(
    outcomes: Sequence[UsageOutcome], arms: Sequence[Arm], schema: FeatureSchema, prices: Prices | None = None
) -> Amounts:
    """Fit both models.

    Robust to wrong numbers: reports that neither the context window nor the price can explain are left out here, and
    some of the others may be arbitrary (``LogLinear.fit``). For a report with dollars but no tokens, the tokens
    follow from the price at its time. An arm without an assumed latency and with hardly any reports has none: NaN.
    """
    outcomes = [one for one in outcomes if one.x.size == schema.n_features]  # leave out damaged rows
    groups = [g for g in schema.groups if g.name in GROUPS or g.name.startswith(tag_group(""))]
    columns = np.concatenate([np.arange(g.start, g.stop) for g in groups]).astype(np.intp)
    windows = {arm.arm: arm.context_window_tokens or MOST_TOKENS for arm in arms}
    tokens = [
        (one.arm, one.x, n)
        for one in outcomes
        if (n := _output_tokens(one, prices or {})) is not None and 0.0 < n <= windows.get(one.arm, MOST_TOKENS)
    ]
    latency = [
        (one.arm, one.x, float(one.latency_ms))
        for one in outcomes
        if one.latency_ms is not None and LEAST_LATENCY_MS <= one.latency_ms <= MOST_LATENCY_MS
    ]
    typical_ms = float(np.median([amount for _, _, amount in latency])) if latency else _LEAST_ASSUMED
    reported = Counter(arm for arm, _, _ in latency)
    unknown = frozenset(a.arm for a in arms if a.expected_latency_ms is None and reported[a.arm] < FEWEST_LATENCIES)
    return Amounts(
        arms=tuple(arm.arm for arm in arms),
        output_tokens=_fit(tokens, {arm.arm: arm.expected_output_tokens for arm in arms}, columns),
        latency_ms=_fit(latency, {arm.arm: arm.expected_latency_ms or typical_ms for arm in arms}, columns, unknown),
        input_tokens=_typical_input(outcomes),
        billed=billed(outcomes, prices or {}),
    )


def billed(outcomes: Sequence[UsageOutcome], prices: Prices) -> dict[str, float]:
    """Arms whose reported dollars differ from their reported tokens at their price -> by which factor.

    Then a price is configured wrongly, or a discount is missing, and savings, which compare reported dollars with
    dollars at configured prices, are wrong. Only reports at the last price in ``outcomes`` count, so that a corrected
    price is not held against the arm for ever.
    """
    last = {one.arm: price_at(prices.get(one.arm, ()), one.decided_at_us) for one in outcomes}  # oldest first
    totals: dict[str, tuple[int, float, float]] = {}
    for one in outcomes:
        price = last[one.arm]
        if price is None or price_at(prices[one.arm], one.decided_at_us) != price:
            continue
        if one.cost_usd is None or one.output_tokens is None or one.cached_input_tokens is None:
            continue
        reports, dollars, priced = totals.get(one.arm, (0, 0.0, 0.0))
        own_usd = price.cost_usd(one.input_tokens, one.output_tokens, one.cached_input_tokens)
        totals[one.arm] = reports + 1, dollars + one.cost_usd, priced + own_usd
    ratios = {
        arm: dollars / priced
        for arm, (reports, dollars, priced) in totals.items()
        if reports >= FEWEST_BILLED and priced > 0.0 and dollars > 0.0
    }
    return {arm: ratio for arm, ratio in ratios.items() if not 1.0 / BILLED_WITHIN <= ratio <= BILLED_WITHIN}


def _typical_input(outcomes: Sequence[UsageOutcome]) -> float | None:
    """Mean input tokens of the queries, without outliers; None if there are none."""
    stated = np.array([float(one.input_tokens) for one in outcomes if one.input_tokens > 0])
    if not stated.size:
        return None
    return float(stated[stated <= WILD_INPUT * np.median(stated)].mean())


def _output_tokens(outcome: UsageOutcome, prices: Prices) -> float | None:
    if outcome.output_tokens is not None:
        return float(outcome.output_tokens)
    price = price_at(prices.get(outcome.arm, ()), outcome.decided_at_us)
    if outcome.cost_usd is None or price is None or price.usd_per_mtok_out <= 0.0:
        return None
    rest_usd = outcome.cost_usd - price.cost_usd(outcome.input_tokens, 0.0)
    return rest_usd / price.usd_per_mtok_out * 1e6


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
    """Whether enough reports have come since the last fit. reports : total now. fitted : total at the last fit."""
    return reports - fitted >= max(FEWEST_NEW, GROWTH * min(fitted, REPORTS_USED))


class AmountModels:
    """Keeps every policy's models current; ``refresh`` is one run of a job on every replica."""

    def __init__(self, *, runtimes: Mapping[str, PolicyRuntime], recent: RecentOutcomes, arms: ArmStore) -> None:
        self._runtimes = runtimes
        self._recent = recent
        self._arms = arms
        self._fitted_at: dict[str, tuple[int, tuple[Arm, ...], tuple[float, ...]]] = {}

    async def refresh(self) -> None:
        """Refit where there are enough new reports or the arms have changed."""
        for name, runtime in self._runtimes.items():
            reports = sum(usage.usage_reports for usage in runtime.usage.values())
            totals = _totals(runtime)
            fitted, arms, before = self._fitted_at.get(name, (0, (), totals))
            new = fit_is_due(reports, fitted) or arms != runtime.arms or _moved(before, totals)
            if not reports or not new:
                continue
            self._fitted_at[name] = (reports, runtime.arms, totals)
            schema = runtime.builder.schema
            outcomes = await self._recent.usage(name, schema.hash, REPORTS_USED, REPORTS_OF_EACH_ARM)
            prices = await self._arms.price_histories(name)
            runtime.adopt_amounts(await asyncio.to_thread(fit_amounts, outcomes, runtime.arms, schema, prices))


def _totals(runtime: PolicyRuntime) -> tuple[float, ...]:
    usage = runtime.usage.values()
    return (
        sum(one.cost_usd for one in usage),
        sum(one.input_tokens for one in usage),
        sum(one.output_tokens for one in usage),
        sum(one.latency_ms_sum for one in usage),
    )


def _moved(before: tuple[float, ...], now: tuple[float, ...]) -> bool:
    """Whether a total changed by more than a few reports could explain, for example through a correction."""
    return any(abs(b - a) > GROWTH * max(abs(a), abs(b)) for a, b in zip(before, now, strict=True))
