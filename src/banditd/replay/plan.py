"""What a replay plays: a folder cut to what the options ask for, and the record of one pass over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from banditd.bandit.posterior.prior import Prior
from banditd.core.errors import InvalidInputError
from banditd.core.types import FloatArray, IntArray
from banditd.ope.reference import Verdict
from banditd.replay.dataset import ReplayData, load_dataset
from banditd.replay.options import BASELINES, ReplayOptions
from banditd.replay.prices import Tariff


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A folder cut to what the options ask for.

    warmup, scored : row indices into ``data`` in source order; ``warmup_rows`` of the scored are played
    unscored all the same, others in every seed. penalty : float64 (K,), utility taken off
    each arm, known in advance; zeros under a budget. price : utility per dollar behind it.
    """

    options: ReplayOptions
    data: ReplayData
    warmup: IntArray
    scored: IntArray
    penalty: FloatArray
    price: float

    @property
    def decisions(self) -> int:
        return (self.warmup.size + self.scored.size) * self.options.seeds

    def order(self, seed: int) -> tuple[IntArray, IntArray]:
        """(warm-up rows, scored rows) in the order of a seed; ``warmup_rows`` end the warm-up."""
        warmup, scored = self.warmup, self.scored
        if self.options.order != "source":
            generator = np.random.default_rng(seed)
            scored = generator.permutation(scored)
            warmup = generator.permutation(warmup)
        first = int(self.options.warmup_rows * scored.size)
        return np.concatenate([warmup, scored[:first]]), scored[first:]

    def tariff(self) -> Tariff:
        """Mean costs of the scored rows, known in advance; under a budget list prices, the options' first."""
        budget_usd = self.options.budget_usd
        if budget_usd is None:
            return Tariff.of_means(self.data.cost_usd[self.scored].mean(axis=0), self.data.n_rows)
        prices = {**self.data.prices, **self.options.prices}
        return Tariff.of_list(prices, self.data.arms, self.data.prompts, budget_usd)

    def warmup_arms(self, seed: int) -> dict[int, int]:
        """Position in a seed's order -> arm that serves there: the randomised part of its warm-up."""
        if self.options.warmup_policy != "uniform":
            return {}
        first = int(self.options.warmup_rows * self.scored.size)
        drawn = np.random.default_rng([seed, 3]).integers(len(self.data.arms), size=first)
        return {self.warmup.size + position: int(arm) for position, arm in enumerate(drawn)}


def make_plan(options: ReplayOptions) -> Plan:
    """Read the folder and choose rows.

    Raises
    ------
    InvalidInputError : the folder, pool or split cannot be used.
    """
    data = load_dataset(options.directory, options.pool)
    everything = np.arange(data.n_rows, dtype=np.intp)
    scored = everything if options.split is None else data.rows_of(options.split)
    warmup = np.zeros(0, dtype=np.intp)
    if options.warmup_split is not None:
        warmup = data.rows_of(options.warmup_split)
        scored = scored[~np.isin(scored, warmup)]
    if unknown := sorted(set(options.prices) - set(data.arms)):
        raise InvalidInputError(
            f"There is no arm {unknown[0]!r} to price; arms: {', '.join(data.arms)}.", field="/price"
        )
    if options.keep is not None and options.baseline not in {*BASELINES, *data.arms}:
        raise InvalidInputError(
            f"There is no arm {options.baseline!r} to be the baseline; {', '.join(BASELINES)} or one of: "
            f"{', '.join(data.arms)}.",
            field="/baseline",
        )
    for source in options.feedback:
        source.check_arm(data.arms)
    if scored.size == 0:
        raise InvalidInputError("No row is left to score: the warm-up split takes them all.", field="/split")
    if options.limit is not None and options.limit < scored.size:
        drawn = np.random.default_rng(0).permutation(scored.size)[: options.limit]
        scored = scored[np.sort(drawn)]
        used = np.union1d(warmup, scored)  # nothing else is read, encoded or drawn for
        data, warmup, scored = data.take(used), np.searchsorted(used, warmup), np.searchsorted(used, scored)
    mean_cost = data.cost_usd[scored].mean(axis=0)
    dearest = float(mean_cost.max())
    price = (options.cost_weight or 0.0) / dearest if dearest > 0 else 0.0
    return Plan(options=options, data=data, warmup=warmup, scored=scored, penalty=price * mean_cost, price=price)


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedRun:
    """One pass.

    rows : scored rows in the order played. chosen : arm of each. Times are medians or None.
    rewards : how many the learner got, in the warm-up too. probe_rewards : of arms that did not serve, beside them.
    prior : what it knew at the end, where asked for.
    probability : the vectors that ``chosen`` was drawn from, float64 (n, K), or None when they are unknown.
    verdict : what the promise's own evidence says, None without a promise.
    """

    seed: int
    rows: IntArray
    chosen: IntArray
    choose_us: float | None
    update_us: float | None
    rewards: int
    probe_rewards: int = 0
    prior: Prior | None = None
    probability: FloatArray | None = None
    verdict: Verdict | None = None
