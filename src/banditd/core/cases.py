"""A case: a prompt that arms have answered, with the score of each. A value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCase:
    """text : the prompt. scores : by arm, in [0, 1]. tags : of the query."""

    text: str
    scores: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
