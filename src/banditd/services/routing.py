"""The walk of a query: embed, context, eligible arms, admission, probabilities, draw, commit, answer.

``route`` is that list, top to bottom. It never learns, and nothing after the draw changes the logged probabilities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from banditd.core.errors import BanditdError, EncoderUnavailableError
from banditd.core.ids import new_id
from banditd.core.money import AccountKey, Charge
from banditd.core.pace import Pace
from banditd.core.types import Context, Decision, FloatArray, IntArray, Query
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, Committed, DecisionLog, Encoder
from banditd.services.drawing import Drawn, Restraint, draw_arm
from banditd.services.eligibility import ArmGuards, eligible_arms
from banditd.services.idempotency import answered, key_of, repeat_or_route
from banditd.services.money.account import Account, exhausted
from banditd.services.money.budgets import Admission, BudgetBook
from banditd.services.objectives import cost_weight_of, with_profile
from banditd.services.policy import PolicyRuntime, RouteView, runtime_of

# Every refusal of a commit brings the newest sums, so a decision is refused again only when others spend meanwhile.
BUDGET_ATTEMPTS = 8
NO_TEXT = "no_text"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A query with all that had to be waited for."""

    query: Query
    embedding: FloatArray | None
    degraded: str | None
    session_arm: str | None
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True)
class _Priced:
    """Cost (dollars) and penalty (reward) of every arm: float64, shape (n_arms,)."""

    now_us: int
    input_tokens: int
    output_tokens: FloatArray
    cost_usd: FloatArray
    cost_weight: float
    penalty: FloatArray


