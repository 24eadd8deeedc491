"""The state of a judge's comparisons: in words, in counts, and the course of the test. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from banditd.core.comparing import Compared
from banditd.core.judging import JudgeRule
from banditd.ope.equal_length import EqualLength, at_equal_length
from banditd.ope.preference import BOUND, PreferenceTest
from banditd.services.judging.comparing import tests_of

MOST_DRAWN: Final = 200
_WINS: Final = {"baseline": 1.0, "served": 0.0}
ALIKE: Final = 1.1
"""Answers whose lengths differ by no more than this factor are called equally long."""


def comparison_state(rule: JudgeRule, compared: Sequence[Compared], waiting: int) -> list[Mapping[str, object]]:
    """A judge's comparisons for ``GET /v1/judges``, by policy and baseline."""
    if rule.probes is None or not rule.probes.compare:
        return []
    found: list[Mapping[str, object]] = []
    for (policy, baseline), test in tests_of(compared).items():
        these = [one for one in compared if (one.policy, one.arm) == (policy, baseline)]
        outcomes = [one.outcome for one in these]
        equal = equal_length_of(these)
        found.append(
            {
                "policy": policy,
                "baseline": baseline,
                "compared": test.compared,
                "waiting": waiting,
                "baseline_preferred": outcomes.count("baseline"),
                "served_preferred": outcomes.count("served"),
                "same": outcomes.count("same"),
                "inconsistent": outcomes.count("inconsistent"),
                "preferred": test.side,
                "known_after": test.after,
                "log_odds": test.log_odds,
                "bound": BOUND,
                "way": _thinned(test.way),
                "win_rate": sum(_WINS.get(one, 0.5) for one in outcomes) / len(outcomes),
                "equal_length": None if equal is None else _shown(equal),
                "words": _words(policy, baseline, test, outcomes.count("inconsistent"), equal),
            }
        )
    return found


def equal_length_of(compared: Sequence[Compared]) -> EqualLength | None:
    """How often the baseline's answer would be preferred at equal length; None if too few lengths are known."""
    known = [
        (_WINS.get(one.outcome, 0.5), one.answer_chars, one.served_chars)
        for one in compared
        if one.answer_chars is not None and one.served_chars is not None
    ]
    preferred, length, other_length = np.array(known, dtype=np.float64).reshape(-1, 3).T
    return at_equal_length(preferred, length, other_length)


def _shown(equal: EqualLength) -> Mapping[str, object]:
    return {
        "win_rate": equal.rate,
        "interval": [equal.low, equal.high],
        "raw_win_rate": equal.raw,
        "pairs": equal.pairs,
        "typical_ratio": equal.typical_ratio,
    }


def _thinned(way: Sequence[float]) -> list[tuple[int, float]]:
    """A limited number of (comparisons, log-odds), including the last."""
    step = -(-len(way) // MOST_DRAWN) or 1
    return [(i + 1, one) for i, one in enumerate(way) if (i + 1) % step == 0 or i + 1 == len(way)]


def _words(policy: str, baseline: str, test: PreferenceTest, inconsistent: int, equal: EqualLength | None) -> str:
    words = (
        f"{policy}: {baseline}'s answer is preferred to the one that was served in {test.preferred:,} of "
        f"{test.compared:,} comparisons, both ways round"
    )
    if inconsistent:
        words += f"; {inconsistent:,} turned with the order and count as equal"
    if equal is not None and not 1.0 / ALIKE < equal.typical_ratio < ALIKE:
        words += f". {_length_words(equal)}"
    if test.side == "rarely" and 2 * inconsistent > test.compared:
        return f"{words}. This judge goes by the order more than by the answers, so it says little: take another."
    if test.side == "rarely":
        return f"{words}. That is rare (nearer 10 % than 20 %), known after {test.after:,}: no more are bought."
    if test.side == "often":
        return (
            f"{words}. That is often (nearer 20 % than 10 %), known after {test.after:,}: promise more of its "
            "quality, or give it more of the traffic. No more are bought."
        )
    return f"{words}. Not known yet whether that is rare (10 %) or often (20 %)."


def _length_words(equal: EqualLength) -> str:
    how, ratio = ("long", equal.typical_ratio)
    if ratio < 1.0:
        how, ratio = "short", 1.0 / ratio
    return (
        f"Its answers are {ratio:.1f} times as {how}: they win {equal.raw:.0%} (a tie is half), and at equal length "
        f"{equal.rate:.0%} ({equal.low:.0%} to {equal.high:.0%})"
    )
