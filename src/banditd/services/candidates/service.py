"""Candidates of every policy: create, list, read, delete. They never change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from banditd.core.candidate import Candidate
from banditd.core.errors import BanditdError, ConflictError, NotFoundError
from banditd.core.ids import new_id
from banditd.ports import Clock
from banditd.ports.candidates import CandidateStore
from banditd.services.candidates.applying import Applied, SettingsCheck, apply_candidate
from banditd.services.candidates.shadows import ShadowDesk
from banditd.services.policy import PolicyRuntime, runtime_of

MOST: Final = 200
"""Most candidates of a policy."""


class CandidateService:
    """Manages candidates. users : each returns what needs a candidate, or None; a needed one cannot be deleted."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        store: CandidateStore,
        check: SettingsCheck,
        clock: Clock,
        shadows: ShadowDesk,
    ) -> None:
        self._runtimes = runtimes
        self._store = store
        self._check = check
        self._clock = clock
        self.shadows = shadows
        self.users: list[Callable[[Candidate], Awaitable[str | None]]] = []

    async def create(
        self,
        policy: str,
        name: str,
        *,
        settings: Mapping[str, object],
        arms: Mapping[str, Mapping[str, object]],
        key_name: str | None = None,
    ) -> tuple[Mapping[str, object], bool]:
        """(the answer, whether it is new). Creating the same candidate again returns the existing one.

        Raises NotFoundError (policy), InvalidInputError, ConflictError for a different one with that name.
        """
        runtime = runtime_of(self._runtimes, policy)
        now_us = self._clock.now_us()
        wanted = Candidate(
            candidate_id=new_id(now_us), policy=policy, name=name, settings=dict(settings),
            arms={arm: dict(fields) for arm, fields in arms.items()}, created_at_us=now_us, key_name=key_name,
        )  # fmt: skip
        apply_candidate(runtime, wanted, self._check)
        if len(await self._store.list(policy)) >= MOST:
            raise ConflictError(
                f"policy {policy} has {MOST} candidates; delete some first", code="CANDIDATES_TOO_MANY"
            )
        kept = await self._store.add(wanted)
        if not kept.says_the_same(wanted):
            raise ConflictError(
                f"policy {policy} has another candidate {name}, and candidates do not change: delete it first, or "
                "choose another name",
                code="CANDIDATE_EXISTS",
            )
        return await self._answer_with_shadow(kept), kept.candidate_id == wanted.candidate_id

    async def list(self, policy: str) -> Mapping[str, object]:
        """Every candidate of a policy. Raises NotFoundError."""
        runtime_of(self._runtimes, policy)
        found = await self._store.list(policy)
        shadows = await self.shadows.answers(found)
        return {
            "policy": policy,
            "candidates": [self._answer(one) | {"shadow": shadows.get(one.candidate_id)} for one in found],
        }

    async def get(self, policy: str, name: str) -> Mapping[str, object]:
        """One candidate. Raises NotFoundError."""
        return await self._answer_with_shadow(await self.load(policy, name))

    async def shadow(self, policy: str, name: str, *, running: bool) -> Mapping[str, object]:
        """Shadow a candidate, or stop. Raises NotFoundError, InvalidInputError, ConflictError."""
        candidate = await self.load(policy, name)
        if running:
            await self.shadows.start(self._runtimes[policy], candidate, self.applied(candidate))
        else:
            await self.shadows.stop(candidate)
        return await self._answer_with_shadow(candidate)

    async def load(self, policy: str, name: str) -> Candidate:
        """The candidate itself. Raises NotFoundError."""
        runtime_of(self._runtimes, policy)
        found = await self._store.get(policy, name)
        if found is None:
            known = ", ".join(one.name for one in await self._store.list(policy)) or "(none)"
            raise NotFoundError(
                f"policy {policy} has no candidate {name}; it has {known}", code="CANDIDATE_NOT_FOUND"
            )
        return found

    async def delete(self, policy: str, name: str) -> None:
        """Delete a candidate. Raises NotFoundError, ConflictError if something needs it."""
        candidate = await self.load(policy, name)
        for user in self.users:
            reason = await user(candidate)
            if reason is not None:
                raise ConflictError(reason, code="CANDIDATE_IN_USE")
        await self._store.delete(candidate.candidate_id)

    def applied(self, candidate: Candidate) -> Applied:
        """The present policy with the candidate applied. Raises NotFoundError, InvalidInputError."""
        return apply_candidate(runtime_of(self._runtimes, candidate.policy), candidate, self._check)

    async def _answer_with_shadow(self, candidate: Candidate) -> dict[str, object]:
        shadows = await self.shadows.answers([candidate])
        return self._answer(candidate) | {"shadow": shadows.get(candidate.candidate_id)}

    def _answer(self, candidate: Candidate) -> dict[str, object]:
        answer: dict[str, object] = {**candidate.plain(), "class": None, "difference": [], "problem": None}
        try:
            applied = apply_candidate(self._runtimes[candidate.policy], candidate)
        except BanditdError as error:
            # The policy has changed since then; for example, an arm is gone.
            return answer | {"problem": error.message, "words": f"It can no longer be applied: {error.message}"}
        return answer | {
            "class": applied.candidate_class,
            "difference": list(applied.difference),
            "words": applied.words,
        }
