"""A request to the gateway, in whichever form it arrived, and the gateway's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from banditd.core.types import Query
from banditd.ports.upstreams import Surface


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCall:
    """One request, validated.

    query : what routing needs to know; the gateway adds which upstreams can serve it.
    wanted : capabilities that the request needs, judged by its content. A capability is required only if some arm of
    the policy declares it: operators who declare none have not said that there are none.
    body : the client's JSON object in the form of the surface, without the parts meant for banditd.
    large : the body is so large that it must not be processed on the event loop.
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
    """The gateway's settings.

    deadline_s : for one request with all its attempts.
    max_attempts : most upstream calls for one request.
    fallback_on_policy : whether another arm is asked if one refuses because of its content policy.
    """

    deadline_s: float = 600.0
    max_attempts: int = 3
    fallback_on_policy: bool = False
