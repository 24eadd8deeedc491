"""One policy's open release in this process: which side a query is on, and how the candidate decides.

The candidate decides from the same learned state as the incumbent: its snapshot is rebuilt with every published one
and has the same version. Until it exists, and until the candidate's own promise has terms, the incumbent decides.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

from banditd.bandit.snapshot import Snapshot
from banditd.core.errors import BanditdError
from banditd.core.ids import new_id
from banditd.core.release import ReleasePart
from banditd.core.types import Query
from banditd.deciding.decide import Case, Situation
from banditd.deciding.release import Parted
from banditd.deciding.release_course import Release
from banditd.deciding.rollout import place_of
from banditd.deciding.view import RouteView
from banditd.services.candidates.applying import Applied, apply_candidate
from banditd.services.candidates.rebinding import rebound
from banditd.services.policy import PolicyRuntime, PolicySwitches
from banditd.services.promising.candidate import CandidatePromise

logger = logging.getLogger(__name__)
LATE_US: Final = 2_000_000
"""How long another replica may go on with a release that has ended."""


class ReleaseBook:
    """Follows a policy's open release.

    release : as last read, or None.
    ended : recently rolled-back releases.
    problem : why the open release's candidate cannot be applied.
    promise : the candidate's.
    """

    def __init__(self, runtime: PolicyRuntime, promise: CandidatePromise) -> None:
        self._runtime = runtime
        self.promise = promise
        promise.look = self.view
        self.release: Release | None = None
        self.ended: tuple[Release, ...] = ()
        self.problem: str | None = None
        self._applied: Applied | None = None
        self._switches: PolicySwitches | None = None
        self._snapshot: Snapshot | None = None
        self._beside: RouteView | None = None
        self._view: RouteView | None = None

    @property
    def idle(self) -> bool:
        """Whether no query is affected by a release; a rollout or shadow mode takes precedence."""
        switches = self._runtime.switches
        return self.release is None or switches.rollout < 1.0 or switches.mode != "route"

    def adopt(self, release: Release | None) -> bool:
        """Follow a release.

        Returns whether it is a new one, whose candidate gets its snapshot with the next publication.
        """
        before, self.release = self.release, release
        if release is None:
            self._runtime.rebind = None
            self.problem = self._applied = self._snapshot = self._beside = self._view = None
            self.promise.end()
            return False
        self._runtime.rebind = self.rebind
        if before is None or before.release_id != release.release_id:
            self._applied = self._snapshot = self._view = self._beside = None
            self.promise.end()
            return True
        if before.candidate != release.candidate:
            self._apply()
        return False

    def rebind(self) -> None:
        """Build the candidate's snapshot from the state that is being published."""
        self._snapshot = None
        applied = self._apply()
        if applied is not None:
            self._snapshot = rebound(self._runtime.view.snapshot, self._runtime.learned, applied.config.settings)

    def _apply(self) -> Applied | None:
        """The candidate applied to the present policy; None if it cannot be."""
        release, runtime = self.release, self._runtime
        self._applied, self._switches, self._view = None, runtime.switches, None
        if release is None:
            return None
        try:
            applied = apply_candidate(runtime, release.candidate)
        except BanditdError as error:
            if self.problem != error.message:
                logger.warning(
                    "release.not_applicable", extra={"release_id": release.release_id, "error": error.message}
                )
            self.problem = error.message
            return None
        self._applied, self.problem = applied, None
        config = replace(runtime.config, switches=applied.config.switches)
        only_promise = config == applied.config and applied.arms == runtime.arms
        self.promise.follow(release.release_id, applied.config.switches, only_promise=only_promise)
        return applied

    @property
    def promoting(self) -> dict[str, object]:
        """The policy's switches after a promotion of the candidate."""
        release, applied = self.release, self._applied
        if release is None or applied is None or "promise" not in release.candidate.settings:
            return {}
        return switches_of(applied)

    # ---------------------------------------------------------------- a query

    def gave(self, session: str, at_us: int) -> bool:
        """Whether a session's arm came from a candidate that was rolled back. at_us : when it was last used."""
        return any(
            at_us < one.ended_at_us + LATE_US
            and place_of(one.release_id, session) < one.terms.steps[one.step]
            and at_us >= one.created_at_us
            for one in self.ended
            if one.ended_at_us is not None
        )

    def parts(self, cases: Sequence[Case]) -> list[ReleasePart | None] | None:
        """The side of each query; None if none takes part."""
        release = self.release
        if release is None or self.idle:
            return None
        return [None if case.query.pinned else self._part(case.query, release) for case in cases]

    def _part(self, query: Query, release: Release) -> ReleasePart:
        unit = query.session_key or (query.key_name if release.terms.unit == "key" else None) or new_id(0)
        place = place_of(release.release_id, unit)
        return ReleasePart.at(release.release_id, place, release.share)

    def situation(self, situation: Situation) -> Situation | None:
        """The candidate's situation, given the incumbent's; None while it lacks a snapshot or terms."""
        if self._switches is not self._runtime.switches:
            self._apply()  # the promise has been patched
        applied, view = self._applied, self.view(situation.view)
        if applied is None or view is None or not self.promise.ready:
            return None
        return replace(
            situation,
            view=view,
            exploration_floor=applied.config.settings.floor,
            cost_weight=applied.config.cost_weight,
        )

    def view(self, beside: RouteView | None = None) -> RouteView | None:
        """The candidate's view, given the incumbent's; None while its snapshot has another version."""
        applied, snapshot = self._applied, self._snapshot
        beside = beside or (self._runtime.view if self._runtime.ready else None)
        if applied is None or snapshot is None or beside is None:
            return None
        if (snapshot.version, snapshot.arms) != (beside.snapshot.version, beside.snapshot.arms):
            return None
        if self._view is None or beside is not self._beside:
            self._view, self._beside = self._runtime.view_of(snapshot, applied.arms), beside
        return self._view

    def asking(self, cases: list[Case], candidate: Situation) -> list[Case]:
        """The cases with the candidate's promise in place of the policy's."""
        if self.promise.idle and all(case.pledge is None for case in cases):
            return cases
        theirs = [replace(case, pledge=None) for case in cases]
        self.promise.asking(theirs, candidate.view)
        return theirs

    def observe(self, one: Parted) -> None:
        """Record how the candidate decided a query that will be stored, whichever side it is on."""
        side = one.candidate
        self.promise.observe(self.promise.view, [side.case], side.decided, [side.row])


def switches_of(applied: Applied) -> dict[str, object]:
    """The promise of a policy with a candidate applied, in the form of stored switches."""
    promise = applied.config.switches.promise
    return {"promise": None if promise is None else asdict(promise)}
