"""Source order against the same rows shuffled, from a cold start: what an abrupt shift of the queries costs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from banditd.bandit.policies.base import PolicySettings
from banditd.replay.contexts import build_contexts
from banditd.replay.decider import InProcessDecider, Terms
from banditd.replay.engine import play
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import make_plan
from banditd.replay.report import make_report
from bench.scenario_figures import Figures, summary
from bench.scenario_targets import Result

CASES = (("bfcl2408", "mid10", None), ("mmlu_pro", "mid8", 5000))
COST_WEIGHT = 0.1


def measure(data: Path, seeds: range, workers: int, *, detection: bool) -> list[Result]:
    """Utility, headroom and alarms per order; in source order the seeds differ only in their draws."""
    jobs = [
        (data / name, pool, limit, order, seeds, detection)
        for name, pool, limit in CASES
        if (data / name).is_dir()
        for order in ("shuffle", "source")
    ]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool_of_workers:
        return list(pool_of_workers.map(_case, jobs))


def _case(job: tuple[Path, str, int | None, str, range, bool]) -> Result:
    directory, pool, limit, order, seeds, detection = job
    options = ReplayOptions(directory=directory, pool=pool, limit=limit, order=order, cost_weight=COST_WEIGHT)
    plan = make_plan(options)
    schema, contexts = build_contexts(plan.data.prompts, with_facts=False)
    figures: list[Figures] = []
    for seed in seeds:
        decider = InProcessDecider(
            schema=schema,
            settings=PolicySettings(change_detection=detection),
            arms=plan.data.arms,
            contexts=contexts,
            seed=seed,
            tariff=plan.tariff(),
            terms=Terms(cost_weight=COST_WEIGHT),
        )
        run = asyncio.run(play(plan, decider, seed, lambda _: None))
        content = make_report(plan, [run]).content
        headroom, utility = content["headroom_score"], content["utility"]
        assert isinstance(headroom, dict)
        assert isinstance(utility, dict)
        alarms = [event for event in decider.state.arm_changes.history if event.kind == "changed"]
        figures.append(
            {
                "utility": utility["mean"],
                "utility, last third": utility["last_third"],
                "headroom": headroom["all"],
                "headroom, last third": headroom["last_third"],
                "alarms": float(len(alarms)),
            }
        )
    return Result("covariate-shift", f"{directory.name} {pool}, {order}", summary(figures))
