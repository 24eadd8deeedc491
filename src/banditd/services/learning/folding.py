"""From a decision's rewards to its contribution to the statistics: no clock, no I/O.

A decision contributes one weighted observation (arm, epoch, w, r), however many rewards it has, plus one for each
other arm that was rewarded on it. If it has no reward of its own, its share of its task's reward is kept separately
in place of one. When its rewards or its served arm change, the old contributions are subtracted and the new ones
added. So corrections, retractions and late judges are exact, and folding the whole log again gives the same sums.

Rewards of arms that did not serve, and shares of a task's reward, only teach the learner: they are in no statistic of
the traffic and in no off-policy estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from banditd.bandit.state import PolicyState
from banditd.core.anchor import AnchorOutcome, anchored_outcome
from banditd.core.generations import learned_as
from banditd.core.release import REWARD, UnitOutcome
from banditd.core.rewards import Contribution, RewardEvent
from banditd.core.shadow import Shadowed
from banditd.ope.fixed import fixed_arm_terms
from banditd.ports import EstimateDelta, FoldItem, StatDelta
from banditd.services.policy import PolicyRuntime

# Noise variance at which a reward weighs half: that of a fair coin, the noisiest a reward in [0, 1] can be.
REFERENCE_NOISE_VARIANCE = 0.25
# So that a source that claims to have no noise cannot outvote the others without limit.
LEAST_NOISE_VARIANCE = 1e-4


def noise_of_share(noise_variance: float, steps: int) -> float:
    """The noise variance at which a reward weighs 1 / ``steps`` of its source's normal weight; >= 0.

    A reward of a task with that many decisions says this little about each of them, since it is not known which of
    them earned it.
    """
    return steps * noise_variance + (steps - 1) * REFERENCE_NOISE_VARIANCE


class Shadows(Protocol):
    """The learner's view of candidates' shadows. rest_s : how long it should pause before the next batch."""

    @property
    def rest_s(self) -> float: ...

    async def seen(self, runtime: PolicyRuntime, items: Sequence[FoldItem]) -> Shadowed | None:
        """The effect on shadows of a batch about to be folded, judged by what was known before it."""


class NoShadows:
    """Used when there are no shadows."""

    rest_s = 0.0

    async def seen(self, runtime: PolicyRuntime, items: Sequence[FoldItem]) -> Shadowed | None:
        del runtime, items
        return None


def merge_events(events: Sequence[RewardEvent]) -> tuple[float, float] | None:
    """Merge the active rewards of one decision by precision.

    Returns
    -------
    (weight, reward) : weight = v0 / (v0 + v) in (0, 1], with v the variance of the merged source noise and v0 the
    reference variance; reward the precision-weighted mean in [0, 1]. None if there is nothing to learn.

    A default reward counts only while there is no real one.

    Source: the inverse-variance weighted mean; weights of heteroscedastic ridge regression.
    """
    real = [e for e in events if e.kind != "default"] or list(events)
    if not real:
        return None
    precisions = [1.0 / max(e.noise_variance, LEAST_NOISE_VARIANCE) for e in real]
    total = sum(precisions)
    reward = sum(p * e.reward for p, e in zip(precisions, real, strict=True)) / total
    merged = min((e.noise_variance for e in real), default=0.0) if len(real) == 1 else 1.0 / total
    weight = REFERENCE_NOISE_VARIANCE / (REFERENCE_NOISE_VARIANCE + merged)
    return weight, min(1.0, max(0.0, reward))


def contribution_of(item: FoldItem) -> Contribution | None:
    """What the decision should contribute to the statistics, given its rewards and the arm that served."""
    merged = merge_events(item.events)
    if merged is None:
        return None
    weight, reward = merged
    arm = item.served_arm if item.served_arm is not None else item.chosen_arm
    return Contribution(arm=arm, epoch=item.epoch, weight=weight, reward=reward)


def other_contributions_of(item: FoldItem) -> dict[str, Contribution]:
    """Contributions, by arm, of other arms rewarded on this decision, and of the serving arm for its task's reward.

    A reward of the decision itself is more informative than its share of the task's, which then no longer counts.
    """
    merged = {arm: merge_events(events) for arm, events in item.others.items()}
    if not item.events:
        merged[item.chosen_arm if item.served_arm is None else item.served_arm] = merge_events(item.of_task)
    return {arm: Contribution(arm, item.epoch, *put) for arm, put in merged.items() if put is not None}


def apply_other_contributions(
    state: PolicyState, item: FoldItem, new: Mapping[str, Contribution]
) -> dict[tuple[str, str], Contribution | None]:
    """Replace a decision's contributions for other arms; returns those that changed, by (decision, arm)."""
    changed: dict[tuple[str, str], Contribution | None] = {}
    for arm in sorted(item.other_contributions.keys() | new.keys()):
        old, put = item.other_contributions.get(arm), new.get(arm)
        if old == put:
            continue
        for one, sign in ((old, -1.0), (put, 1.0)):
            if one is not None:
                state.fold(
                    arm=_learned(item, arm), epoch=one.epoch, x=item.x, weight=sign * one.weight, reward=one.reward,
                    first=False, served=False,
                )  # fmt: skip
        changed[item.decision_id, arm] = put
    return changed


