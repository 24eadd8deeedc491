"""Decisions while a candidate is being released: both policies decide, and one common vector is logged.

``decide`` is called twice, for the incumbent and for the candidate, each under its own promise; ``rollout.mixed``
combines their vectors into the one that is drawn from. Everything else that off-policy estimates read (means,
deviations, penalties, the promise) is the incumbent's on both sides, because it must not depend on the side. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from banditd.bandit.policies.exploration import draw as draw_at
from banditd.core.release import ReleasePart
from banditd.core.types import BoolArray, FloatArray
from banditd.deciding.decide import Case, Decided, Situation, decide
from banditd.deciding.draw import TIE, Draw
from banditd.deciding.money import Admission
from banditd.deciding.pledge import Pledge
from banditd.deciding.rollout import distance, mixed

DRAWN: Final = frozenset({"policy", "quality_floor"})
"""Reasons of decisions that a release takes part in; an arm fixed by a session or by the query involves no choice."""


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """What a decision records about its release.

    differ : whether the drawn arm came from the part where the two vectors do not overlap. distance : the size of
    that part, in [0, 1].
    candidate, incumbent : how each side decided.
    """

    part: ReleasePart
    differ: bool
    distance: float
    candidate: Side
    incumbent: Side

    def facts(self, arms: BoolArray, names: Sequence[str]) -> Mapping[str, object]:
        """The record as logged with the decision.

        arms : bool (n_arms,), those its vector covers.
        names : of all arms.
        """
        if self.part.anchor:
            return {
                "anchor": self.part.release_id,
                "side": "anchor" if self.part.candidate else "live",
                "share": self.part.share,
                "unit": self.part.unit,
                "differ": self.differ,
                "distance": self.distance,
                "anchored": self.candidate.vector[arms].tolist(),
                "live": self.incumbent.vector[arms].tolist(),
            }
        facts: dict[str, object] = {
            "release": self.part.release_id,
            "side": "candidate" if self.part.candidate else "incumbent",
            "share": self.part.share,
            "unit": self.part.unit,
            "differ": self.differ,
            "distance": self.distance,
            "candidate": self.candidate.vector[arms].tolist(),
            "incumbent": self.incumbent.vector[arms].tolist(),
        }
        pledge = self.candidate.case.pledge
        if pledge is not None or self.incumbent.case.pledge is not None:
            facts["promise"] = None if pledge is None else self._promised(pledge, names[pledge.baseline])
            facts["own"] = {
                name: side.own(arms) for name, side in (("candidate", self.candidate), ("incumbent", self.incumbent))
            }
        return facts

    def _promised(self, pledge: Pledge, baseline: str) -> Mapping[str, object]:
        """The state of the candidate's promise."""
        side = self.candidate
        return {
            "keep": pledge.keep,
            "baseline": baseline,
            "share": float(side.decided.own_share[side.row]),
            "price_per_usd": pledge.price_per_usd,
            "state": pledge.state,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """How one side decided a query: ``row`` of its decided batch."""

    case: Case
    decided: Decided
    row: int

    @property
    def vector(self) -> FloatArray:
        """The vector that it draws from: float64 (n_arms,)."""
        found: FloatArray = self.decided.draw.probability[self.row]
        return found

    def own(self, arms: BoolArray) -> list[float | None]:
        """The policy's own vector before any promise, over these arms; None for arms that could not answer."""
        own, able = self.decided.scores.probability[self.row], self.decided.draw.arms[self.row]
        return [float(own[i]) if able[i] else None for i in np.flatnonzero(arms)]


def decide_between(
    situation: Situation,
    candidate: Situation,
    cases: Sequence[Case],
    candidate_cases: Sequence[Case],
    parts: Sequence[ReleasePart | None],
    uniforms: FloatArray,
) -> tuple[Decided, list[Parted | None]]:
    """Like ``decide``, but each query is decided by its side of the release.

    A query that the candidate cannot answer is decided by the incumbent and takes no part in the release.

    Parameters
    ----------
    situation, cases : the incumbent's.
    candidate, candidate_cases : the candidate's, for the same queries over the same arms in the same order.
    parts : one per query; None if it takes no part in the release.
    uniforms : float64 (len(cases),).

    Returns
    -------
    the decided batch, and for each of its rows what to record about the release.
    """
    decided = decide(situation, cases, uniforms)
    found: list[Parted | None] = [None] * decided.rows.size
    rows = {i: row for row, i in enumerate(decided.rows.tolist())}
    taking = [i for i, row in rows.items() if parts[i] is not None and decided.draw.reason[row] in DRAWN]
    if not taking:
        return decided, found
    other = decide(candidate, [candidate_cases[i] for i in taking], uniforms[taking])
    draw, admissions = _copied(decided.draw), list(decided.admissions)
    for at, j in enumerate(other.rows.tolist()):
        i, part = taking[j], parts[taking[j]]
        if part is None or other.draw.reason[at] not in DRAWN:
            continue
        row = rows[i]
        candidate_side, incumbent_side = Side(candidate_cases[i], other, at), Side(cases[i], decided, row)
        q, p = candidate_side.vector, incumbent_side.vector
        if not np.isfinite(q).all():
            continue  # a candidate with extreme settings must not cost anybody an answer
        one = mixed(q, p, part.share, float(uniforms[i]), on_own=part.candidate)
        index = _index_at(one.probability, one.uniform)
        draw.arms[row] |= other.draw.arms[at]
        draw.probability[row], draw.uniform[row], draw.index[row] = one.probability, one.uniform, index
        draw.propensity[row] = one.probability[index]
        side = candidate_side if part.candidate else incumbent_side
        draw.reason[row] = side.decided.draw.reason[side.row]
        draw.explored[row] = _explored(side, index)
        admissions[row] = _for_both(decided.admissions[row], other.admissions[at])
        found[row] = Parted(part, one.differ, distance(q, p), candidate_side, incumbent_side)
    names = situation.view.snapshot.arms
    exclusions = [
        one if found[row] is None else {arm: why for arm, why in one.items() if not draw.arms[row, names.index(arm)]}
        for row, one in enumerate(decided.exclusions)
    ]
    return replace(decided, draw=draw, exclusions=exclusions, admissions=admissions), found


def _for_both(incumbent: Admission, candidate: Admission) -> Admission:
    """The incumbent's admission, under terms that pay for every arm of either side.

    The candidate may use dearer arms.
    """
    own, other = incumbent.terms, candidate.terms
    if own is None or other is None:
        return incumbent._replace(terms=None)
    cost_usd, dear_usd = max(own.cost_usd, other.cost_usd), max(own.dear_usd, other.dear_usd)
    return incumbent._replace(terms=own._replace(cost_usd=cost_usd, dear_usd=dear_usd))


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


def _explored(side: Side, index: int) -> bool:
    """Whether the side had a better arm; an answer of a promise's baseline does not count as exploration."""
    pledge, decided, row = side.case.pledge, side.decided, side.row
    if pledge is not None and decided.own_share[row] < 1.0 and index == pledge.baseline:
        return False
    if decided.draw.reason[row] == "quality_floor":
        return bool(side.vector[index] < side.vector.max() - TIE)
    utility = np.where(decided.draw.arms[row], decided.scores.mean[row] - decided.priced.penalty[row], -np.inf)
    return bool(utility[index] < utility.max() - TIE)
