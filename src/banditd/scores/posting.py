"""Send scores to the daemon as rewards, in lists, and tell what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from banditd.client import DaemonClient, RefusedError

_LIST: Final = 100  # below any server's max_batch that makes sense
_UNKNOWN: Final = 404
_INVALID: Final = 422
_MARKS: Final = "._:/@+-"


@dataclass(frozen=True, slots=True)
class Score:
    """One score on its way. ``origin`` names it in messages, such as ``line 17``; ``reward`` is the body to send."""

    origin: str
    reward: Mapping[str, Any]


def as_metric(name: str) -> str:
    """A score's name as the name of a metric; ``quality`` for one of which nothing is left."""
    legible = "".join(c if c.isascii() and (c.isalnum() or c in _MARKS) else "-" for c in name.strip())
    return legible.lstrip(_MARKS)[:128] or "quality"


@dataclass(slots=True)
class Outcome:
    """What became of scores.

    counts : ``new``, ``known`` (counted before: it stays one), ``unknown`` (of no decision here), ``refused``.
    refusals : origin and reason of what was refused, and of what is unknown.
    """

    counts: Counter[str] = field(default_factory=Counter)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)


async def post_scores(client: DaemonClient, scores: Iterable[Score], outcome: Outcome) -> None:
    """Send them in their order; ``outcome`` is brought up to date after every list.

    Sent again after a failure, nothing counts twice: a reward is known by its key, or by decision, metric and source.
    Raises UnavailableError, RefusedError (the key may not, ...).
    """
    for some in _lists(iter(scores)):
        await _post(client, some, outcome)


async def _post(client: DaemonClient, some: Sequence[Score], outcome: Outcome) -> None:
    """A list of which one is not valid is refused whole: its halves are tried, down to the one."""
    try:
        answer = await client.call("POST", "/v1/rewards", body=[dict(score.reward) for score in some])
    except RefusedError as error:
        if error.status != _INVALID:
            raise
        if len(some) == 1:
            outcome.counts["refused"] += 1
            outcome.refusals.append((some[0].origin, error.message))
            return
        half = len(some) // 2
        await _post(client, some[:half], outcome)
        await _post(client, some[half:], outcome)
    else:
        for score, result in zip(some, answer["results"], strict=True):
            _note(outcome, score, result)


def _lists(scores: Iterator[Score]) -> Iterator[list[Score]]:
    while some := list(islice(scores, _LIST)):
        yield some


def _note(outcome: Outcome, score: Score, result: Mapping[str, Any]) -> None:
    error = result.get("error")
    if error is None:
        outcome.counts["known" if result["receipt"]["duplicate"] else "new"] += 1
    elif result["status_code"] == _UNKNOWN:
        outcome.counts["unknown"] += 1
        outcome.unknown.append((score.origin, error["detail"]))
    else:
        outcome.counts["refused"] += 1
        outcome.refusals.append((score.origin, error["detail"]))
