"""Reports on promises for ``GET /v1/promise``, ``/v1/stats`` and metrics; and the switches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from banditd.deciding.keeper import PromiseRule
from banditd.obs.metrics import Metrics
from banditd.ope.fixed import FixedArmSums
from banditd.ope.reference import ENOUGH_WORTH, Verdict, verdict_of
from banditd.ope.settling import ENOUGH_TO_FORETELL, decisions_to_settle, half_width_to_judge, share_to_come
from banditd.services.policy import PolicyRuntime, runtime_of
from banditd.services.promising.book import PromiseBook, Standing
from banditd.services.promising.keeping import PromiseService
from banditd.services.promising.switching import Switching, differences

STATES: Final = (
    "learning", "keeping", "no_rewards", "nothing_to_save", "broken", "baseline_away", "baseline_changed",
    "budget_rules",
)  # fmt: skip
_WORDS: Final = {
    "off": "No promise is made: the policy weighs quality and cost as its cost_weight says.",
    "learning": "Too little is known yet: mostly {baseline} answers, and the allowed loss is spent on trying others.",
    "keeping": "The cheapest choice is made that is expected to keep {keep:.4g} % of {baseline}'s quality.",
    "no_rewards": "No rewards come, so nothing is known: {baseline} answers all but {least:.3g} % of the queries.",
    "nothing_to_save": "None is known to be both cheaper and good enough: {baseline} answers nearly everything.",
    "broken": "Quality fell below the promise: {baseline} answers all but {least:.3g} % until the cause is known.",
    "baseline_away": "{baseline} may not answer now, so the promise rests on what is predicted of it.",
    "baseline_changed": "{baseline} earns other rewards than it did: the promise is about what it is worth today.",
    "budget_rules": "The budget {budget} allows less than the promise needs, and money is the harder limit.",
    "shadow": "Only {baseline} answers; what the policy would have done is logged beside it.",
    "control": "All traffic goes to {baseline}: the rollout is 0.",
}
# An emergency switch that has no effect must say so.
_UNHEEDED: Final = " Meanwhile the policy answers every query, whatever rollout and mode say."


class PromiseReports:
    """Reads the promise books, and changes switches."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        books: Mapping[str, PromiseBook],
        switching: Switching,
        keeping: PromiseService,
    ) -> None:
        self._runtimes = runtimes
        self._books = books
        self._switching = switching
        self._keeping = keeping

    async def change(self, policy: str, changes: Mapping[str, object]) -> dict[str, object]:
        """Change switches (``Switching.change``) and return what is now in force.

        Raises
        ------
        NotFoundError : no such policy. InvalidInputError : switches that cannot be kept.
        """
        await self._switching.change(policy, changes)
        await self._keeping.step()
        return self.promise(policy)

    def promise(self, policy: str) -> dict[str, object]:
        """The state of the policy's promise. Raises NotFoundError."""
        runtime = runtime_of(self._runtimes, policy)
        book, switches = self._books[policy], runtime.switches
        index = book.baseline(runtime.view)
        name = None if index is None else runtime.view.arms[index].arm
        rule = switches.promise
        answer: dict[str, object] = {
            "policy": policy,
            "on": rule is not None,
            "mode": switches.mode,
            "rollout": switches.rollout,
            "baseline": name,
            "baseline_rule": switches.baseline,
            "keep": None if rule is None else rule.keep,
            "keep_by_tag": {} if rule is None else {tag: dict(keeps) for tag, keeps in rule.keep_by_tag.items()},
            "reference_share_configured": None if rule is None else rule.reference_share,
            "precision": None if rule is None else rule.precision,
            "outside": book.outside,
            "overrides": differences(runtime),
        }
        if rule is None or index is None or name is None:
            state = "off" if rule is None else "baseline_away"
            answer |= _nothing(state) | {"promises": []}
        else:
            book.keeper(rule.keep, runtime.view, index)
            answer |= _standing(runtime, book, (rule.keep, name))
            answer["promises"] = standings(runtime, book)
        answer["of_candidate"] = self.of_candidate(policy)
        answer["words"] = _words(answer)
        return answer

    def of_candidate(self, policy: str) -> list[dict[str, object]]:
        """The state of the promises of an open release's candidate, if they differ from the policy's."""
        candidate = self._keeping.candidates.get(policy)
        return [] if candidate is None or candidate.idle else standings(self._runtimes[policy], candidate)

    def reference(self, policy: str) -> tuple[str | None, float, PromiseRule | None]:
        """(arm that routing is measured against, its least share, the promise about it). Raises NotFoundError."""
        runtime = runtime_of(self._runtimes, policy)
        book, rule = self._books[policy], runtime.switches.promise
        index = book.baseline(runtime.view)
        name = None if index is None else runtime.view.arms[index].arm
        if rule is None or index is None or name is None:
            return name, 0.0, None
        keeper = book.keepers.get((rule.keep, name))
        return name, rule.reference_share if keeper is None else keeper.reference_share, rule

    def missing(self, policy: str) -> str:
        """Why there is no arm to measure routing against, in words. Raises NotFoundError."""
        return _missing(runtime_of(self._runtimes, policy).switches.baseline)

    def baseline(self, policy: str) -> str | None:
        """The arm that routing is measured against. Raises NotFoundError."""
        return self.reference(policy)[0]

    def observe(self, metrics: Metrics) -> None:
        """Update the gauges."""
        for policy, runtime in self._runtimes.items():
            metrics.rollout_share.labels(policy).set(
                0.0 if runtime.switches.mode == "shadow" else runtime.switches.rollout
            )
            seen = {}
            if runtime.switches.promise is not None:
                one = self.promise(policy)
                seen = {f"{standing['keep']:g}": standing for standing in _listed(one["promises"])}
            metrics.set_promises(policy, seen)


