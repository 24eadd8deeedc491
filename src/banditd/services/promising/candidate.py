"""What the candidate of a release promises: a book of its own beside the policy's, with keepers of its own.

It begins with what the policy's keepers have seen: their recent decisions, and what arms earn beyond their
predictions. Where a promise is the very same on both sides, and nothing else differs, it is one keeper: so are the
vectors.
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
    """Idle without a release. release_id : whose candidate's it is. restored : whether the log was read for it.

    look : the candidate's view now, None where it has none.
    """

    def __init__(self, runtime: PolicyRuntime, main: PromiseBook) -> None:
        super().__init__(runtime)
        self._main = main
        self._given = _NOTHING
        self._only_promise = False
        self.look: Callable[[], RouteView | None] = _nowhere
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
        """Whether queries can be decided by it."""
        return self._given.promise is None or (self.restored and self.solved)

    def follow(self, release_id: str, switches: PolicySwitches, *, only_promise: bool) -> None:
        """Keep what the candidate of a release promises. only_promise : it differs in nothing else."""
        if release_id != self.release_id:
            self.end()
            self.release_id = release_id
        if switches != self._given:
            self._given = switches
            self.due = True
            self.wake()
        self._only_promise = only_promise

    def end(self) -> None:
        """The release is over: nothing is promised."""
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
            self.keeper(keep, view, baseline)  # of what most queries are promised, before the first one comes
        super().restore(view, seen)
        self.restored, self.solved = True, False

    def _begin(self, found: Keeper, standing: Standing) -> None:
        mine = [one for (_, baseline), one in self._main.keepers.items() if baseline == standing[1]]
        others = mine or list(self._main.keepers.values())
        if self.keepers or not others:
            super()._begin(found, standing)
            return
        found.begin_with(others[-1], misses=bool(mine))
        now, then = self.view, self._main.view
        found.promise.window.offer(now.serves, now.serves & ~then.serves, typical_usd(now))


def _nowhere() -> None:
    """No release, no view."""
