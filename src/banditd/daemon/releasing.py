"""Floor 6: the parts that release candidates, made together."""

from __future__ import annotations

from dataclasses import dataclass

from banditd.daemon.workbench import Workbench
from banditd.obs.metrics import Metrics
from banditd.obs.releases import ReleaseMetrics
from banditd.services.candidates.service import CandidateService
from banditd.services.learning.learner import Learner
from banditd.services.releasing.book import ReleaseBook
from banditd.services.releasing.keeping import ReleaseKeeping
from banditd.services.releasing.service import ReleaseService


@dataclass(frozen=True, slots=True, kw_only=True)
class Releasing:
    """Books by policy, the task that keeps them, and the desk."""

    books: dict[str, ReleaseBook]
    keeping: ReleaseKeeping
    service: ReleaseService


def make_releasing(bench: Workbench, learner: Learner, candidates: CandidateService, metrics: Metrics) -> Releasing:
    """The parts; nothing runs yet."""
    books = {name: ReleaseBook(runtime) for name, runtime in bench.runtimes.items()}
    keeping = ReleaseKeeping(
        runtimes=bench.runtimes,
        books=books,
        store=bench.storage.releases,
        learner=learner,
        clock=bench.clock,
        holder=bench.holder,
        metrics=ReleaseMetrics(metrics.registry),
    )
    service = ReleaseService(
        runtimes=bench.runtimes,
        candidates=candidates,
        store=bench.storage.releases,
        clock=bench.clock,
        refresh=keeping.refresh,
    )
    return Releasing(books=books, keeping=keeping, service=service)