class RoutingService:
    """Decides which arm answers, and logs it before saying so."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        guards: Mapping[str, ArmGuards],
        budgets: Mapping[str, BudgetBook],
        encoder: Encoder,
        decisions: DecisionLog,
        clock: Clock,
        rng: np.random.Generator,
        metrics: Metrics,
        hash_input: Callable[[str], str],
        store_input: bool,
    ) -> None:
        self._runtimes = runtimes
        self._guards = guards
        self._budgets = budgets
        self._encoder = encoder
        self._decisions = decisions
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._hash_input = hash_input
        self._store_input = store_input

    async def route(self, query: Query) -> Decision:
        """Route one query.

        Raises
        ------
        NotFoundError : no such policy or profile.
        InvalidInputError : an unknown arm or caller feature, a wrong embedding, no eligible arm.
        BudgetExhaustedError : a budget that rejects is used up.
        EncoderOverloadedError : the encoder's queue is full.
        ConflictError : its request key was used for another request.
        StorageUnavailableError : the decision could not be made durable; nothing was decided.
        """
        if key_of(query) is not None:
            return answered((await self.route_batch([query]))[0])
        runtime, prepared = await self._prepare(query)
        decision = self._decide(runtime, prepared)
        if query.dry_run:
            return decision
        return await self._settle(runtime, prepared, decision, await self._commit([decision]))

    async def route_batch(self, queries: Sequence[Query]) -> list[Decision | BanditdError]:
        """Route many queries; one that fails does not hurt the others. All are committed together."""
        return await repeat_or_route(self._decisions, queries, self._route_new)

    async def _route_new(self, queries: Sequence[Query]) -> list[Decision | BanditdError]:
        prepared = await asyncio.gather(*(self._prepare(q) for q in queries), return_exceptions=True)
        results, durable = await self._decide_all(queries, prepared)
        committed = await self._commit(durable) if durable else Committed()
        for index, (one, made) in enumerate(zip(prepared, results, strict=True)):
            if isinstance(made, Decision) and not isinstance(one, BaseException):
                try:
                    results[index] = await self._settle(*one, made, committed)
                except BanditdError as error:
                    results[index] = error
        return results

    async def _settle(
        self, runtime: PolicyRuntime, prepared: _Prepared, made: Decision, committed: Committed
    ) -> Decision:
        """The decision that holds: this one, that of the same request key, or another where a budget refused."""
        before = committed.repeated.get(made.decision_id)
        if before is not None:
            return answered(before)
        full = committed.refused.get(made.decision_id)
        return made if full is None else await self._again(runtime, prepared, full)

    async def _decide_all(
        self, queries: Sequence[Query], prepared: Sequence[tuple[PolicyRuntime, _Prepared] | BaseException]
    ) -> tuple[list[Decision | BanditdError], list[Decision]]:
        """What becomes of each query, and what to commit. What one draws for its session, the later ones keep."""
        results: list[Decision | BanditdError] = []
        durable: list[Decision] = []
        drawn: dict[tuple[str, str] | None, str] = {}
        pace = Pace()
        try:
            for query, one in zip(queries, prepared, strict=True):
                made = self._outcome(one, drawn)
                results.append(made)
                if isinstance(made, Decision) and not query.dry_run:
                    durable.append(made)
                    if made.session_id is not None:
                        drawn[made.policy, made.session_id] = made.arm
                await pace.step()
        except BaseException:
            self._take_back(durable)  # nobody will commit them
            raise
        return results, durable

    def _outcome(
        self, prepared: tuple[PolicyRuntime, _Prepared] | BaseException, drawn: Mapping[tuple[str, str] | None, str]
    ) -> Decision | BanditdError:
        try:
            if isinstance(prepared, BaseException):
                raise prepared
            runtime, one = prepared
            arm = drawn.get(_session_of(runtime, one.query), one.session_arm)
            return self._decide(runtime, replace(one, session_arm=arm))
        except BanditdError as error:
            return error

    async def _prepare(self, query: Query) -> tuple[PolicyRuntime, _Prepared]:
        """Everything that has to be waited for, before the decision that waits for nothing."""
        runtime = runtime_of(self._runtimes, query.policy)
        query = with_profile(query, runtime.config.profiles)
        embedding, degraded = await self._embed(query)
        session_arm = await self._session_arm(runtime, query)
        accounts = await self._budgets[runtime.name].accounts(query, self._clock.now_us())
        return runtime, _Prepared(query, embedding, degraded, session_arm, accounts)

    async def _again(self, runtime: PolicyRuntime, prepared: _Prepared, full: AccountKey) -> Decision:
        """Decide anew: the sums, known by now, showed a limit that the first decision would have exceeded."""
        book = self._budgets[runtime.name]
        for _ in range(BUDGET_ATTEMPTS):
            session_arm = await self._session_arm(runtime, prepared.query)  # others of a batch may have drawn it
            accounts = await book.accounts(prepared.query, self._clock.now_us())
            decision = self._decide(runtime, replace(prepared, accounts=accounts, session_arm=session_arm))
            committed = await self._commit([decision])
            if decision.decision_id not in committed.refused:
                return await self._settle(runtime, prepared, decision, committed)
            full = committed.refused[decision.decision_id]
        account = book.known(full)
        if account is None:  # its window has ended meanwhile
            return await self._again(runtime, prepared, full)
        raise exhausted(account, self._clock.now_us())

    async def _embed(self, query: Query) -> tuple[FloatArray | None, str | None]:
        """The embedding, or the reason why there is none."""
        if query.embedding is not None:
            return query.embedding, None
        reason = NO_TEXT  # images alone, say: routed, as far as that can be, by what else is known
        if query.text is not None:
            try:
                return await self._encoder.encode(query.text), None
            except EncoderUnavailableError as error:
                reason = error.code.lower()
        self._metrics.count(self._metrics.degraded, query.policy, reason)
        return None, reason

    async def _session_arm(self, runtime: PolicyRuntime, query: Query) -> str | None:
        # Looked up every time: another replica may have drawn the session's arm afresh since.
        key = _session_of(runtime, query)
        return None if key is None else await self._decisions.session_arm(*key)

    # -------------------------------------------------------------- the decision, without waiting

    def _decide(self, runtime: PolicyRuntime, prepared: _Prepared) -> Decision:
        query, view = prepared.query, runtime.view
        context = runtime.context(query, prepared.embedding)
        priced = self._price(runtime, view, prepared, context)
        soft = self._guards[runtime.name].exclusions(view, priced.now_us)
        latency_ms = None if query.max_latency_ms is None else view.expected_latency_ms(context.x)
        eligible, excluded = eligible_arms(view, query, priced.cost_usd, priced.input_tokens, soft, latency_ms)
        admission = self._admit(runtime, view, prepared.accounts, eligible, priced)
        drawn = draw_arm(
            view,
            query,
            context,
            admission.arms,
            penalty=priced.penalty,
            cost_usd=priced.cost_usd,
            session_arm=prepared.session_arm,
            exploration_floor=runtime.config.settings.floor,
            uniform=float(self._rng.random()),
            restraint=self._restraint(runtime, prepared.accounts, admission, priced),
        )
        excluded |= admission.reasons(view.snapshot.arms, drawn)
        charges: tuple[Charge, ...] = ()
        if not query.dry_run:
            chosen = view.arms[int(drawn.arms[drawn.index])].arm
            self._guards[runtime.name].drawn(view, chosen, priced.now_us)
            charges = self._reserve(runtime, view, prepared.accounts, context, eligible, admission, drawn, priced)
        unaffordable = {view.arms[i].arm: float(priced.cost_usd[i]) for i in admission.excluded}
        return self._decision(runtime, view, prepared, context, priced, drawn, excluded, charges, unaffordable)

    def _decision(
        self,
        runtime: PolicyRuntime,
        view: RouteView,
        prepared: _Prepared,
        context: Context,
        priced: _Priced,
        drawn: Drawn,
        excluded: Mapping[str, str],
        charges: tuple[Charge, ...],
        unaffordable_usd: Mapping[str, float],
    ) -> Decision:
        query, config, arms = prepared.query, runtime.config, drawn.arms
        chosen = view.arms[int(arms[drawn.index])]
        return Decision(
            decision_id=new_id(priced.now_us),
            policy=runtime.name,
            policy_kind=config.settings.kind,
            created_at_us=priced.now_us,
            expires_at_us=priced.now_us + int(config.rewards.window_s * 1e6),
            arm=chosen.arm,
            upstream_model=chosen.upstream_model,
            propensity=drawn.propensity,
            uniform=drawn.uniform,
            explored=drawn.explored,
            reason=drawn.reason,
            degraded=prepared.degraded,
            arms=tuple(view.arms[int(i)].arm for i in arms),
            probability=drawn.probability,
            mean=drawn.mean,
            deviation=drawn.deviation,
            cost_usd=priced.cost_usd[arms],
            penalty=priced.penalty[arms],
            exclusions=excluded,
            context=context,
            schema_hash=runtime.builder.schema.hash,
            snapshot_version=view.snapshot.version,
            epoch=view.snapshot.epoch,
            cost_weight=priced.cost_weight,
            input_tokens=priced.input_tokens,
            input_hash=None if query.text is None else self._hash_input(query.text),
            input_text=query.text if self._store_input else None,
            session_id=query.session_id,
            tags=query.tags,
            deferred=query.defer_activation,
            charges=charges,
            mixture=drawn.mixture,
            unaffordable_usd=unaffordable_usd,
            key_name=query.key_name,
            request_key=query.request_key,
        )

    def _price(self, runtime: PolicyRuntime, view: RouteView, prepared: _Prepared, context: Context) -> _Priced:
        """What every arm would cost, and the utility that takes away."""
        query, accounts = prepared.query, prepared.accounts
        tokens = self._encoder.count_tokens(query.text) if query.text is not None else 0
        said = query.expected_output_tokens
        output_tokens = view.expected_output_tokens(context.x) if said is None else np.full(len(view.arms), said)
        cost_usd = view.cost_usd(tokens, output_tokens)
        weight = cost_weight_of(query, runtime.config.cost_weight)
        penalty = view.penalty(
            cost_usd,
            tokens,
            output_tokens,
            weight=weight,
            price_per_usd=BudgetBook.price_per_usd(accounts) if accounts else 0.0,
            resources=runtime.config.resources,
        )
        return _Priced(self._clock.now_us(), tokens, output_tokens, cost_usd, weight, penalty)

    def _admit(
        self,
        runtime: PolicyRuntime,
        view: RouteView,
        accounts: tuple[Account, ...],
        eligible: IntArray,
        priced: _Priced,
    ) -> Admission:
        if not accounts:
            return Admission(eligible)
        book = self._budgets[runtime.name]
        book.follow_prices(view)
        spread_usd = view.cost_spread_usd(priced.output_tokens)
        return book.admit(accounts, eligible, priced.cost_usd, spread_usd, view.snapshot.arms, priced.now_us)

    def _restraint(
        self, runtime: PolicyRuntime, accounts: tuple[Account, ...], admission: Admission, priced: _Priced
    ) -> Restraint | None:
        if not accounts:
            return None
        arms = admission.arms
        return self._budgets[runtime.name].restraint(
            accounts, runtime.view.snapshot.arms, arms, priced.cost_usd[arms]
        )

    def _reserve(
        self,
        runtime: PolicyRuntime,
        view: RouteView,
        accounts: tuple[Account, ...],
        context: Context,
        eligible: IntArray,
        admission: Admission,
        drawn: Drawn,
        priced: _Priced,
    ) -> tuple[Charge, ...]:
        if not accounts:
            return ()
        book = self._budgets[runtime.name]
        mean, probability = drawn.mean, drawn.probability
        if drawn.arms.shape[0] < eligible.shape[0]:
            # The price must be solved on the arms that money has taken away, too.
            mean, _ = view.snapshot.predict(context, eligible)
            probability = np.zeros(eligible.shape[0])
            probability[np.searchsorted(eligible, drawn.arms)] = drawn.probability
        book.observe(
            accounts,
            view.snapshot.arms,
            eligible,
            mean,
            priced.cost_usd[eligible],
            probability,
            priced.output_tokens[eligible],
            priced.input_tokens,
        )
        return book.reserve(accounts, float(priced.cost_usd[drawn.arms[drawn.index]]), admission, priced.now_us)

    async def _commit(self, decisions: Sequence[Decision]) -> Committed:
        """Make decisions durable, but for those that a budget refuses or whose request key was used."""
        try:
            committed = await self._decisions.append(decisions)
        except BaseException:
            self._take_back(decisions)
            raise
        not_made = committed.refused.keys() | committed.repeated.keys()
        self._take_back(made for made in decisions if made.decision_id in not_made)
        metrics = self._metrics
        for decision in decisions:
            if decision.decision_id in not_made:
                continue
            self._budgets[decision.policy].release(decision.charges)
            explored = "true" if decision.explored else "false"
            metrics.count(metrics.selections, decision.policy, decision.arm, explored)
        if committed.accounts:
            for policy in {decision.policy for decision in decisions}:
                self._budgets[policy].adopt(committed.accounts)
        return committed

    def _take_back(self, decisions: Iterable[Decision]) -> None:
        """Undo what a draw has reserved: these were not committed, so they cost nothing and use up no share."""
        for made in decisions:
            self._budgets[made.policy].release(made.charges)
            self._guards[made.policy].take_back(self._runtimes[made.policy].view, made.arm)


def _session_of(runtime: PolicyRuntime, query: Query) -> tuple[str, str] | None:
    """The session whose arm the query keeps, None where it keeps none."""
    if query.session_id is None or query.new_session_arm or not runtime.config.session_sticky:
        return None
    return runtime.name, query.session_id
