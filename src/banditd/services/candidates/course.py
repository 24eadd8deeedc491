"""How a promise would have developed over a log under another rule: what its keepers would have asked each time.

The keepers solve as the daemon's do (``deciding/keeper.py``), on the decisions as this rule would have made them,
with what was known at each time; whatever came before the log's window is read once. For the policy itself, draws and
rewards are the log's, so its account is too. A candidate's draw agrees with the policy's as often as their two
vectors allow, by a coin that is a hash of the decision, and then has the logged reward; if it does not agree, its
reward is the prediction for the arm that it draws. So a candidate that equals the policy has exactly the same course.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.bandit.snapshot import Snapshot
from banditd.core.types import Arm, BoolArray, FloatArray
from banditd.deciding.keeper import Keeper, PromiseRule, baseline_index
from banditd.deciding.pledge import Pledge
from banditd.deciding.promise import RESOLVE_EVERY
from banditd.deciding.promise_window import WINDOW
from banditd.deciding.rollout import place_of
from banditd.deciding.view import RouteView
from banditd.ope.reference import RatedDecision
from banditd.ports import RatedOutcome, RecentOutcomes
from banditd.ports.evaluations import EvaluationLog, LoggedDecision
from banditd.services.candidates.applying import Applied
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.book import DEARER_BY, typical_usd
from banditd.services.promising.keeping import OUTCOMES_USED

_SALTS: Final = ("agrees", "instead")
MOST_WAITING: Final = 20_000  # pending rewards; with more, the earliest are treated as having arrived


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What was known when the window began: the rated decisions before it, oldest first.

    rated, decisions : number of rated decisions, and of all, in the window itself.
    """

    outcomes: Sequence[RatedOutcome] = ()
    rated: int = 0
    decisions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A decision as a rule would have made it, over K arms.

    keep : the promised share. vector : float64 (K,), what it draws from. own : the vector before its promise.
    eligible : bool. cost_usd, mean : predicted.
    policy, logged : float64 (K,), what the policy would draw from, and what it did draw from.
    drawn : index of the arm in the log, -1 if it is not among the K.
    """

    keep: float
    vector: FloatArray
    own: FloatArray
    eligible: BoolArray
    cost_usd: FloatArray
    mean: FloatArray
    policy: FloatArray
    logged: FloatArray
    drawn: int


class Course:
    """The course of one rule's promise. view : of its arms at present prices."""

    def __init__(self, rule: PromiseRule, view: RouteView, *, n_features: int, earlier: Earlier) -> None:
        self._rule = rule
        self._names = view.snapshot.arms
        self._n_features = n_features
        self._earlier = earlier
        self.baseline = baseline_index(rule, self._names, typical_usd(view), view.serves & view.models)
        self._keepers: dict[float, Keeper] = {}
        self._waiting: list[tuple[int, int, float, RatedDecision]] = []  # a heap, by when the reward arrives
        self._made = self._solved_at = 0

    @property
    def baseline_name(self) -> str | None:
        return None if self.baseline is None else self._names[self.baseline]

    def stands(self, view: RouteView) -> bool:
        """Whether the baseline would be the same with the arms of this view, apart from rounding."""
        cost_usd, able = typical_usd(view), view.serves & view.models
        present, former = baseline_index(self._rule, self._names, cost_usd, able), self.baseline
        if present is None or former is None or present == former:
            return present == former
        return bool(able[former] and cost_usd[present] <= cost_usd[former] * DEARER_BY)

    def rated_among(self, rated: int, decisions: int) -> None:
        """Set how many of the newest decisions are rated, according to the log."""
        self._earlier = replace(self._earlier, rated=rated, decisions=decisions)

    def keep_of(self, row: LoggedDecision) -> float:
        """The share that the rule promises to keep on a decision with these tags."""
        return self._rule.keep_of(row.tags)

    def pledge(self, keep: float) -> Pledge | None:
        """What the promise asks of the next decision; None if there is no baseline to compare with."""
        return None if self.baseline is None else self._keeper(keep, self.baseline).pledge()

    async def until(self, at_us: int, posterior: Posterior) -> None:
        """Learn the rewards that had arrived before that time, and solve again when due."""
        while self._waiting and (self._waiting[0][0] < at_us or len(self._waiting) > MOST_WAITING):
            _, _, keep, one = heapq.heappop(self._waiting)
            for promised_keep, keeper in self._keepers.items():
                if promised_keep == keep:
                    keeper.learn(one)
                else:
                    keeper.misses.add(one)
        if self._made - self._solved_at >= (RESOLVE_EVERY if self._made > RESOLVE_EVERY else 1):
            self._solved_at = self._made
            for keeper in self._keepers.values():
                keeper.rated_among(self._earlier.rated, self._earlier.decisions)
                keeper.promise.terms = await asyncio.to_thread(keeper.solve, posterior)

    def note(self, row: LoggedDecision, made: Made) -> None:
        """Record the decision as made; its reward arrives when the logged one did."""
        baseline = self.baseline
        if baseline is None:
            return
        self._made += 1
        keeper = self._keeper(made.keep, baseline)
        x = row.x.astype(np.float64)
        keeper.observe(x[None], cost_usd=made.cost_usd[None], eligible=made.eligible[None], own=made.own[None])
        if row.contribution is None or not made.eligible[baseline]:
            return
        arm, reward = made.drawn, row.contribution.reward
        agrees, instead = _coupled(made)
        if arm < 0 or place_of(_SALTS[0], row.decision_id) >= agrees[arm]:
            place = place_of(_SALTS[1], row.decision_id) * float(instead.sum())
            arm = int(min(np.searchsorted(instead.cumsum(), place, side="right"), np.flatnonzero(instead)[-1]))
            reward = float(np.clip(made.mean[arm], 0.0, 1.0))
        agreed = made.logged * agrees
        drawn_from = agreed + (1.0 - agreed.sum()) * instead
        rated = RatedDecision(
            reward=reward,
            predicted=float(made.mean[arm]),
            baseline_predicted=float(made.mean[baseline]),
            baseline_probability=float(np.clip(drawn_from[baseline], 0.0, 1.0)),
            is_baseline=arm == baseline,
        )
        heapq.heappush(self._waiting, (row.rated_at_us, self._made, made.keep, rated))

    def _keeper(self, keep: float, baseline: int) -> Keeper:
        found = self._keepers.get(keep)
        if found is None:
            rule = PromiseRule(keep=keep, reference_share=self._rule.reference_share, precision=self._rule.precision)
            found = Keeper(rule, n_arms=len(self._names), n_features=self._n_features, baseline=baseline)
            found.rated_among(self._earlier.rated, self._earlier.decisions)
            name = self._names[baseline]
            known = [(one.rated, one.keep == keep) for one in self._earlier.outcomes if one.baseline == name]
            found.adopt(found.judged_of(known), news=bool(known))
            if self._keepers:
                found.begin_with(next(reversed(self._keepers.values())), misses=False)
            self._keepers[keep] = found
        return found


