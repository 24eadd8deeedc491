"""Send scores to the daemon as rewards, in lists, and tell what became of each."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from banditd.client import DaemonClient, RefusedError

_LIST: Final = 100  # below any server's max_batch that makes sense
_LIST_CHARS: Final = 500_000  # and below its max_body_bytes
_UNKNOWN: Final = 404
_REFUSED_WHOLE: Final = frozenset({413, 422})  # too long, or one of them not valid
_MARKS: Final = "._:/@+-"
_LONGEST: Final = 128
_DIGITS: Final = 400  # no float is larger
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Score:
    """One score on its way.

    origin : names it in messages, such as ``line 17``. reward : the body to send. problem : why it cannot be sent.
    """

    origin: str
    reward: Mapping[str, Any]
    problem: str | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What it is a score of: decision, metric, source and arm, and its key where it has one.

        A key that is on two of these is the daemon's to refuse.
        """
        names = ("idempotency_key", "decision_id", "reference", "metric", "source", "arm")
        return tuple(self.reward.get(name) for name in names)


def as_metric(name: str) -> str:
    """A score's name as the name of a metric; ``quality`` for none.

    Spaces become hyphens. A name that loses more gets a digest of itself behind it, so that names stay apart.
    """
    whole = unicodedata.normalize("NFC", name.strip())
    legible = "".join(c if c.isascii() and (c.isalnum() or c in _MARKS) else "-" for c in whole)
    if legible == whole.replace(" ", "-") and legible[:1].isalnum() and len(legible) <= _LONGEST:
        return legible
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{legible.strip(_MARKS)[: _LONGEST - 9] or 'metric'}-{digest}" if whole else "quality"


def finite(value: object) -> float | None:
    """A number, or a text that is one in decimal notation, as a float; None for anything else, NaN and infinity."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):  # Python's own takes 1_0 and other scripts' digits
        return None
    if not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def parse_json(text: str) -> Any:
    """As ``json.loads``; an integer of more digits than Python reads is infinite, and so no score.

    Raises ValueError : it is no JSON.
    """
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else math.inf)


@dataclass(slots=True)
class Outcome:
    """What became of scores.

    counts : ``new``, ``corrected`` (another value than before), ``known`` (counted before: it stays one), ``unknown``
        (of no decision here), ``refused``.
    replaced : scores with a later one of the same, which were not sent.
    refusals : origin and reason of what was refused, and of what is unknown.
    """

    counts: Counter[str] = field(default_factory=Counter)
    replaced: int = 0
    unknown: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)


def newest(scores: Iterable[Score]) -> list[Score]:
    """Of several scores of the same the last one: so a file says the same however often it is sent."""
    kept: dict[tuple[object, ...], Score] = {}
    for number, score in enumerate(scores):
        identity = score.identity if score.problem is None else (number,)
        kept.pop(identity, None)
        kept[identity] = score
    return list(kept.values())


async def post_scores(
    client: DaemonClient, scores: Sequence[Score], outcome: Outcome, show: Callable[[int], None] = lambda _: None
) -> None:
    """Send them in their order; ``outcome`` is brought up to date, and ``show`` told how many, after every list.

    Sent again after a failure, nothing counts twice: a reward is known by its key, or by decision, metric and source.
    Raises UnavailableError, RefusedError (the key may not, ...).
    """
    done = 0
    for some in _lists(scores):
        for score in some:
            if score.problem is not None:
                outcome.counts["refused"] += 1
                outcome.refusals.append((score.origin, score.problem))
        if sent := [score for score in some if score.problem is None]:
            await _post(client, sent, outcome)
        done += len(some)
        show(done)


def _lists(scores: Sequence[Score]) -> Iterator[list[Score]]:
    """In their order, as many together as one request takes."""
    some: list[Score] = []
    chars = 0
    for score in scores:
        more = len(json.dumps(score.reward))
        if len(some) == _LIST or (some and chars + more > _LIST_CHARS):
            yield some
            some, chars = [], 0
        some.append(score)
        chars += more
    if some:
        yield some


async def _post(client: DaemonClient, some: Sequence[Score], outcome: Outcome) -> None:
    """A list that is too long, or has one that is not valid, is refused whole: its halves are tried, to the one."""
    try:
        answer = await client.call("POST", "/v1/rewards", body=[dict(score.reward) for score in some])
    except RefusedError as error:
        if error.status not in _REFUSED_WHOLE:
            raise
        if len(some) == 1:
            outcome.counts["refused"] += 1
            outcome.refusals.append(
                (some[0].origin, str(error.problem.get("detail", error.message)).removeprefix("/0: "))
            )
            return
        half = len(some) // 2
        await _post(client, some[:half], outcome)
        await _post(client, some[half:], outcome)
    else:
        for score, result in zip(some, answer["results"], strict=True):
            _note(outcome, score, result)


def _note(outcome: Outcome, score: Score, result: Mapping[str, Any]) -> None:
    error = result.get("error")
    if error is None:
        receipt = result["receipt"]
        outcome.counts["known" if receipt["duplicate"] else "corrected" if receipt["revision"] else "new"] += 1
    elif result["status_code"] == _UNKNOWN:
        outcome.counts["unknown"] += 1
        outcome.unknown.append((score.origin, error["detail"]))
    else:
        outcome.counts["refused"] += 1
        outcome.refusals.append((score.origin, error["detail"]))
