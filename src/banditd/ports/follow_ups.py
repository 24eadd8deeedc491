"""What follows an answer, in the log: it is asked for again, or another takes over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from banditd.core.types import Decision


@dataclass(frozen=True, slots=True)
class FollowUp:
    """An answer that something has followed.

    arm : that gave it. owned : who asked again has the API key of who asked first. rewarded : it has the implicit
    reward of being asked for again, or had it.
    """

    decision_id: str
    arm: str
    regenerated: bool
    escalated: bool
    owned: bool
    rewarded: bool


class FollowUpReader(Protocol):
    async def answered_before(self, decision: Decision) -> str | None:
        """The newest decision of the same session, text and API key whose answer was whole before this one was asked
        for; None for none among the session's newest.
        """

    async def follow_ups(self, policy: str, since_us: int) -> Sequence[FollowUp]:
        """Of answers that were given since then."""
