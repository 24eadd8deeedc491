"""Releases over HTTP: start, read, and the verbs. Every verb is one transaction and takes effect here at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, Literal

from banditd.core.candidate import Candidate
from banditd.core.errors import ConflictError, InvalidInputError, NotFoundError
from banditd.core.ids import new_id
from banditd.core.release import ReleaseTerms
from banditd.deciding.release_course import Author, Release, aborted, paused, promoted, resumed
from banditd.deciding.release_points import point_of
from banditd.deciding.release_tests import ReleaseTests
from banditd.ports import Clock
from banditd.ports.releases import Change, ReleaseStore
from banditd.services.candidates.rebinding import shares_posterior
from banditd.services.candidates.service import CandidateService
from banditd.services.policy import PolicyRuntime, runtime_of
from banditd.services.promising.reports import candidate_words, standings
from banditd.services.releasing.book import switches_of
from banditd.services.releasing.keeping import ReleaseKeeping
from banditd.services.releasing.words import event_answer, point_answer, release_answer

Verb = Literal["promote", "pause", "resume", "abort"]
_SETTINGS: Final = frozenset({"kind", "options", "exploration_floor", "cost_weight", "promise"})
COOL_DOWN_US: Final = 3_600_000_000
_ARM_FIELDS: Final = frozenset({"enabled", "min_share"})
_STILL: Final = "While the policy's rollout is below 1 or its mode is shadow, the candidate decides nothing."
_WHY_NOT: Final = {
    "max_share": "a cap counts the traffic of both sides; change it with PATCH /v1/arms/{arm}",
    "params": "an arm is called in one way; add an arm of its own with other params",
    "rename_params": "an arm is called in one way; add an arm of its own with other names",
    "upstream_model": "an arm is one model; add an arm of its own for another",
}


class ReleaseService:
    """Starts, reads and changes releases."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        candidates: CandidateService,
        store: ReleaseStore,
        clock: Clock,
        keeping: ReleaseKeeping,
    ) -> None:
        self._runtimes = runtimes
        self._candidates = candidates
        self._store = store
        self._clock = clock
        self._keeping = keeping
        candidates.users.append(self._needs)

    async def _needs(self, candidate: Candidate) -> str | None:
        standing = await self._store.standing(self._clock.now_us())
        release = standing.releases.get(candidate.policy)
        if release is None or release.candidate.candidate_id != candidate.candidate_id:
            return None
        return f"release {release.release_id} is open with candidate {candidate.name}; abort it first"

    async def start(
        self, policy: str, candidate: str, terms: ReleaseTerms, *, key_name: str | None = None, again: bool = False
    ) -> Mapping[str, object]:
        """Start at the first step. Raises NotFoundError, InvalidInputError, ConflictError.

        again : start although the same candidate was rolled back recently.
        """
        runtime = runtime_of(self._runtimes, policy)
        found = await self._candidates.load(policy, candidate)
        _check(runtime, found, terms)
        applied = self._candidates.applied(found)
        if not shares_posterior(runtime.config.settings, applied.config.settings):
            raise _refused(
                f"kind {applied.config.settings.kind} with these options sees the arms by another model than kind "
                f"{runtime.config.settings.kind} (options.model, or clusters alone): a release cannot carry that",
                "/candidate",
            )
        if not applied.difference:
            raise _refused(f"candidate {candidate} does not differ from policy {policy} as it is", "/candidate")
        now_us = self._clock.now_us()
        if not again:
            await self._check_cool_down(found, now_us)
        release = Release(
            release_id=new_id(now_us), policy=policy, candidate=found, terms=terms, tests=ReleaseTests.of(terms),
            created_at_us=now_us, step_at_us=now_us, key_name=key_name,
        )  # fmt: skip
        begun = await self._store.start(release, Author(now_us, key_name))
        await self._keeping.refresh()
        return self._shown(begun)

    async def _check_cool_down(self, candidate: Candidate, now_us: int) -> None:
        """Raises ConflictError if the same candidate, or its promotion, was rolled back within ``COOL_DOWN_US``."""
        since_us = now_us - COOL_DOWN_US
        standing = await self._store.standing(since_us)
        ended: list[tuple[Release, str, str | None]] = [(one, one.phase, one.reason) for one in standing.ended]
        undone = await self._store.taken_back(candidate.policy, since_us)
        ended += [(one, "its promotion was undone", why) for one, why in undone]
        for one, how, why in ended:
            if one.candidate.candidate_id == candidate.candidate_id or one.candidate.says_the_same(candidate):
                raise ConflictError(
                    f"candidate {candidate.name} was taken back less than an hour ago "
                    f"({how}{f': {why}' if why else ''}); find the cause, then wait, or send "
                    '{"again": true} (banditd release start --again)',
                    code="RELEASE_COOLING",
                )

    async def page(self, policy: str | None, limit: int) -> Mapping[str, object]:
        """Releases, newest first. Raises NotFoundError for an unknown policy."""
        if policy is not None:
            runtime_of(self._runtimes, policy)
        return {"releases": [self._shown(one) for one in await self._store.page(policy, limit)]}

    async def get(self, release_id: str) -> Mapping[str, object]:
        """One release. Raises NotFoundError."""
        return self._shown(await self._load(release_id))

    async def events(self, release_id: str) -> Mapping[str, object]:
        """The release's history, oldest first. Raises NotFoundError."""
        await self._load(release_id)
        return {"events": [event_answer(one) for one in await self._store.events(release_id)]}

    async def points(self, release_id: str) -> Mapping[str, object]:
        """The release's recorded points, oldest first, then its present state. Raises NotFoundError."""
        release = await self._load(release_id)
        points = [*await self._store.points(release_id)]
        if release.open:
            points.append(point_of(release, self._clock.now_us()))
        return {"points": [point_answer(one) for one in points]}

    async def change(
        self, release_id: str, verb: Verb, *, key_name: str | None, reason: str | None, force: bool = False
    ) -> Mapping[str, object]:
        """Apply a verb. Raises NotFoundError, ConflictError."""
        by = Author(self._clock.now_us(), key_name, reason)
        found = await self._load(release_id)
        switches: Mapping[str, object] = {}
        if verb == "promote" and found.open and found.last_step:
            applied = self._candidates.applied(found.candidate)  # it must be valid as the incumbent
            switches = switches_of(applied) if "promise" in found.candidate.settings else {}
        works: dict[Verb, Change] = {
            "promote": partial(promoted, by=by, force=force),
            "pause": partial(paused, by=by),
            "resume": partial(resumed, by=by),
            "abort": partial(aborted, by=by),
        }
        changed = await self._store.change(release_id, works[verb], switches=switches)
        await self._keeping.refresh()
        return self._shown(changed)

    async def roll_back(self, policy: str, *, key_name: str | None, reason: str | None) -> Mapping[str, object]:
        """Abort the open release or, if there is none, undo the newest promotion.

        Raises NotFoundError, ConflictError.
        """
        runtime_of(self._runtimes, policy)
        undone = await self._store.roll_back(policy, Author(self._clock.now_us(), key_name, reason))
        await self._keeping.refresh()
        what = undone.what
        name = what.candidate.name
        if isinstance(what, Release):
            words = f"The open release of {name} was aborted."
        else:
            words = f"{name} is not the incumbent any more: settings and arms are as they were before it."
        if undone.dropped:
            words += f" This drops what was changed after the promotion: {', '.join(undone.dropped)}."
        return {
            "policy": policy, "undone": "release" if isinstance(what, Release) else "promotion",
            "release_id": what.release_id, "candidate": name, "dropped": list(undone.dropped), "words": words,
        }  # fmt: skip

    def _shown(self, release: Release) -> Mapping[str, object]:
        """The release with the candidate's promise, and whether the candidate decides, as this replica sees both."""
        promises: list[dict[str, object]] = []
        answer = release_answer(release)
        sentences = [answer["words"]]
        runtime = self._runtimes.get(release.policy)
        if runtime is not None and release.phase == "promoted":
            if release.release_id not in self._keeping.promoted(release.policy):
                sentences = [f"{release.candidate.name} passed every step, and was taken back after that."]
                answer["share"] = 0.0
        elif runtime is not None and release.open:
            book = self._keeping.book(release.policy)
            if book.release is not None and book.release.release_id == release.release_id:
                promises = standings(runtime, book.promise)
                sentences += [_STILL] if book.idle else []
        words = " ".join([*sentences, *map(candidate_words, promises)])
        return answer | {"words": words, "promises": promises}

    async def _load(self, release_id: str) -> Release:
        found = await self._store.get(release_id)
        if found is None:
            raise NotFoundError(f"no such release: {release_id}", code="RELEASE_NOT_FOUND")
        return found


