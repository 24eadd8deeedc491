"""Per arm: a judge's verdicts on its answers, how they differ from people's ratings, and its probes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from banditd.core.judging import LabelledVerdict
from banditd.core.probing import ProbeTally
from banditd.ope.means import weighted_mean


def verdicts_by_arm(verdicts: Sequence[LabelledVerdict]) -> list[Mapping[str, object]]:
    """One entry for each arm whose served answers were judged, the most often judged first."""
    by_arm: dict[str, list[LabelledVerdict]] = {}
    for one in verdicts:
        by_arm.setdefault(one.arm, []).append(one)
    return [_of_arm(arm, ones) for arm, ones in sorted(by_arm.items(), key=lambda item: (-len(item[1]), item[0]))]


def _of_arm(arm: str, verdicts: Sequence[LabelledVerdict]) -> Mapping[str, object]:
    scores = np.array([one.score for one in verdicts])
    found = weighted_mean(scores, np.array([one.probability for one in verdicts]))
    beyond = [one.score - one.label for one in verdicts if one.label is not None]
    return {
        "arm": arm,
        "judged": len(verdicts),
        "mean_score": found.mean,
        "interval": None if found.interval is None else list(found.interval),
        "labels": len(beyond),
        "beyond_people": sum(beyond) / len(beyond) if beyond else None,
    }


def probes_by_arm(tallies: Iterable[ProbeTally], judge: str) -> list[Mapping[str, object]]:
    """One entry for each arm that was probed for this judge, the most often drawn first."""
    these = sorted((one for one in tallies if one.judge == judge), key=lambda one: (-one.drawn, one.arm))
    return [
        {"arm": one.arm, "drawn": one.drawn, "answered": one.answered, "spend_usd": one.cost_usd} for one in these
    ]
