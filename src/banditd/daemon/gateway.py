"""Floor 6: opens the gateway over the services, where the configuration asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from banditd.daemon.upstreams import upstream_configs
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.follow_ups import FollowUpReader
from banditd.services.breakers import Breakers
from banditd.services.gateway.call import GatewayRules
from banditd.services.gateway.gateway import ELSEWHERE_WAITS_S, Gateway
from banditd.services.gateway.regenerations import Regenerations
from banditd.services.learning.rewards import RewardService
from banditd.services.policy import PolicyRuntime
from banditd.services.walks import Routing
from banditd.settings import Settings
from banditd.upstreams.pool import open_upstreams


def is_on(settings: Settings) -> bool:
    """Whether the daemon calls arms itself: as said, else where there are upstreams."""
    stated = settings.gateway.enabled
    return bool(settings.upstreams) if stated is None else stated


def reference_waits_s(settings: Settings) -> tuple[float, ...]:
    """How long a reward waits for the id of an answer to be settled, which may happen on any replica."""
    return ELSEWHERE_WAITS_S if is_on(settings) else ()


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    *,
    routing: Routing,
    rewards: RewardService,
    runtimes: Mapping[str, PolicyRuntime],
    breakers: Mapping[str, Breakers],
    clock: Clock,
    metrics: Metrics,
    follow_ups: FollowUpReader,
) -> AsyncIterator[Gateway | None]:
    """The gateway, or None where it is off. At the end its settlements are waited for.

    Raises
    ------
    ConfigurationError : the key of an upstream is not where the settings say.
    """
    if not is_on(settings):
        yield None
        return
    section = settings.gateway
    async with open_upstreams(upstream_configs(settings)) as upstreams:
        gateway = Gateway(
            routing=routing,
            report=partial(rewards.report_usage, breakers_informed=True),
            runtimes=runtimes,
            breakers=breakers,
            upstreams=upstreams,
            rules=GatewayRules(
                deadline_s=section.deadline_s,
                max_attempts=section.max_attempts,
                fallback_on_policy=section.fallback_on_policy,
            ),
            clock=clock,
            metrics=metrics,
        )
        gateway.regenerations = Regenerations(follow_ups)
        try:
            yield gateway
        finally:
            await gateway.close()
