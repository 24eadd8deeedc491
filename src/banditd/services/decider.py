"""From prepared queries to decisions: situations, waves, and what a draw does to budgets and caps.

What is decided is ``deciding``'s; here it meets the counters of this process and becomes a value to commit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from banditd.bandit.policies.exploration import apply_floors
from banditd.core.errors import BanditdError
from banditd.core.ids import new_ids
from banditd.core.money import Charge
from banditd.core.pace import Pace
from banditd.core.types import Arm, Blend, Context, Decision, FloatArray, Query
from banditd.deciding.account import Account
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.features.context import Described
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.services.eligibility import SoftExclusions
from banditd.services.input_hash import InputRecord
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.book import PromiseBook, promise_of
from banditd.services.waves import next_wave

# Decided at once: queries, and queries times arms, which what they take in time and memory grows with.
MOST_QUERIES: Final = 64
MOST_CELLS: Final = 640


@dataclass(slots=True, kw_only=True, eq=False)
class Prepared:
    """A query with all that had to be waited for; what may change meanwhile is noted anew.

    degraded : why its embedding is missing, or None. The others as in ``Case``.
    """

    runtime: PolicyRuntime
    query: Query
    described: Described
    input_tokens: int
    degraded: str | None
    session_arm: str | None = None
    accounts: tuple[Account, ...] = ()
    cached_arm: str | None = None
    cached_tokens: float = 0.0

    @property
    def session(self) -> tuple[str, str] | None:
        """The session whose arm the query keeps, None where it keeps none."""
        query = self.query
        key = query.session_key
        if key is None or query.new_session_arm:
            return None
        keeps = self.runtime.config.session_sticky if query.turn is None else query.turn.open
        return (self.runtime.name, key) if keeps else None

    @property
    def cache(self) -> tuple[str, str] | None:
        """The session whose arm may have the query's beginning in its prompt cache, None where that is no matter."""
        turn = self.query.turn
        if turn is None or turn.open or turn.sent_share <= 0.0 or turn.cache_s <= 0.0:
            return None
        return self.runtime.name, turn.conversation


class _Drawn(NamedTuple):
    """One row of a decided batch as plain values, its vectors over the arms that were drawn from."""

    decision_id: str
    arm: Arm
    propensity: float
    uniform: float
    explored: bool
    cost_weight: float
    arms: tuple[str, ...]
    probability: FloatArray
    mean: FloatArray
    deviation: FloatArray
    cost_usd: FloatArray
    penalty: FloatArray
    cache_loss_usd: FloatArray | None


