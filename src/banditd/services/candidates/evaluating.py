"""Evaluations: requested, claimed by a replica, computed off the request path, stored.

A claim expires after ``CLAIM_US`` unless it is renewed. So a killed replica leaves its evaluation to another, which
starts again: the result depends only on the log. A replica that has lost its claim stores nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Final

from banditd.core.errors import BanditdError, ConflictError, InvalidInputError, NotFoundError
from banditd.core.evaluation import INCUMBENT, Evaluation, Finding, IntervalKind, Method, Question, ScoredCase
from banditd.core.ids import new_id
from banditd.deciding.promise_window import WINDOW
from banditd.ports import Clock, LearningStore, RecentOutcomes
from banditd.ports.evaluations import Coverage, EvaluationLog, EvaluationStore, LoggedDecision
from banditd.services.candidates.applying import Applied
from banditd.services.candidates.cases import CasePlay
from banditd.services.candidates.course import begin_courses, earlier_of, promises_otherwise, warming_of
from banditd.services.candidates.decided_again import Rule
from banditd.services.candidates.knowledge import Knowledge
from banditd.services.candidates.replayable import not_to_be_replayed
from banditd.services.candidates.service import CandidateService
from banditd.services.candidates.verdict import Evidence, evaluation_answer, finding_of
from banditd.services.candidates.walk import LogWalk, Window
from banditd.services.policy import PolicyRuntime, runtime_of

logger = logging.getLogger(__name__)
MOST_ROWS: Final = 20_000  # most decisions, the newest with a reward, that an evaluation uses
PAGE: Final = 500  # decisions of one read
MOST_PAGES: Final = 1000
CLAIM_US: Final = 60_000_000
RENEW_S: Final = 1.0
MOST_ATTEMPTS: Final = 3
MOST_RUNNING: Final = 20  # of a policy
MOST_KEPT: Final = 500
RESTS: Final = 1.0  # pauses this many times as long as it worked ...
LONGEST_REST_S: Final = 0.1  # ... but no longer than this
ENDED: Final = "the daemon stopped each time that it worked on it; its log says why"
FAILED: Final = "the evaluation failed because of a bug; see the daemon's log"


def _check_other(runtime: PolicyRuntime, against: str) -> None:
    """Refuse an unknown comparison. Raises InvalidInputError."""
    arms = [arm.arm for arm in runtime.arms]
    if against != INCUMBENT and against not in arms:
        raise InvalidInputError(
            f"policy {runtime.name} has no arm {against}; write {INCUMBENT}, or one of {', '.join(arms)}",
            code="ARM_UNKNOWN",
            field="/against",
        )


class _ClaimLostError(Exception):
    """Another replica has the claim now, or this one is stopping."""


class _Claim:
    """A claim of an evaluation by this replica."""

    def __init__(self, evaluation_id: str, lease: str, store: EvaluationStore, clock: Clock, ending: asyncio.Event):
        self._id, self._lease = evaluation_id, lease
        self._store, self._clock, self._ending = store, clock, ending
        self._renewed = self._rested = perf_counter()

    async def step(self, done: int, total: int) -> None:
        """Store the progress now and then, and pause for as long as was worked. Raises _ClaimLostError."""
        now = perf_counter()
        if self._ending.is_set():
            raise _ClaimLostError
        if now - self._renewed >= RENEW_S:
            self._renewed = now
            until_us = self._clock.now_us() + CLAIM_US
            if not await self._store.progress(self._id, self._lease, done=done, total=total, until_us=until_us):
                raise _ClaimLostError
        await asyncio.sleep(min(RESTS * (now - self._rested), LONGEST_REST_S))
        self._rested = perf_counter()


class EvaluationService:
    """Takes requests for evaluations, and computes them: one at a time per process."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        candidates: CandidateService,
        store: EvaluationStore,
        log: EvaluationLog,
        learning: LearningStore,
        recent: RecentOutcomes,
        clock: Clock,
        play: Callable[[PolicyRuntime, Rule], CasePlay],
    ) -> None:
        self._runtimes = runtimes
        self._candidates = candidates
        self._store = store
        self._log = log
        self._learning = learning
        self._recent = recent
        self._clock = clock
        self._play = play
        self._wanted = False
        self._stopping = asyncio.Event()
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    # -------------------------------------------------------------- what is asked

    async def ask(
        self,
        policy: str,
        candidate: str,
        *,
        against: str,
        since_us: int | None,
        until_us: int | None,
        margin: float,
        interval: IntervalKind,
        method: Method = "log",
        cases: Sequence[ScoredCase] | None = None,
        key_name: str | None = None,
    ) -> Mapping[str, object]:
        """Start an evaluation from the log, or compute one of cases or of a shadow at once.

        Raises NotFoundError, InvalidInputError, ConflictError.
        """
        found = await self._candidates.load(policy, candidate)
        applied = self._candidates.applied(found)
        runtime = runtime_of(self._runtimes, policy)
        _check_other(runtime, against)
        if since_us is not None and until_us is not None and since_us >= until_us:
            raise InvalidInputError("since must be before until", field="/since")
        if method == "shadow" and (against != INCUMBENT or since_us is not None or until_us is not None):
            raise InvalidInputError(
                "a shadow compares with the present policy, over the time that it ran; leave out against, since and "
                "until, or use method log",
                field="/method",
            )
        now_us = self._clock.now_us()
        evaluation = Evaluation(
            evaluation_id=new_id(now_us),
            question=Question(
                candidate=found, against=against, since_us=since_us, until_us=until_us, margin=margin,
                interval="anytime" if method == "shadow" else interval, method=method if cases is None else "cases",
            ),
            created_at_us=now_us,
            key_name=key_name,
        )  # fmt: skip
        finding = None
        if cases is not None:
            finding = await self._found_of_cases(runtime, applied, evaluation.question, cases)
        elif method == "shadow":
            finding = await self._candidates.shadows.found(runtime, applied, evaluation.question)
        if finding is not None:
            evaluation = replace(evaluation, finding=finding, finished_at_us=self._clock.now_us())
        if not await self._store.add(evaluation, most_running=MOST_RUNNING, most_kept=MOST_KEPT):
            raise ConflictError(
                f"{MOST_RUNNING} evaluations of policy {policy} are running; wait for one to end",
                code="EVALUATIONS_TOO_MANY",
            )
        if finding is None:
            self._begin()
        return evaluation_answer(evaluation)

    async def list(self, policy: str | None, candidate: str | None, limit: int) -> Mapping[str, object]:
        """Evaluations, newest first. Raises NotFoundError (policy)."""
        if policy is not None:
            runtime_of(self._runtimes, policy)
        found = await self._store.list(policy, candidate, limit)
        return {"evaluations": [evaluation_answer(one) for one in found]}

    async def get(self, evaluation_id: str) -> Mapping[str, object]:
        """One evaluation. Raises NotFoundError."""
        found = await self._store.get(evaluation_id)
        if found is None:
            raise NotFoundError("there is no such evaluation", code="EVALUATION_NOT_FOUND")
        return evaluation_answer(found)

    # -------------------------------------------------------------- the work

    async def _found_of_cases(
        self, runtime: PolicyRuntime, applied: Applied, question: Question, cases: Sequence[ScoredCase]
    ) -> Finding:
        beyond = not_to_be_replayed(runtime, applied)
        if beyond is not None:
            return beyond
        play = self._play(runtime, Rule(config=applied.config, arms=applied.arms))
        return await play.find(question, cases)

    def _begin(self) -> None:
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="evaluations")

    async def _work(self) -> None:
        while self._wanted:  # also if an evaluation was requested during the last look
            self._wanted = False
            try:
                await self.run()
            except BanditdError as error:
                # It stays in the database, and the job runs again.
                logger.warning("evaluation.postponed", extra={"error": error.message, "code": error.code})

    async def run(self) -> None:
        """Work on waiting evaluations until there are none."""
        async with self._busy:
            while not self._stopping.is_set():
                lease = new_id(self._clock.now_us())
                now_us = self._clock.now_us()
                evaluation = await self._store.claim(lease, now_us=now_us, until_us=now_us + CLAIM_US)
                if evaluation is None:
                    return
                await self._evaluate(evaluation, lease)

    async def stop(self) -> None:
        """Stop between two pieces of work; another replica continues what is unfinished."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        async with self._busy:
            return

    async def _evaluate(self, evaluation: Evaluation, lease: str) -> None:
        started = perf_counter()
        if evaluation.attempts > MOST_ATTEMPTS:
            finding = Finding(phase="error", reason=ENDED)
        else:
            try:
                claim = _Claim(evaluation.evaluation_id, lease, self._store, self._clock, self._stopping)
                finding = await self._found(evaluation, claim)
            except _ClaimLostError:
                if self._stopping.is_set():
                    await self._store.release(evaluation.evaluation_id, lease)
                return
            except BanditdError as error:
                if isinstance(error, NotFoundError | InvalidInputError):
                    finding = Finding(phase="error", reason=error.message)
                else:
                    raise
            except Exception:
                logger.exception("evaluation.failed", extra={"evaluation_id": evaluation.evaluation_id})
                finding = Finding(phase="error", reason=FAILED)
        if await self._store.finish(evaluation.evaluation_id, lease, finding, at_us=self._clock.now_us()):
            logger.info(
                "evaluation.finished",
                extra={
                    "evaluation_id": evaluation.evaluation_id,
                    "candidate": evaluation.question.candidate.name,
                    "phase": finding.phase,
                    "seconds": round(perf_counter() - started, 3),
                },
            )

    async def _found(self, evaluation: Evaluation, claim: _Claim) -> Finding:
        question = evaluation.question
        policy = question.candidate.policy
        runtime = runtime_of(self._runtimes, policy)
        applied = self._candidates.applied(question.candidate)
        _check_other(runtime, question.against)
        beyond = not_to_be_replayed(runtime, applied)
        if beyond is not None:
            return beyond
        enabled = {arm.arm for arm in runtime.arms if arm.enabled}
        promising = promises_otherwise(runtime, applied)
        rows = await self._rows(policy, runtime, question, claim, earlier=WINDOW if promising else 0)
        # Read it after the decisions, so that it contains everything they have taught.
        stored = await self._learning.load(policy, runtime.builder.schema.hash)
        knowledge = Knowledge(
            schema=runtime.builder.schema,
            settings=runtime.config.settings,
            other=applied.config.settings,
            arms=runtime.priors(),
            stored=stored,
            rows=rows,
        )
        until_us = evaluation.created_at_us if question.until_us is None else question.until_us
        window = Window(until_us=until_us)
        if promising:
            earlier = await earlier_of(policy, rows, self._log, self._recent)
            window = Window(
                until_us=until_us,
                warming=warming_of(rows, question.since_us, truncated=len(rows) >= MOST_ROWS),
                courses=begin_courses(runtime, applied, earlier, runtime.view.snapshot),
            )
        walk = LogWalk(
            runtime,
            Rule(config=applied.config, arms=applied.arms),
            rows,
            knowledge,
            against=question.against,
            window=window,
        )
        async for done in walk.run():
            await claim.step(done, len(rows))
        found, coverage = walk.found, Coverage()
        if found.since_us is not None and found.until_us is not None:
            coverage = await self._log.coverage(policy, since_us=found.since_us, until_us=found.until_us + 1)
        disabled = frozenset(arm.arm for arm in applied.arms if arm.arm in enabled and not arm.enabled)
        return finding_of(found, Evidence(question=question, disabled=disabled, coverage=coverage))

    async def _rows(
        self, policy: str, runtime: PolicyRuntime, question: Question, claim: _Claim, *, earlier: int
    ) -> Sequence[LoggedDecision]:
        """The decisions that taught something, from ``earlier`` before the window on, oldest first."""
        rows: list[LoggedDecision] = []
        before: str | None = None
        since_us = question.since_us
        for _ in range(MOST_PAGES):
            page, before = await self._log.taught(
                policy, runtime.builder.schema.hash, since_us=None if earlier else since_us, before_id=before,
                limit=PAGE,
            )  # fmt: skip
            rows += page
            if before is None or len(rows) >= MOST_ROWS:
                break
            if earlier and since_us is not None and sum(row.created_at_us < since_us for row in rows) >= earlier:
                break
            await claim.step(0, len(rows))
        rows.reverse()
        return rows
