"""The walk of a query: what has to be waited for, the decision, commit, answer.

``RoutingService.route`` is that list, top to bottom. It never learns, and nothing after the draw changes the
probabilities that were logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from banditd.core.errors import BanditdError, EncoderUnavailableError, InvalidInputError, NotFoundError
from banditd.core.money import AccountKey
from banditd.core.types import Context, Decision, FloatArray, Query
from banditd.deciding.account import exhausted
from banditd.deciding.decide import Case
from banditd.deciding.objectives import with_profile
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, DecisionLog, Encoder
from banditd.services.decider import Prepared, TurnDecider
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime

# Every refusal of a commit brings the newest sums, so a decision is refused again only when others spend meanwhile.
BUDGET_ATTEMPTS = 8


class RoutingService:
    """Decides which arm answers, and logs it before saying so."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        decider: TurnDecider,
        budgets: Mapping[str, BudgetBook],
        encoder: Encoder,
        decisions: DecisionLog,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._runtimes = runtimes
        self._decider = decider
        self._budgets = budgets
        self._encoder = encoder
        self._decisions = decisions
        self._clock = clock
        self._metrics = metrics

    async def route(self, query: Query) -> Decision:
        """Route one query.

        Raises
        ------
        NotFoundError : no such policy or profile.
        InvalidInputError : an unknown arm or caller feature, a wrong embedding, no eligible arm.
        BudgetExhaustedError : a budget that rejects is used up.
        EncoderOverloadedError : the encoder's queue is full.
        StorageUnavailableError : the decision could not be made durable; nothing was decided.
        """
        prepared = await self._prepare(query)
        decision = self._decide_one(prepared)
        if query.dry_run:
            return decision
        full = (await self._commit([decision])).get(decision.decision_id)
        return decision if full is None else await self._again(prepared, full)

    async def route_batch(self, queries: Sequence[Query]) -> list[Decision | BanditdError]:
        """Route many queries; one that fails does not hurt the others. All are committed together."""
        prepared = await asyncio.gather(*(self._prepare(q) for q in queries), return_exceptions=True)
        ready = [one for one in prepared if isinstance(one, Prepared)]
        made = iter(self._decider.decide(ready)) if ready else iter(())
        results = [next(made) if isinstance(one, Prepared) else _as_error(one) for one in prepared]
        durable = [
            one
            for one, query in zip(results, queries, strict=True)
            if isinstance(one, Decision) and not query.dry_run
        ]
        refused = await self._commit(durable) if durable else {}
        for index, (before, one) in enumerate(zip(prepared, results, strict=True)):
            full = refused.get(one.decision_id) if isinstance(one, Decision) else None
            if full is not None and isinstance(before, Prepared):
                try:
                    results[index] = await self._again(before, full)
                except BanditdError as error:
                    results[index] = error
        return results

    def _decide_one(self, prepared: Prepared) -> Decision:
        made = self._decider.decide([prepared])[0]
        if isinstance(made, BanditdError):
            raise made
        return made

    async def _prepare(self, query: Query) -> Prepared:
        """Everything that has to be waited for, before the decision that waits for nothing."""
        runtime = self._runtime(query.policy)
        query = with_profile(query, runtime.config.profiles)
        embedding, degraded = await self._embed(query)
        case = Case(
            query=query,
            context=_context(runtime, query, embedding),
            input_tokens=self._encoder.count_tokens(query.text) if query.text is not None else 0,
        )
        return await self._with_newest(Prepared(runtime, case, degraded))

    async def _with_newest(self, prepared: Prepared) -> Prepared:
        """The session's arm and the accounts, as they are now."""
        # Looked up every time: another replica, or an earlier query, may have drawn the session's arm afresh since.
        session, query = prepared.session, prepared.case.query
        session_arm = None if session is None else await self._decisions.session_arm(*session)
        accounts = await self._budgets[prepared.runtime.name].accounts(query, self._clock.now_us())
        if session_arm is None and not accounts and prepared.case.session_arm is None:
            return prepared
        return replace(prepared, case=replace(prepared.case, session_arm=session_arm, accounts=accounts))

    async def _again(self, prepared: Prepared, full: AccountKey) -> Decision:
        """Decide anew: the sums, known by now, showed a limit that the first decision would have exceeded."""
        while True:
            for _ in range(BUDGET_ATTEMPTS):
                prepared = await self._with_newest(prepared)
                decision = self._decide_one(prepared)
                refused = await self._commit([decision])
                if not refused:
                    return decision
                full = refused[decision.decision_id]
            account = self._budgets[prepared.runtime.name].known(full)
            if account is not None:  # else its window has ended meanwhile
                raise exhausted(account, self._clock.now_us())

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

    async def _commit(self, decisions: Sequence[Decision]) -> Mapping[str, AccountKey]:
        """Make decisions durable. Returns, by id, those that a budget refuses, and whose."""
        try:
            committed = await self._decisions.append(decisions)
        except BaseException:
            self._decider.take_back(decisions)
            raise
        self._decider.take_back(made for made in decisions if made.decision_id in committed.refused)
        metrics = self._metrics
        for decision in decisions:
            if decision.decision_id in committed.refused:
                continue
            self._budgets[decision.policy].release(decision.charges)
            explored = "true" if decision.explored else "false"
            metrics.count(metrics.selections, decision.policy, decision.arm, explored)
        if committed.accounts:
            for policy in {decision.policy for decision in decisions}:
                self._budgets[policy].adopt(committed.accounts)
        return committed.refused


def _context(runtime: PolicyRuntime, query: Query, embedding: FloatArray | None) -> Context:
    builder = runtime.builder
    if embedding is None:
        return builder.degraded(text=query.text, turns=query.turns, tools=query.tools, caller=query.features)
    return builder.build(
        text=query.text, embedding=embedding, turns=query.turns, tools=query.tools, caller=query.features
    )


def _as_error(failed: Prepared | BaseException) -> BanditdError:
    """The error of a query that could not be prepared; what is no error of ours is raised."""
    if isinstance(failed, BanditdError):
        return failed
    assert isinstance(failed, BaseException)  # noqa: S101
    raise failed
