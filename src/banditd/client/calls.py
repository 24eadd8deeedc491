"""The calls of the API as values: what to send and how to read the answer, the same for both clients."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from banditd.client.answers import ArmView, Decision, RewardReceipt, TaskReceipt, UsageReceipt
from banditd.client.errors import NotFiniteError
from banditd.core.errors import InvalidInputError

Json = Any
T = TypeVar("T")
# A text, a conversation as OpenAI's chat completions take it, or an embedding of your own.
Query: TypeAlias = str | Sequence[Mapping[str, Json]] | Sequence[float]
# A number on the scale of the source, or a thumb: "up" or "down".
Value: TypeAlias = float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request. ``read`` makes the result of the parsed answer."""

    method: str
    path: str
    read: Callable[[Json], T]
    body: Json = None
    query: Mapping[str, Json] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def authorized(api_key: str | None) -> dict[str, str]:
    """The header that shows a key; the end of a file's line is no part of it. Raises InvalidInputError."""
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InvalidInputError("the API key has characters that no key has: copy it again")
    return {"Authorization": f"Bearer {key}"} if key else {}


def encode_body(body: Json) -> bytes:
    """JSON in UTF-8. Raises NotFiniteError for NaN and infinities, which JSON has not."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError as error:
        if "Circular" in str(error):
            raise
        raise NotFiniteError("a number is NaN or infinite: give a finite one") from error


def with_key(method: str, path: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of one call, with an ``Idempotency-Key`` where it decides, charges or changes something.

    Made once per call, so that all its tries carry the same. Rewards have keys of their own, or on purpose none.
    """
    sent = dict(headers or {})
    named = any(name.lower() == "idempotency-key" for name in sent)
    if method != "GET" and not named and not path.startswith("/v1/rewards"):
        sent["Idempotency-Key"] = uuid.uuid4().hex
    return sent


def query_string(query: Mapping[str, Json] | None) -> str:
    """``?a=1&b=true``, or nothing; parameters that are None are left out."""
    given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def route(query: Query, options: Mapping[str, Json]) -> Call[Decision]:
    """``POST /v1/route``; ``options`` are its other fields, None means not given."""
    return Call(method="POST", path="/v1/route", body=query_body(query, options), read=Decision.from_json)


def query_body(query: Query, options: Mapping[str, Json]) -> dict[str, Json]:
    """The JSON of one query: a text, or messages (mappings), or an embedding (numbers)."""
    stated = {name: value for name, value in options.items() if value is not None}
    if isinstance(query, str):
        return {"input": query, **stated}
    items = list(query)
    kind = "messages" if items and isinstance(items[0], Mapping) else "embedding"
    return {kind: items, **stated}


def reward(
    decision_id: str | None,
    value: Value | None,
    *,
    source: str,
    metric: str,
    metadata: Mapping[str, Json] | None,
    idempotency_key: str | None,
    replace: bool,
    reference: str | None = None,
    arm: str | None = None,
) -> Call[RewardReceipt]:
    """``POST /v1/rewards``. The key is made here, once per call, so every retry of it carries the same.

    With ``replace`` no key is sent: the reward's identity is then (decision, metric, source), with ``arm`` where one
    is given, and another value replaces the former one.
    """
    if replace and idempotency_key is not None:
        raise ValueError("give idempotency_key or replace=True, not both: a key stands for one value")
    if value is None or (isinstance(value, str) and value not in {"up", "down"}):
        raise ValueError(f"a reward is a number, 'up' or 'down', not {value!r}")
    if (decision_id is None) == (reference is None):
        raise ValueError("give a decision_id or a reference, one of them")
    named = {"decision_id": decision_id} if reference is None else {"reference": reference}
    body: dict[str, Json] = {**named, "source": source, "metric": metric}
    body |= {"thumb": value} if isinstance(value, str) else {"value": float(value)}
    body |= {} if arm is None else {"arm": arm}
    if metadata:
        body["metadata"] = dict(metadata)
    headers = {} if replace else {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    return Call(method="POST", path="/v1/rewards", body=body, headers=headers, read=RewardReceipt.from_json)


def reward_task(
    task_id: str, value: Value, *, source: str, metric: str, metadata: Mapping[str, Json] | None
) -> Call[TaskReceipt]:
    """``POST /v1/rewards`` of a task. Without a key: it is the only word of its source on the metric anyway."""
    named = reward(
        task_id, value, source=source, metric=metric, metadata=metadata, idempotency_key=None, replace=True
    )
    body = {"task_id": task_id, **{name: one for name, one in named.body.items() if name != "decision_id"}}
    return Call(method="POST", path=named.path, body=body, headers={}, read=TaskReceipt.from_json)


def retract(reward_id: str) -> Call[RewardReceipt]:
    """``DELETE /v1/rewards/{id}``."""
    return Call(method="DELETE", path=f"/v1/rewards/{quote(reward_id, safe='')}", read=RewardReceipt.from_json)


def usage(decision_id: str, report: Mapping[str, Json]) -> Call[UsageReceipt]:
    """``POST /v1/decisions/{id}/usage``; fields that are None are left out."""
    stated = {name: value for name, value in report.items() if value is not None}
    path = f"/v1/decisions/{quote(decision_id, safe='')}/usage"
    return Call(method="POST", path=path, body=stated, read=UsageReceipt.from_json)


def activate(decision_id: str) -> Call[bool]:
    """``POST /v1/decisions/{id}/activate``; False when it was active already."""
    path = f"/v1/decisions/{quote(decision_id, safe='')}/activate"
    return Call(method="POST", path=path, read=lambda answer: bool(answer["activated"]))


def abandon(decision_id: str) -> Call[bool]:
    """``POST /v1/decisions/{id}/abandon``; False when it was abandoned already."""
    path = f"/v1/decisions/{quote(decision_id, safe='')}/abandon"
    return Call(method="POST", path=path, read=lambda answer: bool(answer["abandoned"]))


def arms(policy: str) -> Call[list[ArmView]]:
    """``GET /v1/arms``."""
    return Call(
        method="GET",
        path="/v1/arms",
        query={"policy": policy},
        read=lambda answer: [ArmView.from_json(one) for one in answer["arms"]],
    )


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