def _check(runtime: PolicyRuntime, candidate: Candidate, terms: ReleaseTerms) -> None:
    """Refuse a candidate or policy that cannot be released. Raises InvalidInputError."""
    for name in candidate.settings:
        if name not in _SETTINGS:
            raise _refused(_why_not(name), "/candidate")
    for fields in candidate.arms.values():
        for name in fields:
            if name not in _ARM_FIELDS:
                raise _refused(_why_not(name), "/candidate")
    switches = runtime.switches
    if switches.rollout < 1.0 or switches.mode != "route":
        raise _refused(
            f"policy {runtime.name} has rollout {switches.rollout:g} and mode {switches.mode}: a part of the traffic "
            "is the baseline's already. Set rollout: 1 and mode: route first",
            "/policy",
        )
    if terms.promote == "auto":
        _check_auto(terms)
    for i, metric in enumerate(terms.metrics):
        if metric.metric in runtime.config.rewards.log_only_metrics:
            raise _refused(
                f"metric {metric.metric} is logged and not learned (log_only_metrics), so no release can count it",
                f"/metrics/{i}/metric",
            )


def _check_auto(terms: ReleaseTerms) -> None:
    """Refuse terms that would promote a candidate without evidence. Raises InvalidInputError."""
    if terms.steps[0] >= 1.0:
        raise _refused(
            "at 100 % of the traffic nothing is left to compare the candidate with, and there is no other step: "
            "begin below 1, such as with steps [0.05, 0.5, 1] (--step 0.05 --step 0.5 --step 1), or leave out "
            "promote: auto (--auto)",
            "/steps",
        )
    if any(terms.least(step) < 1 for step in range(len(terms.steps))):
        raise _refused(
            "a step of 0 rated units would be taken although nothing is known: give each step at least 1 "
            "(least_units), or leave out promote: auto (--auto)",
            "/least_units",
        )


def _why_not(name: str) -> str:
    return f"a release cannot carry another {name}: {_WHY_NOT.get(name, 'it is not part of deciding')}"


def _refused(message: str, field: str) -> InvalidInputError:
    return InvalidInputError(message, code="RELEASE_IMPOSSIBLE", field=field)