class TurnDecider:
    """Decides for queries of any policies that are ready at the same time."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        guards: Mapping[str, SoftExclusions],
        budgets: Mapping[str, BudgetBook],
        promises: Mapping[str, PromiseBook],
        clock: Clock,
        rng: np.random.Generator,
        metrics: Metrics,
        input_record: InputRecord,
    ) -> None:
        self._runtimes = runtimes
        self._guards = guards
        self._budgets = budgets
        self._promises = promises
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._input_record = input_record

    def decide_one(self, prepared: Prepared) -> Decision | BanditdError:
        """What becomes of a query, without waiting. What it draws is reserved and counted as in ``decide_all``."""
        made: dict[int, Decision | BanditdError] = {}
        self._decide_batch([prepared], {}, self._rng.random(1), [0], made)
        return made[0]

    async def decide_all(self, prepared: Sequence[Prepared]) -> list[Decision | BanditdError]:
        """What becomes of each query, as if they were decided one by one in this order.

        Between waves others may have the event loop: where all queries touch one account, a wave is one query.
        What is drawn is reserved with the budgets and counted for the caps: ``undo`` what is not committed.
        """
        made: dict[int, Decision | BanditdError] = {}
        drawn: dict[tuple[str, str], str] = {}  # arms that sessions were given here, by (policy, session)
        uniforms, touched = self._rng.random(len(prepared)), [_touched(one) for one in prepared]
        rest, pace, ahead = list(range(len(prepared))), Pace(), turn_size(prepared)
        try:
            while rest:
                wave = self._next_wave(prepared, rest[:ahead], touched)
                for rows in _by_policy(prepared, wave):
                    self._decide_batch([prepared[i] for i in rows], drawn, uniforms[rows], rows, made)
                drawn.update({key: one.arm for key, one in _sessions(prepared, wave, made)})
                rest = [i for i in rest if i not in made]
                if rest:
                    await pace.step()
        except BaseException:
            # Nobody will commit them.
            reserved = (one for i, one in made.items() if not prepared[i].query.dry_run)
            self.undo(one for one in reserved if isinstance(one, Decision))
            raise
        return [made[i] for i in range(len(prepared))]

    def _next_wave(
        self, prepared: Sequence[Prepared], rest: Sequence[int], touched: Sequence[Sequence[Hashable]]
    ) -> list[int]:
        now_us = self._clock.now_us()
        runtimes = {prepared[i].runtime.name: prepared[i].runtime for i in rest}
        # A cap, or a breaker that probes: each decision of the policy may take an arm from the next.
        counting = {name for name, runtime in runtimes.items() if self._guards[name].counts(runtime.view, now_us)}

        def touches(i: int) -> Sequence[Hashable]:
            policy = prepared[i].runtime.name
            return [*touched[i], policy] if policy in counting else touched[i]

        return next_wave(rest, touches, lambda i: len(prepared[i].accounts))

    def undo(self, decisions: Iterable[Decision]) -> None:
        """Undo what a draw has reserved: these were not committed, so they cost nothing and use up no share."""
        for made in decisions:
            self._budgets[made.policy].release(made.charges)
            self._guards[made.policy].take_back(self._runtimes[made.policy].view, made.arm)

    def _decide_batch(
        self,
        prepared: Sequence[Prepared],
        drawn: Mapping[tuple[str, str], str],
        uniforms: FloatArray,
        at: Sequence[int],
        made: dict[int, Decision | BanditdError],
    ) -> None:
        """Queries of one policy that change nothing for each other: into ``made``, at their places."""
        runtime = prepared[0].runtime
        contexts = runtime.builder.contexts([one.described for one in prepared])
        cases = [_case(one, context, drawn) for one, context in zip(prepared, contexts, strict=True)]
        situation = self._situation(runtime)
        cases = self._promises[runtime.name].asking(cases, situation.view)
        decided = decide(situation, cases, uniforms)
        for budget, done in decided.stopped:
            self._metrics.count(self._metrics.budget_stops, runtime.name, budget, done)
        for i, error in decided.refused.items():
            made[at[i]] = error
        for row, (i, values) in enumerate(zip(decided.rows.tolist(), _drawn(situation, decided), strict=True)):
            made[at[i]] = self._decision(situation, decided, row, values, prepared[i], cases[i])

    def _situation(self, runtime: PolicyRuntime) -> Situation:
        view, config, now_us = runtime.view, runtime.config, self._clock.now_us()
        book = self._budgets[runtime.name]
        if book.rules:
            book.follow_prices(view)
        return Situation(
            view=view,
            now_us=now_us,
            exploration_floor=config.settings.floor,
            cost_weight=config.cost_weight,
            resources=config.resources,
            soft=self._guards[runtime.name].exclusions(view, now_us),
        )

    def _decision(
        self, situation: Situation, decided: Decided, row: int, values: _Drawn, one: Prepared, case: Case
    ) -> Decision:
        runtime, query, view = one.runtime, one.query, situation.view
        config, chosen = runtime.config, values.arm
        charges: tuple[Charge, ...] = ()
        if not query.dry_run:
            self._guards[runtime.name].drawn(view, chosen.arm, situation.now_us)
            charges = self._budgets[runtime.name].charge(view, case, decided, row, situation.now_us)
            self._promises[runtime.name].observe(view, case, decided, row)
        keep, baseline, promise, own_probability = promise_of(view, case, decided, row)
        unaffordable = decided.admissions[row].excluded
        input_hash, input_text = self._input_record.of(query.text)
        return Decision(
            decision_id=values.decision_id,
            policy=runtime.name,
            policy_kind=config.settings.kind,
            created_at_us=situation.now_us,
            expires_at_us=situation.now_us + int(config.rewards.window_s * 1e6),
            arm=chosen.arm,
            upstream_model=chosen.upstream_model,
            propensity=values.propensity,
            uniform=values.uniform,
            explored=values.explored,
            reason=decided.draw.reason[row],
            degraded=one.degraded,
            arms=values.arms,
            probability=values.probability,
            mean=values.mean,
            deviation=values.deviation,
            cost_usd=values.cost_usd,
            penalty=values.penalty,
            exclusions=decided.exclusions[row],
            context=case.context,
            schema_hash=runtime.builder.schema.hash,
            snapshot_version=view.snapshot.version,
            epoch=view.snapshot.epoch,
            cost_weight=values.cost_weight,
            input_tokens=one.input_tokens,
            input_hash=input_hash,
            input_text=input_text,
            session_id=query.session_id,
            session_key=query.session_key,
            cache_loss_usd=values.cache_loss_usd,
            tags=query.tags,
            deferred=query.defer_activation,
            charges=charges,
            mixture=self._mixture(situation, decided, row, case),
            key_name=query.key_name,
            generations=view.generations,
            request_key=query.request_key,
            reference=query.reference,
            keep=keep,
            baseline=baseline,
            promise=promise,
            own_probability=own_probability,
            unaffordable_usd={view.snapshot.arms[i]: float(decided.priced.cost_usd[row, i]) for i in unaffordable},
        )

    def _mixture(self, situation: Situation, decided: Decided, row: int, case: Case) -> Blend | None:
        """The fixed-arm mixture to be logged beside the policy's own vector, with the minimum shares of both."""
        if not case.accounts or decided.draw.reason[row] != "policy":
            return None
        view, listed = situation.view, decided.draw.arms[row]
        arms = np.flatnonzero(listed)
        book = self._budgets[case.query.policy]
        fixed = book.mixture(case.accounts, view.snapshot.arms, arms, decided.priced.cost_usd[row, arms])
        return None if fixed is None else Blend(1.0, apply_floors(fixed[None, :], view.min_share[None, arms])[0])


