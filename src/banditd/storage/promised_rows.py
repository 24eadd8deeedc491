"""Decisions under a promise as rows: whose promise each was drawn under, and with which probabilities.

Under a release the candidate may promise otherwise than the incumbent. Then a decision is one of its own side's
promise alone, with that side's vector: given the side, that is what it was drawn from. Where both promise the same,
it is one of that promise, with the vector that was logged.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from banditd.core.types import BoolArray
from banditd.ope.reference import RatedDecision
from banditd.ports import PromisedOutcome, RatedOutcome
from banditd.storage.codec import readable_context, readable_release, unpack_names, unpack_vector

_NUMBER: Final = struct.Struct("<d")
Sided = tuple[float | None, str | None, list[float] | None]
"""(keep, baseline, the vector of the side; None where that is the logged one)."""


def rated_of(row: Any) -> RatedOutcome | None:
    """None where the row is damaged, nothing was promised, or its baseline could not answer."""
    try:
        arms = unpack_names(row.arms)
        keep, name, vector = _sided(row)
        if keep is None or name not in arms:
            return None
        drawn, baseline = arms.index(row.arm), arms.index(name)
        (predicted,), (expected,) = (
            _NUMBER.unpack_from(row.mean, 8 * drawn),
            _NUMBER.unpack_from(row.mean, 8 * baseline),
        )
        if vector is None:
            (probability,) = _NUMBER.unpack_from(row.probability, 8 * baseline)
        else:
            probability = float(vector[baseline])
        rated = RatedDecision(row.reward, predicted, expected, probability, drawn == baseline)
        return RatedOutcome(row.decision_id, keep, name, rated)
    except (IndexError, KeyError, TypeError, ValueError, struct.error):
        return None


def _sided(row: Any) -> Sided:
    """Under whose promise it was drawn."""
    kept = readable_release(row.release)
    if kept is None or "promise" not in kept:
        return row.keep, row.baseline, None
    theirs: Mapping[str, Any] = kept["promise"] or {}
    if (theirs.get("keep"), theirs.get("baseline")) == (row.keep, row.baseline):
        return row.keep, row.baseline, None
    if kept["side"] == "candidate":
        return theirs.get("keep"), theirs.get("baseline"), kept["candidate"]
    return row.keep, row.baseline, kept["incumbent"]


def promised_of(row: Any, release_id: str | None = None) -> PromisedOutcome | None:
    """As the incumbent decided it, or the candidate of that release, on whichever side it was.

    None where the row is damaged, nothing was promised, or the baseline could not answer.
    """
    kept = readable_release(row.release)
    if release_id is not None and (kept is None or kept.get("release") != release_id):
        return None
    try:
        arms, x = unpack_names(row.arms), readable_context(row.x)
        keep, baseline = row.keep, row.baseline
        able: BoolArray = np.ones(len(arms), dtype=bool)
        cost_usd = np.array(unpack_vector(row.cost_usd))
        vector = np.array(unpack_vector(row.probability if row.own_probability is None else row.own_probability))
        if kept is not None and "own" in kept:
            side = kept["own"]["incumbent" if release_id is None else "candidate"]
            able = np.array([one is not None for one in side], dtype=bool)
            vector = np.array([one or 0.0 for one in side])
        if release_id is not None:
            theirs = (kept or {}).get("promise") or {}
            keep, baseline = theirs.get("keep"), theirs.get("baseline")
    except (KeyError, TypeError, ValueError):
        return None
    if keep is None or x is None or baseline not in arms or {len(arms)} != {cost_usd.size, vector.size, able.size}:
        return None
    return PromisedOutcome(float(keep), baseline, x, arms, cost_usd, vector, able)
