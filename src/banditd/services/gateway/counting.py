"""How many tokens a request has, asked of an upstream that counts, else told from our own count.

Nothing is stored or learned by it (a classifier's label is remembered for the request itself), and whatever an
upstream makes of it says nothing of its health: many endpoints answer messages well and have never heard of counting.
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
    """input_tokens : of the whole request. arm : whose upstream counted it; None: an estimate."""

    input_tokens: int
    arm: str | None = None


async def count_tokens(
    call: GatewayCall,
    *,
    route: Callable[[GatewayCall], Awaitable[Decision]],
    arms_of: Callable[[GatewayCall, str], Mapping[str, Arm]],
    upstreams: Upstreams,
) -> Counted:
    """The count by the likeliest arm whose upstream counts.

    Raises whatever ``route`` raises, but where no arm may answer: what is too long has a length all the same.
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
