"""Shadows of candidates over HTTP: start, stop, read, and evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from banditd.core.candidate import Candidate
from banditd.core.errors import ConflictError, InvalidInputError
from banditd.core.evaluation import Finding, Question
from banditd.core.ids import new_id
from banditd.core.shadow import MOST_SHADOWS, Shadow
from banditd.ports import Clock
from banditd.ports.candidates import ShadowStore
from banditd.ports.evaluations import Coverage, EvaluationLog
from banditd.services.candidates.applying import Applied
from banditd.services.candidates.course import promises_otherwise
from banditd.services.candidates.replayable import not_to_be_replayed
from banditd.services.candidates.shadow_words import shadow_answer, walked_of
from banditd.services.candidates.shadowing import Shadowing, rule_of
from banditd.services.candidates.verdict import Evidence, finding_of
from banditd.services.policy import PolicyRuntime


class ShadowDesk:
    """Manages the shadows of all policies. counting : the learner's side, told to read them again at once."""

    def __init__(self, *, store: ShadowStore, log: EvaluationLog, counting: Shadowing, clock: Clock) -> None:
        self._store = store
        self._log = log
        self._counting = counting
        self._clock = clock

    async def start(self, runtime: PolicyRuntime, candidate: Candidate, applied: Applied) -> None:
        """Start shadowing, or continue if it was shadowed before.

        Raises InvalidInputError if decisions cannot be made again, ConflictError if there are too many shadows.
        """
        beyond = not_to_be_replayed(runtime, applied)
        if beyond is not None:
            raise InvalidInputError(
                f"candidate {candidate.name} cannot be shadowed: {beyond.reason}; {beyond.settles}",
                code="CANDIDATE_NOT_SHADOWED",
                field="/shadow",
            )
        now_us = self._clock.now_us()
        taken = await self._store.start(
            Shadow(
                shadow_id=new_id(now_us),
                candidate_id=candidate.candidate_id,
                policy=candidate.policy,
                started_at_us=now_us,
                rule=rule_of(runtime, applied),
                arms=tuple(arm.arm for arm in runtime.arms),
            )
        )
        if taken:
            raise ConflictError(
                f"{MOST_SHADOWS} candidates of policy {candidate.policy} are shadowed: {', '.join(taken)}; stop one "
                "first (banditd candidate shadow NAME --stop)",
                code="SHADOWS_TOO_MANY",
            )
        self._counting.look_again(candidate.policy)

    async def stop(self, candidate: Candidate) -> None:
        """Stop counting; the sums stay."""
        await self._store.stop(candidate.candidate_id, at_us=self._clock.now_us())
        self._counting.look_again(candidate.policy)

    async def answers(self, candidates: Sequence[Candidate]) -> Mapping[str, Mapping[str, object]]:
        """By candidate, the shadows that are running or were."""
        found = await self._store.of_candidates([one.candidate_id for one in candidates])
        sums = await self._store.sums([shadow.shadow_id for shadow in found.values()]) if found else {}
        return {one: shadow_answer(shadow, sums.get(shadow.shadow_id, {})) for one, shadow in found.items()}

    async def found(self, runtime: PolicyRuntime, applied: Applied, question: Question) -> Finding:
        """The present result for a candidate. Raises ConflictError if it was never shadowed."""
        candidate = question.candidate
        shadow = (await self._store.of_candidates([candidate.candidate_id])).get(candidate.candidate_id)
        if shadow is None:
            raise ConflictError(
                f"candidate {candidate.name} was never shadowed: banditd candidate shadow {candidate.name}",
                code="CANDIDATE_NOT_SHADOWED",
            )
        walked = walked_of(shadow, (await self._store.sums([shadow.shadow_id])).get(shadow.shadow_id, {}))
        walked.kept_anew = promises_otherwise(runtime, applied)
        coverage = Coverage()
        if walked.since_us is not None and walked.until_us is not None:
            coverage = await self._log.coverage(
                candidate.policy, since_us=walked.since_us, until_us=walked.until_us + 1
            )
        enabled = {arm.arm for arm in runtime.arms if arm.enabled}
        disabled = frozenset(arm.arm for arm in applied.arms if arm.arm in enabled and not arm.enabled)
        return finding_of(walked, Evidence(question=question, disabled=disabled, coverage=coverage))
