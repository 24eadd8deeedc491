"""The open release of one policy in this process: whose side a query is on, and how the candidate would decide.

The candidate decides from the very state that the incumbent does: its snapshot is made anew with every one that is
published, and is of the same version. Where it is not there yet, the incumbent decides. So it does until the
candidate's own promise has terms.
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
"""Another replica may go on so long with a release that has ended."""


class ReleaseBook:
    """release : the open one, as it was read last; None for none. ended : those that were taken back lately.
    problem : why the open one's candidate cannot be applied. promise : the candidate's.
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
        """Whether no query has anything to do with a release: a rollout or a shadow goes first."""
        switches = self._runtime.switches
        return self.release is None or switches.rollout < 1.0 or switches.mode != "route"

    def adopt(self, release: Release | None) -> bool:
        """Follow a release. Whether it is a new one, whose candidate has a snapshot with the next publication."""
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
        """Make the candidate's snapshot of the state that is being published."""
        self._snapshot = None
        applied = self._apply()
        if applied is not None:
            self._snapshot = rebound(self._runtime.view.snapshot, self._runtime.learned, applied.config.settings)

    def _apply(self) -> Applied | None:
        """The candidate's difference to the policy as it stands now; None where it cannot be applied."""
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
        """What becomes of the policy's switches where the candidate is promoted."""
        release, applied = self.release, self._applied
        if release is None or applied is None or "promise" not in release.candidate.settings:
            return {}
        return switches_of(applied)

    # ---------------------------------------------------------------- a query

    def gave(self, session: str, at_us: int) -> bool:
        """Whether a session has its arm of a candidate that was taken back; at_us : when it was used last."""
        return any(
            at_us < one.ended_at_us + LATE_US
            and place_of(one.release_id, session) < one.terms.steps[one.step]
            and at_us >= one.created_at_us
            for one in self.ended
            if one.ended_at_us is not None
        )

    def parts(self, cases: Sequence[Case]) -> list[ReleasePart | None] | None:
        """On which side each query is; None where none is on any."""
        release = self.release
        if release is None or self.idle:
            return None
        return [None if case.query.pinned else self._part(case.query, release) for case in cases]

    def _part(self, query: Query, release: Release) -> ReleasePart:
        unit = query.session_key or (query.key_name if release.terms.unit == "key" else None) or new_id(0)
        place = place_of(release.release_id, unit)
        return ReleasePart.at(release.release_id, place, release.share)

    def situation(self, situation: Situation) -> Situation | None:
        """The candidate's, beside the incumbent's; None while it has no snapshot or no terms of its own."""
        if self._switches is not self._runtime.switches:
            self._apply()  # another promise was patched meanwhile
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
        """The candidate's view beside the incumbent's; None while its snapshot is another version's."""
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
        """The cases with what the candidate promises in place of what the policy does."""
        if self.promise.idle and all(case.pledge is None for case in cases):
            return cases
        theirs = [replace(case, pledge=None) for case in cases]
        self.promise.asking(theirs, candidate.view)
        return theirs

    def observe(self, one: Parted) -> None:
        """Note how the candidate has decided a query that will be stored, on whichever side it is."""
        side = one.candidate
        self.promise.observe(self.promise.view, [side.case], side.decided, [side.row])


def switches_of(applied: Applied) -> dict[str, object]:
    """The promise of a policy with a candidate's difference, as switches are stored."""
    promise = applied.config.switches.promise
    return {"promise": None if promise is None else asdict(promise)}
