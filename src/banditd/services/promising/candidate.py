"""The promise of a release's candidate: a book of its own next to the policy's, with its own keepers.

It starts with what the policy's keepers have seen: recent decisions and the arms' prediction errors. If both sides
make the same promise and differ in nothing else, they share one keeper, and so have the same vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from banditd.core.types import Query
from banditd.deciding.keeper import Keeper
from banditd.deciding.view import RouteView
from banditd.ports import PromisedOutcome
from banditd.services.policy import PolicyRuntime, PolicySwitches
from banditd.services.promising.book import PromiseBook, Standing, typical_usd

_NOTHING = PolicySwitches()


class CandidatePromise(PromiseBook):
    """Idle without a release.

    release_id : the release whose candidate this is for.
    restored : whether the log has been read for it.
    look : returns the candidate's present view, or None.
    """

    def __init__(self, runtime: PolicyRuntime, main: PromiseBook) -> None:
        super().__init__(runtime)
        self._main = main
        self._given = _NOTHING
        self._only_promise = False
        self.look: Callable[[], RouteView | None] = _no_view
        self.release_id: str | None = None
        self.restored = False

    @property
    def switches(self) -> PolicySwitches:
        return self._given

    @property
    def view(self) -> RouteView:
        return self.look() or self._runtime.view

    @property
    def in_force(self) -> bool:
        return super().in_force and self.look() is not None

    @property
    def ready(self) -> bool:
        """Whether it has what it needs to decide queries."""
        return self._given.promise is None or (self.restored and self.solved)

    def follow(self, release_id: str, switches: PolicySwitches, *, only_promise: bool) -> None:
        """Keep the promise of a release's candidate. only_promise : the candidate changes nothing else."""
        if release_id != self.release_id:
            self.end()
            self.release_id = release_id
        if switches != self._given:
            self._given = switches
            self.due = True
            self.wake()
        self._only_promise = only_promise

    def end(self) -> None:
        """The release is over: promise nothing."""
        self._given, self.release_id = _NOTHING, None
        self.restored = self.solved = False
        self.keepers.clear()

    def keeper(self, keep: float, view: RouteView, baseline: int) -> Keeper:
        promise = self._given.promise
        shared = self._main.keepers.get((keep, view.arms[baseline].arm)) if self._only_promise else None
        if shared is not None and promise is not None:
            rule = replace(promise, keep=keep, keep_by_tag=shared.rule.keep_by_tag)
            if shared.rule == rule:
                return shared
        return super().keeper(keep, view, baseline)

    def restore(self, view: RouteView, seen: Sequence[PromisedOutcome]) -> None:
        promise, baseline = self._given.promise, self.baseline(view)
        keep = self.keep_of(Query(policy=self._runtime.name))
        if promise is not None and baseline is not None and keep is not None:
            self.keeper(keep, view, baseline)  # the usual promise, before the first query arrives
        super().restore(view, seen)
        self.restored, self.solved = True, False

    def _begin(self, found: Keeper, standing: Standing) -> None:
        same_baseline = [one for (_, baseline), one in self._main.keepers.items() if baseline == standing[1]]
        others = same_baseline or list(self._main.keepers.values())
        if self.keepers or not others:
            super()._begin(found, standing)
            return
        found.begin_with(others[-1], misses=bool(same_baseline))
        now, then = self.view, self._main.view
        found.promise.window.offer(now.serves, now.serves & ~then.serves, typical_usd(now))


def _no_view() -> None:
    """Used when there is no release, and so no view."""
