"""Decisions of a policy while a candidate is released: both decide, and one vector is drawn from and logged.

``decide`` is called twice, for the incumbent and for the candidate; ``rollout.mixed`` makes one vector of the two.
What off-policy estimates read beside it (means, deviations, penalties) is the incumbent's on both sides: it must
not depend on the side. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from banditd.bandit.policies.exploration import draw as draw_at
from banditd.core.release import ReleasePart
from banditd.core.types import FloatArray
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.deciding.draw import TIE, Draw
from banditd.deciding.rollout import common, mixed

DRAWN: Final = frozenset({"policy", "quality_floor"})
"""Reasons of decisions that a release takes part in: what a session or the query has named is nobody's choice."""


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """What a decision under a release keeps of it.

    differ : whether its side drew from what the two do not have in common. distance : how often they do so, in
    [0, 1]. candidate, incumbent : both vectors, float64 (n_arms,).
    """

    part: ReleasePart
    differ: bool
    distance: float
    candidate: FloatArray
    incumbent: FloatArray

    def facts(self, arms: np.ndarray) -> Mapping[str, object]:
        """As a decision logs it. arms : bool (n_arms,), those that its vector is over."""
        return {
            "release": self.part.release_id,
            "side": "candidate" if self.part.candidate else "incumbent",
            "share": self.part.share,
            "unit": self.part.unit,
            "differ": self.differ,
            "distance": self.distance,
            "candidate": self.candidate[arms].tolist(),
            "incumbent": self.incumbent[arms].tolist(),
        }


def decide_between(
    situation: Situation,
    candidate: Situation,
    cases: Sequence[Case],
    parts: Sequence[ReleasePart | None],
    uniforms: FloatArray,
) -> tuple[Decided, list[Parted | None]]:
    """Decide as ``decide``, each query by its side of the release.

    A query that the candidate cannot answer is the incumbent's, and no part of the release.

    Parameters
    ----------
    situation : the incumbent's. candidate : over the same arms, in the same order. parts : of each query; None for
    one that is no part of the release. uniforms : float64 (len(cases),).

    Returns
    -------
    what was decided, and of each of its rows what the release has to do with it.
    """
    decided = decide(situation, cases, uniforms)
    found: list[Parted | None] = [None] * decided.rows.size
    rows = {i: row for row, i in enumerate(decided.rows.tolist())}
    taking = [i for i, row in rows.items() if parts[i] is not None and decided.draw.reason[row] in DRAWN]
    if not taking:
        return decided, found
    theirs = decide(candidate, [cases[i] for i in taking], uniforms[taking])
    draw = _copied(decided.draw)
    for at, j in enumerate(theirs.rows.tolist()):
        i, part = taking[j], parts[taking[j]]
        if part is None or theirs.draw.reason[at] not in DRAWN:
            continue
        row = rows[i]
        q, p = theirs.draw.probability[at].copy(), decided.draw.probability[row].copy()
        one = mixed(q, p, part.share, float(uniforms[i]), on_own=part.candidate)
        index = _index_at(one.probability, one.uniform)
        draw.arms[row] |= theirs.draw.arms[at]
        draw.probability[row], draw.uniform[row], draw.index[row] = one.probability, one.uniform, index
        draw.propensity[row] = one.probability[index]
        side, where = (theirs, at) if part.candidate else (decided, row)
        draw.reason[row] = side.draw.reason[where]
        draw.explored[row] = _explored(side, where, index, cases[i])
        found[row] = Parted(part, one.differ, 1.0 - common(q, p), q, p)
    names = situation.view.snapshot.arms
    exclusions = [
        one if found[row] is None else {arm: why for arm, why in one.items() if not draw.arms[row, names.index(arm)]}
        for row, one in enumerate(decided.exclusions)
    ]
    return replace(decided, draw=draw, exclusions=exclusions), found


def _copied(draw: Draw) -> Draw:
    return Draw(
        draw.arms.copy(),
        draw.probability.copy(),
        draw.index.copy(),
        draw.propensity.copy(),
        draw.uniform.copy(),
        draw.explored.copy(),
        list(draw.reason),
    )


def _index_at(probability: FloatArray, uniform: float) -> int:
    return int(draw_at(probability[None, :], np.array([uniform]))[0])


def _explored(side: Decided, row: int, index: int, case: Case) -> bool:
    """Whether the side would have had a better arm; an answer of a promise's baseline is no trial."""
    if case.pledge is not None and side.own_share[row] < 1.0 and index == case.pledge.baseline:
        return False
    if side.draw.reason[row] == "quality_floor":
        return bool(side.draw.probability[row, index] < side.draw.probability[row].max() - TIE)
    utility = np.where(side.draw.arms[row], side.scores.mean[row] - side.priced.penalty[row], -np.inf)
    return bool(utility[index] < utility.max() - TIE)
