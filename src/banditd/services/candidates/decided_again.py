"""Decides logged decisions again by another rule: which ones can be, their logged values, and the rule's vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import numpy as np

from banditd.bandit.snapshot import Snapshot
from banditd.core.types import Arm, Context, FloatArray, IntArray, Query
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.deciding.pledge import DEARER, Pledge
from banditd.deciding.view import RouteView
from banditd.ports.evaluations import LoggedDecision
from banditd.services.candidates.course import Course, Made
from banditd.services.policy import PolicyConfig, PolicyRuntime

# Reasons of exclusion at the time that a candidate, or the present policy, may judge differently.
_REVISABLE: Final = frozenset({DEARER, "disabled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a policy decides: its settings and its arms."""

    config: PolicyConfig
    arms: tuple[Arm, ...]


class DecidedAgain:
    """The decisions of one policy, over its present arms.

    incumbent : the policy as it is. names, index : its arms and their indices.
    """

    def __init__(self, runtime: PolicyRuntime) -> None:
        self._runtime = runtime
        self.incumbent = Rule(config=replace(runtime.config, switches=runtime.switches), arms=runtime.arms)
        self.names = tuple(arm.arm for arm in runtime.arms)
        self.index = {name: i for i, name in enumerate(self.names)}
        self._generations = {arm.arm: arm.generation for arm in runtime.arms}

    def why_not(self, row: LoggedDecision) -> str | None:
        """Why a rewarded decision is not evaluated; None if it is."""
        config, promise = self.incumbent.config, self.incumbent.config.switches.promise
        if row.contribution is None:
            return "unrated"
        if row.reason != "policy":
            return "own_objective" if row.reason == "quality_floor" else "not_drawn"
        if row.contribution.arm != row.arm:
            return "served_by_another"
        if row.keep is None and (row.cost_weight != config.cost_weight or promise is not None):
            return "own_objective"
        if promise is not None and (row.baseline not in self.index or "share" not in row.promise):
            return "own_objective"
        return None

    def logged(self, block: Sequence[LoggedDecision]) -> tuple[FloatArray, FloatArray, IntArray, FloatArray]:
        """Logged probabilities and means over the present arms, the drawn arm, and the prediction for it."""
        shape = (len(block), len(self.names))
        logged, mean = np.zeros(shape), np.zeros(shape)
        drawn, predicted = np.full(len(block), -1, dtype=np.intp), np.zeros(len(block))
        for i, row in enumerate(block):
            places = [self._place(row, arm) for arm in row.arms]
            here = [j for j, place in enumerate(places) if place >= 0]
            at = [places[j] for j in here]
            logged[i, at], mean[i, at] = row.probability[here], row.mean[here]
            chosen = row.arms.index(row.arm)
            drawn[i], predicted[i] = places[chosen], row.mean[chosen]
        return logged, mean, drawn, predicted

    def _place(self, row: LoggedDecision, arm: str) -> int:
        """Present index of the arm; -1 if it is gone or its name now belongs to another arm."""
        if row.generations.get(arm, 1) != self._generations.get(arm, 1):
            return -1
        return self.index.get(arm, -1)

    def vectors(
        self,
        rule: Rule,
        snapshot: Snapshot,
        block: Sequence[LoggedDecision],
        log: tuple[FloatArray, IntArray],
        course: Course | None = None,
        policy: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """(the rule's vectors, all 0 where it would refuse; the cost of every arm): float64 (n, K).

        course : of the rule's promise; it records the decisions.
        log : logged probabilities and drawn arms.
        policy : the policy's vectors; None if the rule is the policy's own.
        """
        view, config = self._runtime.view_of(snapshot, rule.arms), rule.config
        probability = np.zeros((len(block), len(self.names)))
        cost_usd = np.zeros(probability.shape)
        for price, rows in _by_price(block, view, config.cost_weight):
            situation = Situation(
                view=view, now_us=0, exploration_floor=config.settings.floor, cost_weight=config.cost_weight,
                price_per_usd=price, resources=config.resources,
            )  # fmt: skip
            cases = [self._case(rule, view, block[i], course) for i in rows]
            decided = decide(situation, cases, np.zeros(len(rows)))
            places = np.array(rows, dtype=np.intp)[decided.rows]
            probability[places] = decided.draw.probability
            cost_usd[places] = decided.priced.cost_usd
            for at, i in enumerate(places.tolist()):
                pledge = cases[decided.rows[at]].pledge
                if course is not None and pledge is not None:
                    beside = decided.draw.probability[at] if policy is None else policy[i]
                    made = _made(decided, at, pledge.keep, (beside, log[0][i]), int(log[1][i]))
                    course.note(block[i], made)
        return probability, cost_usd

    def _case(self, rule: Rule, view: RouteView, row: LoggedDecision, course: Course | None) -> Case:
        offered = tuple(arm for arm in self.names if self._is_offered(row, arm))
        pledge = None
        if course is not None:
            pledge = course.pledge(course.keep_of(row))
        elif rule.config.switches.promise is not None and row.baseline is not None:
            pledge = Pledge(
                view.index[row.baseline],
                price_per_usd=float(row.promise.get("price_per_usd", 0.0)),
                share=float(row.promise["share"]),
            )
        return Case(
            query=Query(policy=self._runtime.name, candidates=offered),
            context=Context(row.x.astype(np.float64), row.cluster, row.facts),
            input_tokens=float(row.input_tokens),
            pledge=pledge,
            call_price=self._call_price(view, row),
        )

    def _call_price(self, view: RouteView, row: LoggedDecision) -> FloatArray | None:
        """What traffic caps took off the arms' utility at the time; the same for all rules that are compared."""
        if not view.capped:
            return None
        prices, logged = np.zeros(len(self.names)), dict(zip(row.arms, row.call_price.tolist(), strict=True))
        for arm in view.capped:
            prices[self.index[arm.arm]] = logged.get(arm.arm, 0.0)
        return prices

    def _is_offered(self, row: LoggedDecision, arm: str) -> bool:
        """Whether the query itself allowed the arm, or the arm did not exist yet."""
        return arm in row.arms or row.exclusions.get(arm, "disabled") in _REVISABLE


def _made(decided: Decided, at: int, keep: float, beside: tuple[FloatArray, FloatArray], drawn: int) -> Made:
    return Made(
        keep=keep,
        vector=decided.draw.probability[at],
        own=decided.scores.probability[at],
        eligible=decided.admissions[at].arms,
        cost_usd=decided.priced.cost_usd[at],
        mean=decided.scores.mean[at],
        policy=beside[0],
        logged=beside[1],
        drawn=drawn,
    )


def _by_price(
    block: Sequence[LoggedDecision], view: RouteView, cost_weight: float
) -> Iterator[tuple[float, list[int]]]:
    """(utility cost of a dollar under budgets, the decisions at that price, in order)."""
    scale = view.cost_scale_usd
    own = cost_weight / scale if scale > 0.0 else 0.0

    def price(i: int) -> float:
        logged, promised = block[i].price_per_usd, block[i].promise.get("price_per_usd")
        if logged is None or (isinstance(promised, float) and logged <= promised * (1.0 + 1e-9)):
            return 0.0  # no budget, or one that asked for less than the promise did
        return max(logged - own, 0.0)

    for found, rows in groupby(range(len(block)), price):
        yield found, list(rows)
