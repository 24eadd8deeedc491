"""What a data set's answers show beside their scores: which of them are equal, and signals of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import BoolArray, FloatArray, IntArray
from banditd.deciding.comparing import KINDS, SIMILARITY, reduced, similar
from banditd.encoders.static import load_static_encoder

ANSWER_CLASS = "answer_id"  # equal numbers of a row are the same answer, 0 is none
REFUSAL = "refusal"  # 1: the answer says that it gives none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signals:
    """Side data of the arms, in their order.

    values : by name of the signal float64 (n, K), NaN where missing. texts : by arm the answers, None
    where missing; only of arms that have them. costs_usd : by prefix of the names of signals that are asked for
    apart, what that costs, float64 (n, K), NaN where there is nothing to ask.
    """

    values: Mapping[str, FloatArray]
    texts: Mapping[str, Sequence[str | None]]
    costs_usd: Mapping[str, FloatArray] = field(default_factory=dict)

    def take(self, rows: IntArray) -> Signals:
        """Those of these rows, in that order."""
        return replace(
            self,
            values={name: values[rows] for name, values in self.values.items()},
            costs_usd={name: values[rows] for name, values in self.costs_usd.items()},
            texts={arm: [texts[i] for i in rows] for arm, texts in self.texts.items()},
        )


@dataclass(frozen=True, slots=True)
class AnswerKind:
    """How answers are compared: one of ``comparing.KINDS``, and for prose the similarity that is enough."""

    kind: str = "text"
    threshold: float = SIMILARITY

    @classmethod
    def parse(cls, text: str) -> AnswerKind:
        """``number``, or ``prose:0.85``.

        Raises
        ------
        InvalidInputError : no such kind, or a threshold that is none.
        """
        kind, _, given = text.partition(":")
        if kind not in KINDS or (given and kind != "prose"):
            raise InvalidInputError(
                f"Answers are compared as {', '.join(KINDS)} (prose:0.85 with a threshold), got {text!r}.",
                field="/answers",
            )
        try:
            threshold = float(given) if given else SIMILARITY
        except ValueError:
            threshold = 0.0
        if not 0.0 < threshold <= 1.0:
            raise InvalidInputError(f"The threshold of {text!r} is a similarity in (0, 1].", field="/answers")
        return cls(kind, threshold)


def same_answers(signals: Signals, arms: Sequence[str], kind: AnswerKind | None) -> BoolArray:
    """Whether two arms gave the same answer: bool (n, K, K), on the diagonal whether an arm gave one at all.

    kind : how texts are compared; None takes the classes of the data set (``ANSWER_CLASS``), else texts as they are.

    Raises
    ------
    InvalidInputError : the data set has neither classes nor texts for every arm.
    """
    classes = signals.values.get(ANSWER_CLASS)
    if kind is None and classes is not None and np.isfinite(classes).any(axis=0).all():
        same: BoolArray = (classes[:, :, None] == classes[:, None, :]) & (classes > 0)[:, :, None]
    else:
        if missing := [arm for arm in arms if arm not in signals.texts]:
            raise InvalidInputError(
                f"Recipes need to know which answers are equal: {missing[0]} has no column "
                f"'{missing[0]}|answer' (texts)"
                + (f" and none '{missing[0]}|signal_{ANSWER_CLASS}' with numbers." if kind is None else "."),
                field="/recipes",
            )
        same = _same_texts([signals.texts[arm] for arm in arms], kind or AnswerKind())
    refused = signals.values.get(REFUSAL)
    if refused is None:
        return same
    gave = refused != 1.0
    found: BoolArray = same & gave[:, :, None] & gave[:, None, :]
    return found


def _same_texts(texts: Sequence[Sequence[str | None]], kind: AnswerKind) -> BoolArray:
    n, k = len(texts[0]), len(texts)
    found = [[reduced(kind.kind, text) for text in one] for one in texts]
    same = np.zeros((n, k, k), dtype=bool)
    vectors = [_embedded(one) for one in found] if kind.kind == "prose" else None
    for i in range(k):
        for j in range(i + 1):
            equal = np.array([a is not None and a == b for a, b in zip(found[i], found[j], strict=True)])
            if vectors is not None:
                equal |= similar(vectors[i], vectors[j], kind.threshold)
            same[:, i, j] = same[:, j, i] = equal
    return same


def _embedded(texts: Sequence[str | None]) -> FloatArray:
    """float64 (n, d); zeros where there is no answer."""
    encoder = load_static_encoder()
    vectors = {text: encoder.encode_now(text) for text in {text for text in texts if text is not None}}
    nothing = np.zeros_like(encoder.encode_now(""))
    return np.array([nothing if text is None else vectors[text] for text in texts], dtype=np.float64)
