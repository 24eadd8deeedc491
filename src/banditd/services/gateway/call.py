"""What a request asks of the gateway, whichever surface it came by, and the gateway's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from banditd.core.types import Query
from banditd.ports.upstreams import Surface


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCall:
    """One request, validated.

    query : what routing has to know; the gateway itself sets in it which upstreams can serve.
    wanted : capabilities that the request needs, told from its own form. An arm must have one only where some arm of
        the policy says that it has it: an operator who names no capabilities has not said that there are none.
    body : the client's JSON object in the form of the surface, without what is meant for banditd.
    large : its body came as so many bytes that nothing may walk all of it in the event loop.
    headers : of the client's request, names in lower case.
    """

    query: Query
    surface: Surface
    body: Mapping[str, object]
    stream: bool
    large: bool = False
    wanted: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRules:
    """deadline_s : for one request with all its attempts. max_attempts : calls of upstreams for one request at most.
    fallback_on_policy : whether an arm's refusal for its content policy is another arm's turn.
    """

    deadline_s: float = 600.0
    max_attempts: int = 3
    fallback_on_policy: bool = False
