"""One call per upstream, as the gateway would make it: whether the key, the address and the model are right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from banditd.daemon.upstreams import upstream_configs
from banditd.ports.upstreams import UpstreamCall, UpstreamError
from banditd.settings import Settings
from banditd.setup.writing import ChosenArm
from banditd.upstreams.pool import UpstreamPool, open_upstreams

_CALL_S: Final = 60.0
_BODY: Final = {"messages": [{"role": "user", "content": "Answer with the one word: ready"}]}


@dataclass(frozen=True, slots=True)
class Trial:
    """How one call ended. error : what the upstream said; None: it answered."""

    upstream: str
    arm: str
    latency_ms: float
    error: str | None


async def try_upstreams(settings: Settings, arms: Sequence[ChosenArm]) -> list[Trial]:
    """Call the cheapest arm of every upstream once, all at the same time.

    Raises ConfigurationError where a key is not where the settings say.
    """
    cheapest = {arm.upstream.name: arm for arm in sorted(arms, key=lambda arm: -arm.usd_per_query)}
    async with open_upstreams(upstream_configs(settings)) as pool:
        return list(await asyncio.gather(*(_try(pool, arm) for arm in cheapest.values())))


async def _try(pool: UpstreamPool, arm: ChosenArm) -> Trial:
    call = UpstreamCall(
        upstream=arm.upstream.name,
        surface="chat",
        model=arm.model,
        body={**_BODY, "model": arm.model},
        deadline_s=_CALL_S,
    )
    began = time.perf_counter()
    error = None
    try:
        await pool.complete(call)
    except UpstreamError as failure:
        error = failure.message
    return Trial(arm.upstream.name, arm.arm, (time.perf_counter() - began) * 1e3, error)
