"""What users do after an answer: reward it or not, soon or late, twice, or again with another value.

A plan is made per query from its own generator, so runs with the same seed post the same feedback for the
same choice. Delays are counted in queries, not in seconds: the run's speed does not change its story.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from banditd.simulate.world import Outcome

SILENT_SHARE = 0.20  # no reward ever comes
THUMB_SHARE = 0.25  # a thumb of a person instead of a judge's score
DUPLICATE_SHARE = 0.06  # the same post again, as a retry after a lost answer
CORRECTED_SHARE = 0.05  # another value of the same source later
MEAN_DELAY_QUERIES = 15.0
FOLLOW_UP_QUERIES = 25.0
USAGE_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Post:
    """One reward to post.

    due : it is posted once this many queries of the run have been sent.
    kind : ``first``, ``duplicate`` or ``correction``.
    follow_up : what the same user posts afterwards.
    """

    due: int
    kind: str
    body: dict[str, Any]
    idempotency_key: str | None = None
    follow_up: Post | None = None


def plan(*, decision_id: str, outcome: Outcome, index: int, seed: int) -> Post | None:
    """The feedback on one decision, or None when nobody says anything."""
    rng = random.Random(f"{seed}/{index}/feedback")
    if rng.random() < SILENT_SHARE:
        return None
    due = index + 1 + round(rng.expovariate(1 / MEAN_DELAY_QUERIES))
    later = due + 1 + round(rng.expovariate(1 / FOLLOW_UP_QUERIES))
    fate = rng.random()
    if fate < CORRECTED_SHARE:
        hasty = {"decision_id": decision_id, "value": round(rng.random(), 4), "source": "judge"}
        mended = {**hasty, "value": round(outcome.reward, 4)}
        return Post(due, "first", hasty, follow_up=Post(later, "correction", mended))
    body: dict[str, Any] = {"decision_id": decision_id}
    if rng.random() < THUMB_SHARE:
        body |= {"thumb": "up" if rng.random() < outcome.reward else "down", "source": "human"}
    else:
        body |= {"value": round(outcome.reward, 4), "source": "judge"}
    key = f"{decision_id}/1" if rng.random() < 0.5 else None
    again = Post(later, "duplicate", body, key) if fate < CORRECTED_SHARE + DUPLICATE_SHARE else None
    return Post(due, "first", body, key, follow_up=again)


def usage_report(*, outcome: Outcome, index: int, seed: int) -> dict[str, Any] | None:
    """What the gateway reports of the call, or None when its report is lost."""
    if random.Random(f"{seed}/{index}/usage").random() >= USAGE_SHARE:
        return None
    return {
        "input_tokens": outcome.input_tokens,
        "output_tokens": outcome.output_tokens,
        "latency_ms": round(outcome.latency_ms, 1),
        "finish_reason": "stop",
    }
