"""What a replay plays: a folder cut to what the options ask for, and the record of one pass over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from banditd.bandit.posterior.prior import Prior
from banditd.core.errors import ConfigurationError, InvalidInputError
from banditd.core.recipes import Recipe
from banditd.core.types import BoolArray, FloatArray, IntArray
from banditd.deciding.chains.guard import GuardRecord
from banditd.deciding.recipes import in_order, parse_recipe, propose
from banditd.ope.reference import Verdict
from banditd.replay.dataset import ReplayData, load_dataset
from banditd.replay.options import BASELINES, ReplayOptions
from banditd.replay.prices import Tariff
from banditd.replay.recipe_arms import RecipeArms
from banditd.replay.references import column_means
from banditd.replay.signals import AnswerKind, Signals, same_answers


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
        """Of all passes: a cascade's seeds are played twice."""
        return (self.warmup.size + self.scored.size) * self.options.seeds * (2 if self.options.cascade else 1)

    def order(self, seed: int) -> tuple[IntArray, IntArray]:
        """(warm-up rows, scored rows) in the order of a seed; ``warmup_rows`` end the warm-up."""
        warmup, scored = self.warmup, self.scored
        if self.options.order != "source":
            generator = np.random.default_rng(seed)
            scored = generator.permutation(scored)
            warmup = generator.permutation(warmup)
        first = int(self.options.warmup_rows * scored.size)
        return np.concatenate([warmup, scored[:first]]), scored[first:]

    def baseline_arm(self) -> int:
        """The baseline of the options: ``dearest``, ``cheapest``, ``best`` over the scored rows, or by name.

        It is a model: what would answer without a router.
        """
        named, models = self.options.baseline, self.data.n_models
        mean_usd = self.data.cost_usd[self.scored, :models].mean(axis=0)
        if named == "dearest":
            return int(mean_usd.argmax())
        if named == "cheapest":
            return int(mean_usd.argmin())
        if named == "best":
            return int(column_means(self.data.score[self.scored, :models]).argmax())
        return self.data.arms.index(named)

    def earned(self, run: SeedRun) -> FloatArray:
        """Utility of every decision of a run, all calls paid: float64 (n,), NaN where the score is missing."""
        found: FloatArray = (self.data.score - self.penalty)[run.rows, run.chosen]
        if run.chains is None:
            return found
        return found - run.chains.beside(run.chosen) @ self.penalty - self.price * run.chains.signals_usd

    def spent_usd(self, run: SeedRun) -> FloatArray:
        """What every decision of a run has cost, all calls and signals: float64 (n,)."""
        cost_usd = self.data.cost_usd[run.rows]
        if run.chains is None:
            found: FloatArray = cost_usd[np.arange(run.rows.size), run.chosen]
            return found
        all_calls: FloatArray = np.where(run.chains.called, cost_usd, 0.0).sum(axis=1) + run.chains.signals_usd
        return all_calls

    def tariff(self) -> Tariff:
        """Mean costs of the scored rows, known in advance; under a budget list prices, the options' first.

        A cost weight counts mean costs. Under a promise each answer's cost counts, and what it will be is learned.
        """
        data, budget_usd = self.data, self.options.budget_usd
        if budget_usd is None:
            mean_usd = data.cost_usd[self.scored, : data.n_models].mean(axis=0)
            of_means = Tariff.of_means if self.options.keep is None else Tariff.of_mean_answers
            tariff = of_means(mean_usd, data.n_rows)
        else:
            prices = {**data.prices, **self.options.prices}
            tariff = Tariff.of_list(prices, data.arms[: data.n_models], data.prompts, budget_usd)
        return replace(tariff.with_recipes(data.recipes), tiers=self.options.tiers)

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
    InvalidInputError : the folder, pool or split cannot be used; or nobody knows what a sheet's baseline costs.
    """
    data = load_dataset(options.directory, options.pool, options.prices, options.context_tags)
    if options.recipes is not None:
        data = with_recipes(data, options.recipes, options.answers)
    options.check_shares(data.arms)
    models = data.arms[: data.n_models]
    everything = np.arange(data.n_rows, dtype=np.intp)
    scored = everything if options.split is None else data.rows_of(options.split)
    warmup = np.zeros(0, dtype=np.intp)
    if options.warmup_split is not None:
        warmup = data.rows_of(options.warmup_split)
        scored = scored[~np.isin(scored, warmup)]
    if unknown := sorted(set(options.prices) - set(models)):
        raise InvalidInputError(
            f"There is no arm {unknown[0]!r} to price; arms: {', '.join(models)}.", field="/price"
        )
    if options.keep is not None and options.baseline not in {*BASELINES, *models}:
        raise InvalidInputError(
            f"There is no arm {options.baseline!r} to be the baseline; {', '.join(BASELINES)} or one of: "
            f"{', '.join(models)}.",
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
    dearest = float(mean_cost[: data.n_models].max())
    price = (options.cost_weight or 0.0) / dearest if dearest > 0 else 0.0
    plan = Plan(options=options, data=data, warmup=warmup, scored=scored, penalty=price * mean_cost, price=price)
    if options.keep is not None and data.is_sheet and (baseline := data.arms[plan.baseline_arm()]) in data.unpriced:
        raise InvalidInputError(
            f"no price of {baseline} is known: give --price {baseline}=IN,OUT, or a column {baseline}|cost_usd",
            field="/baseline",
        )
    return plan


def with_recipes(data: ReplayData, wanted: str, kind: AnswerKind | None = None) -> ReplayData:
    """The data with recipes as further arms.

    wanted : ``a+b>c,d|e``, or ``auto:N`` for what the mean costs of the models propose. kind : of their answers.

    Raises
    ------
    InvalidInputError : no recipe can be made of that, or nobody knows which answers are equal.
    """
    models, signals = data.arms, data.signals
    try:
        named = _recipes(wanted, dict(zip(models, data.cost_usd.mean(axis=0).tolist(), strict=True)))
        recipes = in_order(named, models)
    except ConfigurationError as error:
        raise InvalidInputError(str(error), field="/recipes") from error
    same = same_answers(signals or Signals(values={}, texts={}), models, kind)
    arms = RecipeArms.of(recipes, models, same)
    score, cost_usd = arms.columns(data.score, data.cost_usd)
    return replace(
        data,
        arms=(*models, *(recipe.arm for recipe in recipes)),
        score=np.column_stack([data.score, score]),
        cost_usd=np.column_stack([data.cost_usd, cost_usd]),
        recipes=arms,
        notes=(*data.notes, *_fewer(wanted, len(recipes))),
        signals=None,  # texts may be long, and no one reads them from here on
    )


def _recipes(wanted: str, cost_usd: Mapping[str, float]) -> tuple[Recipe, ...]:
    if not wanted.startswith("auto"):
        return tuple(parse_recipe(text.strip(), cost_usd) for text in wanted.split(","))
    number = wanted.removeprefix("auto:")
    if not number.isdecimal() or int(number) < 1:
        raise InvalidInputError(f"auto:N proposes N recipes, auto:2 for example; got {wanted!r}.", field="/recipes")
    found = propose(int(number), cost_usd)
    if not found:
        raise InvalidInputError(
            "No recipe of these models would save anything: it takes two cheap ones and a third at more than twice "
            "their price.",
            field="/recipes",
        )
    return found


def _fewer(wanted: str, found: int) -> list[str]:
    """A note where ``auto:N`` found fewer than N."""
    number = wanted.removeprefix("auto:")
    if not wanted.startswith("auto") or found >= int(number):
        return []
    are = f"{found} recipes are" if found > 1 else "1 recipe is"
    return [f"{wanted}: {are} all that would save anything here, by what the models cost"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainRun:
    """What the chains of a pass were; arrays are aligned with its rows.

    called : bool (n, K). first : the arm that began, intp (n,). may_go_on : whether it was a chain at all, or plain
    routing, bool (n,). signals_usd : what was paid for signals, float64 (n,). guard : its record. routing : the same
    shuffle without chains.
    """

    called: BoolArray
    first: IntArray
    may_go_on: BoolArray
    signals_usd: FloatArray
    guard: GuardRecord
    routing: SeedRun

    def beside(self, kept: IntArray) -> FloatArray:
        """Calls of arms whose answer was not kept: float64 (n, K), 0 or 1."""
        found = self.called.astype(np.float64)
        found[np.arange(kept.size), kept] = 0.0
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedRun:
    """One pass.

    rows : scored rows in the order played. chosen : arm of each. Times are medians or None.
    rewards : how many the learner got, in the warm-up too. probe_rewards : of arms that did not serve, beside them.
    prior : what it knew at the end, where asked for.
    probability : the vectors that ``chosen`` was drawn from, float64 (n, K), or None when they are unknown.
    verdict : what the promise's own evidence says, None without a promise.
    chains : of a cascade; ``chosen`` are the arms whose answers were kept.
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
    chains: ChainRun | None = None
