"""An upstream as plain values, with its key where nothing prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """How long to wait, in seconds.

    connect_s : for a connection. headers_s : for the head of a stream. first_token_s : for its first content, counted
    from the call. idle_s : between two reads after that. answer_s : for an answer that is not streamed, instead of
    those three. total_s : for all of it.
    """

    connect_s: float = 5.0
    headers_s: float = 30.0
    first_token_s: float = 60.0
    idle_s: float = 60.0
    answer_s: float = 300.0
    total_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """One upstream.

    key : sent as ``key_header`` (with ``Bearer`` in ``authorization``); it is in no text that this object gives.
    surfaces : those that the endpoint speaks, of those of its kind; empty: all of them.
    headers : sent with every call. forward_headers : of the client's, beyond the allow-list; lower case.
    """

    name: str
    kind: str
    base_url: str = ""
    surfaces: frozenset[str] = frozenset()
    key: str | None = field(default=None, repr=False)
    key_header: str = "authorization"
    headers: Mapping[str, str] = field(default_factory=dict)
    forward_headers: frozenset[str] = frozenset()
    clocks: Clocks = Clocks()
    max_concurrent: int = 1000
    keepalive_s: float = 4.0
    max_event_bytes: int = 1_048_576
    max_answer_bytes: int = 67_108_864
    ca_file: Path | None = None

    def key_headers(self) -> dict[str, str]:
        """What authenticates the daemon."""
        if self.key is None:
            return {}
        bearer = self.key_header.lower() == "authorization"
        return {self.key_header: f"Bearer {self.key}" if bearer else self.key}
