"""The answers in hand, as features from which the values of keeping and calling are learned.

A signal enters as its rank among earlier signals of the same arm: ranks have no unit and limit outliers, and rewards
determine what they mean. A missing signal is marked as missing, never read as zero.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from banditd.core.types import FeatureGroup, FeatureSchema, FloatArray

RANKED: Final = 2000  # values of one signal of one arm that ranks are taken among: the first so many
"""Number of values, the earliest ones, that ranks of one signal of one arm refer to."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """One answer. arm : its index. signals : float64 (S,), NaN if missing.

    same_as : arms in hand that gave the same answer; None if that cannot be told.
    """

    arm: int
    signals: FloatArray
    same_as: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hand:
    """A query and its answers so far, in order.

    x : float64 (d,), the query's context.
    expected : float64 (K,), expected reward of every arm before any answer was seen. deviation : its standard
    deviation.
    answers : at least one.
    inspected : arms whose costly signals are known.
    """

    x: FloatArray
    expected: FloatArray
    deviation: FloatArray
    answers: tuple[Answer, ...]
    inspected: frozenset[int] = frozenset()

    def with_signals(self, arm: int, signals: FloatArray) -> Hand:
        """The hand after the costly signals of an arm's answer have arrived."""
        answers = tuple(replace(one, signals=signals) if one.arm == arm else one for one in self.answers)
        return replace(self, answers=answers, inspected=self.inspected | {arm})

    @property
    def arms(self) -> tuple[int, ...]:
        return tuple(answer.arm for answer in self.answers)


class SignalRanks:
    """Ranks in [-1, 1] of signals among earlier signals of the same arm."""

    def __init__(self, n_arms: int, n_signals: int) -> None:
        self._seen: list[list[list[float]]] = [[[] for _ in range(n_signals)] for _ in range(n_arms)]

    def observe(self, arm: int, signals: FloatArray) -> None:
        """Add an arm's signals (NaN if missing) to the values that ranks refer to."""
        for seen, value in zip(self._seen[arm], signals.tolist(), strict=True):
            if value == value and len(seen) < RANKED:  # noqa: PLR0124  (not NaN)
                insort(seen, value)

    def features(self, arm: int, signals: FloatArray) -> FloatArray:
        """float64 (2 S,): each signal's rank (0 if missing) and whether it is missing."""
        found = np.zeros(2 * signals.size)
        for i, (seen, value) in enumerate(zip(self._seen[arm], signals.tolist(), strict=True)):
            if value != value:  # noqa: PLR0124
                found[2 * i + 1] = 1.0
            elif seen:
                found[2 * i] = (bisect_left(seen, value) + bisect_right(seen, value)) / len(seen) - 1.0
        return found


def extended(schema: FeatureSchema, groups: Sequence[tuple[str, int]]) -> FeatureSchema:
    """The schema with further groups of columns, (name, size) each, appended."""
    found, start = list(schema.groups), schema.n_features
    for name, size in groups:
        found.append(FeatureGroup(name, start, start + size))
        start += size
    names = [f"{group.name}_{i}" for group in found[len(schema.groups) :] for i in range(group.size)]
    return replace(
        schema, hash=f"{schema.hash}+chain", groups=tuple(found), names=(*schema.names, *names), extends=()
    )


def small_schema(like: FeatureSchema, groups: Sequence[tuple[str, int]]) -> FeatureSchema:
    """A schema of a bias and these groups only, without the query's own features."""
    bias = replace(like, hash="chain", groups=like.groups[:1], names=like.names[:1], n_clusters=0, extends=())
    return extended(bias, groups)
