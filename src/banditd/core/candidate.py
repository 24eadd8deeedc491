"""A candidate: a named, immutable set of changes to a policy. A value; no behaviour, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

CandidateClass = Literal["A", "C"]
"""``A``: decides differently from the same sums. ``C``: also needs answers that the policy's log cannot contain."""
SETTINGS: Final = ("kind", "options", "exploration_floor", "cost_weight", "promise")
"""Settings of a policy that a candidate may change, by their names in the configuration."""
ARM_FIELDS: Final = ("enabled", "min_share", "max_share", "params", "rename_params", "upstream_model")
"""Fields of an arm that a candidate may change."""
OTHER_SUMS: Final = frozenset(
    {
        "half_life_decisions", "prior_file", "prior_worth_rewards", "tier_table", "change_detection", "reward",
        "caller_features", "context_tags",
    }
)  # fmt: skip
"""Settings that change what is learned, rather than how decisions are made. A candidate may not change them."""
OTHER_ARM_SUMS: Final = frozenset({"quality_prior", "prior_worth", "quality_tier"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A set of changes to a policy.

    candidate_id : unique; the name can be used again once its candidate is deleted.
    settings : changed settings, keyed by ``SETTINGS``; ``promise`` holds only the fields that change, None removes
    it.
    arms : arm -> changed fields, keyed by ``ARM_FIELDS``.
    key_name : API key that created it.
    """

    candidate_id: str
    policy: str
    name: str
    settings: Mapping[str, object] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    created_at_us: int = 0
    key_name: str | None = None

    def plain(self) -> dict[str, Any]:
        """The candidate as JSON-compatible values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Candidate:
        """Inverse of ``plain``. Raises TypeError if ``values`` is not a candidate."""
        return cls(**values)

    def says_the_same(self, other: Candidate) -> bool:
        """Whether both make the same changes to the same policy."""
        this, that = ((one.policy, dict(one.settings), dict(one.arms)) for one in (self, other))
        return this == that
