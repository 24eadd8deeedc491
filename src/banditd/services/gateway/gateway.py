"""The gateway: creates exchanges, reports call results to breakers and metrics, and owns the running settlements."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final
from weakref import WeakSet

from banditd.core.attempts import Attempt
from banditd.core.errors import UnavailableError
from banditd.core.references import Reference, decision_id_in
from banditd.core.rewards import UsageReport
from banditd.core.types import Arm, Decision, Query
from banditd.deciding.eligible import RECIPES
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.upstreams import Surface, Upstreams
from banditd.services.breakers import Breakers
from banditd.services.gateway.answers import COMPARED
from banditd.services.gateway.call import GatewayCall, GatewayRules
from banditd.services.gateway.counting import Counted, count_tokens
from banditd.services.gateway.exchange import Exchange
from banditd.services.gateway.listening import ListenedExchange, Listener
from banditd.services.gateway.regenerations import Regenerations
from banditd.services.patience import patiently
from banditd.services.policy import PolicyRuntime
from banditd.services.turns import Ahead
from banditd.services.walks import Routing

logger = logging.getLogger(__name__)
# A settlement that cannot be stored is retried for this long; after that the estimate, already charged, stands.
SETTLED_WITHIN_S: Final = 2.0
# Settlements are gathered for this long and stored in one transaction, so that decisions waiting for their commit do
# not queue behind each of them.
SETTLED_TOGETHER_S: Final = 0.05
# An answer may just have ended on another replica: an unknown one is looked up again after these pauses.
ELSEWHERE_WAITS_S: Final = (2 * SETTLED_TOGETHER_S, 8 * SETTLED_TOGETHER_S)

Report = Callable[[UsageReport], Awaitable[object]]


class Gateway:
    """Calls arms for clients."""

    def __init__(
        self,
        *,
        routing: Routing,
        report: Report,
        runtimes: Mapping[str, PolicyRuntime],
        breakers: Mapping[str, Breakers],
        upstreams: Upstreams,
        rules: GatewayRules,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.upstreams = upstreams
        self.rules = rules
        self.listener: Listener | None = None  # set before the first request
        self.regenerations: Regenerations | None = None  # set before the first request
        self._route, self._ahead = routing.route, routing.ahead
        self._report = report
        self._runtimes = runtimes
        self._breakers = breakers
        self._clock = clock
        self._metrics = metrics
        self._rng = random.Random()
        self._settling: set[asyncio.Task[None]] = set()
        self._exchanges: WeakSet[Exchange] = WeakSet()
        self._gathering: asyncio.Future[None] | None = None
        self._arms: tuple[tuple[Arm, ...], ...] = ()
        self._policies: Mapping[str, Mapping[str, bool]] = {}

    def exchange(self, call: GatewayCall) -> Exchange:
        """A new exchange for one request; nothing has happened yet."""
        listener = self.listener
        exchange = Exchange(self, call) if listener is None else ListenedExchange(self, call, listener)
        self._exchanges.add(exchange)
        return exchange

    def answering(self, reference: Reference) -> Exchange | None:
        """The newest exchange with this answer id that is not stored yet: it is running or waits to be settled.

        The id is the upstream's, or one that was built from the decision's id.
        """
        own = decision_id_in(reference.text)
        found = [
            exchange
            for exchange in list(self._exchanges)
            if exchange.call.query.key_name == reference.key_name
            and (
                exchange.response_id == reference.text
                or (own is not None and exchange.decision is not None and exchange.decision.decision_id == own)
            )
        ]
        ids = [exchange.decision.decision_id if exchange.decision is not None else "" for exchange in found]
        return found[ids.index(max(ids))] if found else None

    async def count_tokens(self, call: GatewayCall) -> Counted:
        """The number of tokens in a request. Nothing is recorded, not even by breakers."""
        return await count_tokens(call, route=self.route, arms_of=self.callable_arms, upstreams=self.upstreams)

    def policies(self) -> Mapping[str, Mapping[str, bool]]:
        """Every policy with its arms' names, and whether the gateway can call each of them now."""
        arms = tuple(runtime.arms for runtime in self._runtimes.values())
        if arms != self._arms:  # cached: every request asks, but the arms rarely change
            names = set(self.upstreams.names())
            self._arms = arms
            self._policies = {
                name: {arm.arm: arm.enabled and arm.arm in _callable(of_policy, names) for arm in of_policy}
                for name, of_policy in zip(self._runtimes, arms, strict=True)
            }
        return self._policies

    async def settled(self) -> None:
        """Wait for the settlements that are under way now, but not for an unavailable database."""
        self._hurry()
        under_way = set(self._settling)
        if under_way:
            await asyncio.wait(under_way, timeout=SETTLED_WITHIN_S)

    async def close(self) -> None:
        """Wait for the running settlements."""
        while self._settling:
            self._hurry()
            await asyncio.gather(*self._settling, return_exceptions=True)

    # ---------------------------------------------------------------- what an exchange needs

    async def route(self, call: GatewayCall) -> Decision:
        """Decide which arm answers, among those that can be called on this surface."""
        return await self._route(self._completed(call))

    async def ahead(self, call: GatewayCall) -> Ahead:
        """Like ``route``, but possibly while the decision is still being committed."""
        return await self._ahead(self._completed(call))

    def _completed(self, call: GatewayCall) -> Query:
        """The query, completed with the upstreams that can serve it and the capabilities it needs.

        The prompt cache is ignored if no arm of the policy has a price for cached input.
        """
        query = call.query
        query.upstreams = upstreams = self._upstreams_for(call)
        query.upstreams = {**upstreams, RECIPES: recipes_unable(call)}
        runtime = self._runtimes.get(query.policy)
        if call.wanted and runtime is not None:
            able = (arm for arm in runtime.arms if upstreams.get(arm.upstream or "", "") is None)
            known = frozenset().union(*(arm.capabilities for arm in able))
            query.capabilities |= call.wanted & known
        if query.turn is not None and runtime is not None and not any(map(_prices_cached_input, runtime.arms)):
            query.turn = query.turn._replace(cache_s=0.0)  # saves a look-up in the database
        return query

    def callable_arms(self, call: GatewayCall, policy: str) -> Mapping[str, Arm]:
        """The policy's callable arms now; an arm may have gone or changed its upstream since the decision."""
        upstreams = call.query.upstreams or self._upstreams_for(call)
        return _callable(self._runtimes[policy].arms, {name for name, unable in upstreams.items() if unable is None})

    def _upstreams_for(self, call: GatewayCall) -> Mapping[str, str | None]:
        """Upstream -> reason why it cannot answer this request, or None if it can."""
        unable = self.upstreams.unable(call.surface, call.body)
        return {name: unable.get(name) for name in self.upstreams.names()}

    def left_alone(self, policy: str) -> Mapping[str, str]:
        """Arms that should not be called now, according to their breakers."""
        return self._breakers[policy].exclusions(self._clock.now_us())

    def jitter(self) -> float:
        """A random number in [0, 1)."""
        return self._rng.random()

    def tell(self, policy: str, attempt: Attempt, arm: Arm, surface: Surface, *, calls: bool) -> None:
        """Report the end of a call to breakers and metrics at once.

        calls : whether the upstream was really called.
        """
        outcome = attempt.error or "ok"
        self._metrics.count(self._metrics.gateway_attempts, policy, attempt.arm, outcome)
        if attempt.first_token_ms is not None:
            self._metrics.observe(
                self._metrics.gateway_first_token, attempt.first_token_ms / 1e3, policy, attempt.arm
            )
        if calls:
            self._metrics.gen_ai.called(
                attempt,
                operation=surface if surface == "embeddings" else "chat",
                provider=self.upstreams.provider(arm.upstream or "", arm.upstream_model),
                model=arm.upstream_model,
            )
            self._breakers[policy].count(
                attempt.arm, attempt.error, now_us=self._clock.now_us(), retry_after_s=attempt.retry_after_s
            )

    def settle(self, report: UsageReport, exchange: Exchange, *, estimated: bool) -> asyncio.Task[None]:
        """Report usage in a task of the gateway's own, so that it survives the request's cancellation."""
        if estimated:
            self._metrics.gateway_usage_estimated.inc()
        task = asyncio.get_running_loop().create_task(self._settle(report, exchange, self._gathered()))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    def _gathered(self) -> asyncio.Future[None]:
        """Resolved when the settlements that are being gathered should be stored."""
        if self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.create_future()
            loop.call_later(SETTLED_TOGETHER_S, self._release, self._gathering)
        return self._gathering

    def _hurry(self) -> None:
        """Store the gathered settlements now, because somebody waits for them."""
        if self._gathering is not None:
            self._release(self._gathering)

    def _release(self, gathering: asyncio.Future[None]) -> None:
        if not gathering.done():
            gathering.set_result(None)
            self._gathering = None

    async def _settle(self, report: UsageReport, exchange: Exchange, gathered: asyncio.Future[None]) -> None:
        """Store a settlement; until then the exchange can be found by its answer's id."""
        await asyncio.wait((gathered,))
        if self.regenerations is not None:
            report = await self.regenerations.completed(report, exchange)
        try:
            await patiently(lambda: self._report(report))
        except UnavailableError as error:
            extra = {"decision_id": report.decision_id, "code": error.code}
            logger.error("gateway.not_settled", extra=extra)  # noqa: TRY400 - the traceback would say nothing more