def promises_otherwise(runtime: PolicyRuntime, applied: Applied) -> bool:
    """Whether both promises must be followed from the start, because the logged one does not hold for the
    candidate.
    """
    promises = runtime.switches.promise, applied.config.switches.promise
    return promises[0] != promises[1] or (promises[0] is not None and applied.arms != runtime.arms)


def other_promise(row: LoggedDecision, course: Course | None) -> bool:
    """Whether the decision was made under another promise than the course's; ``course`` is None without a promise."""
    if course is None:
        return False
    return row.keep != course.keep_of(row) or row.baseline != course.baseline_name


async def earlier_of(
    policy: str, rows: Sequence[LoggedDecision], log: EvaluationLog, recent: RecentOutcomes
) -> Earlier:
    """What was known when these decisions began, and how many decisions of their time are rated."""
    if not rows:
        return Earlier()
    first, last = rows[0], rows[-1]
    counted = await log.coverage(policy, since_us=first.created_at_us, until_us=last.created_at_us + 1)
    return Earlier(
        outcomes=await recent.rated(policy, OUTCOMES_USED, before_id=first.decision_id),
        rated=sum(counted.rated.values()),
        decisions=sum(counted.decisions.values()),
    )


def begin_courses(
    runtime: PolicyRuntime, applied: Applied, earlier: Earlier, snapshot: Snapshot
) -> tuple[Course | None, Course | None]:
    """The courses of the candidate's and the policy's promise; None for one without a promise.

    snapshot : any of the policy's, for the order of its arms.
    """
    n_features = runtime.builder.schema.n_features

    def course(promise: PromiseRule | None, arms: Sequence[Arm]) -> Course | None:
        if promise is None:
            return None
        return Course(promise, runtime.view_of(snapshot, arms), n_features=n_features, earlier=earlier)

    return course(applied.config.switches.promise, applied.arms), course(runtime.switches.promise, runtime.arms)


def warming_of(rows: Sequence[LoggedDecision], since_us: int | None, *, truncated: bool) -> int:
    """How many of the first rows only warm up the promises.

    truncated : whether older rows exist that were not read.
    """
    if since_us is not None:
        return sum(row.created_at_us < since_us for row in rows)
    return WINDOW if truncated else 0


def _coupled(made: Made) -> tuple[FloatArray, FloatArray]:
    """(how often the rule draws the arm that the policy drew, the vector it draws from otherwise): float64 (K,)
    each.
    """
    more = np.maximum(made.vector - made.policy, 0.0)
    agrees = np.where(made.vector >= made.policy, 1.0, made.vector / np.where(made.policy > 0.0, made.policy, 1.0))
    instead = more if more.any() else made.vector
    return agrees, instead / instead.sum()