def _drawn(situation: Situation, decided: Decided) -> Iterator[_Drawn]:
    """The rows of a batch: each array is taken apart once, not once a query."""
    view, draw, scores, priced = situation.view, decided.draw, decided.scores, decided.priced
    names, n = view.snapshot.arms, decided.rows.size
    whole: list[bool] = np.logical_and.reduce(draw.arms, 1).tolist()
    # All arms, mostly: then rows are taken as they are.
    own = [None if all_of_them else here for all_of_them, here in zip(whole, draw.arms, strict=True)]
    loss_usd = priced.cache_loss_usd
    vectors = [draw.probability, scores.mean, scores.deviation, priced.cost_usd, priced.penalty]
    vectors += [] if loss_usd is None else [loss_usd]
    columns = [[row if here is None else row[here] for row, here in zip(rows, own, strict=True)] for rows in vectors]
    return map(
        _Drawn,
        new_ids(situation.now_us, n),
        [view.arms[i] for i in draw.index.tolist()],
        draw.propensity.tolist(),
        draw.uniform.tolist(),
        draw.explored.tolist(),
        priced.cost_weight[:, 0].tolist(),
        [names if here is None else tuple(names[i] for i in np.flatnonzero(here).tolist()) for here in own],
        *columns,
        *([] if loss_usd is not None else [[None] * n]),
    )


def turn_size(prepared: Sequence[Prepared]) -> int:
    """How many of these may be decided before others have the event loop: fewer where there are many arms."""
    n_arms = max((len(one.runtime.view.arms) for one in prepared), default=1)
    return max(1, min(MOST_QUERIES, MOST_CELLS // max(n_arms, 1)))


def _by_policy(prepared: Sequence[Prepared], indices: Sequence[int]) -> Iterable[list[int]]:
    policies: dict[str, list[int]] = {}
    for i in indices:
        policies.setdefault(prepared[i].runtime.name, []).append(i)
    return policies.values()


def _touched(one: Prepared) -> list[Hashable]:
    """What the decision of a query changes for others: its accounts and its session."""
    keys: list[Hashable] = [account.key for account in one.accounts]
    if one.query.session_key is not None:
        keys.append((one.runtime.name, one.query.session_key))
    return keys


def _is_durable(one: Prepared, made: Decision | BanditdError) -> bool:
    return isinstance(made, Decision) and not one.query.dry_run


def _sessions(
    prepared: Sequence[Prepared], indices: Sequence[int], made: Mapping[int, Decision | BanditdError]
) -> Iterator[tuple[tuple[str, str], Decision]]:
    """(policy, session) and the decision of those that will be stored with a session."""
    for i in indices:
        one = made[i]
        key = prepared[i].query.session_key
        if isinstance(one, Decision) and key is not None and _is_durable(prepared[i], one):
            yield (one.policy, key), one


def _case(one: Prepared, context: Context, drawn: Mapping[tuple[str, str], str]) -> Case:
    """The case, with the arm that its session was drawn a moment ago, if it was."""
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
