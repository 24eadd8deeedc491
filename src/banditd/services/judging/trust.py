"""Whether a judge is trusted: an anytime-valid test compares its verdicts with people's ratings of the same answers.

A judge counts until people contradict it; then this version of it is refused for good. Another model or rubric makes
another version, which starts afresh.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from banditd.core.judging import JudgeRule, LabelledVerdict, Refusal
from banditd.ope.agreement import agreement_of
from banditd.ope.favour import FavourTest, LabelledScore, favour_among
from banditd.ope.prediction_powered import PoweredMean, powered_mean
from banditd.ports import Clock
from banditd.ports.judging import JudgingStore
from banditd.services.judging.by_arm import verdicts_by_arm

logger = logging.getLogger(__name__)
VERDICTS_USED: Final = 5000
"""Number of newest verdicts used, besides all that people have labelled."""
FEWEST_LABELS: Final = 50
"""With fewer labels it cannot be said whether the judge agrees with people."""
PASSES: Final = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about a judge's version.

    labels : number of verdicts on answers that people have labelled.
    agreement : share of them on the same side of one half as people's label.
    mean_score : of the verdicts, weighted by sampling probability.
    people : estimate of people's mean label over all answers.
    test : whether it favours an arm.
    contradicted_after : labels after which people's contradiction was certain, or None.
    by_arm : its verdicts on each arm's answers.
    """

    labels: int
    agreement: float | None
    mean_score: float | None
    people: PoweredMean | None
    test: FavourTest
    contradicted_after: int | None = None
    by_arm: Sequence[Mapping[str, object]] = ()


def standing_of(verdicts: Sequence[LabelledVerdict]) -> Standing:
    """The standing given its verdicts: labelled ones first, oldest label first."""
    labelled = [LabelledScore(one.arm, one.score, one.label) for one in verdicts if one.label is not None]
    same = sum((one.score >= PASSES) == (one.label >= PASSES) for one in labelled)
    scores = np.array([one.score for one in verdicts])
    probability = np.array([one.probability for one in verdicts])
    labels = np.array([np.nan if one.label is None else one.label for one in verdicts])
    return Standing(
        labels=len(labelled),
        agreement=same / len(labelled) if labelled else None,
        mean_score=float(scores @ (1.0 / probability) / (1.0 / probability).sum()) if verdicts else None,
        people=powered_mean(scores, labels, judge_probability=probability) if verdicts else None,
        test=favour_among(labelled),
        contradicted_after=agreement_of(labelled).contradicted_after,
        by_arm=verdicts_by_arm(verdicts),
    )


class TrustGate:
    """Refuses judges that favour an arm or score the wrong way round."""

    def __init__(self, judges: Sequence[JudgeRule], store: JudgingStore, clock: Clock) -> None:
        self._judges = tuple(judges)
        self._store = store
        self._clock = clock
        self._tested: dict[str, int] = {}  # by judge, a hash of the labelled verdicts that last passed

    async def look(self) -> None:
        """Test every judge, and refuse those that fail."""
        refused = await self._store.refusals()
        for judge in self._judges:
            if (judge.name, judge.version) not in refused:
                await self._look(judge)

    async def standing(self, judge: JudgeRule) -> Standing:
        """What is known of a judge now."""
        verdicts = await self._store.verdicts(judge.name, judge.version, judge.people, VERDICTS_USED)
        return await asyncio.to_thread(standing_of, verdicts)

    async def _look(self, judge: JudgeRule) -> None:
        labelled = await self._store.verdicts(judge.name, judge.version, judge.people, 0)
        key = hash((judge.version, tuple((one.decision_id, one.score, one.label) for one in labelled)))
        if self._tested.get(judge.name) == key:
            return
        standing = await asyncio.to_thread(standing_of, labelled)
        reason = refusal_reason(standing)
        if reason is None:
            self._tested[judge.name] = key
            return
        refusal = Refusal(judge=judge.name, version=judge.version, reason=reason, at_us=self._clock.now_us())
        if await self._store.refuse(refusal):
            logger.warning("judge.refused", extra={"judge": judge.name, "reason": reason, "labels": standing.labels})


def refusal_reason(standing: Standing) -> str | None:
    """Why the judge is not trusted, in words; None if there is no reason."""
    found = standing.test.found
    if standing.labels < FEWEST_LABELS:
        return None
    if standing.contradicted_after is not None:
        return (
            "it scores what people call bad higher than what they call good: known after "
            f"{standing.contradicted_after:,} answers that both have scored"
        )
    if found is None:
        return None
    how = "scores higher than people do" if found.direction == "for" else "scores lower than people do"
    return (
        f"it {how} where {found.arm} answered, by {found.by:.2f} against the other arms: known after "
        f"{found.labels:,} answers that both have scored"
    )


def trust_words(standing: Standing, refused: str | None) -> str:
    """Whether its scores are learned from, and why. refused : the reason of its refusal, or None."""
    if refused is not None:
        return f"Not trusted, its scores do not teach: {refused}."
    if not standing.labels:
        return "Its scores teach. People have labelled none of the answers: whether it favours an arm is not known."
    if standing.labels < FEWEST_LABELS:
        return f"Its scores teach. {standing.labels} of {FEWEST_LABELS} labels that a test of favour needs."
    return f"Trusted, its scores teach: in {standing.labels:,} labelled answers nothing shows that it favours an arm."
