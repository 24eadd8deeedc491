"""What releases need to be kept: how each stands, its history, and what was promoted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from banditd.core.candidate import Candidate
from banditd.core.release import RatedSides, UnitOutcome
from banditd.deciding.release_course import Author, Release, ReleaseEvent
from banditd.deciding.release_points import ReleasePoint

Change = Callable[[Release], tuple[Release, Sequence[ReleaseEvent]]]
"""What a verb makes of a release. Pure; it may be called again. What it raises is raised, and nothing is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A candidate that became the incumbent.

    arms_before : what it replaced, arm to its fields. switches_before : what was stored of the switches that it
    changed; None where it changed none. switches_after : what it changed them to.
    """

    release_id: str
    candidate: Candidate
    arms_before: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    at_us: int = 0
    switches_before: Mapping[str, object] | None = None
    switches_after: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """What a rollback has undone: the open release, which is aborted, or the newest promotion.

    dropped : what was changed after the promotion and went with it, such as ``promise.keep: 0.92``.
    """

    what: Release | Promotion
    dropped: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingReleases:
    """What replicas follow. releases : the open one of each policy. ended : those that were taken back since the
    moment that was given. promoted : by policy, oldest first.
    """

    releases: Mapping[str, Release]
    promoted: Mapping[str, Sequence[Promotion]]
    ended: Sequence[Release] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLook:
    """What an open release is to be told of.

    differs : mean share of its newest decisions on which the two differ. matures_us : outcomes of younger decisions
    wait. waiting : whether some have waited long enough. rated : decisions that were not counted yet; None for none.
    """

    outcomes: Sequence[UnitOutcome]
    differs: float | None
    matures_us: int = 0
    waiting: bool = False
    rated: RatedSides | None = None


class ReleaseStore(Protocol):
    async def standing(self, since_us: int) -> StandingReleases:
        """What is open, what was taken back since then, and what was promoted."""

    async def start(self, release: Release, by: Author) -> Release:
        """Begin a release. Raises ConflictError where one of the policy is open."""

    async def get(self, release_id: str) -> Release | None:
        """None for one that never was."""

    async def page(self, policy: str | None, limit: int) -> Sequence[Release]:
        """Newest first."""

    async def events(self, release_id: str) -> Sequence[ReleaseEvent]:
        """Oldest first."""

    async def points(self, release_id: str) -> Sequence[ReleasePoint]:
        """How it stood now and then, oldest first."""

    async def change(self, release_id: str, work: Change, *, switches: Mapping[str, object] | None = None) -> Release:
        """Replace a release by what ``work`` makes of it, with its events, in one transaction.

        A release that ends ``promoted`` becomes the incumbent in it: its settings are stored, its arms and these
        switches changed. Raises NotFoundError, and what ``work`` raises.
        """

    async def taken_back(self, policy: str, since_us: int) -> Sequence[tuple[Release, str | None]]:
        """Releases of a policy whose promotion was undone since then, and why."""

    async def roll_back(self, policy: str, by: Author) -> Undone:
        """Abort the open release of a policy, else take back its newest promotion; its history names what goes too.

        Raises ConflictError where there is neither.
        """

    async def look(self, release: Release, now_us: int) -> ReleaseLook:
        """Bounded reads of the newest decisions and usage reports that were not counted yet."""

    async def count(
        self,
        release_id: str,
        look: ReleaseLook,
        *,
        holder: str,
        at_us: int,
        switches: Mapping[str, object] | None = None,
        measured_by: Mapping[str, str] | None = None,
    ) -> Release | None:
        """Count what was seen, once, and take the step that is due, while ``holder`` has the learner's lease.

        switches : as in ``change``. measured_by : judges and prices as they are, see ``release_course.measured``.

        The release after that; None where another has the lease.
        """
