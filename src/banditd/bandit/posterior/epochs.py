"""The sums by arm and epoch, and their total after forgetting. No prior, no posterior.

Epochs newer than ``base_epoch`` are kept separately. Everything at or before it is merged into one base segment per
arm (label ``BASE``), discounted to ``base_epoch``: base = sum over e <= base_epoch of discount^(base_epoch - e) S_e.
A late reward of such an epoch is added with that same factor. So neither the order of folds nor the time of merging
matters, and folding the whole log again gives the same sums.

The evidence of an arm that changed is divided into *stretches* of epochs, each weighted by a factor in [0, 1]. The
factors are stored beside the sums and applied when these are added up. Every stretch has a base of its own (label -1
- its first epoch, so ``BASE`` for the first), so a factor may change at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from banditd.bandit.posterior.statistics import ArmSums
from banditd.core.errors import InvariantError
from banditd.core.types import FloatArray

BASE: Final = -1
MOST_SPANS: Final = 8  # per arm; with more, the two oldest are joined


class EpochSums:
    """Segments of every arm that ever had a reward, including arms that are gone.

    discount : factor per epoch of age, in (0, 1]. live_epochs : epochs kept separate from the base.
    """

    def __init__(self, n_features: int, discount: float, live_epochs: int) -> None:
        self.epoch = 0
        self.base_epoch = BASE
        self.discount = discount
        self._live = live_epochs
        self._n_features = n_features
        self._segments: dict[tuple[str, int], ArmSums] = {}
        self._spans: dict[str, list[tuple[int, float]]] = {}  # (first epoch, factor), ascending
        self._touched: set[tuple[str, int]] = set()
        self._dropped: set[tuple[str, int]] = set()

    def fold(self, arm: str, epoch: int, x: FloatArray, weight: float, reward: float) -> float:
        """Add one row. Returns the factor with which it counts now."""
        label, scale = epoch, 1.0
        if epoch <= self.base_epoch:
            label, scale = self._base_label(arm, epoch), self.discount ** (self.base_epoch - epoch)
        self._segment(arm, label).add(x, weight, reward, scale=scale)
        self._touched.add((arm, label))
        return float(self.discount ** (self.epoch - epoch)) * self._span(arm, epoch)[1]

    def advance(self, epoch: int) -> None:
        """Make ``epoch`` the current one (never backwards) and merge old segments."""
        self.epoch = max(self.epoch, epoch)
        while self.base_epoch < self.epoch - self._live:
            self._merge_oldest()

    def total(self, arm: str, *, before: int | None = None) -> ArmSums:
        """Sums of an arm as they count now. before : only stretches that start before this epoch."""
        total = ArmSums(self._n_features)
        for (name, label), segment in self._segments.items():
            if name == arm:
                first, factor = self._span(arm, label if label >= 0 else BASE - label)
                if before is None or first < before:
                    epoch = self.base_epoch if label < 0 else label
                    total.merge(segment, scale=self.discount ** (self.epoch - epoch) * factor)
        return total

    # ------------------------------------------------------------ stretches

    def spans(self, arm: str) -> tuple[tuple[int, float], ...]:
        """(first epoch, factor) of every stretch of an arm, oldest first; at least one, from epoch 0."""
        return tuple(self._spans.get(arm, ((0, 1.0),)))

    def oldest_factor(self, arm: str) -> float:
        """Factor of an arm's oldest evidence, in [0, 1]; its prior counts with the same factor."""
        return self.spans(arm)[0][1]

    def begin_span(self, arm: str, first: int) -> None:
        """Start a new stretch of the arm's evidence at epoch ``first``, with factor 1.

        ``first`` must be newer than ``base_epoch`` and than every stretch, because merged sums cannot be divided.
        """
        spans = list(self.spans(arm))
        if first <= max(self.base_epoch, spans[-1][0]):
            raise InvariantError(f"A stretch cannot begin at epoch {first}.")
        self._spans[arm] = [*spans, (first, 1.0)]
        if len(spans) >= MOST_SPANS:
            self._join_oldest(arm)

    def set_factors(self, arm: str, factors: Mapping[int, float]) -> None:
        """Change the factors of stretches, named by their first epoch. Each in [0, 1]."""
        self._spans[arm] = [(first, factors.get(first, factor)) for first, factor in self.spans(arm)]

    def spans_json(self) -> dict[str, Any]:
        return {arm: [list(pair) for pair in pairs] for arm, pairs in self._spans.items()}

    def load_spans(self, values: Mapping[str, Any]) -> None:
        """Inverse of ``spans_json``."""
        self._spans = {arm: [(int(e), float(f)) for e, f in pairs] for arm, pairs in values.items()}

    def _span(self, arm: str, epoch: int) -> tuple[int, float]:
        """The stretch that an epoch belongs to."""
        found = (0, 1.0)
        for pair in self._spans.get(arm, ()):
            if pair[0] > epoch:
                break
            found = pair
        return found

    def _base_label(self, arm: str, epoch: int) -> int:
        return BASE - self._span(arm, epoch)[0]

    def _join_oldest(self, arm: str) -> None:
        """Join the two oldest stretches; the result has the smaller of their factors."""
        (first, one), (second, other), *rest = self._spans[arm]
        self._spans[arm] = [(first, min(one, other)), *rest]
        label = BASE - second
        if (arm, label) in self._segments:
            self._move(arm, label, BASE - first)

    # ------------------------------------------------------------ storage

    def arms(self) -> set[str]:
        return {arm for arm, _ in self._segments}

    def pack(self, *, everything: bool = False) -> list[tuple[str, int, bytes]]:
        keys = self._segments.keys() if everything else self._touched
        return [(arm, label, self._segments[arm, label].pack()) for arm, label in sorted(keys)]

    def take_changes(self) -> tuple[list[tuple[str, int, bytes]], list[tuple[str, int]]]:
        """(changed segments, packed; labels that no longer exist) since the last call."""
        changed, dropped = self.pack(), sorted(self._dropped)
        self._touched.clear()
        self._dropped.clear()
        return changed, dropped

    def touch_everything(self) -> None:
        """Make the next ``take_changes`` return every segment."""
        self._touched.update(self._segments)

    def load(self, arm: str, label: int, data: bytes) -> None:
        """Replace a segment by a stored one. Raises InvariantError if that is damaged."""
        try:
            self._segments[arm, label] = ArmSums.unpack(data)
        except InvariantError as error:
            raise InvariantError(
                f"Segment {label} of arm {arm}'s statistics cannot be read: {error} "
                "`banditd rebuild --write` restores it from the log."
            ) from None

    def drop(self, arm: str, label: int) -> None:
        self._segments.pop((arm, label), None)

    def discard_merged(self) -> None:
        """Drop labels that have been merged into a base: a follower reads the base, but is not told what was dropped.

        These are epochs that became old, and the bases of stretches that were joined to an older one.
        """
        for arm, label in [key for key in self._segments if self._is_merged(*key)]:
            self.drop(arm, label)

    def _is_merged(self, arm: str, label: int) -> bool:
        if label >= 0:
            return label <= self.base_epoch
        # Only the first epoch of a stretch has a base, and joined stretches are never divided again.
        return label != self._base_label(arm, BASE - label)

    def _segment(self, arm: str, label: int) -> ArmSums:
        found = self._segments.get((arm, label))
        if found is None:
            found = self._segments[arm, label] = ArmSums(self._n_features)
            self._dropped.discard((arm, label))
        return found

    def _merge_oldest(self) -> None:
        self.base_epoch += 1
        if self.discount < 1.0:
            for (arm, label), segment in self._segments.items():
                if label < 0:
                    segment.rescale(self.discount)
                    self._touched.add((arm, label))
        for arm, label in [key for key in self._segments if key[1] == self.base_epoch]:
            self._move(arm, label, self._base_label(arm, label))

    def _move(self, arm: str, label: int, into: int) -> None:
        self._segment(arm, into).merge(self._segments.pop((arm, label)))
        self._touched.discard((arm, label))
        self._touched.add((arm, into))
        self._dropped.add((arm, label))
