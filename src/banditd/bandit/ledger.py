"""The sums by arm and epoch, and what they add up to after forgetting. No prior, no posterior.

Epochs newer than ``base_epoch`` are kept apart; everything at or before it lives in one base segment per
arm (label ``BASE``), in the frame of ``base_epoch``: base = sum over e <= base_epoch of
discount^(base_epoch - e) S_e. A late reward of such an epoch enters with that same factor, so neither the
order of folds nor the moment of merging matters, and a refold of the whole log gives the same sums.
"""

from __future__ import annotations

from typing import Final

from banditd.bandit.statistics import ArmSums
from banditd.core.types import FloatArray

BASE: Final = -1


class Ledger:
    """Segments of every arm that ever had a reward, also of arms that are gone.

    discount : factor per epoch of age, in (0, 1]. live_epochs : epochs kept apart from the base.
    """

    def __init__(self, n_features: int, *, discount: float, live_epochs: int) -> None:
        self.epoch = 0
        self.base_epoch = BASE
        self.discount = discount
        self._live = live_epochs
        self._n_features = n_features
        self._segments: dict[tuple[str, int], ArmSums] = {}
        self._touched: set[tuple[str, int]] = set()
        self._dropped: set[tuple[str, int]] = set()

    def fold(self, arm: str, epoch: int, x: FloatArray, weight: float, reward: float) -> float:
        """Add one row. Returns the factor with which it counts today."""
        label, scale = epoch, 1.0
        if epoch <= self.base_epoch:
            label, scale = BASE, self.discount ** (self.base_epoch - epoch)
        self._segment(arm, label).add(x, weight, reward, scale=scale)
        self._touched.add((arm, label))
        return float(self.discount ** (self.epoch - epoch))

    def advance(self, epoch: int) -> None:
        """Make ``epoch`` the current one (never backwards) and merge what has become old."""
        self.epoch = max(self.epoch, epoch)
        while self.base_epoch < self.epoch - self._live:
            self._merge_oldest()

    def total(self, arm: str) -> ArmSums:
        """Sums of an arm as they count today."""
        total = ArmSums(self._n_features)
        for (name, label), segment in self._segments.items():
            if name == arm:
                epoch = self.base_epoch if label == BASE else label
                total.merge(segment, scale=self.discount ** (self.epoch - epoch))
        return total

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

    def load(self, arm: str, label: int, data: bytes) -> None:
        """Put a stored segment in place of the one here."""
        self._segments[arm, label] = ArmSums.unpack(data)

    def drop(self, arm: str, label: int) -> None:
        self._segments.pop((arm, label), None)

    def discard_merged(self) -> None:
        """Forget labels that the base holds already (a follower is told of the base, not of the drop)."""
        for arm, label in [key for key in self._segments if BASE < key[1] <= self.base_epoch]:
            self.drop(arm, label)

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
                if label == BASE:
                    segment.rescale(self.discount)
                    self._touched.add((arm, BASE))
        for arm, label in [key for key in self._segments if key[1] == self.base_epoch]:
            self._segment(arm, BASE).merge(self._segments.pop((arm, label)))
            self._touched.discard((arm, label))
            self._touched.add((arm, BASE))
            self._dropped.add((arm, label))
