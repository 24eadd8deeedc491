"""The operator's constraints: embedding them at start, finding those that apply to a query, and testing their
examples.
"""

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
"""Longer texts are searched in a thread: some patterns can take a second on a text written to provoke that."""
_THREADS: Final = ThreadPoolExecutor(2, "constraints")  # a search releases the interpreter lock
_PACE: Final = SharedPace()  # shared by all queries, since a batch brings many at once


class Example(NamedTuple):
    """A query to which a constraint must, or must not, apply."""

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
    """The rules of the constraints that apply to a query, in order. embedding : of its text, (d,), or None."""
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
    """The examples that the constraint gets wrong. constraint : with embeddings."""
    return [
        one
        for one in examples
        if constraint.when.hold(one.text, one.tags, await encoder.encode(one.text)) != one.holds
    ]
