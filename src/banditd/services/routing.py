"""The walk of a query: embed, context, eligible arms, probabilities, draw, commit, answer.

``RoutingService.route`` is that list, top to bottom. It never learns, and nothing after the draw changes the
probabilities that were logged.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from banditd.bandit.exploration import least_shares
from banditd.bandit.snapshot import TIE
from banditd.budget.pacer import Pacer
from banditd.core.errors import BanditdError, EncoderUnavailableError, InvalidInputError, NotFoundError
from banditd.core.ids import new_id
from banditd.core.types import Context, Decision, FloatArray, IntArray, Query
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, DecisionLog, Encoder
from banditd.services.eligibility import ArmGuards, apply_quality_floor, eligible_arms
from banditd.services.policy import PolicyRuntime, RouteView

SESSION_CACHE_SIZE = 50_000


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The outcome of the draw, before it becomes a decision."""

    index: int
    propensity: float
    uniform: float
    explored: bool
    reason: str
    probability: FloatArray
    mean: FloatArray
    deviation: FloatArray


class RoutingService:
    """Decides which arm answers, and logs it before saying so."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        guards: Mapping[str, ArmGuards],
        pacers: Mapping[str, Pacer],
        encoder: Encoder,
        decisions: DecisionLog,
        clock: Clock,
        rng: np.random.Generator,
        metrics: Metrics,
        store_input: bool,
    ) -> None:
        self._runtimes = runtimes
        self._guards = guards
        self._pacers = pacers
        self._encoder = encoder
        self._decisions = decisions
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._store_input = store_input
        self._sessions: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def route(self, query: Query) -> Decision:
        """Route one query.

        Raises
        ------
        NotFoundError : no such policy.
        InvalidInputError : an unknown arm or caller feature, a wrong embedding, no eligible arm.
        EncoderOverloadedError : the encoder's queue is full.
        StorageUnavailableError : the decision could not be made durable; nothing was decided.
        """
        runtime = self._runtime(query.policy)
        embedding, degraded = await self._embed(query)
        session_arm = await self._session_arm(runtime, query)
        decision = self._decide(runtime, query, embedding, degraded, session_arm)
        if not query.dry_run:
            await self._commit([decision])
        return decision

    async def route_batch(self, queries: Sequence[Query]) -> list[Decision | BanditdError]:
        """Route many queries; one that fails does not hurt the others. All are committed together."""
        prepared = await asyncio.gather(*(self._prepare(q) for q in queries), return_exceptions=True)
        results: list[Decision | BanditdError] = []
        for outcome in prepared:
            if isinstance(outcome, BaseException) and not isinstance(outcome, BanditdError):
                raise outcome
            results.append(outcome)
        durable = [d for q, d in zip(queries, results, strict=True) if isinstance(d, Decision) and not q.dry_run]
        if durable:
            await self._commit(durable)
        return results

    async def _prepare(self, query: Query) -> Decision:
        runtime = self._runtime(query.policy)
        embedding, degraded = await self._embed(query)
        session_arm = await self._session_arm(runtime, query)
        return self._decide(runtime, query, embedding, degraded, session_arm)

    def _runtime(self, policy: str) -> PolicyRuntime:
        runtime = self._runtimes.get(policy)
        if runtime is None:
            raise NotFoundError(
                f"no such policy: {policy}; this daemon serves {', '.join(self._runtimes)}",
                code="POLICY_UNKNOWN",
                field="/policy",
            )
        return runtime

    async def _embed(self, query: Query) -> tuple[FloatArray | None, str | None]:
        """The embedding, or the reason why there is none."""
        if query.embedding is not None:
            return query.embedding, None
        if query.text is None:
            raise InvalidInputError("give input, messages or embedding", field="/input")
        try:
            return await self._encoder.encode(query.text), None
        except EncoderUnavailableError as error:
            reason = error.code.lower()
            self._metrics.count(self._metrics.degraded, query.policy, reason)
            return None, reason

    async def _session_arm(self, runtime: PolicyRuntime, query: Query) -> str | None:
        if query.session_id is None or query.new_session_arm or not runtime.config.session_sticky:
            return None
        key = (runtime.name, query.session_id)
        arm = self._sessions.get(key)
        if arm is None:
            arm = await self._decisions.session_arm(*key)
        return arm

    # -------------------------------------------------------------- the decision, without waiting

    def _decide(
        self,
        runtime: PolicyRuntime,
        query: Query,
        embedding: FloatArray | None,
        degraded: str | None,
        session_arm: str | None,
    ) -> Decision:
        view = runtime.view
        now_us = self._clock.now_us()
        context = self._context(runtime, query, embedding)
        tokens = self._encoder.count_tokens(query.text) if query.text is not None else 0
        cost_usd = view.cost_usd(tokens, query.expected_output_tokens)
        soft = self._soft_exclusions(runtime, view, cost_usd, now_us)
        arms, excluded = eligible_arms(view, query, cost_usd, tokens, soft)
        if query.quality_floor is not None:
            mean, _ = view.snapshot.predict(context, arms)
            arms = apply_quality_floor(view, arms, mean, query.quality_floor, excluded)
        weight = runtime.config.cost_weight if query.cost_weight is None else query.cost_weight
        penalty = self._penalty(runtime, view, cost_usd[arms], weight)
        drawn = self._draw(runtime, view, context, arms, penalty, cost_usd[arms], session_arm)
        chosen = view.arms[int(arms[drawn.index])]
        if not query.dry_run:
            self._after_draw(runtime, view, query, context, arms, excluded, drawn, cost_usd)
        config = runtime.config
        return Decision(
            decision_id=new_id(now_us),
            policy=runtime.name,
            policy_kind=config.settings.kind,
            created_at_us=now_us,
            expires_at_us=now_us + int(config.rewards.window_s * 1e6),
            arm=chosen.arm,
            upstream_model=chosen.upstream_model,
            propensity=drawn.propensity,
            uniform=drawn.uniform,
            explored=drawn.explored,
            reason=drawn.reason,
            degraded=degraded,
            arms=tuple(view.arms[int(i)].arm for i in arms),
            probability=drawn.probability,
            mean=drawn.mean,
            deviation=drawn.deviation,
            cost_usd=cost_usd[arms],
            penalty=penalty,
            exclusions=excluded,
            context=context,
            schema_hash=runtime.builder.schema.hash,
            snapshot_version=view.snapshot.version,
            epoch=view.snapshot.epoch,
            cost_weight=weight,
            input_tokens=tokens,
            input_hash=_hash(query.text),
            input_text=query.text if self._store_input else None,
            session_id=query.session_id,
            tags=query.tags,
            deferred=query.defer_activation,
        )

    @staticmethod
    def _context(runtime: PolicyRuntime, query: Query, embedding: FloatArray | None) -> Context:
        builder = runtime.builder
        if embedding is None:
            return builder.degraded(text=query.text, turns=query.turns, tools=query.tools, caller=query.features)
        return builder.build(
            text=query.text, embedding=embedding, turns=query.turns, tools=query.tools, caller=query.features
        )

    def _soft_exclusions(
        self, runtime: PolicyRuntime, view: RouteView, cost_usd: FloatArray, now_us: int
    ) -> dict[str, str]:
        soft = self._guards[runtime.name].exclusions(view, now_us)
        pacer = self._pacers.get(runtime.name)
        if pacer is not None:
            enabled = view.enabled
            affordable = np.asarray(pacer.mask(cost_usd[enabled]), dtype=bool)
            for i in enabled[~affordable]:
                soft.setdefault(view.arms[int(i)].arm, "budget")
        return soft

    def _penalty(self, runtime: PolicyRuntime, view: RouteView, cost_usd: FloatArray, weight: float) -> FloatArray:
        """Utility that money takes away, per eligible arm: weight x cost / scale, plus the budget's price."""
        per_usd = weight / view.cost_scale_usd if view.cost_scale_usd > 0 else 0.0
        pacer = self._pacers.get(runtime.name)
        if pacer is not None:
            per_usd += pacer.price_per_usd
        return cost_usd * per_usd

    def _draw(
        self,
        runtime: PolicyRuntime,
        view: RouteView,
        context: Context,
        arms: IntArray,
        penalty: FloatArray,
        cost_usd: FloatArray,
        session_arm: str | None,
    ) -> _Drawn:
        held = view.index.get(session_arm) if session_arm is not None else None
        if held is not None and held in arms:
            mean, deviation = view.snapshot.predict(context, arms)
            probability = (arms == held).astype(float)
            index = int(np.argmax(probability))
            utility = mean - penalty
            explored = bool(utility[index] < utility.max() - TIE)
            return _Drawn(index, 1.0, 0.0, explored, "session", probability, mean, deviation)
        probes = None if view.snapshot.probe_share is None else view.snapshot.probe_share[arms]
        floors = least_shares(cost_usd, runtime.config.settings.floor, probes)
        floors = np.maximum(floors, view.onboarding_share[arms])
        uniform = float(self._rng.random())
        choice = view.snapshot.choose(context, arms=arms, penalty=penalty, floors=floors, uniform=uniform)
        return _Drawn(
            choice.index,
            choice.propensity,
            uniform,
            choice.explored,
            "policy",
            choice.probability,
            choice.mean,
            choice.deviation,
        )

    def _after_draw(
        self,
        runtime: PolicyRuntime,
        view: RouteView,
        query: Query,
        context: Context,
        arms: IntArray,
        excluded: Mapping[str, str],
        drawn: _Drawn,
        cost_usd: FloatArray,
    ) -> None:
        chosen = view.arms[int(arms[drawn.index])].arm
        self._guards[runtime.name].count(view, chosen)
        pacer = self._pacers.get(runtime.name)
        if pacer is not None:
            mean, costs = drawn.mean, cost_usd[arms]
            if "budget" in excluded.values():
                # The price must be solved on the arms that money, not the request, has taken away.
                everyone = np.array([i for i in view.enabled if excluded.get(view.arms[i].arm, "budget") == "budget"])
                mean, costs = view.snapshot.predict(context, everyone)[0], cost_usd[everyone]
            pacer.observe(mean, costs)
            pacer.reserve(float(cost_usd[arms[drawn.index]]))
        if query.session_id is not None:
            self._remember(runtime.name, query.session_id, chosen)

    async def _commit(self, decisions: Sequence[Decision]) -> None:
        await self._decisions.append(decisions)
        metrics = self._metrics
        for decision in decisions:
            explored = "true" if decision.explored else "false"
            metrics.count(metrics.selections, decision.policy, decision.arm, explored)

    def _remember(self, policy: str, session_id: str, arm: str) -> None:
        key = (policy, session_id)
        self._sessions[key] = arm
        self._sessions.move_to_end(key)
        if len(self._sessions) > SESSION_CACHE_SIZE:
            self._sessions.popitem(last=False)


def _hash(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
