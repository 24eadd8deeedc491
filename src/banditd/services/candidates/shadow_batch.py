"""What each decision adds to the sums of shadows, in a form that can be subtracted again. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from banditd.core.rewards import Contribution
from banditd.core.shadow import (
    CLUSTER,
    KEPT_ANEW,
    LEFT_OUT,
    MOST_TAG_PARTS,
    OCTAVE,
    OTHER_TAGS,
    TAG,
    Shadow,
    Shadowed,
    ShadowRow,
)
from banditd.core.types import FloatArray
from banditd.ope.difference import Compared, difference_terms
from banditd.ports import FoldItem

_OWN: Final = 3  # index of the policy's own vector in a row; the candidates' follow


class ShadowBatch:
    """Collects what a batch adds to shadows. shadows : by id, as they were before the batch."""

    def __init__(self, policy: str, shadows: Mapping[str, Shadow]) -> None:
        self.found = Shadowed(policy=policy)
        self._rated = {shadow_id: shadow.rated for shadow_id, shadow in shadows.items()}
        self._tag_parts = {shadow_id: set(shadow.tag_parts) for shadow_id, shadow in shadows.items()}

    def parts(self, shadow_ids: Sequence[str], item: FoldItem) -> dict[str, tuple[str, ...]]:
        """The parts of each shadow's sums that its next decision belongs to; octave k starts with the 2^k-th."""
        found: dict[str, tuple[str, ...]] = {}
        for shadow_id in shadow_ids:
            if shadow_id == KEPT_ANEW:
                found[shadow_id] = ()
                continue
            self._rated[shadow_id] += 1
            octave = self._rated[shadow_id].bit_length() - 1
            found[shadow_id] = (f"{OCTAVE}{octave}", *self._slices(shadow_id, item))
        return found

    def leave_out(self, shadow_ids: Sequence[str], reason: str) -> None:
        """Count a rewarded decision that cannot be decided again."""
        for shadow_id in shadow_ids:
            self._add(shadow_id, f"{LEFT_OUT}{reason}", np.ones(1))

    def count(self, rows: Sequence[ShadowRow], times: Sequence[int]) -> Iterator[None]:
        """Count new decisions, all with a reward and with the same shadows and arms, in pieces.

        times : when they were made.
        """
        reward = np.array([row.reward for row in rows], dtype=np.float64)
        for place, shadow_id in enumerate(rows[0].parts):
            if shadow_id == KEPT_ANEW:
                continue
            terms = _terms(rows, place, reward)
            for i, row in enumerate(rows):
                self._put(row, place, shadow_id, terms[i], 1.0)
            self.found.rated[shadow_id] = self.found.rated.get(shadow_id, 0) + len(rows)
            yield
        self.found.first_us = min([*times, self.found.first_us] if self.found.last_us else times)
        self.found.last_us = max([*times, self.found.last_us])
        self.found.rows += rows

    def move(self, row: ShadowRow, put: Contribution | None) -> None:
        """Count a stored decision with its present reward, or without one, in place of the former."""
        served = put is not None and (row.drawn < 0 or put.arm == row.arms[row.drawn])
        reward = put.reward if put is not None and served else None
        if reward == row.reward:
            return
        for place, shadow_id in enumerate(row.parts):
            if shadow_id not in self._rated:
                continue  # deleted, or started again
            for value, sign in ((row.reward, -1.0), (reward, 1.0)):
                if value is not None:
                    self._put(row, place, shadow_id, _terms([row], place, np.array([value]))[0], sign)
        self.found.rows.append(replace(row, reward=reward))

    def _put(self, row: ShadowRow, place: int, shadow_id: str, terms: FloatArray, sign: float) -> None:
        octave, *slices = row.parts[shadow_id]
        for part in slices:
            self._add(shadow_id, part, sign * terms)
        wanted, other = row.vectors[_OWN + 1 + place], row.vectors[_own(row, place)]
        self._add(shadow_id, octave, sign * np.concatenate([terms, [wanted.sum() == 0.0], wanted, other]))

    def _slices(self, shadow_id: str, item: FoldItem) -> Iterator[str]:
        yield f"{CLUSTER}{item.cluster}"
        known, rest = self._tag_parts[shadow_id], False
        for name, value in item.tags:
            part = f"{TAG}{name}={value}"
            if part not in known and len(known) >= MOST_TAG_PARTS:
                rest = True
                continue
            known.add(part)
            yield part
        if rest:
            yield OTHER_TAGS

    def _add(self, shadow_id: str, part: str, values: FloatArray) -> None:
        parts = self.found.sums.setdefault(shadow_id, {})
        parts[part] = parts[part] + values if part in parts else values


def _own(row: ShadowRow, place: int) -> int:
    """Index of the policy's own vector that belongs to that shadow of the row."""
    anew = list(row.parts).index(KEPT_ANEW) if KEPT_ANEW in row.parts else place
    return _OWN + 1 + anew if anew < place else _OWN


def _terms(rows: Sequence[ShadowRow], place: int, reward: FloatArray) -> FloatArray:
    """One shadow's terms for these rows, each with its reward: float64 (n, fields of a difference)."""
    vectors = np.stack([row.vectors for row in rows])
    return difference_terms(
        Compared(
            logged=vectors[:, 0],
            mean=vectors[:, 1],
            cost_usd=vectors[:, 2],
            other=vectors[:, _own(rows[0], place)],
            wanted=vectors[:, _OWN + 1 + place],
            drawn=np.array([row.drawn for row in rows], dtype=np.intp),
            predicted=np.array([row.predicted for row in rows]),
            reward=reward,
        )
    )
