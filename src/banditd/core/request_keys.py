"""Idempotency keys: with one, sending a request again does nothing twice."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """The ``Idempotency-Key`` of a request. Its policy is that of whatever the request decides or changes.

    key : 1 to 255 visible ASCII characters.
    key_name : name of the API key that asked; empty without API keys.
    operation : ``route``, ``usage``, ...: each operation has keys of its own.
    request_hash : of everything the client sent, to tell a repeat from another request under the same key.
    item : index of the query in a batch, which has one key for all.
    """

    key: str
    key_name: str
    operation: str
    request_hash: str = field(repr=False)
    item: int = 0
