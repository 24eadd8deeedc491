"""From prepared queries to decisions, without waiting: situations, waves, and what a draw does to budgets and caps.

What is decided is ``deciding``'s; here it meets the counters of this process and becomes a value to commit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from banditd.bandit.policies.exploration import apply_floors
from banditd.core.errors import BanditdError
from banditd.core.ids import new_id
from banditd.core.money import Charge
from banditd.core.types import Arm, Blend, Decision, FloatArray
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.services.eligibility import SoftExclusions
from banditd.services.money.budgets import BudgetBook
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.book import PromiseBook, promise_facts

# Decided at once: queries, and queries times arms, which what they take in time and memory grows with.
MOST_QUERIES: Final = 64
MOST_CELLS: Final = 640


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query with all that had to be waited for. degraded : why its context is missing, or None."""

    runtime: PolicyRuntime
    case: Case
    degraded: str | None

    @property
    def session(self) -> tuple[str, str] | None:
        """The session whose arm the query keeps, None where it keeps none."""
        query = self.case.query
        keeps = self.runtime.config.session_sticky if query.turn is None else query.turn.open
        if query.session_key is None or query.new_session_arm or not keeps:
            return None
        return self.runtime.name, query.session_key

    @property
    def cache(self) -> tuple[str, str] | None:
        """The session whose arm may have the query's beginning in its prompt cache, None where that is no matter."""
        turn = self.case.query.turn
        if turn is None or turn.open or turn.sent_share <= 0.0 or turn.cache_s <= 0.0:
            return None
        return self.runtime.name, turn.conversation


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
        hash_input: Callable[[str], str],
        store_input: bool,
    ) -> None:
        self._runtimes = runtimes
        self._guards = guards
        self._budgets = budgets
        self._promises = promises
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._hash_input = hash_input
        self._store_input = store_input

    def decide(
        self, prepared: Sequence[Prepared], drawn: dict[tuple[str, str], str] | None = None
    ) -> list[Decision | BanditdError]:
        """What becomes of each query, as if they were decided one by one in this order.

        drawn : arms that sessions were given in earlier parts of the same batch, by (policy, session); added to.
        What they draw is reserved with the budgets and counted for the caps: ``undo`` what is not committed.
        """
        made: dict[int, Decision | BanditdError] = {}
        uniforms, now_us = self._rng.random(len(prepared)), self._clock.now_us()
        drawn = {} if drawn is None else drawn
        try:
            for wave in _waves([self._touched(one, now_us) for one in prepared]):
                for rows in _by_policy(prepared, wave):
                    cases = [_keeping(prepared[i], drawn) for i in rows]
                    self._decide_batch([prepared[i] for i in rows], cases, uniforms[rows], rows, made)
                drawn.update({key: one.arm for key, one in _sessions(prepared, wave, made)})
        except BaseException:
            # Nobody will commit them.
            self.take_back([prepared[i] for i in made], list(made.values()))
            raise
        return [made[i] for i in range(len(prepared))]

    def _touched(self, one: Prepared, now_us: int) -> list[Hashable]:
        """What the query's decision changes for others: accounts, its session, caps and probes of the policy."""
        policy, query = one.runtime.name, one.case.query
        keys: list[Hashable] = [account.key for account in one.case.accounts] if one.case.accounts else []
        if query.session_key is not None:
            keys.append((policy, query.session_key))
        if self._guards[policy].counts(one.runtime.view, now_us):
            keys.append(policy)
        return keys

    def take_back(self, prepared: Sequence[Prepared], made: Sequence[Decision | BanditdError]) -> None:
        """``undo`` what was decided for these queries."""
        self.undo(
            one
            for before, one in zip(prepared, made, strict=False)
            if isinstance(one, Decision) and _is_durable(before, one)
        )

    def undo(self, decisions: Iterable[Decision]) -> None:
        """Undo what a draw has reserved: these were not committed, so they cost nothing and use up no share."""
        for made in decisions:
            self._budgets[made.policy].release(made.charges)
            self._guards[made.policy].take_back(self._runtimes[made.policy].view, made.arm)

    def _decide_batch(
        self,
        prepared: Sequence[Prepared],
        cases: Sequence[Case],
        uniforms: FloatArray,
        at: Sequence[int],
        made: dict[int, Decision | BanditdError],
    ) -> None:
        """Queries of one policy that change nothing for each other: into ``made``, at their places."""
        runtime = prepared[0].runtime
        situation = self._situation(runtime)
        promises = self._promises[runtime.name]
        if not promises.idle:
            cases = [promises.asking(case, situation.view) for case in cases]
        decided = decide(situation, cases, uniforms)
        for budget, done in decided.stopped:
            self._metrics.count(self._metrics.budget_stops, runtime.name, budget, done)
        for i, error in decided.refused.items():
            made[at[i]] = error
        for row, i in enumerate(decided.rows.tolist()):
            made[at[i]] = self._decision(situation, decided, row, prepared[i], cases[i])

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

    def _decision(self, situation: Situation, decided: Decided, row: int, one: Prepared, case: Case) -> Decision:
        runtime, query, view, draw = one.runtime, case.query, situation.view, decided.draw
        config, priced, scores = runtime.config, decided.priced, decided.scores
        chosen = view.arms[int(draw.index[row])]
        names = view.snapshot.arms
        # All arms, mostly: then rows are taken as they are, which costs a fraction of a selection.
        listed: Any = draw.arms[row]
        arms = names
        if listed.all():
            listed = slice(None)
        else:
            arms = tuple(names[i] for i in np.flatnonzero(listed).tolist())
        charges: tuple[Charge, ...] = ()
        if not query.dry_run:
            self._guards[runtime.name].drawn(view, chosen.arm, situation.now_us)
            charges = self._budgets[runtime.name].charge(view, case, decided, row, situation.now_us)
            if not self._promises[runtime.name].idle:
                self._promises[runtime.name].observe(view, case, decided, row)
        return Decision(
            decision_id=new_id(situation.now_us),
            policy=runtime.name,
            policy_kind=config.settings.kind,
            created_at_us=situation.now_us,
            expires_at_us=situation.now_us + int(config.rewards.window_s * 1e6),
            arm=chosen.arm,
            upstream_model=chosen.upstream_model,
            propensity=float(draw.propensity[row]),
            uniform=float(draw.uniform[row]),
            explored=bool(draw.explored[row]),
            reason=draw.reason[row],
            degraded=one.degraded,
            arms=arms,
            probability=draw.probability[row][listed],
            mean=scores.mean[row][listed],
            deviation=scores.deviation[row][listed],
            cost_usd=priced.cost_usd[row][listed],
            penalty=priced.penalty[row][listed],
            exclusions=decided.exclusions[row],
            context=case.context,
            schema_hash=runtime.builder.schema.hash,
            snapshot_version=view.snapshot.version,
            epoch=view.snapshot.epoch,
            cost_weight=float(priced.cost_weight[row, 0]),
            input_tokens=int(case.input_tokens),
            input_hash=None if query.text is None else self._hash_input(query.text),
            input_text=query.text if self._store_input else None,
            session_id=query.session_id,
            session_key=query.session_key,
            cache_loss_usd=None if priced.cache_loss_usd is None else priced.cache_loss_usd[row][listed],
            tags=query.tags,
            deferred=query.defer_activation,
            charges=charges,
            mixture=self._mixture(situation, decided, row, case),
            key_name=query.key_name,
            generations=view.generations,
            request_key=query.request_key,
            reference=query.reference,
            **_promised(case, decided, row, listed, view.arms),
            unaffordable_usd={names[i]: float(priced.cost_usd[row, i]) for i in decided.admissions[row].excluded},
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


def _promised(case: Case, decided: Decided, row: int, listed: Any, arms: Sequence[Arm]) -> dict[str, Any]:
    """What a decision keeps of its promise and its side; nothing outside of both.

    listed : which arms the decision's vectors are over.
    """
    about, reason = case.pledge or case.rollout, decided.draw.reason[row]
    if about is None or reason not in {"policy", "quality_floor", "shadow"}:
        return {}
    return {
        "keep": None if case.pledge is None else case.pledge.keep,
        "baseline": arms[about.baseline].arm,
        "promise": promise_facts(case, decided, row),
        "own_probability": None if reason == "quality_floor" else decided.scores.probability[row][listed],
    }


def turn_size(prepared: Sequence[Prepared]) -> int:
    """How many of these may be decided before others have the event loop: fewer where there are many arms."""
    n_arms = max((len(one.runtime.view.arms) for one in prepared), default=1)
    return max(1, min(MOST_QUERIES, MOST_CELLS // max(n_arms, 1)))


def _by_policy(prepared: Sequence[Prepared], indices: Sequence[int]) -> Iterable[list[int]]:
    policies: dict[str, list[int]] = {}
    for i in indices:
        policies.setdefault(prepared[i].runtime.name, []).append(i)
    return policies.values()


def _is_durable(one: Prepared, made: Decision | BanditdError) -> bool:
    return isinstance(made, Decision) and not one.case.query.dry_run


def _sessions(
    prepared: Sequence[Prepared], indices: Sequence[int], made: Mapping[int, Decision | BanditdError]
) -> Iterator[tuple[tuple[str, str], Decision]]:
    """(policy, session) and the decision of those that will be stored with a session."""
    for i in indices:
        one = made[i]
        key = prepared[i].case.query.session_key
        if isinstance(one, Decision) and key is not None and _is_durable(prepared[i], one):
            yield (one.policy, key), one


def _keeping(one: Prepared, drawn: Mapping[tuple[str, str], str]) -> Case:
    """The case with the arm that its session was drawn a moment ago, if it was."""
    arm = None if one.session is None else drawn.get(one.session)
    return one.case if arm is None else replace(one.case, session_arm=arm)


def _waves(touched: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """Indices in waves, so that a query comes after those whose decision changes something that it touches."""
    if not any(touched):
        return [list(range(len(touched)))]
    waves: list[list[int]] = []
    last: dict[Hashable, int] = {}
    for i, keys in enumerate(touched):
        wave = 1 + max((last.get(key, -1) for key in keys), default=-1)
        last.update(dict.fromkeys(keys, wave))
        if wave == len(waves):
            waves.append([])
        waves[wave].append(i)
    return waves
