"""The open release of one policy in this process: whose side a query is on, and how the candidate would decide.

The candidate decides from the very state that the incumbent does: its snapshot is made anew with every one that is
published, and is of the same version. Where it is not there yet, the incumbent decides.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from banditd.bandit.snapshot import Snapshot
from banditd.core.errors import BanditdError
from banditd.core.ids import new_id
from banditd.core.release import ReleasePart
from banditd.core.types import Query
from banditd.deciding.decide import Case, Situation
from banditd.deciding.release_course import Release
from banditd.deciding.rollout import place_of
from banditd.deciding.view import RouteView
from banditd.services.candidates.applying import Applied, apply_candidate
from banditd.services.candidates.rebinding import rebound
from banditd.services.policy import PolicyRuntime

logger = logging.getLogger(__name__)
_PLACES: Final = 2.0**64
LATE_US: Final = 2_000_000
"""Another replica may go on so long with a release that has ended."""


class ReleaseBook:
    """release : the open one, as it was read last; None for none. ended : those that were taken back lately.
    problem : why the open one's candidate cannot be applied.
    """

    def __init__(self, runtime: PolicyRuntime) -> None:
        self._runtime = runtime
        self.release: Release | None = None
        self.ended: tuple[Release, ...] = ()
        self.problem: str | None = None
        self._applied: Applied | None = None
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
            return False
        self._runtime.rebind = self.rebind
        return before is None or before.release_id != release.release_id

    def rebind(self) -> None:
        """Make the candidate's snapshot of the state that is being published."""
        release, runtime = self.release, self._runtime
        if release is None:
            return
        try:
            self._applied = apply_candidate(runtime, release.candidate)
            self._snapshot = rebound(runtime.view.snapshot, runtime.learned, self._applied.config.settings)
        except BanditdError as error:
            self._applied = self._snapshot = None
            if self.problem != error.message:
                logger.warning(
                    "release.not_applicable", extra={"release_id": release.release_id, "error": error.message}
                )
            self.problem = error.message
        else:
            self.problem = None

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
        return ReleasePart(release.release_id, f"{int(place * _PLACES):016x}", release.share, place < release.share)

    def situation(self, situation: Situation) -> Situation | None:
        """The candidate's, beside the incumbent's; None while its snapshot is another version's."""
        applied, snapshot = self._applied, self._snapshot
        if applied is None or snapshot is None:
            return None
        now = situation.view.snapshot
        if (snapshot.version, snapshot.arms) != (now.version, now.arms):
            return None
        if self._view is None or situation.view is not self._beside:
            self._view, self._beside = self._runtime.other_view(snapshot, applied.arms), situation.view
        return replace(
            situation,
            view=self._view,
            exploration_floor=applied.config.settings.floor,
            cost_weight=applied.config.cost_weight,
        )
