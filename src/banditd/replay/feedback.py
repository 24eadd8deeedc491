"""Who tells the learner how an answer was: nobody, the score itself, or simulated sources with noise and bias.

Draws belong to (seed, row, source), never to the arm or the policy, so two policies on one seed meet the same
missing rewards and the same noise. Several rewards of one decision are merged by the daemon's own rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.rewards import RewardEvent
from banditd.core.types import FloatArray
from banditd.services.learning.folding import merge_events

KINDS: Final = ("judge", "thumb", "metric")
# What the configuration says of thumbs (source human) unless told otherwise.
THUMB_NOISE_VARIANCE: Final = 0.05
_NUMBERS: Final = ("rate", "sd", "bias", "noise")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSource:
    """One simulated source.

    kind : ``judge`` says the score with Gaussian error, clipped to [0, 1]; ``thumb`` says 1 with probability
        score, else 0; ``metric`` says the score itself.
    rate : share of the decisions that it rewards, in (0, 1]. sd, bias : of a judge's error.
    arm : the bias is on this arm only (a judge with a favourite); None: on all.
    noise_variance : what the learner is told of the source; None: sd^2 of a judge, 0.05 of thumbs, 0 of a metric.

    Raises
    ------
    InvalidInputError : out of range, or an error on a source that has none.
    """

    kind: str
    rate: float = 1.0
    sd: float = 0.0
    bias: float = 0.0
    arm: str | None = None
    noise_variance: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise _wrong(f"unknown source {self.kind!r}; known: {', '.join(KINDS)}")
        if not 0.0 < self.rate <= 1.0:
            raise _wrong(f"rate lies in (0, 1], got {self.rate}")
        if not 0.0 <= self.sd <= 1.0 or not -1.0 <= self.bias <= 1.0:
            raise _wrong("sd lies in [0, 1] and bias in [-1, 1]")
        if self.noise_variance is not None and not 0.0 <= self.noise_variance <= 1.0:
            raise _wrong(f"noise is a variance in [0, 1], got {self.noise_variance}")
        if self.kind != "judge" and (self.sd or self.bias or self.arm is not None):
            raise _wrong(f"only a judge has sd, bias and arm; a {self.kind} has none")

    @classmethod
    def parse(cls, text: str) -> FeedbackSource:
        """From ``kind:key=value,...`` such as ``judge:rate=0.3,sd=0.1,bias=0.06,arm=small`` or ``thumb:rate=0.03``.

        Raises
        ------
        InvalidInputError : unknown kind or key, or no number.
        """
        kind, _, rest = text.partition(":")
        given: dict[str, float] = {}
        arm = None
        for part in filter(None, (piece.strip() for piece in rest.split(","))):
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key == "arm" and value:
                arm = value
                continue
            if key not in _NUMBERS:
                raise _wrong(f"unknown key {key!r}; known: {', '.join((*_NUMBERS, 'arm'))}")
            try:
                given[key] = float(value)
            except ValueError:
                raise _wrong(f"{key}={value} is not a number") from None
        noise = given.pop("noise", None)
        return cls(kind=kind.strip(), arm=arm, noise_variance=noise, **given)

    @property
    def reported_variance(self) -> float:
        """Noise variance that the learner works with."""
        if self.noise_variance is not None:
            return self.noise_variance
        return THUMB_NOISE_VARIANCE if self.kind == "thumb" else self.sd**2

    def check_arm(self, arms: Sequence[str]) -> None:
        """Raises InvalidInputError when the bias is on an arm that is not here."""
        if self.arm is not None and self.arm not in arms:
            raise _wrong(f"no arm {self.arm!r} here; arms: {', '.join(arms)}")

    def fields(self) -> dict[str, object]:
        """As the report writes it."""
        return {**asdict(self), "noise_variance": self.reported_variance}


def _wrong(what: str) -> InvalidInputError:
    return InvalidInputError(f"A feedback source is wrong: {what}.", field="/feedback")


class Feedback:
    """The rewards of one seed.

    Parameters
    ----------
    score : float64 (n, K), NaN where missing. arms : the K names.
    sources : none: the score itself is the reward.
    reward_rate : without sources: probability that a decision has a reward.
    """

    def __init__(
        self,
        score: FloatArray,
        arms: Sequence[str],
        *,
        sources: Sequence[FeedbackSource] = (),
        reward_rate: float = 1.0,
        seed: int,
    ) -> None:
        self._score, self._arms, self._sources = score, tuple(arms), tuple(sources)
        generator = np.random.default_rng([seed, 2])
        n, m = score.shape[0], max(len(self._sources), 1)
        rates = np.array([source.rate for source in self._sources] or [reward_rate])
        self._present = generator.random((n, m)) < rates
        self._normal = generator.normal(size=(n, m))
        self._uniform = generator.random((n, m))

    def of(self, row: int, arm: int) -> tuple[float, float] | None:
        """(weight in (0, 1], reward in [0, 1]) that the learner gets for ``arm`` on ``row``, or None."""
        score = float(self._score[row, arm])
        if np.isnan(score):
            return None
        if not self._sources:
            return (1.0, score) if self._present[row, 0] else None
        events = [
            RewardEvent(
                reward=self._stated(source, row, column, arm, score),
                noise_variance=source.reported_variance,
                kind="reward",
                created_at_us=0,
            )
            for column, source in enumerate(self._sources)
            if self._present[row, column]
        ]
        return merge_events(events)

    def _stated(self, source: FeedbackSource, row: int, column: int, arm: int, score: float) -> float:
        if source.kind == "thumb":
            return float(self._uniform[row, column] < score)
        bias = source.bias if source.arm in {None, self._arms[arm]} else 0.0
        return min(1.0, max(0.0, score + bias + source.sd * float(self._normal[row, column])))
