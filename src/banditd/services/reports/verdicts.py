"""Verdicts on fixed arms, in figures and words: "what would I have lost by always using X?" Pure.

A verdict compares routing with always using that arm. It follows from the interval; if that leaves it open, the
answer says what would settle it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from banditd.core.times import iso_time
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.ope.fixed import FixedArmSums, MeanEstimate
from banditd.ope.settling import ENOUGH_TO_FORETELL, decisions_to_settle, share_to_come

# A difference in quality too small to matter.
NEGLIGIBLE: Final = 0.005
DEFAULT_PRECISION: Final = 0.02
PACE_SUMS: Final = ("drawn_rewards",)
"""Columns of ``ReportReader.against`` that ``Pace`` reads of all arms."""
_LONGEST_S: Final = 365 * 86_400.0  # dates further away are not reported


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast rewards arrive. now_us : time of the report. rated_per_s : recently rewarded decisions per second."""

    now_us: int
    rated_per_s: float = 0.0

    @classmethod
    def of(cls, now_us: int, present_s: float | None, last_day: Mapping[str, float]) -> Pace:
        """The pace, from the last day's ``PACE_SUMS`` and the seconds of it that the policy existed (None: not at
        all).
        """
        rated = float(last_day.get("drawn_rewards", 0.0))
        return cls(now_us) if present_s is None else cls(now_us, rated / present_s)


def difference_of(sums: FixedArmSums) -> MeanEstimate | None:
    """How much more routing earned than the arm would have, per decision; None without rated decisions."""
    gain = sums.mean_gain()
    if gain is None:
        return None
    interval = None if gain.interval is None else (-gain.interval[1], -gain.interval[0])
    return MeanEstimate(-gain.mean, interval)


def verdict_on_routing(difference: MeanEstimate | None) -> str | None:
    """``better``, ``worse``, ``as good`` (not worse by more than NEGLIGIBLE), ``unclear``; None without an
    interval.
    """
    if difference is None or difference.interval is None:
        return None
    low, high = difference.interval
    return "better" if low > 0.0 else "worse" if high < 0.0 else "as good" if low > -NEGLIGIBLE else "unclear"


def unknown_because(arm: str, sums: FixedArmSums) -> str | None:
    """Why there is no interval; None if there is one."""
    if sums.half_width < float("inf"):
        return None
    if sums.rated == 0 and sums.unsupported:
        return (
            f"{arm} could not be drawn on any of the {sums.unsupported:,} rated decisions, so nothing is known of "
            "it: give it a min_share, or make it the baseline of a promise"
        )
    if sums.rated == 0:
        return f"no decision that {arm} could have answered has a reward so far"
    if sums.drawn < 2:
        have = "no answer" if sums.drawn == 0 else "only one answer"
        return f"{have} of {arm} has a reward so far"
    return f"what is known of {arm} is worth less than two uniformly drawn answers"


def settles(
    sums: FixedArmSums, pace: Pace, *, share: float, precision: float = DEFAULT_PRECISION
) -> dict[str, object] | None:
    """What would show whether routing is better or worse, or that they differ by less than ``precision``.

    None if that is known, or can never be. share : least share of the traffic that the arm gets from now on.
    """
    difference = difference_of(sums)
    if verdict_on_routing(difference) not in {None, "unclear"}:
        return None
    at_stake = 0.0 if difference is None or difference.interval is None else difference.mean
    wanted = max(precision, -at_stake if at_stake < 0.0 else at_stake + NEGLIGIBLE)
    return settled_at(sums, pace, wanted, share=share)


def settled_at(sums: FixedArmSums, pace: Pace, wanted: float, *, share: float) -> dict[str, object] | None:
    """When the half-width will be ``wanted``; None if it already is, never will be, or there are too few rewards."""
    if sums.rated < ENOUGH_TO_FORETELL:
        return None
    share = share_to_come(sums, share)
    missing = decisions_to_settle(sums, wanted, share)
    if not missing:
        return None
    seconds = missing / pace.rated_per_s if pace.rated_per_s > 0.0 else None
    reachable = seconds is not None and seconds <= _LONGEST_S
    at_us = pace.now_us + round(seconds * MICROSECONDS_PER_SECOND) if seconds is not None and reachable else None
    if at_us is None:
        words = f"after {missing:,} more rated decision{'' if missing == 1 else 's'}"
    else:
        words = time_in_words(at_us, pace.now_us)
    return {"decisions": missing, "at": None if at_us is None else iso_time(at_us), "share": share, "words": words}


def settled_by(found: dict[str, object] | None) -> str:
    """The end of a sentence: empty, or when the answer will be known."""
    return "" if found is None else f"; it should be settled {found['words']}"


def arm_in_words(arm: str, sums: FixedArmSums, cost_ratio: float | None, found: dict[str, object] | None) -> str:
    """One sentence on always using ``arm``.

    cost_ratio : its cost divided by ours; None if they cannot be compared.
    """
    gain = sums.mean_gain()
    price = "" if cost_ratio is None else f", at {cost_in_words(cost_ratio)}"
    if gain is None or gain.interval is None:
        known = unknown_because(arm, sums)
        return f"Always {arm}: {known}{price}{settled_by(found)}."
    low, high = (100.0 * end for end in gain.interval)
    if low >= 0.0:
        quality = f"{low:z.1f} to {high:z.1f} points better than routing"
    elif high <= 0.0:
        quality = f"{-high:z.1f} to {-low:z.1f} points worse than routing"
    else:
        quality = f"between {high:z.1f} points better and {-low:z.1f} worse than routing"
    answers = f"worth {sums.worth:,.0f} uniformly drawn answers"
    return f"Always {arm}: {quality}{price} ({answers}){settled_by(found)}."


def share_in_words(share: float) -> str:
    """A share as a short percentage: "5 %", "0.5 %"."""
    percent = 100.0 * share
    return f"{percent:.0f} %" if percent >= 9.95 or abs(percent - round(percent)) < 0.05 else f"{percent:.2g} %"


def number_in_words(value: float) -> str:
    """Two significant digits: "2.7", "14", "0.31"."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"


def cost_in_words(ratio: float) -> str:
    """A ratio of costs: "the same cost", "2.7 times the cost"."""
    number = number_in_words(ratio)
    return "the same cost" if number == "1" else f"{number} times the cost"


def time_in_words(at_us: int, now_us: int) -> str:
    """A predicted time, no more precise than it can be: "by about 14:00 UTC", "by about Tuesday", "by about 3
    March".
    """
    now, at = (datetime.fromtimestamp(us / MICROSECONDS_PER_SECOND, UTC) for us in (now_us, at_us))
    if at - now < timedelta(hours=1):
        return "within the hour"
    if at - now < timedelta(hours=20):
        return f"by about {(at + timedelta(minutes=30)).hour:02d}:00 UTC"
    if at - now < timedelta(days=6):
        return f"by about {at:%A}"
    year = "" if at.year == now.year else f" {at.year}"
    return f"by about {at.day} {at:%B}{year}"
