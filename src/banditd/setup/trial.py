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
from banditd.setup.finding import key_variable
from banditd.setup.writing import ChosenArm
from banditd.upstreams.pool import UpstreamPool, open_upstreams

_CALL_S: Final = 60.0
_BODY: Final = {"messages": [{"role": "user", "content": "Answer with the one word: ready"}]}


@dataclass(frozen=True, slots=True)
class Trial:
    """How one call ended. error : what the upstream said; None: it answered. check : what may be wrong then."""

    upstream: str
    arm: str
    latency_ms: float
    error: str | None
    check: str | None


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
    error = check = None
    try:
        await pool.complete(call)
    except UpstreamError as failure:
        error, check = failure.message, _to_check(failure, arm)
    return Trial(arm.upstream.name, arm.arm, (time.perf_counter() - began) * 1e3, error, check)


def _to_check(failure: UpstreamError, arm: ChosenArm) -> str:
    found = arm.upstream
    if failure.error_class == "auth" and found.api_key_env is None:
        return f"does it want a key? Put it into {key_variable(found.name)}"
    if failure.error_class == "auth":
        return f"is the key in {found.api_key_env} right, and is the account in order?"
    if failure.error_class in {"transport", "timeout"}:
        return f"is it at {found.base_url}, and does it run?"
    if failure.error_class == "overload":
        return "does it limit the account, or is it busy?"
    if failure.error_class == "server" or failure.status is None:
        return f"is {found.base_url} such an endpoint, and is it well?"
    return f"does {found.base_url} serve the model {arm.model}?"
