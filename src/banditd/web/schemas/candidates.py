"""Schemas of candidates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue

from banditd.web.schemas.base import AnswerModel, Name, RequestModel, Time

_Fields = Annotated[dict[Name, JsonValue], Field(max_length=64)]


class CandidateRequest(RequestModel):
    """A named difference to a policy. It never changes; delete it and create another one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "thriftier", "settings": {"cost_weight": 0.2}, "arms": {"large": {"max_share": 0.3}}}
            ]
        }
    )

    name: Name
    settings: _Fields = Field(default_factory=dict)
    """Of ``kind``, ``options``, ``exploration_floor``, ``cost_weight`` and ``promise``, as in the configuration; of
    ``promise`` the fields that change, null: no promise. What is left out stays the policy's."""
    arms: Annotated[dict[Name, _Fields], Field(max_length=256)] = Field(default_factory=dict)
    """Arm to those of its fields that change: ``enabled``, ``min_share``, ``max_share``, ``params``,
    ``rename_params``, ``upstream_model``."""


class CandidateAnswer(AnswerModel):
    """A candidate, beside the policy as it stands now."""

    candidate_id: str
    policy: str
    name: str
    settings: dict[str, JsonValue]
    arms: dict[str, dict[str, JsonValue]]
    created_at: Time
    key_name: str | None
    """Of the API key that created it."""
    candidate_class: Literal["A", "C"] | None = Field(alias="class")
    """``A``: it decides otherwise from the same sums, so the log can evaluate it. ``C``: it also wants answers that
    the log cannot have. Null where it cannot be applied any more."""
    difference: list[str]
    """What would change now, one entry each."""
    problem: str | None
    """Why it cannot be applied any more."""
    words: str


class CandidatesAnswer(AnswerModel):
    """The candidates of a policy, oldest first."""

    policy: str
    candidates: list[CandidateAnswer]