def apply_contribution(state: PolicyState, item: FoldItem, new: Contribution | None) -> None:
    """Replace a decision's contribution by ``new``."""
    old = item.contribution
    if old is not None:
        state.fold(arm=_learned(item, old.arm), epoch=old.epoch, x=item.x, weight=-old.weight, reward=old.reward)
    if new is not None:
        first = is_first(item)
        state.fold(
            arm=_learned(item, new.arm), epoch=new.epoch, x=item.x, weight=new.weight, reward=new.reward, first=first
        )


def _learned(item: FoldItem, arm: str) -> str:
    """Name of the arm's sums: a reward, however late, teaches the generation that the decision was made with."""
    return learned_as(arm, item.generations.get(arm, 1))


def is_first(item: FoldItem) -> bool:
    """Whether this is the decision's first reward. After a retraction it is not."""
    return item.contribution is None and not item.retracted


def stat_deltas(item: FoldItem, new: Contribution | None) -> list[StatDelta]:
    """The changes that folding makes to the plain-column statistics."""
    deltas = []
    old = item.contribution
    if old is not None:
        deltas.append(_delta(item, old, sign=-1, delay_s=None))
    if new is not None:
        first = min(e.created_at_us for e in item.events)
        delay_s = max(0.0, (first - item.created_at_us) / 1e6) if is_first(item) else None
        deltas.append(_delta(item, new, sign=1, delay_s=delay_s))
    return deltas


def estimate_deltas(item: FoldItem, new: Contribution | None) -> list[EstimateDelta]:
    """The changes that folding makes to the off-policy estimates of every arm that was eligible.

    Only decisions whose arm was drawn and served say something about the arms that were not drawn.
    """
    if not item.predicted or (item.served_arm is not None and item.served_arm != item.chosen_arm):
        new = None
    deltas = []
    old = item.contribution if item.estimated else None
    for put, sign in ((old, -1.0), (new, 1.0)):
        if put is None or put.arm != item.chosen_arm:
            continue
        for arm, mean, probability in item.predicted:
            terms = fixed_arm_terms(mean, probability, put.reward, drawn=arm == item.chosen_arm)
            deltas.append(
                EstimateDelta(
                    _learned(item, arm), item.created_at_us, tuple(sign * term for term in terms), item.tags
                )
            )
    return deltas


def _delta(item: FoldItem, c: Contribution, *, sign: int, delay_s: float | None) -> StatDelta:
    return StatDelta(
        arm=_learned(item, c.arm),
        cluster=None if item.inherited else item.cluster,
        created_at_us=item.created_at_us,
        rewards=sign,
        weight=sign * c.weight,
        weighted_reward=sign * c.weight * c.reward,
        weighted_square=sign * c.weight * c.reward * c.reward,
        delay_s=delay_s,
        tags=item.tags,
    )


def released_outcomes(item: FoldItem, kept: Mapping[str, object]) -> list[UnitOutcome]:
    """What a decision's rewards say about its release: all together and by metric, without defaults.

    Only the first outcome of each kind per unit counts (the store marks it); later ones belong to the same unit.

    kept : what the decision stored about its release; a damaged entry gives none.
    """
    events = [event for event in item.events if event.kind != "default"]
    by_metric: dict[str, list[RewardEvent]] = {REWARD: events} if events else {}
    for event in events:
        by_metric.setdefault(f"{REWARD}:{event.metric}", []).append(event)
    try:
        return [
            UnitOutcome(
                release_id=str(kept["release"]),
                decision_id=item.decision_id,
                measure=name,
                unit=str(kept["unit"]),
                candidate=kept["side"] == "candidate",
                share=float(kept["share"]),  # type: ignore[arg-type]  # a number, as it was stored
                differ=bool(kept["differ"]),
                values={name: merged[1]},
                decided_at_us=item.created_at_us,
            )
            for name, of_metric in by_metric.items()
            if (merged := merge_events(of_metric)) is not None
        ]
    except (KeyError, TypeError, ValueError):
        return []


@dataclass(slots=True)
class Folded:
    """Everything that folding a batch of decisions has changed: contributions, and the traffic's statistics.

    released, anchored : outcomes for open releases and anchors. shadowed : the effect on candidates' shadows.
    """

    contributions: dict[str, Contribution | None] = field(default_factory=dict)
    other_contributions: dict[tuple[str, str], Contribution | None] = field(default_factory=dict)
    deltas: list[StatDelta] = field(default_factory=list)
    estimates: list[EstimateDelta] = field(default_factory=list)
    released: list[UnitOutcome] = field(default_factory=list)
    anchored: list[AnchorOutcome] = field(default_factory=list)
    shadowed: Shadowed | None = None

    def fold(self, state: PolicyState, item: FoldItem) -> None:
        """Fold one decision. If its served arm was corrected, the statistics of both arms change."""
        new = contribution_of(item)
        if new != item.contribution:
            apply_contribution(state, item, new)
            self.contributions[item.decision_id] = new
            self.deltas += stat_deltas(item, new)
            self.estimates += estimate_deltas(item, new)
        if item.release is not None:
            self.released += released_outcomes(item, item.release)
            beside = anchored_outcome(item.decision_id, item.events, merge_events(item.events), item.release)
            self.anchored += [] if beside is None else [beside]
        self.other_contributions |= apply_other_contributions(state, item, other_contributions_of(item))
