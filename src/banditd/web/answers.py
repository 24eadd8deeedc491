"""The JSON of a decision, on every surface that shows one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from banditd.core.classifying import tags_by_classifier
from banditd.core.times import iso_time
from banditd.core.types import Decision

# States in which the baseline answers for want of anything better, or could not be asked.
FALLBACKS: Final = frozenset({"learning", "no_rewards", "broken", "baseline_away", "budget_rules"})


def decision_answer(
    decision: Decision,
    *,
    dry_run: bool,
    explain: bool,
    recipes: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> dict[str, object]:
    """The JSON of a decision. recipes : of its arms, what they are made of. None of them is a fallback: a recipe is
    played where it is drawn.
    """
    chosen = decision.chosen_index
    utility: list[float] = (decision.mean - decision.penalty).tolist()
    order = sorted(range(len(utility)), key=utility.__getitem__, reverse=True)
    fallbacks = list(map(decision.arms.__getitem__, order))
    fallbacks.remove(decision.arm)
    if recipes:
        fallbacks = [arm for arm in fallbacks if arm not in recipes]
    answer: dict[str, object] = {
        "decision_id": None if dry_run else decision.decision_id,
        "policy": decision.policy,
        "arm": decision.arm,
        "upstream_model": decision.upstream_model,
        "propensity": float(decision.propensity),
        "predicted_reward": clipped_reward(float(decision.mean[chosen])),
        "predicted_cost_usd": float(decision.cost_usd[chosen]),
        "explored": bool(decision.explored),
        "reason": decision.reason,
        "degraded": decision.degraded,
        "fallbacks": fallbacks,
        "policy_version": decision.snapshot_version,
        "policy_kind": decision.policy_kind,
        "expires_at": iso_time(decision.expires_at_us),
        "session_id": decision.session_id,
        "dry_run": dry_run,
        "duplicate": decision.duplicate,
        "promise": _promise(decision),
        "recipe": recipes.get(decision.arm),
    }
    if explain:
        answer["arms"] = _scores(decision, utility, order)
        answer["exclusions"] = dict(decision.exclusions)
        classified = tags_by_classifier(decision.context.facts)
        if classified:
            answer["classified"] = {
                tag: decision.tags.get(tag) if given else None for tag, given in classified.items()
            }
    return answer


def clipped_reward(mean: float) -> float:
    """An arm's mean as a prediction of its reward, which is in [0, 1]; NaN stays.

    The linear model's mean leaves that range far from what was learned. It decides as it is, and is logged as it is
    (``mean`` of ``explain`` and of the log): cut, all arms beyond an end would be equal. Doubly robust estimates read
    what is logged: with any prediction they are unbiased, and what they say of an arm is cut to what is possible.
    """
    return min(max(mean, 0.0), 1.0)


def _promise(decision: Decision) -> dict[str, object] | None:
    """How the promise and the rollout stood; None outside of both."""
    if decision.baseline is None:
        return None
    facts = decision.promise or {}
    state = facts.get("state")
    return {
        "keep": decision.keep,
        "baseline": decision.baseline,
        "share": facts.get("share"),
        "price_per_usd": facts.get("price_per_usd"),
        "state": state,
        "fallback": state if state in FALLBACKS else None,
        "rollout": facts.get("rollout"),
        "side": facts.get("side"),
    }


def _scores(decision: Decision, utility: list[float], order: list[int]) -> list[dict[str, object]]:
    """Every arm, best utility first, the excluded ones last."""
    lost = decision.cache_loss_usd
    eligible: list[dict[str, object]] = [
        {
            "arm": decision.arms[i],
            "mean": float(decision.mean[i]),
            "deviation": float(decision.deviation[i]),
            "cost_usd": float(decision.cost_usd[i]),
            "penalty": float(decision.penalty[i]),
            "utility": utility[i],
            **({} if lost is None else {"cache_loss_usd": float(lost[i])}),
            "probability": float(decision.probability[i]),
            "eligible": True,
        }
        for i in order
    ]
    nothing = dict.fromkeys(("mean", "deviation", "cost_usd", "penalty", "utility"))
    return eligible + [{"arm": arm, **nothing, "probability": 0.0, "eligible": False} for arm in decision.exclusions]
