"""The verdict of a walk on a candidate: passed, failed or inconclusive; why, and what would settle it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from banditd.core.evaluation import INCUMBENT, Evaluation, Finding, Phase, Question
from banditd.core.types import DAY_US
from banditd.ope.difference import FEWEST_ANYTIME, DifferenceSums, Interval, answers_missing
from banditd.ports.evaluations import Coverage
from banditd.services.candidates.walk import Walked, main_arm

RATED_ALIKE: Final = 0.05  # rated shares that differ by more make the rewards incomparable
FOLLOWED: Final = 0.25  # share of decisions that may be drawn differently when the policy's promise is solved again
RELEASE: Final = "a release in small steps"
RELEASE_OR_CASES: Final = f"{RELEASE}, or cases with known scores (banditd evaluate --cases)"
CHANGE_ITSELF: Final = (
    "no release carries it: the change itself (PATCH /v1/arms/ARM), taken back the same way; or scores of your own, "
    "by banditd replay"
)
ARM_OF_ITS_OWN: Final = "no release carries it: an arm of its own (POST /v1/arms), which the policy tries by itself"
_LEFT_OUT: Final[Mapping[str, str]] = {
    "young": "too young: most rewards of their time are still to come",
    "not_drawn": "kept by a session, pinned or in shadow: nothing was drawn",
    "own_objective": "with an objective of their own, or of before the policy had its present one",
    "served_by_another": "answered by another arm than was drawn",
    "unrated": "without a reward of the arm that served",
    "later": "after the time that was wanted",
    "warming": "before the time that was wanted, or too early: the promises only begin with them",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a walk was about. disabled : arms that the candidate disables."""

    question: Question
    disabled: frozenset[str]
    coverage: Coverage


def finding_of(walked: Walked, evidence: Evidence) -> Finding:
    """The finding of a walk."""
    sums, question = walked.sums, evidence.question
    figures = _figures(walked, evidence)
    if not sums.rated:
        left = "; ".join(f"{count} {_LEFT_OUT[name]}" for name, count in walked.left_out.most_common())
        return Finding(
            phase="inconclusive",
            reason=f"no decision of the log can be used{f' ({left})' if left else ': none has a reward yet'}",
            settles="decisions that the policy draws by itself, with rewards",
            figures=figures,
        )
    interval = sums.interval(question.interval)
    phase, reason, settles = _judged(walked, evidence, interval)
    return Finding(phase=phase, reason=reason, settles=settles, figures=figures)


def _judged(walked: Walked, evidence: Evidence, interval: Interval) -> tuple[Phase, str, str | None]:
    """(phase, reason, what would settle it)."""
    sums, question = walked.sums, evidence.question
    margin = question.margin
    differs = sums.mean("differing")
    than = than_words(question)
    if differs <= margin:
        return "passed", f"it answers otherwise than {than} in {percent(differs)}, so it cannot lose more", None
    main = main_arm(walked.other_shares)
    if question.against == INCUMBENT and main in evidence.disabled:
        share = percent(walked.other_shares[main])
        return (
            "inconclusive",
            f"it takes out {main}, which answers {share}: the log says too little of what others would do there",
            RELEASE_OR_CASES,
        )
    ours, theirs = _rated_shares(walked, evidence.coverage)
    if abs(ours - theirs) > RATED_ALIKE:
        return (
            "inconclusive",
            f"answers are rated unequally: {percent(ours)} of what it would choose, else {percent(theirs)}",
            "rewards for the same share of every arm's answers, by a judge for example",
        )
    astray = sums.mean("distance")
    if walked.kept_anew and question.against == INCUMBENT and astray > FOLLOWED:
        why = (
            f"kept anew, the policy's own promise draws otherwise than it did in {percent(astray)}: its course is not"
        )
        return (
            "inconclusive",
            f"{why} followed so closely that a candidate's could be believed",
            f"a time in which the promise was steady (since), or {RELEASE}",
        )
    words = f"{compared_words(interval)} than {than}"
    if interval.low < -margin <= interval.high:
        return "inconclusive", f"{words}{_why_wide(walked, question)}", _settles(walked, question, interval)
    late, whole = walked.halves[1].interval(question.interval), interval.estimate
    if not late.low <= whole <= late.high:
        return (
            "inconclusive",
            f"it changes: the difference is {points(late.estimate)} over the later half, {points(whole)} over all",
            "a shorter time (since) in which nothing changes",
        )
    if interval.low >= -margin:
        return "passed", f"{words}; {points(margin)} worse are allowed", None
    return "failed", f"{words}; no more than {points(margin)} worse are allowed", None


def than_words(question: Question) -> str:
    """What the candidate is compared with, in words."""
    return "the policy as it stands" if question.against == INCUMBENT else f"always {question.against}"


def compared_words(interval: Interval) -> str:
    """The interval in words."""
    if interval.low >= 0.0:
        return f"between {points(interval.low)} and {points(interval.high)} better"
    if interval.high <= 0.0:
        return f"between {points(-interval.high)} and {points(-interval.low)} worse"
    return f"between {points(-interval.low)} worse and {points(interval.high)} better"


def _why_wide(walked: Walked, question: Question) -> str:
    sums = walked.sums
    if sums.uncovered > question.margin / 2.0:
        return (
            f": in {percent(sums.uncovered)} of the decisions it wants arms that could not have been drawn, so the "
            "log says nothing of them"
        )
    if question.interval == "anytime" and sums.rated < FEWEST_ANYTIME:
        return f": an interval that may be watched begins at {FEWEST_ANYTIME} rated decisions, here are {sums.rated}"
    if sums.behind < 2.0:
        return f": it answers otherwise in {percent(sums.mean('differing'))}, and hardly any such answer was drawn"
    return f": {sums.behind:.0f} drawn answers are behind it"


