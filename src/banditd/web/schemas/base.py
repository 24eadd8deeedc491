"""The two base models, and the constrained types that all schemas share.

What a field means stands in a string below it; ``web/field_docs.py`` reads those for OpenAPI.
Requests are validated from bytes in strict mode: no ``"0.5"`` for a number, no ``1`` for true, no NaN, no
unknown field. Answers are described by models for OpenAPI, but built as plain dictionaries (see ``json.py``).
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Final, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)

from banditd.core.references import decision_id_in
from banditd.web.legible import REPLACEMENT, legible_label, legible_value

MAX_TEXT_CHARS: Final = 1_000_000
MAX_EMBEDDING: Final = 8192
MAX_LIST: Final = 1000
# The most that a daemon may be configured to take; what it does take is its own limit (server.max_batch).
MAX_BATCH: Final = 4096
MAX_PAGE: Final = 10_000
MAX_TAGS: Final = 32
MAX_FEATURES: Final = 256
MAX_METADATA_CHARS: Final = 16_384
MAX_TOKENS: Final = 1_000_000_000
MAX_USD: Final = 1e9
# Names end in URLs, SQL and metrics: no spaces, no control characters, nothing that needs escaping in JSON.
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"
MODEL_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"
UUID_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
DECISION_PATTERN: Final = r"^((chatcmpl-|msg_|resp_)?" + UUID_PATTERN[1:-1] + ")$"
TIME_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$"
TAG_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*:"
GROUP_PATTERN: Final = r"^tag:[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"

Name: TypeAlias = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=128)]
ModelName: TypeAlias = Annotated[str, StringConstraints(pattern=MODEL_PATTERN, min_length=1, max_length=256)]
# A client's own words: control characters become U+FFFD, so that they never refuse a request.
Label: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(legible_label)]
OptionalLabel: TypeAlias = Annotated[str, StringConstraints(max_length=256), AfterValidator(legible_label)]
Identifier: TypeAlias = Annotated[str, StringConstraints(pattern=UUID_PATTERN)]
# An answer's id may be made of the decision's, behind the prefix of its surface.
DecisionName: TypeAlias = Annotated[
    str,
    BeforeValidator(lambda value: decision_id_in(value) or value if isinstance(value, str) else value),
    StringConstraints(pattern=UUID_PATTERN),
    WithJsonSchema({"type": "string", "pattern": DECISION_PATTERN}),
]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
UnitInterval: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Dollars: TypeAlias = Annotated[float, Field(ge=0.0, le=MAX_USD)]
Tokens: TypeAlias = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
Names: TypeAlias = Annotated[list[Name], Field(max_length=MAX_LIST)]
Time: TypeAlias = Annotated[
    str, Field(description="ISO 8601, UTC, ending in Z.", json_schema_extra={"format": "date-time"})
]


class RequestModel(BaseModel):
    """Base of all request bodies: strict, closed, finite."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class AnswerModel(BaseModel):
    """Base of all answers: a description, not a serialiser, so nothing is built of it before somebody reads it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class OpenAnswerModel(BaseModel):
    """An answer that may carry more than is listed."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class ParameterModel(BaseModel):
    """Base of query parameters: they arrive as strings, so each field converts its own."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


def _check_metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Finite numbers, no NUL (PostgreSQL stores none), and not more than a note."""
    if _size(value) > MAX_METADATA_CHARS:
        raise ValueError(f"metadata may hold {MAX_METADATA_CHARS} characters in all; send a reference instead")
    return {name.replace("\0", REPLACEMENT): legible_value(item) for name, item in value.items()}


def _size(value: JsonValue) -> int:
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and Infinity are not JSON; leave the field out")
    if isinstance(value, list):
        return 2 + sum(_size(item) + 1 for item in value)
    if isinstance(value, dict):
        return 2 + sum(_size(name) + _size(item) + 2 for name, item in value.items())
    if isinstance(value, int) and abs(value) > 2**63:
        raise ValueError("a whole number must fit into 64 bits")
    return 8


Metadata: TypeAlias = Annotated[dict[str, JsonValue], Field(max_length=64), AfterValidator(_check_metadata)]

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def _integer(value: object) -> object:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise ValueError("must be a whole number in decimal digits")
        return int(value)
    return value


def _boolean(value: object) -> object:
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("must be true or false")
        return value == "true"
    return value


IntegerParameter: TypeAlias = Annotated[int, BeforeValidator(_integer)]
BooleanParameter: TypeAlias = Annotated[bool, BeforeValidator(_boolean)]
TimeParameter: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=TIME_PATTERN),
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-31T09:30:00Z"]),
]
TagParameter: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=TAG_PATTERN, max_length=385),
    AfterValidator(legible_label),
    Field(examples=["task:summarise"]),
]
GroupParameter: TypeAlias = Annotated[
    str, StringConstraints(pattern=GROUP_PATTERN, max_length=132), Field(examples=["tag:task"])
]


class PolicyParameters(ParameterModel):
    """Which policy."""

    policy: Name = "default"


class RewardSummary(OpenAnswerModel):
    """Mean reward of something."""

    rewards: int
    """Rewarded decisions."""
    mean_reward: float | None
    """In [0, 1]; null without a reward."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    """95 % confidence interval of the mean; null below 3 rewards."""
    interval_method: str | None
    """``student_t``, or ``wilson`` (below 30 rewards, or when all are alike)."""