def standings(runtime: PolicyRuntime, book: PromiseBook) -> list[dict[str, object]]:
    """Every promise in force in a book."""
    return [
        _standing(runtime, book, standing) | {"keep": standing[0], "baseline": standing[1]}
        for standing in sorted(book.keepers)
    ]


def _standing(runtime: PolicyRuntime, book: PromiseBook, standing: Standing) -> dict[str, object]:
    keep = standing[0]
    keeper = book.keepers[standing]
    budget = book.overruling(standing)
    verdict = keeper.verdict()
    return {
        "state": _state(runtime, book, standing, budget),
        "budget": budget,
        "share": keeper.pledge().share,
        "price_per_usd": keeper.terms.price_per_usd,
        "reference_share": keeper.reference_share,
        "saves_usd_per_decision": max(keeper.terms.saves_usd, 0.0),
        "quality": _quality(verdict),
        "lost": _lost(verdict),
        "held": verdict.held(keep),
        "settled_by": settled_by(keeper.evidence.sums, keep, keeper.reference_share),
        "decisions": keeper.promise.decisions,
    }


def _listed(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []


def _state(runtime: PolicyRuntime, book: PromiseBook, standing: Standing, budget: str | None) -> str:
    """The state of the terms, unless something outside of them takes precedence."""
    keeper, name = book.keepers[standing], standing[1]
    state = keeper.terms.state
    if not book.view.serves[keeper.baseline] or book.baseline_fails(standing):
        return "baseline_away"
    if budget is not None:
        return "budget_rules"
    learned = runtime.state
    if learned is not None and state not in {"broken", "no_rewards"}:
        changed = learned.arm_changes.changed
        if any(arm.arm == name and arm.learned_as in changed for arm in learned.arms):
            return "baseline_changed"
    return state


def _nothing(state: str) -> dict[str, object]:
    verdict = Verdict(0, 0, 0.0)
    return {
        "state": state,
        "budget": None,
        "share": 1.0,
        "price_per_usd": 0.0,
        "reference_share": 0.0,
        "saves_usd_per_decision": None,
        "quality": _quality(verdict),
        "lost": _lost(verdict),
        "held": "unknown",
        "settled_by": None,
        "decisions": 0,
    }


def _quality(verdict: Verdict) -> dict[str, object]:
    high = verdict.high if verdict.high is not None and math.isfinite(verdict.high) else None
    return {
        "ratio": verdict.ratio,
        "low": verdict.low,
        "high": high,
        "reward": verdict.reward,
        "baseline_reward": verdict.baseline_reward,
        "half_width": verdict.half_width,
        "rated": verdict.rated,
        "worth": verdict.worth,
        "unsupported": verdict.unsupported,
    }


def _lost(verdict: Verdict) -> dict[str, object]:
    """Percentage points by which the baseline would have earned more than was earned."""
    if verdict.reward is None or verdict.baseline_reward is None or verdict.gain is None:
        return {"points": None, "interval": None}
    points = 100.0 * (verdict.baseline_reward - verdict.reward)
    return {"points": points, "interval": [100.0 * end for end in verdict.gain]}


def settled_by(sums: FixedArmSums, keep: float, share: float) -> str | None:
    """What would be needed to tell whether the promise was kept, in words; None if it is known.

    sums : of the baseline. share : of the traffic that it gets at least.
    """
    if verdict_of(sums).held(keep) != "unknown":
        return None
    wanted = half_width_to_judge(sums, keep)
    if sums.rated < ENOUGH_TO_FORETELL or wanted is None:
        least = max(math.ceil(ENOUGH_WORTH - sums.worth), 1)  # no decision is worth more than one answer
        return f"at least {least} more rewarded decisions: there are too few to say how many"
    if wanted <= 0.0:
        return "nothing: the quality is exactly at the edge of the promise"
    more = decisions_to_settle(sums, wanted, share_to_come(sums, share))
    if more is None or more > 1_000_000:
        return "more than a million rewarded decisions: the quality is at the edge of the promise"
    return f"about {max(round(more, -1 if more < 1000 else -2), 10):,.0f} more rewarded decisions"


def _words(answer: Mapping[str, object]) -> str:
    state = str(answer["state"])
    if answer["baseline"] is None:
        unheeded = _UNHEEDED if _held_back(answer) else ""
        if state == "off":
            return f"{_WORDS['off']}{unheeded}"
        return f"Nothing can be promised: {_missing(str(answer['baseline_rule']))}.{unheeded}"
    rollout = float(str(answer["rollout"]))
    if state == "baseline_away":
        pass  # without a baseline there is no rollout to describe
    elif answer["mode"] == "shadow":
        state = "shadow"
    elif rollout == 0.0:
        state = "control"
    keep = answer["keep"]
    kept = float(keep) if isinstance(keep, int | float) else 1.0
    beside = " ".join(candidate_words(one) for one in _listed(answer["of_candidate"]))
    words = _WORDS[state].format(
        baseline=answer["baseline"], keep=100.0 * kept, least=100.0 * (1.0 - kept), budget=answer["budget"]
    )
    if state == "baseline_away":
        words += _UNHEEDED if _held_back(answer) else ""
    elif answer["mode"] == "route" and 0.0 < rollout < 1.0:
        part = f"The policy decides for {100.0 * rollout:.3g} % of the traffic"
        words = f"{part}, {answer['baseline']} answers the rest. {words}"
    return f"{words} {beside}".rstrip()


def _held_back(answer: Mapping[str, object]) -> bool:
    return answer["mode"] == "shadow" or answer["rollout"] != 1.0


def _missing(rule: str) -> str:
    if rule == "dearest":
        return "no arm is enabled, so there is nothing to compare with"
    return f"the baseline {rule} is none of the arms; name another with PATCH /v1/promise"


def candidate_words(standing: Mapping[str, object]) -> str:
    """A candidate's promise on its side, as a sentence."""
    known = {"yes": "; it does", "no": "; it does not"}
    held = known.get(str(standing["held"]), "; whether it does is not known yet")
    keep = standing["keep"]
    percent = 100.0 * keep if isinstance(keep, float) else 100.0
    return f"On its side the candidate keeps at least {percent:.4g} % of {standing['baseline']}'s quality{held}."
