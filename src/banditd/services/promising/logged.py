"""What a decision logs about the promise that it was made under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from banditd.core.types import FloatArray
from banditd.deciding.decide import Case, Decided
from banditd.deciding.money import price_per_usd
from banditd.deciding.view import RouteView

DRAWN_FOR: Final = frozenset({"policy", "quality_floor", "shadow"})  # reasons beside which a promise is logged


def overruled_by(case: Case, decided: Decided, row: int) -> str | None:
    """The budget that overrode the promise in a decision, or None."""
    pledge = case.pledge
    if pledge is None or not case.accounts:
        return None
    by_stop = decided.admissions[row].excluded.get(pledge.baseline)
    if by_stop is not None:
        return by_stop
    if decided.own_share[row] < 1.0 or price_per_usd(case.accounts) <= pledge.price_per_usd:
        return None
    return max(case.accounts, key=lambda account: account.pacer.price_per_usd).rule.name


Logged = tuple[float | None, str | None, dict[str, float | str] | None, FloatArray | None]
_OUTSIDE: Final[Logged] = (None, None, None, None)


def logged_of(view: RouteView, cases: Sequence[Case], decided: Decided) -> list[Logged]:
    """What decisions log about promise and side: ``keep``, ``baseline``, ``promise``, ``own_probability``."""
    names, share, found = view.snapshot.arms, decided.own_share.tolist(), []
    for row, (case, reason) in enumerate(zip(cases, decided.draw.reason, strict=True)):
        pledge, rollout, arms = case.pledge, case.rollout, decided.draw.arms[row]
        about = pledge or rollout
        if about is None or reason not in DRAWN_FOR:
            found.append(_OUTSIDE)
            continue
        keep, facts = None, {}
        if pledge is not None:
            keep, state = pledge.keep, pledge.state if decided.eligible[row, pledge.baseline] else "baseline_away"
            if case.accounts and overruled_by(case, decided, row) is not None:
                state = "budget_rules"
            facts = {"share": share[row], "price_per_usd": pledge.price_per_usd, "state": state}
        if rollout is not None and arms[rollout.baseline]:
            facts |= {"rollout": rollout.share, "side": rollout.side}
        own = None if reason == "quality_floor" else decided.scores.probability[row][arms]
        found.append((keep, names[about.baseline], facts, own))
    return found
