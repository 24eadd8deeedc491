"""Turns prepared queries into decisions: builds situations, forms waves, updates budgets and caps after each draw.

The decision itself is made in ``deciding``; here it meets this process' counters and becomes a value to commit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import attrgetter, not_
from typing import Final

import numpy as np

from banditd.core.errors import BanditdError
from banditd.core.pace import Pace
from banditd.core.types import Context, Decision, FloatArray, Query
from banditd.deciding.account import Account
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.deciding.release import Parted, decide_between
from banditd.features.context import Described
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.services.books import PolicyBooks
from banditd.services.columns import Columns, decisions_of, drawn_columns, query_columns
from banditd.services.input_hash import InputRecord
from banditd.services.money.charging import charged_columns, note_tried
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.logged import logged_of
from banditd.services.waves import next_wave

# Decided at once: queries, and queries times arms, which what they take in time and memory grows with.
MOST_QUERIES: Final = 64
MOST_CELLS: Final = 640

_runtime_of, _arms_of = attrgetter("runtime"), attrgetter("view.arms")
_NO_PROMISE: Final[Columns] = dict.fromkeys(("keep", "baseline", "promise", "own_probability"), repeat(None))


@dataclass(slots=True, kw_only=True, eq=False)
class Prepared:
    """A query with everything that had to be awaited; what may have changed meanwhile is looked up again.

    degraded : why its embedding is missing, or None.
    input_hash : of a long text, see ``InputRecord``.
    The other fields are as in ``Case``.
    """

    runtime: PolicyRuntime
    query: Query
    described: Described
    input_tokens: int
    degraded: str | None
    input_hash: str | None = None
    session_arm: str | None = None
    accounts: tuple[Account, ...] = ()
    cached_arm: str | None = None
    cached_tokens: float = 0.0

    @property
    def session(self) -> tuple[str, str] | None:
        """(policy, session) whose arm the query keeps, or None."""
        query = self.query
        key = query.session_key
        if key is None or query.new_session_arm:
            return None
        keeps = self.runtime.config.session_sticky if query.turn is None else query.turn.open
        return (self.runtime.name, key) if keeps else None

    @property
    def cache(self) -> tuple[str, str] | None:
        """(policy, session) whose arm may have the start of the query in its prompt cache; None if that does not
        matter.
        """
        turn = self.query.turn
        if turn is None or turn.open or turn.sent_share <= 0.0 or turn.cache_s <= 0.0:
            return None
        return self.runtime.name, turn.conversation


class TurnDecider:
    """Decides all queries, of any policies, that are ready at the same time."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        books: Mapping[str, PolicyBooks],
        clock: Clock,
        rng: np.random.Generator,
        metrics: Metrics,
        input_record: InputRecord,
    ) -> None:
        self._runtimes = runtimes
        self._books = books
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self.input_record = input_record

    def decide_one(self, prepared: Prepared) -> Decision | BanditdError:
        """Decide one query without waiting. Its draw is reserved and counted as in ``decide_all``."""
        made: dict[int, Decision | BanditdError] = {}
        self._decide_batch([prepared], {}, self._rng.random(1), [0], made)
        return made[0]

    async def decide_all(self, prepared: Sequence[Prepared]) -> list[Decision | BanditdError]:
        """Decide each query as if they were decided one by one in this order.

        Queries that affect each other are decided in different waves, and other tasks may run between waves. Draws
        are reserved with the budgets and counted for the caps: call ``undo`` for decisions that are not committed.
        """
        made: dict[int, Decision | BanditdError] = {}
        drawn: dict[tuple[str, str], str] = {}  # arms that sessions were given here, by (policy, session)
        uniforms, touched = self._rng.random(len(prepared)), [_touched(one) for one in prepared]
        rest, pace, ahead = list(range(len(prepared))), Pace(), turn_size(map(_runtime_of, prepared))
        try:
            while rest:
                wave = self._next_wave(prepared, rest[:ahead], touched)
                for rows in _by_policy(prepared, wave):
                    self._decide_batch([prepared[i] for i in rows], drawn, uniforms[rows], rows, made)
                note_tried([(prepared[i].accounts, i in made) for i in wave if prepared[i].accounts])
                rest = [i for i in rest if i not in made]
                if rest:
                    drawn.update({key: one.arm for key, one in _sessions(prepared, wave, made)})
                    await pace.step()
        except BaseException:
            # They will not be committed.
            reserved = (one for i, one in made.items() if not prepared[i].query.dry_run)
            self.undo(one for one in reserved if isinstance(one, Decision))
            raise
        return list(map(made.__getitem__, range(len(prepared))))

    def _next_wave(
        self, prepared: Sequence[Prepared], rest: Sequence[int], touched: Sequence[Sequence[Hashable]]
    ) -> list[int]:
        now_us = self._clock.now_us()
        runtimes = {prepared[i].runtime.name: prepared[i].runtime for i in rest}
        # With a cap or a half-open breaker, each decision of the policy may exclude an arm for the next.
        counting = {name for name, one in runtimes.items() if self._books[name].guard.counts(one.view, now_us)}

        def touches(i: int) -> Sequence[Hashable]:
            policy = prepared[i].runtime.name
            return [*touched[i], policy] if policy in counting else touched[i]

        charged = [i for i in rest if prepared[i].accounts]
        accounts = {i: [account.key for account in prepared[i].accounts] for i in charged}
        at_once: dict[Hashable, int] = {one.key: one.at_once for i in charged for one in prepared[i].accounts}
        return next_wave(rest, touches if counting else touched.__getitem__, accounts, at_once)

    def undo(self, decisions: Iterable[Decision]) -> None:
        """Undo the reservations of decisions that were not committed: they cost nothing and use up no share."""
        for made in decisions:
            self._books[made.policy].budget.release(made.charges)
            self._books[made.policy].guard.take_back(self._runtimes[made.policy].view, made.arm)

    def _decide_batch(
        self,
        prepared: Sequence[Prepared],
        drawn: Mapping[tuple[str, str], str],
        uniforms: FloatArray,
        at: Sequence[int],
        made: dict[int, Decision | BanditdError],
    ) -> None:
        """Decide queries of one policy that do not affect each other; results go into ``made`` at their indices.

        Queries that share an account are decided under its present terms. A query whose terms were changed by an
        earlier one in the batch is left out, as if it had not been in it.
        """
        runtime = prepared[0].runtime
        contexts = runtime.builder.contexts([one.described for one in prepared])
        cases = [_case(one, context, drawn) for one, context in zip(prepared, contexts, strict=True)]
        situation = self._situation(runtime)
        self._books[runtime.name].guard.caps.price(cases, situation.view)
        self._books[runtime.name].promise.asking(cases, situation.view)
        decided, parted = self._decide(situation, cases, uniforms)
        stopped = list(decided.stopped)
        for i, error in decided.refused.items():
            made[at[i]] = error
        rows = decided.rows.tolist()
        if rows:
            taken, taken_cases = [prepared[i] for i in rows], [cases[i] for i in rows]
            decisions, kept = self._decisions(situation, decided, parted, taken, taken_cases)
            made.update(compress(zip([at[i] for i in rows], decisions, strict=True), kept))
            for admission in compress(decided.admissions, map(not_, kept)):
                for stop in admission.stopped:
                    stopped.remove(stop)
        for budget, done in stopped:
            self._metrics.count(self._metrics.budget_stops, runtime.name, budget, done)

    def _decide(
        self, situation: Situation, cases: list[Case], uniforms: FloatArray
    ) -> tuple[Decided, Sequence[Parted | None]]:
        """The decided batch, and for each row its part in a release or an anchor (empty if there is neither)."""
        books = self._books[cases[0].query.policy]
        book = books.anchor if books.release.idle else books.release
        parts = None if book.idle else book.parts(cases)
        candidate = None if parts is None else book.situation(situation)
        if parts is None or candidate is None:
            return decide(situation, cases, uniforms), ()
        return decide_between(situation, candidate, cases, book.asking(cases, candidate), parts, uniforms)

    def _situation(self, runtime: PolicyRuntime) -> Situation:
        view, config, now_us = runtime.view, runtime.config, self._clock.now_us()
        books = self._books[runtime.name]
        if books.budget.rules:
            books.budget.follow_prices(view)
        return Situation(
            view=view,
            now_us=now_us,
            exploration_floor=config.settings.floor,
            cost_weight=config.cost_weight,
            resources=config.resources,
            # Caps limit the policy only: the arm that answers the rest of the traffic has none.
            soft=books.guard.exclusions(view, now_us, books.promise.rest(view)),
        )

    def _decisions(
        self,
        situation: Situation,
        decided: Decided,
        parted: Sequence[Parted | None],
        taken: Sequence[Prepared],
        cases: Sequence[Case],
    ) -> tuple[Iterator[Decision], Sequence[bool]]:
        """The decisions of a batch, and which of them hold (``charged_columns``).

        taken, cases : those of ``decided.rows``. Draws are reserved and counted, except for dry runs.
        """
        runtime, view, now_us = taken[0].runtime, situation.view, situation.now_us
        config, snapshot, queries = runtime.config, view.snapshot, [one.query for one in taken]
        inputs = [self.input_record.of(one.query.text, one.input_hash) for one in taken]
        charged, kept = charged_columns(self._books[runtime.name].budget, situation, decided, cases)
        drawn = drawn_columns(situation, decided)
        durable = [holds and not query.dry_run for holds, query in zip(kept, queries, strict=True)]
        self._books[runtime.name].guard.observe(view, decided, compress(range(len(taken)), durable))
        self._books[runtime.name].guard.drawn(view, compress(drawn["arm"], durable), now_us)
        same = {
            "policy": runtime.name,
            "policy_kind": config.settings.kind,
            "created_at_us": now_us,
            "expires_at_us": now_us + int(config.rewards.window_s * 1e6),
            "schema_hash": runtime.builder.schema.hash,
            "snapshot_version": snapshot.version,
            "epoch": snapshot.epoch,
            "generations": view.generations,
            "duplicate": False,
        }
        columns = {
            **dict(zip(same, map(repeat, same.values()), strict=True)),
            **query_columns(queries),
            **drawn,
            **charged,
            **self._promised(situation, decided, cases, durable),
            "release": self._released(situation, decided, parted, durable),
            "context": [case.context for case in cases],
            "degraded": [one.degraded for one in taken],
            "input_tokens": [one.input_tokens for one in taken],
            "input_hash": [found for found, _ in inputs],
            "input_text": [text for _, text in inputs],
        }
        return decisions_of(columns), kept

    def _promised(
        self, situation: Situation, decided: Decided, cases: Sequence[Case], durable: Sequence[bool]
    ) -> Columns:
        """What each decision logs about its promise; records the decisions with the promise."""
        book = self._books[cases[0].query.policy].promise
        if book.idle:
            return _NO_PROMISE
        rows = list(compress(range(len(cases)), durable))
        book.observe(situation.view, [cases[row] for row in rows], decided, rows)
        return dict(zip(_NO_PROMISE, zip(*logged_of(situation.view, cases, decided), strict=True), strict=True))

    def _released(
        self, situation: Situation, decided: Decided, parted: Sequence[Parted | None], durable: Sequence[bool]
    ) -> Iterable[Mapping[str, object] | None]:
        """What each decision logs about a release or an anchor; records the decisions with the release."""
        if not parted:
            return repeat(None)
        for one in compress(parted, durable):
            if one is not None and not one.part.anchor:
                self._books[one.candidate.case.query.policy].release.observe(one)
        names = situation.view.snapshot.arms
        return [None if one is None else one.facts(decided.draw.arms[i], names) for i, one in enumerate(parted)]


