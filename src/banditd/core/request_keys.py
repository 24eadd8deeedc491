"""Keys with which a client marks a request, so that sending it again does nothing twice."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """An ``Idempotency-Key`` as it came with a request. Its policy is that of what it decides or changes.

    key : 1 to 255 visible ASCII characters. key_name : of the API key that asked; empty without API keys.
    operation : what is asked for (``route``, ``usage``, ...): each has keys of its own.
    request_hash : of everything the client said, to tell a repeat from another request under the same key.
    item : index of the query in a batch, which has one key for all.
    """

    key: str
    key_name: str
    operation: str
    request_hash: str = field(repr=False)
    item: int = 0
