"""What clients sent, when, and what they were told.

Every operation carries a marker of its own into the database (a tag of the decision, metadata of the reward, the
finish reason of the usage report, ...), so that a checker finds each one there, and none twice.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MARKER_TAG = "op"


class Outcome(enum.Enum):
    """What one request, or an operation with all its requests, came to, as far as its client can know."""

    DONE = "done"
    NOTHING = "nothing was stored"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One request of an operation (of a batch: one of its queries).

    marker : names the operation; requests that repeat it carry the same one. kind : route, reward, retract, usage,
    abandon, patch or correction. replica : who was asked. key : its Idempotency-Key. subject : what it changes (a
    decision's id, an identity of a reward, an arm); operations on one subject are sent one after the other.
    status : of the answer, None where none came. sent : whether the request reached anybody. start_s, end_s :
    monotonic seconds.
    """

    marker: str
    kind: str
    policy: str
    replica: int
    start_s: float
    end_s: float
    key: str | None = None
    subject: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    status: int | None = None
    code: str | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    sent: bool = True

    @property
    def outcome(self) -> Outcome:
        if self.status is None:
            return Outcome.UNKNOWN if self.sent else Outcome.NOTHING
        if self.status < 300:
            return Outcome.DONE
        return Outcome.UNKNOWN if self.code == "OUTCOME_UNKNOWN" else Outcome.NOTHING


@dataclass(slots=True)
class Operation:
    """Every request of one operation, in the order in which they were answered."""

    marker: str
    tries: list[Try] = field(default_factory=list)

    @property
    def first(self) -> Try:
        return self.tries[0]

    @property
    def kind(self) -> str:
        return self.first.kind

    @property
    def done(self) -> list[Try]:
        return [one for one in self.tries if one.outcome is Outcome.DONE]

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.tries)

    @property
    def may_come_late(self) -> bool:
        """Whether a request without a key got no answer: it may be done after those that were sent later."""
        return any(one.outcome is Outcome.UNKNOWN and one.key is None for one in self.tries)


def outcome_of(tries: Iterable[Try]) -> Outcome:
    outcomes = {one.outcome for one in tries}
    for outcome in (Outcome.DONE, Outcome.UNKNOWN):
        if outcome in outcomes:
            return outcome
    return Outcome.NOTHING


class History:
    """All requests of a round."""

    def __init__(self, tries: Iterable[Try] = ()) -> None:
        self.tries: list[Try] = list(tries)

    def add(self, one: Try) -> None:
        self.tries.append(one)

    def operations(self, *kinds: str) -> list[Operation]:
        """Operations of these kinds, in the order in which they were begun."""
        found: dict[tuple[str, str], Operation] = {}
        for one in sorted(self.tries, key=lambda one: one.start_s):
            if one.kind in kinds:
                found.setdefault((one.kind, one.marker), Operation(one.marker)).tries.append(one)
        return list(found.values())

    def by_subject(self, *kinds: str) -> dict[str, list[Operation]]:
        subjects: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.operations(*kinds):
            subjects[operation.first.subject].append(operation)
        return dict(subjects)