def turn_size(runtimes: Iterable[PolicyRuntime]) -> int:
    """How many queries may be decided before other tasks get the event loop; fewer if there are many arms."""
    n_arms = max(map(len, map(_arms_of, runtimes)), default=1)
    return max(1, min(MOST_QUERIES, MOST_CELLS // max(n_arms, 1)))


def _by_policy(prepared: Sequence[Prepared], indices: Sequence[int]) -> Iterable[list[int]]:
    policies: dict[str, list[int]] = {}
    for i in indices:
        policies.setdefault(prepared[i].runtime.name, []).append(i)
    return policies.values()


def _touched(one: Prepared) -> Sequence[Hashable]:
    """What a query's decision changes for others, apart from its accounts: its session."""
    session_key = one.query.session_key
    return () if session_key is None else ((one.runtime.name, session_key),)


def _sessions(
    prepared: Sequence[Prepared], indices: Sequence[int], made: Mapping[int, Decision | BanditdError]
) -> Iterator[tuple[tuple[str, str], Decision]]:
    """(policy, session) and decision of those that will be stored with a session."""
    for i in indices:
        one, query = made.get(i), prepared[i].query
        key = query.session_key
        if isinstance(one, Decision) and key is not None and not query.dry_run:
            yield (one.policy, key), one


def _case(one: Prepared, context: Context, drawn: Mapping[tuple[str, str], str]) -> Case:
    """The case of a prepared query; its session's arm may have been drawn earlier in this turn."""
    session = one.session if drawn else None
    return Case(
        query=one.query,
        context=context,
        input_tokens=one.input_tokens,
        session_arm=one.session_arm if session is None else drawn.get(session, one.session_arm),
        accounts=one.accounts,
        cached_arm=one.cached_arm,
        cached_tokens=one.cached_tokens,
    )
