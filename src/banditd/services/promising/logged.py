"""What a decision keeps of the promise that it was made under."""

from __future__ import annotations

from typing import Final

from banditd.core.types import FloatArray
from banditd.deciding.decide import Case, Decided
from banditd.deciding.money import price_per_usd
from banditd.deciding.pledge import Pledge
from banditd.deciding.view import RouteView

DRAWN_FOR: Final = frozenset({"policy", "quality_floor", "shadow"})  # reasons beside which a promise is logged


def overruled_by(case: Case, decided: Decided, row: int) -> str | None:
    """The budget that made the promise give way in a decision; None where none did."""
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


def promise_of(view: RouteView, case: Case, decided: Decided, row: int) -> Logged:
    """What a decision keeps of its promise and its side: ``keep``, ``baseline``, ``promise``, ``own_probability``."""
    about, reason = case.pledge or case.rollout, decided.draw.reason[row]
    if about is None or reason not in DRAWN_FOR:
        return _OUTSIDE
    own = None if reason == "quality_floor" else decided.scores.probability[row][decided.draw.arms[row]]
    keep = None if case.pledge is None else case.pledge.keep
    return keep, view.arms[about.baseline].arm, _facts(case, decided, row), own


def _facts(case: Case, decided: Decided, row: int) -> dict[str, float | str]:
    """How the promise and the rollout stood."""
    facts: dict[str, float | str] = {}
    pledge, rollout = case.pledge, case.rollout
    if pledge is not None:
        facts["share"] = float(decided.own_share[row])
        facts["price_per_usd"] = pledge.price_per_usd
        facts["state"] = _state(pledge, case, decided, row)
    if rollout is not None and decided.draw.arms[row, rollout.baseline]:
        facts["rollout"] = rollout.share
        facts["side"] = rollout.side
    return facts


def _state(pledge: Pledge, case: Case, decided: Decided, row: int) -> str:
    if case.accounts and overruled_by(case, decided, row) is not None:
        return "budget_rules"
    return pledge.state if decided.eligible[row, pledge.baseline] else "baseline_away"
