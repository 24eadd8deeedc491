"""The headline: what routing saved and lost against the baseline, its promise, and the cost of trying. Pure.

Saved: the cost of settled decisions against what the baseline alone would have cost, on the same tokens
(``storage/like_with_like.py``). Lost: how much more the baseline would have earned, by the estimates of
``ope/fixed.py``. Every sentence about it on any page or command is built here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from banditd.ope.fixed import FIXED_ARM_SUMS, FixedArmSums
from banditd.ope.reference import ENOUGH_WORTH, Verdict, verdict_of
from banditd.ope.settling import half_width_to_judge
from banditd.services.reports.saved import SAVED_SUMS, Saved, saved_against
from banditd.services.reports.savings import Reference, fixed_arm_sums
from banditd.services.reports.summaries import ratio
from banditd.services.reports.verdicts import (
    Pace,
    difference_of,
    settled_at,
    settled_by,
    settles,
    share_in_words,
    unknown_because,
    verdict_on_routing,
)

Fields = dict[str, object]
HEADLINE_SUMS: Final = ("decisions", "predicted_spend_usd", "tried_decisions", "tried_usd", "tried_reward")
"""Columns of ``ReportReader.against`` that ``headline`` reads, over all arms."""
BASELINE_SUMS: Final = (*SAVED_SUMS, *FIXED_ARM_SUMS)
"""Those that it reads for the baseline."""


def headline(total: Mapping[str, float], row: Mapping[str, float], reference: Reference, pace: Pace) -> Fields:
    """Everything that ``GET /v1/savings`` says about a period, or one value of a tag in it.

    total : ``HEADLINE_SUMS`` of all arms. row : ``BASELINE_SUMS`` of the baseline.
    """
    sums = fixed_arm_sums(row)
    decisions = int(total.get("decisions", 0))
    saved = Saved(reason=reference.missing) if reference.arm is None else saved_against(reference.arm, row, total)
    known = verdict_of(sums)
    held = "unknown" if reference.keep is None else known.held(reference.keep)
    found = settled_when(sums, reference, held, pace)
    tried = int(total.get("tried_decisions", 0))
    tried_usd, lost_by_trying = total.get("tried_usd", 0.0), ratio(total.get("tried_reward", 0.0), decisions)
    sentences = {
        "saved": _saved_in_words(saved, reference, decisions),
        "lost": _lost_in_words(sums, known, reference),
        "held": _held_in_words(held, reference, known, found),
        "exploration": _tried_in_words(tried, decisions, tried_usd, lost_by_trying),
        "confidence": _confidence_in_words(sums, known, found),
    }
    return {
        "baseline": reference.arm,
        "keep": reference.keep,
        "decisions": decisions,
        "saved": {**saved.fields(), "billed_over_priced": dict(reference.billed)},
        "lost": _lost(sums, known, reference.arm),
        "held": held,
        "settles": found,
        "exploration": {
            "decisions": tried,
            "share": ratio(tried, decisions),
            "usd": tried_usd,
            "points": None if lost_by_trying is None else 100.0 * lost_by_trying,
        },
        "words": sentences,
        "headline": _headline(saved, known, reference, held, found, decisions),
    }


def settled_when(sums: FixedArmSums, reference: Reference, held: str, pace: Pace) -> Fields | None:
    """What would settle the verdict on the baseline; None if the promise is known to be kept or broken.

    Also None before the first reward, when the spread of rewards is not known.
    """
    if reference.arm is None or held != "unknown" or not sums.rated:
        return None
    if reference.keep is None:
        return settles(sums, pace, share=reference.share, precision=reference.precision)
    wanted = half_width_to_judge(sums, reference.keep)
    if wanted is None:
        wanted = reference.precision
    return settled_at(sums, pace, wanted, share=reference.share) if wanted > 0.0 else None


# ---------------------------------------------------------------- figures


def _lost(sums: FixedArmSums, known: Verdict, arm: str | None) -> Fields:
    gain = sums.mean_gain()
    interval = None if gain is None else gain.interval
    has = gain is not None and interval is not None
    return {
        "points": 100.0 * gain.mean if has and gain is not None else None,
        "interval": None if interval is None else [100.0 * end for end in interval],
        "percent": None if known.ratio is None else 100.0 * (1.0 - known.ratio),
        "percent_interval": None if _bounds(known) is None else [100.0 * (1.0 - end) for end in _bounds(known)[::-1]],  # type: ignore[index]  # checked just before
        "reward": known.reward,
        "baseline_reward": known.baseline_reward,
        "quality_ratio": known.ratio,
        "quality_interval": None if _bounds(known) is None else list(_bounds(known) or ()),
        "rated_decisions": sums.rated,
        "unsupported_decisions": sums.unsupported,
        "worth": sums.worth,
        "verdict": verdict_on_routing(difference_of(sums)),
        "reason": None if arm is None else unknown_because(arm, sums),
    }


def _bounds(known: Verdict) -> tuple[float, float] | None:
    """The bounds of the quality ratio, if both are finite."""
    if known.low is None or known.high is None or not math.isfinite(known.high):
        return None
    return known.low, known.high


# ---------------------------------------------------------------- words


def _headline(
    saved: Saved, known: Verdict, reference: Reference, held: str, found: Fields | None, decisions: int
) -> str:
    if not decisions:
        return "No decisions yet: nothing is saved and nothing is lost."
    parts = [_saved_in_words(saved, reference, decisions, short=True)]
    bounds = _bounds(known)
    if reference.arm is None:
        return f"{parts[0]} Nor is what was lost."
    if known.ratio is None or bounds is None:
        parts.append(f"Quality against {reference.arm}: not known yet{settled_by(found)}.")
    else:
        low, high = (100.0 * end for end in bounds)
        parts.append(f"Quality {100.0 * known.ratio:.1f} % of {reference.arm} ({low:.1f} to {high:.1f}).")
    if reference.keep is not None:
        state = {"yes": "held", "no": "broken", "unknown": "not known yet"}[held]
        when = settled_by(found) if known.ratio is not None else ""
        parts.append(f"Promise of {share_in_words(reference.keep)}: {state}{when}.")
    return " ".join(parts)


def _saved_in_words(saved: Saved, reference: Reference, decisions: int, *, short: bool = False) -> str:
    if saved.usd is None or saved.would_have_cost_usd is None:
        return f"What was saved is not known: {saved.reason}."
    share = "" if saved.share is None else f"{share_in_words(abs(saved.share))} "
    verb = "Saved" if saved.usd >= 0.0 else "Spent more by"
    sentence = f"{verb} {share}({dollars_in_words(abs(saved.usd))} of {dollars_in_words(saved.would_have_cost_usd)})"
    wrong = _billed_in_words(reference.billed)
    if short:
        return f"{sentence}.{wrong}"
    basis = "by settled costs" if saved.basis == "settled" else "by predicted costs, as too little is settled yet"
    part = "" if saved.compared >= decisions else f" on {saved.compared:,} of {decisions:,} decisions"
    return f"{sentence} against always {reference.arm}{part}, {basis}.{wrong}"


def _billed_in_words(billed: Mapping[str, float]) -> str:
    """What makes the dollars wrong and how to correct it; empty if nothing does."""
    if not billed:
        return ""
    arms = ", ".join(f"{arm}: {ratio:.3g} times" for arm, ratio in sorted(billed.items()))
    found = f"the costs reported are not what the configured prices say ({arms})"
    return f" But {found}, so this is wrong: correct the prices."


def _lost_in_words(sums: FixedArmSums, known: Verdict, reference: Reference) -> str:
    arm = reference.arm
    if arm is None:
        return f"What was lost is not known: {reference.missing}."
    gain = sums.mean_gain()
    if gain is None or gain.interval is None:
        return f"What was lost is not known: {unknown_because(arm, sums)}."
    low, high = (100.0 * end for end in gain.interval)
    if low > 0.0:
        sentence = f"Lost {low:.1f} to {high:.1f} points of quality against always {arm}"
    elif high < 0.0:
        sentence = f"Gained {-high:.1f} to {-low:.1f} points of quality over always {arm}"
    else:
        sentence = f"Between {high:z.1f} points lost and {-low:z.1f} gained against always {arm}"
    if known.ratio is None:
        return f"{sentence}."
    return f"{sentence}: {100.0 * known.ratio:.1f} % of its quality."


def _held_in_words(held: str, reference: Reference, known: Verdict, found: Fields | None) -> str:
    if reference.keep is None:
        if reference.arm is None:
            return f"Nothing can be promised: {reference.missing}."
        return "No promise is made: policies.*.promise sets how much of the baseline's quality is to be kept."
    promise = f"The promise to keep {share_in_words(reference.keep)} of {reference.arm}'s quality"
    if held == "yes":
        return f"{promise} is held."
    if held == "no":
        return f"{promise} is broken."
    if known.worth < ENOUGH_WORTH:
        few = (
            f"what is known of {reference.arm} is worth {known.worth:.0f} of its answers, and {ENOUGH_WORTH:.0f} are"
        )
        return f"{promise} is not known to be held yet: {few} needed{settled_by(found)}."
    return f"{promise} is not known to be held yet: the interval spans it{settled_by(found)}."


def _tried_in_words(tried: int, decisions: int, usd: float, reward: float | None) -> str:
    if not decisions:
        return "Nothing was tried yet."
    share = share_in_words(tried / decisions)
    if not tried:
        return "No decision was made to learn: every one took what looked best."
    more = f"{dollars_in_words(abs(usd))} {'more' if usd >= 0.0 else 'less'} than what looked best"
    made = f"{tried:,} {'decision' if tried == 1 else 'decisions'}"
    return f"Trying other models on {made} ({share}) cost, as predicted, {more}{_points_tried_in_words(reward)}."


def _points_tried_in_words(reward: float | None) -> str:
    """The predicted quality lost by trying, per decision, as the end of that sentence."""
    if reward is None:
        return ""
    points = f"{100.0 * abs(reward):.1f}"
    if points == "0.0":
        return " and no quality"
    named = f"{points} {'point' if points == '1.0' else 'points'} of quality"
    return f" and {named}" if reward > 0.0 else f", and gained {named}"


def _confidence_in_words(sums: FixedArmSums, known: Verdict, found: Fields | None) -> str:
    if known.half_width is None:
        return f"Nothing can be said of quality yet{settled_by(found)}."
    left = f" {sums.unsupported:,} on which it could not be drawn are left out." if sums.unsupported else ""
    return (
        f"From {sums.rated:,} rated decisions, worth {sums.worth:,.0f} uniformly drawn answers of the baseline: "
        f"known to {100.0 * known.half_width:.1f} points either way, in 95 of 100 cases{settled_by(found)}.{left}"
    )


def dollars_in_words(usd: float) -> str:
    """Dollars with cents, and more digits for small amounts: "$6.70", "$0.10", "$0.0042", "$20,000"."""
    if usd >= 1000.0:
        return f"${usd:,.0f}"
    if usd >= 0.095 or usd == 0.0:
        return f"${usd:,.2f}"
    return f"${usd:.2g}" if usd >= 0.0001 else f"${usd:.1e}"
