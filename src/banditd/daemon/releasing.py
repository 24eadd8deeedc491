"""Floor 6: the parts that release candidates, made together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from banditd.core.judging import JudgeRule
from banditd.daemon.promising import Promising
from banditd.daemon.workbench import Workbench
from banditd.obs.metrics import Metrics
from banditd.services.anchoring.book import AnchorBook
from banditd.services.books import PolicyBooks
from banditd.services.breakers import Breakers
from banditd.services.candidates.service import CandidateService
from banditd.services.eligibility import SoftExclusions, TrafficCaps
from banditd.services.learning.learner import Learner
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.book import PromiseBook
from banditd.services.promising.candidate import CandidatePromise
from banditd.services.releasing.book import ReleaseBook
from banditd.services.releasing.keeping import ReleaseKeeping
from banditd.services.releasing.service import ReleaseService


@dataclass(frozen=True, slots=True, kw_only=True)
class Releasing:
    """Books by policy, the task that keeps them, and the desk."""

    books: dict[str, ReleaseBook]
    keeping: ReleaseKeeping
    service: ReleaseService

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow what is stored, until the end."""
        await self.keeping.start()
        try:
            yield
        finally:
            await self.keeping.stop()

    def with_books(
        self,
        runtimes: Mapping[str, PolicyRuntime],
        budgets: Mapping[str, BudgetBook],
        promises: Mapping[str, PromiseBook],
        anchors: Mapping[str, AnchorBook],
    ) -> dict[str, PolicyBooks]:
        """All that the decisions of each policy look into."""
        found = {}
        for name, runtime in runtimes.items():
            breakers = Breakers(errors=runtime.config.breaker_errors, open_s=runtime.config.breaker_s)
            guard = SoftExclusions(breakers, TrafficCaps())
            found[name] = PolicyBooks(
                guard=guard,
                budget=budgets[name],
                promise=promises[name],
                release=self.books[name],
                anchor=anchors[name],
            )
        return found


def make_releasing(
    bench: Workbench,
    learner: Learner,
    candidates: CandidateService,
    promising: Promising,
    judges: Sequence[JudgeRule],
    metrics: Metrics,
) -> Releasing:
    """The parts; nothing runs yet. The promises of candidates are kept by whoever keeps the policies'."""
    promises = {name: CandidatePromise(one, promising.books[name]) for name, one in bench.runtimes.items()}
    promising.keeping.candidates = promises
    books = {name: ReleaseBook(runtime, promises[name]) for name, runtime in bench.runtimes.items()}
    keeping = ReleaseKeeping(
        runtimes=bench.runtimes,
        books=books,
        store=bench.storage.releases,
        learner=learner,
        clock=bench.clock,
        holder=bench.holder,
        metrics=metrics.releases,
        switching=promising.switching,
    )
    keeping.measures = partial(_measures, bench.runtimes, judges)
    service = ReleaseService(
        runtimes=bench.runtimes,
        candidates=candidates,
        store=bench.storage.releases,
        clock=bench.clock,
        keeping=keeping,
    )
    return Releasing(books=books, keeping=keeping, service=service)


def _measures(runtimes: Mapping[str, PolicyRuntime], judges: Sequence[JudgeRule], policy: str) -> Mapping[str, str]:
    """What a release of the policy is measured with: its judges and rubrics, and what its arms cost."""
    found = {f"judge {judge.name}": judge.version for judge in judges if judge.judges(policy)}
    return found | {f"the price of {arm.arm}": repr(arm.price) for arm in runtimes[policy].arms}
