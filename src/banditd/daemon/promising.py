"""Floor 6: the parts that keep promises, made together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from banditd.obs.metrics import Metrics
from banditd.ports import Clock, RecentOutcomes, SwitchStore
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.book import PromiseBook
from banditd.services.promising.keeping import PromiseService
from banditd.services.promising.reports import PromiseReports
from banditd.services.promising.switching import Switching


@dataclass(frozen=True, slots=True, kw_only=True)
class Promising:
    """Books by policy, the task that keeps them, and what is said and switched."""

    books: Mapping[str, PromiseBook]
    keeping: PromiseService
    reports: PromiseReports
    switching: Switching


def make_promising(
    runtimes: Mapping[str, PolicyRuntime],
    recent: RecentOutcomes,
    store: SwitchStore,
    clock: Clock,
    metrics: Metrics,
) -> Promising:
    """The parts; nothing runs yet."""
    books = {name: PromiseBook(runtime) for name, runtime in runtimes.items()}
    switching = Switching(runtimes=runtimes, store=store, clock=clock)
    keeping = PromiseService(runtimes=runtimes, books=books, recent=recent, switching=switching)
    reports = PromiseReports(runtimes=runtimes, books=books, switching=switching, keeping=keeping)
    keeping.observed = partial(reports.observe, metrics)
    return Promising(books=books, keeping=keeping, reports=reports, switching=switching)
