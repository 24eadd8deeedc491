"""Routing a query: await what is needed, decide, commit, answer.

``RoutingService.route`` is that list, top to bottom. It never learns, and nothing after the draw changes the logged
probabilities.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from types import MappingProxyType

from banditd.core.errors import BanditdError, EncoderUnavailableError
from banditd.core.money import AccountKey
from banditd.core.types import Decision, FloatArray, Query
from banditd.deciding.account import exhausted
from banditd.deciding.objectives import check_keep, with_profile
from banditd.deciding.view import handed_out
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, Committed, Encoder, RoutingLog
from banditd.services.books import PolicyBooks
from banditd.services.constraints import holding
from banditd.services.decider import MOST_QUERIES, Prepared, TurnDecider
from banditd.services.idempotency import answered, key_of, repeat_or_route
from banditd.services.input_hash import is_long
from banditd.services.policy import PolicyRuntime, runtime_of
from banditd.services.turns import Ahead, Outcome, Turns

# A refused commit returns the newest totals, so a decision is refused again only if others spend in the meantime.
BUDGET_ATTEMPTS = 8
NO_TEXT = "no_text"
_NO_NOTES: Mapping[str, float] = MappingProxyType({})
_SELECTED = attrgetter("policy", "arm", "explored")


class RoutingService:
    """Decides which arm answers a query, and commits the decision before returning it.

    alone : decide and commit every query in its own task, so that traces show what each query waited for.
    """

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        decider: TurnDecider,
        books: Mapping[str, PolicyBooks],
        encoder: Encoder,
        decisions: RoutingLog,
        clock: Clock,
        metrics: Metrics,
        alone: bool = False,
    ) -> None:
        self._runtimes = runtimes
        self._decider = decider
        self._books = books
        self._encoder = encoder
        self._decisions = decisions
        self._clock = clock
        self._metrics = metrics
        self._alone = alone
        self._turns = Turns(decider.decide_all, self._commit)

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
        key = key_of(query)
        if key is not None:
            [before] = await self._decisions.repeated([(query.policy, key)])
            if before is not None:
                return answered(before)
        prepared = await self._prepare(query)
        if query.dry_run:
            return self._decide_one(prepared)
        if self._alone:
            decision = self._decide_one(prepared)
            return await self._settle(prepared, decision, await self._commit([decision]))
        return await self._durable(prepared, self._turns.join(prepared))

    async def ahead(self, query: Query) -> Ahead:
        """Like ``route``, but a query that is alone in its turn gets its decision while it is being committed.

        The caller can prepare the upstream's call in the meantime; it must await ``Ahead.durable`` before sending it.
        """
        if self._alone or query.dry_run or key_of(query) is not None:
            return Ahead(await self.route(query))
        prepared = await self._prepare(query)
        early: asyncio.Future[Decision | None] = asyncio.get_running_loop().create_future()
        answer = self._turns.join(prepared, early)
        try:
            decision = await early
        except asyncio.CancelledError:
            answer.cancel()
            raise
        if decision is None:
            return Ahead(await self._durable(prepared, answer))
        answer.add_done_callback(_retrieve_error)
        return Ahead(decision, partial(self._durable, prepared, answer))

    async def _durable(self, prepared: Prepared, answer: asyncio.Future[Outcome]) -> Decision:
        decision, committed = await answer
        if not (committed.repeated or committed.refused or committed.failed):
            return decision
        return await self._settle(prepared, decision, committed)

    async def route_batch(self, queries: Sequence[Query]) -> list[Decision | BanditdError]:
        """Route many queries, committed together; a query that fails does not affect the others."""
        return await repeat_or_route(self._decisions, queries, self._route_new)

    def recipes_of(self, decision: Decision) -> Mapping[str, Mapping[str, object]]:
        """For each recipe among the decision's arms: what it is made of, with the models to call."""
        runtime = self._runtimes.get(decision.policy)
        return {} if runtime is None else handed_out(runtime.view, decision.arms)

    async def _route_new(self, queries: Sequence[Query]) -> list[Decision | BanditdError]:
        prepared = []
        labelled = await self._all_labelled(queries)
        for first in range(0, len(queries), MOST_QUERIES):  # in parts, so that the event loop is not held too long
            these = (self._prepare(*one) for one in labelled[first : first + MOST_QUERIES])
            prepared += [_or_error(one) for one in await asyncio.gather(*these, return_exceptions=True)]
        made = iter(await self._decider.decide_all([one for one in prepared if isinstance(one, Prepared)]))
        results = [next(made) if isinstance(one, Prepared) else one for one in prepared]
        durable = [
            one
            for one, query in zip(results, queries, strict=True)
            if isinstance(one, Decision) and not query.dry_run
        ]
        committed = await self._commit(durable) if durable else Committed()
        for index, (before, one) in enumerate(zip(prepared, results, strict=True)):
            if isinstance(before, Prepared) and isinstance(one, Decision):
                try:
                    results[index] = await self._settle(before, one, committed)
                except BanditdError as error:
                    results[index] = error
        return results

    async def _settle(self, prepared: Prepared, made: Decision, committed: Committed) -> Decision:
        """The final decision: this one, an earlier one under its request key, or a new one if a budget refused it.

        Raises the error if it could not be stored.
        """
        failed = committed.failed.get(made.decision_id)
        if failed is not None:
            raise failed
        before = committed.repeated.get(made.decision_id)
        if before is not None:
            return answered(before)
        full = committed.refused.get(made.decision_id)
        return made if full is None else await self._decide_again(prepared, full)

    def _decide_one(self, prepared: Prepared) -> Decision:
        made = self._decider.decide_one(prepared)
        if isinstance(made, BanditdError):
            raise made
        return made

    async def _labelled(self, query: Query) -> tuple[Query, Mapping[str, float]]:
        """The query with its policy's classifier tag, and the facts to record about it.

        The classifier is not called while the baseline answers everything.
        """
        runtime = self._runtimes.get(query.policy)
        if runtime is None or runtime.classifier is None or not runtime.switches.rollout:
            return query, _NO_NOTES
        return await runtime.classifier.tagged(query)

    async def _all_labelled(self, queries: Sequence[Query]) -> list[tuple[Query, Mapping[str, float]]]:
        """``_labelled`` for all queries at once, so that the parts of a batch do not wait for one another."""
        policies = {query.policy for query in queries}
        if all(one.classifier is None for name, one in self._runtimes.items() if name in policies):
            return [(query, _NO_NOTES) for query in queries]
        return await asyncio.gather(*map(self._labelled, queries))

    async def _prepare(self, query: Query, notes: Mapping[str, float] | None = None) -> Prepared:
        """Await everything that the decision needs; the decision itself waits for nothing.

        notes : facts about the query's label, if the classifier was asked before.
        """
        runtime = runtime_of(self._runtimes, query.policy)
        check_keep(query, promised=runtime.switches.promise is not None)
        query = with_profile(query, runtime.config.profiles)
        runtime.name_template(query)
        text = query.text
        if notes is None:
            query, notes = await self._labelled(query)
        embedding, degraded = await self._embed(query)
        if runtime.constraints:
            found = await holding(runtime.constraints, query.text, query.tags, embedding)
            for one in found:
                self._metrics.count(self._metrics.constraints, query.policy, one.name)
            query = replace(query, constraints=found)
        described = runtime.described(query, embedding)
        if notes:
            described.facts.update(notes)
        prepared = Prepared(
            runtime=runtime,
            query=query,
            described=described,
            input_tokens=(self._encoder.count_tokens(text) if text is not None else 0) + query.unread_tokens,
            degraded=degraded,
            input_hash=await self._decider.input_record.hashed(text) if text is not None and is_long(text) else None,
        )
        if self._books[runtime.name].budget.rules or prepared.session is not None or prepared.cache is not None:
            await self._look_up_latest(prepared)
        return prepared

    async def _look_up_latest(self, prepared: Prepared) -> None:
        """Look up the session's arm and the accounts as they are now."""
        # Look it up every time: another replica or an earlier query may have drawn a new arm for the session.
        session, cache, query = prepared.session, prepared.cache, prepared.query
        prepared.session_arm = None if session is None else await self._session_arm(prepared, session)
        if cache is not None:
            await self._look_up_cache(prepared, cache)
        budgets = self._books[prepared.runtime.name].budget
        if budgets.rules:
            prepared.accounts = await budgets.accounts(query, self._clock.now_us())

    async def _session_arm(self, prepared: Prepared, session: tuple[str, str]) -> str | None:
        """The session's arm, unless it came from a candidate that has since been rolled back."""
        release = self._books[prepared.runtime.name].release
        if not release.ended or prepared.query.turn is not None:
            return await self._decisions.session_arm(*session)
        found = await self._decisions.session(*session)
        return None if found is None or release.gave(session[1], found.updated_at_us) else found.arm

    async def _look_up_cache(self, prepared: Prepared, cache: tuple[str, str]) -> None:
        """Look up the arm that may have the start of the query in its prompt cache."""
        turn = prepared.query.turn
        found = await self._decisions.session(*cache)
        if turn is None or found is None or self._clock.now_us() - found.updated_at_us > turn.cache_s * 1e6:
            prepared.cached_arm, prepared.cached_tokens = None, 0.0
        else:
            prepared.cached_arm, prepared.cached_tokens = found.arm, prepared.input_tokens * turn.sent_share

    async def _decide_again(self, prepared: Prepared, full: AccountKey) -> Decision:
        """Decide again with the newest totals: the first decision would have exceeded a limit."""
        while True:
            for _ in range(BUDGET_ATTEMPTS):
                await self._look_up_latest(prepared)
                decision = self._decide_one(prepared)
                committed = await self._commit([decision])
                if decision.decision_id not in committed.refused:
                    return await self._settle(prepared, decision, committed)
                full = committed.refused[decision.decision_id]
            account = self._books[prepared.runtime.name].budget.known(full)
            if account is not None:  # otherwise its window has ended
                raise exhausted(account, self._clock.now_us())

    async def _embed(self, query: Query) -> tuple[FloatArray | None, str | None]:
        """The embedding, or the reason why there is none."""
        if query.embedding is not None:
            return query.embedding, None
        reason = NO_TEXT  # for example only images: routed by whatever else is known
        if query.text is not None:
            try:
                return await self._encoder.encode(query.text), None
            except EncoderUnavailableError as error:
                reason = error.code.lower()
        self._metrics.count(self._metrics.degraded, query.policy, reason)
        return None, reason

    async def _commit(self, decisions: Sequence[Decision], committing: Callable[[], None] | None = None) -> Committed:
        """Commit decisions, except those that a budget refuses or whose request key was used before."""
        try:
            committed = await self._decisions.append(decisions, committing)
        except BaseException:
            self._decider.undo(decisions)
            raise
        # Include the refused decisions' policies: it is their accounts whose totals were out of date.
        policies = {made.policy for made in decisions} if committed.accounts else ()
        not_made = committed.not_made
        if not_made:
            self._decider.undo(made for made in decisions if made.decision_id in not_made)
            decisions = [made for made in decisions if made.decision_id not in not_made]
        for made in decisions:
            if made.charges:
                self._books[made.policy].budget.release(made.charges)
        for policy in policies:
            self._books[policy].budget.adopt(committed.accounts)
        metrics = self._metrics
        for (policy, arm, explored), times in Counter(map(_SELECTED, decisions)).items():
            metrics.count(metrics.selections, policy, arm, "true" if explored else "false", by=times)
        return committed


def _retrieve_error(answer: asyncio.Future[Outcome]) -> None:
    """Retrieve the error of an answer that nobody awaits any more, so that asyncio does not log it."""
    if not answer.cancelled():
        answer.exception()


def _or_error(found: Prepared | BaseException) -> Prepared | BanditdError:
    """The prepared query or its BanditdError; any other exception is raised."""
    if isinstance(found, Prepared | BanditdError):
        return found
    raise found
