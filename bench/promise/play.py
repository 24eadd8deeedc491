"""One pass under a promise, its figures, and what hindsight would have had on the same rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np

from banditd.core.types import Context, FeatureSchema
from banditd.ope.reference import TOLERANCE
from banditd.replay.contexts import build_contexts
from banditd.replay.engine import play_seed
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import Plan, SeedRun, make_plan
from banditd.replay.promise import baseline_arm, contextual, mixture, single
from banditd.replay.references import column_means
from bench.promise import company, first_day
from bench.promise.cases import COMPANY, DATA, MADE_UP, POOLS, ROWS, Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one pass: quality and cost as shares of the baseline's on the same rows.

    noise : standard error of ``quality`` over the draw of rows, paired. earns : the baseline's mean reward. covers :
    whether the interval of the ratio covers the truth, None without an interval. wrong : whether what is said of the
    promise (held or broken) is false.
    """

    seed: int
    quality: float
    quality_100: float
    quality_500: float
    quality_last: float
    cost: float
    cost_100: float
    cost_500: float
    cost_last: float
    baseline: float
    baseline_last: float
    noise: float
    noise_500: float
    earns: float
    held: str
    covers: bool | None
    wrong: bool

    def fields(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight:
    """Least cost shares at the promised quality, or at MixLLM's where ``keep`` is that.

    one : a single arm. coin : the best toss between two. by_task : an arm per task by hand, with every mean known.
    weight : a linear model of the contexts with the best price, held out.
    """

    one: float | None
    coin: float | None
    by_task: float
    weight: float | None

    def fields(self) -> dict[str, object]:
        return asdict(self)


def play(case: Case, seed: int) -> Figures:
    """A cold pass."""
    plan, schema, contexts = prepared(case, seed)
    run = play_seed(plan, schema, contexts, seed)
    return figures(plan, run)


def figures(plan: Plan, run: SeedRun) -> Figures:
    """What became of the promise, by the truth of every row."""
    data, keep, b = plan.data, plan.options.keep or 1.0, baseline_arm(plan)
    row, n = run.rows, run.rows.size
    got, base = data.score[row, run.chosen], data.score[row, b]
    spent, dear = data.cost_usd[row, run.chosen], data.cost_usd[row, b]
    known = np.isfinite(got) & np.isfinite(base)
    last, first = slice(n - max(n // 3, 1), n), slice(0, 500)

    def quality(part: slice) -> float:
        total = float(base[part][known[part]].sum())
        return float(got[part][known[part]].sum()) / total if total > 0.0 else 1.0

    def noise(part: slice) -> float:
        mine, other = got[part][known[part]], base[part][known[part]]
        mean = max(float(other.mean()), 1e-9)
        return float((mine - quality(part) * other).std()) / mean / float(np.sqrt(max(mine.size, 1)))

    def cost(part: slice) -> float:
        return float(spent[part].sum()) / max(float(dear[part].sum()), 1e-300)

    everything, verdict = slice(0, n), run.verdict
    whole = quality(everything)
    held = "unknown" if verdict is None else verdict.held(keep)
    interval = None if verdict is None or verdict.low is None or verdict.high is None else (verdict.low, verdict.high)
    true = whole >= keep - TOLERANCE
    return Figures(
        seed=run.seed,
        quality=whole,
        quality_100=quality(slice(0, 100)),
        quality_500=quality(first),
        quality_last=quality(last),
        cost=cost(everything),
        cost_100=cost(slice(0, 100)),
        cost_500=cost(first),
        cost_last=cost(last),
        baseline=float((run.chosen == b).mean()),
        baseline_last=float((run.chosen[last] == b).mean()),
        noise=noise(everything),
        noise_500=noise(first),
        earns=float(base[np.isfinite(base)].mean()),
        held=held,
        covers=None if interval is None else interval[0] <= whole <= interval[1],
        wrong=(held == "yes" and not true) or (held == "no" and true),
    )


def hindsight(case: Case, keep: float | None = None) -> Hindsight:
    """Of the rows of a case, at its quality or another."""
    plan, _, contexts = prepared(case if keep is None else replace(case, keep=keep), 0)
    b, rows = baseline_arm(plan), np.sort(plan.scored)
    x = np.stack([context.x for context in contexts])
    return Hindsight(
        one=single(plan, rows, b),
        coin=mixture(plan, rows, b),
        by_task=by_task(plan, b),
        weight=contextual(plan, rows, b, x),
    )


def by_task(plan: Plan, b: int) -> float:
    """Cost share where each task has the cheapest arm that keeps the promise on it."""
    data, rows = plan.data, plan.scored
    total, keep = 0.0, plan.options.keep or 1.0
    for label in np.unique(data.category[rows]):
        mine = rows[data.category[rows] == label]
        reward, spent = column_means(data.score[mine]), data.cost_usd[mine].sum(axis=0)
        good = reward >= keep * reward[b] - 1e-12
        total += float(spent[good].min()) if good.any() else float(spent[b])
    return total / max(float(data.cost_usd[rows, b].sum()), 1e-300)


def prepared(case: Case, seed: int) -> tuple[Plan, FeatureSchema, list[Context]]:
    """The plan of a case and the contexts of its rows."""
    if case.pool in MADE_UP:
        made_up = company if case.pool == COMPANY else first_day
        plan = made_up.plan(case.keep, case.baseline, seed)
        return plan, *_contexts(plan.data.prompts)
    plan = _plan(case.pool)
    options = replace(plan.options, keep=case.keep, baseline=case.baseline, reward_rate=case.rate)
    plan = replace(plan, options=options)
    return plan, *_contexts(plan.data.prompts)


def arm_of(case: Case) -> str:
    """The baseline by name."""
    plan, _, _ = prepared(case, 0)
    return plan.data.arms[baseline_arm(plan)]


@lru_cache(maxsize=2)
def _plan(pool: str) -> Plan:
    folder, arms = POOLS[pool]
    return make_plan(ReplayOptions(directory=DATA / folder, pool=arms, limit=ROWS, keep=1.0))


@lru_cache(maxsize=2)
def _contexts(prompts: tuple[str, ...]) -> tuple[FeatureSchema, list[Context]]:
    return build_contexts(prompts, with_facts=False)
