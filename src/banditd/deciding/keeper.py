"""One promise over one stream of decisions: what it asks now, what it has seen and what it has learned. Pure.

The daemon and ``replay`` use this same class. It combines the window and the debt (``promise.py``) with the evidence
about the baseline (``ope/reference.py``), and decides when the reference share may taper.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import BoolArray, FloatArray, IntArray
from banditd.deciding.pledge import Pledge
from banditd.deciding.promise import (
    DOUBT,
    THIN,
    Misses,
    Promise,
    Terms,
    blended_share,
    reference_share,
)
from banditd.deciding.reserve import Reserve
from banditd.ope.reference import BaselineEvidence, RatedDecision, Verdict

# Once known precisely enough, the difference counts as known until its interval is wider by this factor.
SLACKER = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRule:
    """What the operator promises.

    baseline : ``dearest`` or an arm's name.
    keep : share of the baseline's quality to keep, in [0.5, 1].
    reference_share : share of the traffic, in [0, 1), that goes to the baseline until the difference in mean reward
    is known to ``precision`` (half-width of its 95 % interval).
    keep_by_tag : tag -> value -> ``keep`` for queries with that tag.
    """

    baseline: str = "dearest"
    keep: float = 0.95
    reference_share: float = 0.05
    precision: float = 0.02
    keep_by_tag: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def keep_of(self, tags: Mapping[str, str]) -> float:
        """``keep`` for a query with these tags: the highest that any of them asks for."""
        if not self.keep_by_tag:
            return self.keep
        wanted = [self.keep_by_tag[name].get(value) for name, value in tags.items() if name in self.keep_by_tag]
        return max((keep for keep in wanted if keep is not None), default=self.keep)


class Keeper:
    """Keeps a promise about ``baseline``, an index into K arms in a fixed order."""

    def __init__(self, rule: PromiseRule, *, n_arms: int, n_features: int, baseline: int) -> None:
        self.rule = rule
        self.baseline = baseline
        self.promise = Promise(n_arms=n_arms, n_features=n_features, baseline=baseline, keep=rule.keep)
        self.misses = Misses()
        self.evidence = BaselineEvidence(rule.keep)
        self.reserve = Reserve()
        self._silence = 0  # decisions since the last reward
        self._rated = self._decisions = 0  # number of rated decisions, and of all
        self._judged_share: float | None = None  # in a copy made by ``judged``: its original's
        self._precise = False
        self._news = False  # whether rewards came since terms were last solved for
        self._pledged: tuple[tuple[object, ...], Pledge] | None = None  # the last pledge, after what it was made from

    @property
    def terms(self) -> Terms:
        return self.promise.terms

    @property
    def reference_share(self) -> float:
        """Least share of the baseline at present."""
        return reference_share(self.rule.reference_share, precise=self._precise)

    @property
    def rated_share(self) -> float:
        """Share of the decisions that are rated, in (0, 1]."""
        if self._judged_share is not None:
            return self._judged_share
        return min((self._rated + 1) / (self._decisions + 1), 1.0)

    def pledge(self) -> Pledge:
        """What the promise asks of the next decision."""
        terms, rule = self.promise.terms, self.rule
        made_of = terms, rule, self.baseline, self._precise
        if self._pledged is None or self._pledged[0] != made_of:
            share = blended_share(terms, self.reference_share)
            pledge = Pledge(self.baseline, terms.price_per_usd, share, rule.keep, terms.state)
            self._pledged = made_of, pledge
        return self._pledged[1]

    def observe(
        self,
        x: FloatArray,
        *,
        cost_usd: FloatArray,
        eligible: BoolArray,
        own: FloatArray,
    ) -> None:
        """Record decisions under this promise; shapes as in ``Promise.observe``."""
        self.promise.observe(x, cost_usd=cost_usd, eligible=eligible, own=own)
        self._silence += len(x)
        self._decisions += len(x)

    def learn(self, one: RatedDecision) -> None:
        """Record the reward of a decision under this promise."""
        self._silence = 0
        self._news = True
        self._rated += 1
        self.evidence.add(one)
        self.misses.add(one)
        was_overdrawn = self._overdrawn(one)
        self.reserve.add(one, keep=self.rule.keep, baseline_missed=self.misses.baseline_bias)
        if self.evidence.since_alarm == 0 or (self._overdrawn(one) and not was_overdrawn):
            self.misses.forget()
            self.reserve.distrust()
        calm = self.evidence.since_alarm is None or self.evidence.since_alarm > DOUBT
        limit = self.rule.precision * (SLACKER if self._precise else 1.0)
        self._precise = calm and self.evidence.away >= THIN and self.evidence.half_width <= limit

    def _overdrawn(self, one: RatedDecision) -> bool:
        slack = self.reserve.slack(one.baseline_predicted, keep=self.rule.keep, rated_share=self.rated_share)
        return one.baseline_predicted > 0.0 and slack <= 0.0

    def judged(self, rated: Sequence[RatedDecision]) -> Keeper:
        """A new keeper of the same promise that has learned only these rated decisions, oldest first."""
        return self.judged_of([(one, True) for one in rated])

    def judged_of(self, rated: Sequence[tuple[RatedDecision, bool]]) -> Keeper:
        """Like ``judged``; each decision is paired with whether it was made under this very promise.

        Prediction errors of the arms are learned from all decisions about this baseline; what was kept, only from the
        promise's own.
        """
        judge = Keeper(self.rule, n_arms=0, n_features=0, baseline=self.baseline)
        judge._judged_share = self.rated_share
        for one, same_promise in rated:
            if same_promise:
                judge.learn(one)
            else:
                judge.misses.add(one)
        return judge

    def begin_with(self, other: Keeper, *, misses: bool) -> None:
        """Start with another keeper's recent decisions.

        misses : take over its prediction errors too, which needs the same baseline.
        """
        self.promise.window = other.promise.window.copied()
        if misses:
            self.misses = copy.copy(other.misses)

    def realign(self, columns: IntArray, *, baseline: int) -> None:
        """The set of arms has changed. columns : intp, the previous index of each arm, -1 for a new one."""
        self.baseline = self.promise.baseline = baseline
        self.promise.window.realign(columns)

    def baseline_is_back(self) -> None:
        """The baseline may answer again; see ``Promise.baseline_is_back``."""
        self.promise.baseline_is_back()

    def reprice(self, factor: FloatArray) -> None:
        """The arms' prices have changed by these factors, float64 (K,)."""
        self.promise.window.reprice(factor)

    def adopt(self, judged: Keeper, *, news: bool, rated_of: tuple[int, int] | None = None) -> None:
        """Take over what another keeper has learned.

        news : it knows rewards that this one does not.
        rated_of : (rated, all) of the newest decisions, if the log was asked.
        """
        self.misses, self.evidence, self._precise = judged.misses, judged.evidence, judged._precise
        self.reserve = judged.reserve
        if rated_of is not None:
            self.rated_among(*rated_of)
        if news:
            self._silence = 0

    def rated_among(self, rated: int, decisions: int) -> None:
        """Set how many of the newest decisions are rated, according to the log."""
        self._rated, self._decisions = rated, decisions

    def frozen(self) -> Keeper:
        """A copy that another thread can solve on while this one keeps observing."""
        still = copy.copy(self)
        still.promise = self.promise.frozen()
        return still

    @property
    def due(self) -> bool:
        """Whether enough decisions have passed to solve for new terms."""
        return self.promise.due(news=self._news)

    def solve(self, posterior: Posterior) -> Terms:
        """New terms from the present posterior; see ``Promise.solve``."""
        self._news = False
        return self.promise.solve(
            posterior,
            self.misses,
            silence=self._silence,
            reserve=self.reserve,
            rated_share=self.rated_share,
            since_alarm=self.evidence.since_alarm,
        )

    def verdict(self) -> Verdict:
        """How much quality was kept, according to the rated decisions."""
        return self.evidence.verdict()


def baseline_index(rule: PromiseRule, arms: Sequence[str], cost_usd: FloatArray, enabled: BoolArray) -> int | None:
    """Index of the baseline that a rule names, or None if there is no such arm (yet).

    cost_usd : expected cost of each arm on a typical query, float64 (K,). ``dearest`` is the dearest enabled arm.
    """
    if rule.baseline == "dearest":
        return int(np.where(enabled, cost_usd, -math.inf).argmax()) if enabled.any() else None
    return arms.index(rule.baseline) if rule.baseline in arms else None
