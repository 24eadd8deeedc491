"""Shadows: what a candidate would have drawn for the live traffic, and sums over that. Values; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from banditd.core.types import FloatArray

MOST_SHADOWS: Final = 8
"""Most candidates of a policy that are shadowed at once."""
MOST_TAG_PARTS: Final = 40
"""Most tag values that have sums of their own in a shadow; all others share one."""
OCTAVE: Final = "octave:"
"""Prefix of a part that holds, for the 2^k-th to the (2^(k+1) - 1)-th rated decision: the sums of a difference,
the number of refusals, and each arm's summed shares, first the candidate's and then the policy's.
"""
CLUSTER: Final = "cluster:"
TAG: Final = "tag:"
OTHER_TAGS: Final = "tag:"
LEFT_OUT: Final = "left_out:"
KEPT_ANEW: Final = "kept_anew"
"""Not a shadow: marks, in a row's ``parts``, the policy's own vector under a promise that was solved again.

The shadows after it are compared with that vector.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A candidate that is, or was, shadowed.

    rule : identifies the two rules that are compared; when either changes, the shadow starts again under another id.
    rated : rated decisions counted so far. first_us, last_us : times of the oldest and the newest of them.
    tag_parts : parts of ``TAG`` that have sums of their own.
    arms : the policy's arms, whose shares are counted; a change of arms is a change of ``rule``.
    """

    shadow_id: str
    candidate_id: str
    policy: str
    started_at_us: int
    stopped_at_us: int | None = None
    rule: str = ""
    arms: tuple[str, ...] = ()
    rated: int = 0
    first_us: int | None = None
    last_us: int | None = None
    tag_parts: frozenset[str] = frozenset()

    @property
    def running(self) -> bool:
        return self.stopped_at_us is None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShadowRow:
    """What is kept of one decision, so that a corrected reward moves the sums by the difference.

    reward : the one that is counted now, or None.
    arms : K names. drawn : index of the drawn arm, -1 if it is not among them. predicted : reward of that arm.
    parts : by shadow, the parts of its sums that the decision is in.
    vectors : float64 (4 + shadows, K): logged probabilities, means, costs in dollars, the policy's own vector, then
    each shadow's in the order of ``parts``. After the entry ``KEPT_ANEW`` all vectors are with the promise solved
    again, and its own row is the policy's.
    """

    decision_id: str
    reward: float | None
    arms: tuple[str, ...]
    drawn: int
    predicted: float
    parts: Mapping[str, tuple[str, ...]]
    vectors: FloatArray


@dataclass(slots=True, kw_only=True)
class Shadowed:
    """What one batch of the learner does to the shadows of a policy.

    rows : as they are afterwards.
    sums : by shadow and part, to be added.
    rated : number of new decisions, by shadow. first_us, last_us : times of the oldest and the newest of them.
    """

    policy: str
    rows: list[ShadowRow] = field(default_factory=list)
    sums: dict[str, dict[str, FloatArray]] = field(default_factory=dict)
    rated: dict[str, int] = field(default_factory=dict)
    first_us: int = 0
    last_us: int = 0
