"""Follow-ups of answers in the log: an answer was asked for again, or another arm took over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from banditd.core.types import Decision

REGENERATION: Final = ("regeneration", "implicit")
"""Metric and source of the reward for being asked for again."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """An answer that something has followed.

    arm : that gave it. rewardable : it was asked for again under the API key that had asked first, it was an answer,
    and it never had the reward for that.
    """

    decision_id: str
    arm: str
    regenerated: bool
    escalated: bool
    rewardable: bool


class FollowUpReader(Protocol):
    async def answered_before(self, decision: Decision) -> str | None:
        """The newest decision of the same session, text and API key whose answer was whole before this one was asked
        for; None for none among the session's newest.
        """

    async def follow_ups(self, policy: str, since_us: int, until_us: int) -> Sequence[FollowUp]:
        """Of decisions that were made in that time."""
