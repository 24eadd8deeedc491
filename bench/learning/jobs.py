"""Passes spread over processes; the parent alone writes the cache and shows progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from bench.learning import minilm
from bench.learning.cache import Cache, Job
from bench.learning.play import play_once
from bench.learning.policies import BY_NAME
from bench.learning.prepared import plan_of, prepare

Progress = Callable[[Job | None, int, int], None]  # (what was done, done, in all)


def run_missing(
    jobs: Sequence[Job], cache: Cache, *, workers: int, progress: Progress, tell: Callable[[str], None]
) -> int:
    """Play every pass that the cache does not have. Returns how many were played."""
    missing = cache.missing(jobs)
    for case in dict.fromkeys(job.case for job in missing if BY_NAME[job.policy].wants_minilm):
        minilm.ensure(plan_of(case).data.prompts, tell)
    progress(None, 0, len(missing))
    if workers == 1 or len(missing) < 2:
        for done, job in enumerate(missing, start=1):
            cache.put(job, _play(job))
            progress(job, done, len(missing))
        return len(missing)
    with ProcessPoolExecutor(
        max_workers=min(workers, os.cpu_count() or 1), mp_context=get_context("spawn"), initializer=_one_thread
    ) as pool:
        waiting = {pool.submit(_play, job): job for job in missing}
        for done, finished in enumerate(as_completed(waiting), start=1):
            job = waiting[finished]
            cache.put(job, finished.result())
            progress(job, done, len(missing))
    return len(missing)


def _one_thread() -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _play(job: Job) -> dict[str, object]:
    return play_once(prepare(job.case), BY_NAME[job.policy], job.seed)
