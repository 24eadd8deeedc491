"""Which requests can safely be sent to another model and judged. Pure.

A model's answer alone changes nothing: calls of the client's tools are only proposed. But a request that continues
from a provider's stored state, or that has tools which the provider runs, is sent only once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from banditd.core.long_json import compact, encode_pieces
from banditd.services.gateway.call import GatewayCall
from banditd.services.judging.texts import JUDGED_SURFACES

MAX_REQUEST_BYTES: Final = 1_048_576
"""Longer requests are not repeated, since they would fill the queue."""
KEPT_HEADERS: Final = frozenset({"anthropic-beta", "anthropic-version", "openai-beta"})
"""Headers that change a request's meaning. No credentials are stored: a probe uses the upstream's own key."""
_STATEFUL: Final = ("previous_response_id", "conversation", "container", "mcp_servers", "web_search_options", "audio")
_SEEN: Final = frozenset({"vision", "audio", "documents"})
"""Capabilities for content that a judge of texts cannot see."""
_PROPOSED: Final = (None, "function", "custom")
"""Kinds of tools that only the client runs."""
_LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
MOST_TOKENS: Final = 1e9
"""A limit this high counts as none; clients may send numbers that no float can hold."""


@dataclass(frozen=True, slots=True)
class RepeatedRequest:
    """A request in its client's form, without streaming. most_output_tokens : its limit, or None."""

    body: str
    headers: Mapping[str, str]
    most_output_tokens: float | None


def may_be_repeated(call: GatewayCall) -> bool:
    """Whether another answer to the same request is harmless and can be judged as text."""
    body, turn = call.body, call.query.turn
    several = body.get("n")
    return (
        call.surface in JUDGED_SURFACES
        and not any(body.get(name) for name in _STATEFUL)
        and not (isinstance(several, int) and several > 1)
        # With tools or signed thinking under way, the model that began must continue.
        and not (turn is not None and turn.open)
        and _SEEN.isdisjoint(call.wanted)
        and _only_proposes(body.get("tools"))
    )


def request_to_repeat(call: GatewayCall) -> RepeatedRequest | None:
    """The request in a form that can be stored and sent again; None if it cannot. Too slow for the event loop."""
    if not may_be_repeated(call):
        return None
    body = {name: value for name, value in call.body.items() if name not in {"stream", "stream_options"}}
    if body.get("store"):  # the provider must not store a second answer for the client
        body["store"] = False
    written = encode_pieces(body, compact)
    if len(written) > MAX_REQUEST_BYTES:
        return None
    stated = (body.get(name) for name in _LIMITS)
    limits = [float(limit) for limit in stated if isinstance(limit, int | float) and abs(limit) < MOST_TOKENS]
    return RepeatedRequest(
        body=written.decode(),
        headers={name: value for name, value in call.headers.items() if name in KEPT_HEADERS},
        most_output_tokens=None if not limits else max(min(limits), 0.0),
    )


def _only_proposes(tools: object) -> bool:
    if not isinstance(tools, list):
        return not tools
    return all(isinstance(tool, dict) and tool.get("type") in _PROPOSED for tool in tools)
