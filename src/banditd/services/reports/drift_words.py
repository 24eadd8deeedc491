"""Drift in words: its cause, since when, how certain it is, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from banditd.core.anchor import DriftRule

_DO: Final = {
    "provider": "Disable the arm or name a dated version of its model, and learn anew.",
    "judge": "Every arm scores lower at once: the judge may have changed, not all providers. Look at it first.",
    "own": "Look at what was changed since, take it back, or renew the anchor if it is as you want it.",
    "level": "Nothing shows whether it is the traffic, a provider or routing.",
}


def date_of(day: int) -> str:
    """A day since 1970 as YYYY-MM-DD."""
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def whole(parts: Mapping[str, Any], causes: Sequence[str]) -> str:
    """The most important alarm first; changed traffic alone is not an alarm."""
    found = [str(parts[name]["words"]) for name in ("provider", "own") if name in causes]
    if not found and "level" in causes:
        found = [str(parts["level"]["words"])]
    if found:
        return " ".join(found)
    own = parts["own"]
    watched = any(one["days"] for one in parts["provider"]["arms"]) or (own is not None and own["units"]["anchor"])
    calm = "Nothing speaks for a slow loss of quality"
    return f"{calm}." if watched else f"{calm}, but little watches for it: see docs/drift.md."


def arm(part: Mapping[str, Any]) -> str:
    """One arm on its golden prompts."""
    if not part["days"]:
        return f"{part['arm']}: {part['baseline_days_left']} more days make its baseline."
    text = (
        f"{part['arm']}: {part['mean']:.3f} on its golden prompts over the last days, {part['baseline']:.3f} in the "
        f"baseline; {part['flips']:.0%} have flipped"
    )
    return f"{text}, lower since about {part['since']}." if part["alarm"] else f"{text}."


def provider(part: Mapping[str, Any], rule: DriftRule) -> str:
    """Which arms' providers have changed."""
    alarms = [one for one in part["arms"] if one["alarm"]]
    watched = [one for one in part["arms"] if one["days"]]
    if alarms:
        found = " ".join(one["words"] for one in alarms)
        sure = f"Of {rule.days_per_false_alarm:,.0f} days one at most brings such an alarm for nothing."
        everywhere = len(alarms) == len(watched) > 1
        return f"Provider: {found} {sure} {_DO['judge' if everywhere else 'provider']}"
    if part["lower_rewards"]:
        names = ", ".join(
            f"{one['arm']} from {one['old_level']:.2f} to {one['new_level']:.2f}" for one in part["lower_rewards"]
        )
        return f"Provider: rewards fell at the same queries: {names}. {_DO['provider']}"
    if part["golden"] is None:
        return "No golden set: what a provider changes slowly is not seen."
    return (
        "No arm answers its golden prompts worse than it did." if watched else "The golden set has no baseline yet."
    )


def own(part: Mapping[str, Any], rule: DriftRule) -> str:
    """Routing against its anchor."""
    if part["anchor_id"] is None:
        return f"No anchor yet: it is taken after {part['first_after']} rewards, or renewed by you."
    taken = f"the anchor of {part['taken_at'][:10]}"
    if part["problem"] is not None:
        return f"Own: {taken} does not decide: {part['problem']}."
    if part["difference"] is None:
        return f"Own: {taken} decides {part['share']:.0%} of the traffic, and nothing that differs was rated yet."
    low, high = part["interval"]
    now = (
        f"routing earns {part['difference']:+.3f} ({low:+.3f} to {high:+.3f}) against {taken}, from which it differs "
        f"on {part['differs']:.0%} of the traffic"
    )
    if part["alarm"]:
        sure = f"Of {rule.days_per_false_alarm:,.0f} days one at most brings such an alarm for nothing."
        return f"Own learning or settings: {now}; lower since about {part['since']}. {sure} {_DO['own']}"
    return f"Own: {now}."


def level(part: Mapping[str, Any]) -> str:
    """The mean reward by days."""
    now = f"mean reward {part['recent_mean']:.3f}, {part['mean']:.3f} before"
    if part["alarm"]:
        return f"Level, may be the traffic: {now}, lower since about {part['since']}. {_DO['level']}"
    return f"Level: {now}; days differ by {part['deviation']:.3f}."


def traffic(part: Mapping[str, Any]) -> str:
    """The queries."""
    if part["alarm"]:
        return f"The recent queries are others than those before ({part['height']:.1f}; 1 by chance)."
    return f"The queries are as they were ({part['height']:.1f}; 1 by chance, other queries from 4 on)."
