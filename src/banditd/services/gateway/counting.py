"""Counts a request's tokens: by an upstream that can count, else by our own estimate.

Nothing is stored or learned (except that a classifier's label is cached for the request itself). An upstream's
failure to count says nothing about its health: many endpoints answer messages well but do not support counting.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from banditd.core.errors import BudgetExhaustedError, NoEligibleArmError
from banditd.core.types import Arm, Decision
from banditd.ports.upstreams import UpstreamCall, UpstreamError, Upstreams
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.fallbacks import order_of

WAIT_S: Final = 5.0
CHARACTERS_PER_TOKEN: Final = 4.0


@dataclass(frozen=True, slots=True)
class Counted:
    """input_tokens : of the whole request. arm : the one whose upstream counted; None: an estimate."""

    input_tokens: int
    arm: str | None = None


async def count_tokens(
    call: GatewayCall,
    *,
    route: Callable[[GatewayCall], Awaitable[Decision]],
    arms_of: Callable[[GatewayCall, str], Mapping[str, Arm]],
    upstreams: Upstreams,
) -> Counted:
    """The count by the likeliest arm whose upstream can count.

    Raises whatever ``route`` raises, except if no arm may answer: a request that is too long still has a length.
    """
    try:
        decision = await route(replace(call, query=replace(call.query, dry_run=True)))
    except (NoEligibleArmError, BudgetExhaustedError):
        return Counted(call.query.unread_tokens + math.ceil(len(call.query.text or "") / CHARACTERS_PER_TOKEN))
    unable = upstreams.unable("count_tokens", call.body)
    arms = arms_of(call, decision.policy)
    likeliest = (arms[name] for name in order_of(decision) if name in arms)
    arm = next((one for one in likeliest if one.upstream not in unable), None)
    if arm is not None:
        counted = await _requested(call, arm, upstreams)
        if counted is not None:
            return Counted(counted, arm.arm)
    return Counted(decision.input_tokens)


async def _requested(call: GatewayCall, arm: Arm, upstreams: Upstreams) -> int | None:
    try:
        reply = await upstreams.complete(
            UpstreamCall(
                upstream=arm.upstream or "",
                surface="count_tokens",
                model=arm.upstream_model,
                body=call.body,
                headers=call.headers,
                deadline_s=WAIT_S,
                large=call.large,
            )
        )
    except UpstreamError:
        return None
    return None if reply.usage is None else reply.usage.input_tokens