def _settles(walked: Walked, question: Question, interval: Interval) -> str:
    sums = walked.sums
    if sums.uncovered > question.margin / 2.0:
        return RELEASE_OR_CASES
    if question.interval == "anytime" and sums.rated < FEWEST_ANYTIME:
        missing: int | None = FEWEST_ANYTIME - sums.rated
    else:
        missing = answers_missing(
            sums.rated, sums.half_width(question.interval), abs(interval.estimate + question.margin)
        )
    if missing is None:
        return f"answers of the arms that it prefers: a larger exploration_floor, or {RELEASE_OR_CASES}"
    if missing > 1000 * sums.rated:
        return f"hardly more decisions, since it is too near the margin: {RELEASE_OR_CASES}"
    return f"about {missing:,} more rated decisions{in_days(walked, missing)}, or {RELEASE_OR_CASES}"


def in_days(walked: Walked, missing: int) -> str:
    """How long that takes at the window's rate, in words."""
    if walked.since_us is None or walked.until_us is None or walked.until_us <= walked.since_us:
        return ""
    days = missing / walked.sums.rated * (walked.until_us - walked.since_us) / DAY_US
    if days >= 1000.0:
        return ""
    return f" ({days:.1f} days at this rate)" if days >= 1.0 else f" ({24.0 * days:.2g} hours at this rate)"


def _rated_shares(walked: Walked, coverage: Coverage) -> tuple[float, float]:
    """Shares of rated answers: among those that the candidate would choose, and among the other's."""

    def of(shares: Mapping[str, float]) -> float:
        known = {arm: share for arm, share in shares.items() if coverage.decisions.get(arm, 0) > 0}
        total = sum(known.values())
        rated = sum(share * coverage.rated.get(arm, 0) / coverage.decisions[arm] for arm, share in known.items())
        return rated / total if total > 0.0 else 0.0

    return of(walked.shares), of(walked.other_shares)


def _figures(walked: Walked, evidence: Evidence) -> dict[str, object]:
    """All figures, JSON-compatible."""
    sums, question = walked.sums, evidence.question
    interval = sums.interval(question.interval)
    known = sums.rated > 0
    ours, theirs = _rated_shares(walked, evidence.coverage)
    late = walked.halves[1]
    return {
        "rated": sums.rated,
        "left_out": dict(sorted(walked.left_out.items())),
        "since_us": walked.since_us,
        "until_us": walked.until_us,
        "estimate": interval.estimate if known else None,
        "interval": [interval.low, interval.high] if known else None,
        "half_width": (interval.high - interval.low) / 2.0 if known else None,
        "worth": sums.worth,
        "behind": sums.behind,
        "differs": sums.mean("differing"),
        "uncovered": sums.uncovered,
        "refused": walked.refused,
        "reward": _unit(sums.mean("value")) if known else None,
        "other_reward": _unit(sums.mean("other_value")) if known else None,
        "cost_usd": sums.mean("cost_usd") if known else None,
        "other_cost_usd": sums.mean("other_cost_usd") if known else None,
        "rated_share": ours if known else None,
        "other_rated_share": theirs if known else None,
        "later_half": _half(late, question) if late.rated else None,
        "arms": [
            {"arm": arm, "share": share, "other_share": walked.other_shares[arm]}
            for arm, share in walked.shares.items()
        ],
        "knowledge": "restored" if walked.restored else "from_empty",
        "replay_differs": sums.mean("distance") if known and question.against == INCUMBENT else None,
    }


def _half(sums: DifferenceSums, question: Question) -> dict[str, object]:
    interval = sums.interval(question.interval)
    return {"rated": sums.rated, "estimate": interval.estimate, "interval": [interval.low, interval.high]}


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def points(value: float) -> str:
    """A reward difference in hundredths."""
    return f"{100.0 * value:.2g} points" if math.isfinite(value) else "anything"


def percent(share: float) -> str:
    """A share in two digits."""
    return f"{100.0 * share:.2g} %"


# The figures of an evaluation without a result.
NOTHING: Final[dict[str, object]] = {
    "rated": 0, "left_out": {}, "since_us": None, "until_us": None, "estimate": None, "interval": None,
    "half_width": None, "worth": 0.0, "behind": 0.0, "differs": None, "uncovered": None, "refused": 0,
    "reward": None, "other_reward": None, "cost_usd": None, "other_cost_usd": None, "rated_share": None,
    "other_rated_share": None, "later_half": None, "arms": [], "knowledge": None, "replay_differs": None,
}  # fmt: skip


def evaluation_answer(evaluation: Evaluation) -> dict[str, object]:
    """Question, phase and figures. Times are in microseconds."""
    question, finding = evaluation.question, evaluation.finding
    return {
        "evaluation_id": evaluation.evaluation_id,
        "policy": question.candidate.policy,
        "candidate": question.candidate.name,
        "candidate_id": question.candidate.candidate_id,
        "against": question.against,
        "method": question.method,
        "margin": question.margin,
        "interval_kind": question.interval,
        "phase": evaluation.phase,
        "reason": None if finding is None else finding.reason,
        "settles": None if finding is None else finding.settles,
        "done": evaluation.done,
        "total": evaluation.total,
        "created_at_us": evaluation.created_at_us,
        "finished_at_us": evaluation.finished_at_us,
        "key_name": evaluation.key_name,
        **NOTHING,
        **({} if finding is None else finding.figures),
    }
