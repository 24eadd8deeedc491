"""A shadow as the API shows it, and the meaning of its sums. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np

from banditd.core.shadow import CLUSTER, LEFT_OUT, OCTAVE, OTHER_TAGS, TAG, Shadow
from banditd.core.types import FloatArray
from banditd.ope.difference import FEWEST_ANYTIME, FIELDS, DifferenceSums
from banditd.services.candidates.verdict import FOLLOWED, compared_words, percent
from banditd.services.candidates.walk import Walked

KIND: Final = "anytime"
"""A shadow is watched continuously, so its interval must be valid at all looks together."""
Parts = Mapping[str, FloatArray]


def walked_of(shadow: Shadow, parts: Parts) -> Walked:
    """The shadow's sums in the form of a walk over the log."""
    width, arms = len(FIELDS), shadow.arms
    octaves = {int(part.removeprefix(OCTAVE)): sums for part, sums in parts.items() if part.startswith(OCTAVE)}
    everything = np.sum(list(octaves.values()), axis=0) if octaves else np.zeros(width + 1 + 2 * len(arms))
    whole = DifferenceSums(everything[:width])
    # The later half: the last octave, and the one before it while that has few.
    newest = max(octaves, default=0)
    late = DifferenceSums(octaves[newest][:width]) if octaves else DifferenceSums()
    if late.rated < whole.rated / 3 and newest - 1 in octaves:
        late = DifferenceSums(octaves[newest][:width] + octaves[newest - 1][:width])
    shares, other_shares = everything[width + 1 :].reshape(2, -1) / max(whole.rated, 1)
    left = {part.removeprefix(LEFT_OUT): sums[0] for part, sums in parts.items() if part.startswith(LEFT_OUT)}
    return Walked(
        sums=whole,
        halves=(DifferenceSums(), late),
        left_out=Counter({reason: round(float(count)) for reason, count in left.items()}),
        shares=dict(zip(arms, shares.tolist(), strict=True)),
        other_shares=dict(zip(arms, other_shares.tolist(), strict=True)),
        since_us=shadow.first_us,
        until_us=shadow.last_us,
        refused=round(float(everything[width])),
    )


def shadow_answer(shadow: Shadow, parts: Parts) -> dict[str, object]:
    """Progress and present result, overall and by slice."""
    walked = walked_of(shadow, parts)
    sums = walked.sums
    slices = sorted(part for part in parts if part.startswith((CLUSTER, TAG)))
    return {
        "running": shadow.running,
        "started_at_us": shadow.started_at_us,
        "stopped_at_us": shadow.stopped_at_us,
        "since_us": shadow.first_us,
        "until_us": shadow.last_us,
        **_figures(sums),
        "slices": [
            {"slice": "tag:(others)" if part == OTHER_TAGS else part, **_figures(DifferenceSums(parts[part]))}
            for part in slices
        ],
        "words": _words(shadow, walked),
    }


def _figures(sums: DifferenceSums) -> dict[str, object]:
    known = sums.rated > 0
    interval = sums.interval(KIND)
    return {
        "rated": sums.rated,
        "differs": sums.mean("differing") if known else None,
        "estimate": interval.estimate if known else None,
        "interval": [interval.low, interval.high] if known else None,
        "cost_usd": sums.mean("cost_usd") if known else None,
        "other_cost_usd": sums.mean("other_cost_usd") if known else None,
    }


def _words(shadow: Shadow, walked: Walked) -> str:
    state, sums = "Shadowed" if shadow.running else "Was shadowed", walked.sums
    if not sums.rated and walked.left_out["warming"]:
        return f"{state}; its promise still warms up over the log, and nothing is counted yet."
    if not sums.rated:
        return f"{state}; no decision has a reward yet."
    differs = (
        f"{state} on {sums.rated:,} rewarded decisions; it answers otherwise in {percent(sums.mean('differing'))}"
    )
    if sums.rated < FEWEST_ANYTIME:
        return f"{differs}. What that is worth can be watched from {FEWEST_ANYTIME} on."
    astray = sums.mean("distance")
    if astray > FOLLOWED:
        return f"{differs}. Decided again, the policy itself draws otherwise in {percent(astray)}: no verdict yet."
    return f"{differs}: {compared_words(sums.interval(KIND))} than the policy as it stands."
