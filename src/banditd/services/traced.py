"""Spans around routing and rewards: wrappers that exist only when tracing is on.

``daemon.open`` wraps the parts with them if tracing is on; otherwise a query pays nothing. The span ``decide`` covers
what lies between embedding and commit: looking up the session, the context, the probabilities and the draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from banditd.core.errors import BanditdError
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import RewardReceipt, TaskReceipt, UsageReport
from banditd.core.types import Decision, FloatArray, Query
from banditd.obs.tracing import Attribute, Tracing
from banditd.ports import Committed, Encoder, RoutingLog
from banditd.services.turns import Ahead
from banditd.services.walks import RewardInput, Rewards, Routing, UsageReceipt


@dataclass(slots=True)
class _Mark:
    """When deciding the present query began; None once its span is written."""

    since_ns: int | None


_mark: ContextVar[_Mark | None] = ContextVar("trace_mark", default=None)
DECIDE: Final = "banditd.decide"


class TracedEncoder:
    """An encoder with a span ``banditd.encode`` around each query."""

    def __init__(self, inner: Encoder, tracing: Tracing) -> None:
        self.encoder_id = inner.encoder_id
        self.dimension = inner.dimension
        self.count_tokens = inner.count_tokens
        self.close = inner.close
        self._inner = inner
        self._tracing = tracing

    async def encode(self, text: str) -> FloatArray:
        mark = _mark.get()
        try:
            with self._tracing.span("banditd.encode", {"banditd.encoder": self.encoder_id}):
                return await self._inner.encode(text)
        finally:
            if mark is not None:
                mark.since_ns = self._tracing.now_ns()


class TracedRoutingLog:
    """A routing log with a span ``banditd.commit`` around each append: the wait for the shared transaction."""

    def __init__(self, inner: RoutingLog, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing
        self.repeated = inner.repeated
        self.session = inner.session
        self.session_arm = inner.session_arm

    async def append(self, decisions: Sequence[Decision], committing: Callable[[], None] | None = None) -> Committed:
        write_decide(self._tracing)
        with self._tracing.span("banditd.commit", {"banditd.decisions": len(decisions)}):
            committed = await self._inner.append(decisions, committing)
        mark = _mark.get()
        if mark is not None and committed.refused:
            mark.since_ns = self._tracing.now_ns()  # a budget was used up, so the query is decided again
        return committed


class TracedRouting:
    """Routing a query as a span ``banditd.route`` that carries the decision id."""

    def __init__(self, inner: Routing, tracing: Tracing) -> None:
        self.recipes_of = inner.recipes_of
        self._inner = inner
        self._tracing = tracing

    async def route(self, query: Query) -> Decision:
        with self._tracing.span(
            "banditd.route", {"banditd.policy": query.policy, "banditd.dry_run": query.dry_run}
        ) as span:
            held = _mark.set(_Mark(self._tracing.now_ns()))
            try:
                decision = await self._inner.route(query)
                write_decide(self._tracing)  # a dry run was not committed
            finally:
                _mark.reset(held)
            span.set_attributes(decision_attributes(decision, dry_run=query.dry_run))
            return decision

    async def ahead(self, query: Query) -> Ahead:
        return Ahead(await self.route(query))

    async def route_batch(self, queries: list[Query]) -> list[Decision | BanditdError]:
        with self._tracing.span("banditd.route_batch", {"banditd.queries": len(queries)}) as span:
            results = await self._inner.route_batch(queries)
            made = [
                result.decision_id
                for query, result in zip(queries, results, strict=True)
                if isinstance(result, Decision) and not query.dry_run
            ]
            span.set_attributes({"banditd.decision_ids": made, "banditd.failures": _failures(results)})
            return results


class TracedRewards:
    """Storing rewards as spans that carry the decision id."""

    def __init__(self, inner: Rewards, tracing: Tracing) -> None:
        self.decision_of = inner.decision_of
        self._inner = inner
        self._tracing = tracing

    async def submit_task(self, reward: RewardInput) -> TaskReceipt:
        with self._tracing.span("banditd.reward_task", {}) as span:
            receipt = await self._inner.submit_task(reward)
            span.set_attributes({"banditd.decisions": receipt.decisions})
            return receipt

    async def submit(self, rewards: list[RewardInput]) -> list[RewardReceipt | BanditdError]:
        with self._tracing.span("banditd.reward", _ids([reward.decision_id for reward in rewards])) as span:
            outcomes = await self._inner.submit(rewards)
            duplicates = sum(isinstance(one, RewardReceipt) and one.duplicate for one in outcomes)
            span.set_attributes({"banditd.duplicates": duplicates, "banditd.failures": _failures(outcomes)})
            return outcomes

    async def retract(self, reward_id: str, owner: str | None = None) -> RewardReceipt:
        with self._tracing.span("banditd.retract") as span:
            receipt = await self._inner.retract(reward_id, owner)
            span.set_attribute("banditd.decision_id", receipt.decision_id)
            return receipt

    async def report_usage(self, report: UsageReport) -> UsageReceipt:
        with self._tracing.span("banditd.usage", {"banditd.decision_id": report.decision_id}):
            return await self._inner.report_usage(report)

    async def activate(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        with self._tracing.span("banditd.activate", {"banditd.decision_id": decision_id}):
            return await self._inner.activate(decision_id, key, owner)

    async def abandon(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        with self._tracing.span("banditd.abandon", {"banditd.decision_id": decision_id}):
            return await self._inner.abandon(decision_id, key, owner)


def traced_ports(encoder: Encoder, log: RoutingLog, tracing: Tracing | None) -> tuple[Encoder, RoutingLog]:
    """The same two objects, or, with ``tracing``, spans around them."""
    if tracing is None:
        return encoder, log
    return TracedEncoder(encoder, tracing), TracedRoutingLog(log, tracing)


def write_decide(tracing: Tracing) -> None:
    """Write the ``banditd.decide`` span of the present query, once."""
    mark = _mark.get()
    if mark is not None and mark.since_ns is not None:
        tracing.past(DECIDE, mark.since_ns, tracing.now_ns())
        mark.since_ns = None


def decision_attributes(decision: Decision, *, dry_run: bool) -> dict[str, Attribute]:
    """Attributes of a decision's span; a dry run has no id that could be looked up."""
    stated: dict[str, Attribute] = {
        "banditd.arm": decision.arm,
        "banditd.propensity": float(decision.propensity),
        "banditd.explored": bool(decision.explored),
        "banditd.policy_version": int(decision.snapshot_version),
    }
    if not dry_run:
        stated["banditd.decision_id"] = decision.decision_id
    if decision.degraded is not None:
        stated["banditd.degraded"] = decision.degraded
    return stated


def _ids(decision_ids: Sequence[str]) -> dict[str, Attribute]:
    if len(decision_ids) == 1:
        return {"banditd.decision_id": decision_ids[0]}
    return {"banditd.decision_ids": list(decision_ids)}


def _failures(outcomes: Sequence[object]) -> int:
    return sum(isinstance(outcome, BanditdError) for outcome in outcomes)
