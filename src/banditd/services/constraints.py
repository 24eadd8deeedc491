"""The operator's constraints: embedded at the start, found for a query, tried on their examples."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Final, NamedTuple

import numpy as np

from banditd.core.constraint import ArmConstraint
from banditd.core.pace import SharedPace
from banditd.core.types import FloatArray
from banditd.deciding.constraints import Constraint
from banditd.ports import Encoder

AT_ONCE_CHARS: Final = 512
"""Longer texts are searched apart: for some patterns a text can be written in which a search takes a second."""
_THREADS: Final = ThreadPoolExecutor(2, "constraints")  # a search keeps nobody else from running Python
_PACE: Final = SharedPace()  # of all queries: those of a batch come at once


class Example(NamedTuple):
    """A query for which a constraint must hold, or must not."""

    text: str
    tags: Mapping[str, str]
    holds: bool


async def embedded(constraints: Iterable[Constraint], encoder: Encoder) -> tuple[Constraint, ...]:
    """The constraints with the embeddings of their utterances. Raises EncoderUnavailableError."""
    made = []
    for one in constraints:
        texts = one.when.utterances
        vectors = [await encoder.encode(text) for text in texts]
        made.append(one.embedded(np.array(vectors)) if vectors else one)
    return tuple(made)


async def holding(
    constraints: Sequence[Constraint], text: str | None, tags: Mapping[str, str], embedding: FloatArray | None
) -> tuple[ArmConstraint, ...]:
    """What the constraints that hold for a query say, in their order. embedding : of its text, (d,), or None."""
    if text is not None and len(text) > AT_ONCE_CHARS and any(one.when.searches for one in constraints):
        return await asyncio.get_running_loop().run_in_executor(
            _THREADS, lambda: tuple(one.arms for one in constraints if one.when.hold(text, tags, embedding))
        )
    found = []
    for one in constraints:
        await _PACE.turn()
        began_s = perf_counter()
        if one.when.hold(text, tags, embedding):
            found.append(one.arms)
        _PACE.spent(perf_counter() - began_s)
    return tuple(found)


async def wrong_examples(constraint: Constraint, examples: Iterable[Example], encoder: Encoder) -> list[Example]:
    """Those for which the constraint does not do as they say. constraint : embedded."""
    return [
        one
        for one in examples
        if constraint.when.hold(one.text, one.tags, await encoder.encode(one.text)) != one.holds
    ]
