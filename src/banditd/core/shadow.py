"""The shadow of a candidate: what it would have drawn beside the traffic, and sums of that. Values; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from banditd.core.types import FloatArray

MOST_SHADOWS: Final = 8
"""Candidates of a policy that are shadowed at once."""
MOST_TAG_PARTS: Final = 40
"""Values of tags that have sums of their own in a shadow; the others share one."""
OCTAVE: Final = "octave:"
"""The sums of a difference, then refused decisions, then of each arm the shares, first the candidate's."""
CLUSTER: Final = "cluster:"
TAG: Final = "tag:"
OTHER_TAGS: Final = "tag:"
LEFT_OUT: Final = "left_out:"
KEPT_ANEW: Final = "kept_anew"
"""No shadow: among a row's, the policy's own vector where its promise is kept anew, for the shadows behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A candidate that is, or was, shadowed.

    rule : names the two rules that are compared; where either changes, the shadow begins anew under another id.
    rated : decisions that it was ever counted with. first_us, last_us : of the oldest and the newest of these.
    tag_parts : parts of ``TAG`` that have sums. arms : of the policy, whose shares are counted; another arm is
    another rule.
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

    reward : that is counted now; None for none. arms : K names. drawn : place of its arm, -1 for none of them.
    predicted : of that arm. parts : by shadow, those of its sums that the decision is in. vectors : float64
    (4 + shadows, K): logged probabilities, means, costs in dollars, the policy's own vector, then each shadow's in
    the order of ``parts``. Behind ``KEPT_ANEW`` are those with promises kept anew: its vector is the policy's then.
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
    """What one batch of the learner does to shadows.

    policy : of all of them. rows : as they are afterwards. sums : by shadow and part, to be added. rated : decisions
    that are new, by shadow.
    first_us, last_us : when the oldest and the newest of the new ones were made.
    """

    policy: str
    rows: list[ShadowRow] = field(default_factory=list)
    sums: dict[str, dict[str, FloatArray]] = field(default_factory=dict)
    rated: dict[str, int] = field(default_factory=dict)
    first_us: int = 0
    last_us: int = 0