def _callable(arms: Sequence[Arm], upstreams: Collection[str]) -> dict[str, Arm]:
    """The arms behind these upstreams, and the recipes all of whose parts are.

    A recipe gets the smallest context window of its parts.
    """
    able = {arm.arm: arm for arm in arms if arm.recipe is None and arm.upstream in upstreams}
    found = {}
    for arm in arms:
        if arm.arm in able:
            found[arm.arm] = arm
        elif arm.recipe is not None and all(part in able for part in arm.recipe.parts):
            windows = [able[part].context_window_tokens for part in arm.recipe.parts]
            window = min((tokens for tokens in windows if tokens is not None), default=None)
            found[arm.arm] = replace(arm, context_window_tokens=window)
    return found


def recipes_unable(call: GatewayCall) -> str | None:
    """Why no recipe can answer this request, or None: its parts' answers must be comparable."""
    if call.surface not in COMPARED:
        return "not_comparable"
    several = call.body.get("n")
    if isinstance(several, int) and several > 1:
        return "not_comparable"
    # Only the upstream that stored the earlier answers can continue from them.
    return "kept_by_upstream" if call.body.get("previous_response_id") or call.body.get("conversation") else None


def _prices_cached_input(arm: Arm) -> bool:
    return arm.price.usd_per_mtok_cached_in is not None
