"""Judges over HTTP: their state, and the tasks for judges that clients call themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from banditd.core.errors import ConflictError, NotFoundError
from banditd.core.judging import JudgeAccount, JudgeCost, JudgeRule, Refusal
from banditd.core.times import iso_time
from banditd.core.types import DAY_US, MICROSECONDS_PER_SECOND
from banditd.obs.metrics import Metrics
from banditd.ope.betting import evidence_of
from banditd.ope.favour import ALPHA
from banditd.ports import Clock
from banditd.services.judging.comparing import Comparing
from banditd.services.judging.comparison_desk import MANY, ComparisonDesk, unknown_judge
from banditd.services.judging.comparison_state import comparison_state
from banditd.services.judging.probe_state import ProbeStates
from banditd.services.judging.rubric import MAX_REASON
from banditd.services.judging.stores import Stores
from banditd.services.judging.trust import FEWEST_LABELS, Standing, TrustGate, trust_words
from banditd.services.reports.headline import dollars_in_words


class JudgeDesk:
    """Answers requests about judges and their tasks."""

    def __init__(
        self,
        judges: Sequence[JudgeRule],
        stores: Stores,
        gate: TrustGate,
        comparing: Comparing,
        clock: Clock,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        self._judges = {judge.name: judge for judge in judges}
        self._store = stores.judging
        self._stores = stores
        self._gate = gate
        self._clock = clock
        self._metrics = metrics
        self._wake = wake
        self.comparisons = ComparisonDesk(self._client, self._judges, stores.comparing, comparing, clock, metrics)

    async def judges(self) -> Mapping[str, object]:
        """Every configured judge: what it has done, what that cost, and whether its verdicts count."""
        now_us = self._clock.now_us()
        accounts, day = await self._store.accounts(), await self._store.accounts(now_us - DAY_US)
        waiting, leased = await self._store.waiting(), await self._store.leased(now_us)
        refusals = await self._store.refusals()
        probes = await ProbeStates.read(self._stores.probing, now_us)
        pairs, found = await self._stores.comparing.waiting(), []
        for judge in self._judges.values():
            standing = await self._gate.standing(judge)
            refusal = refusals.get((judge.name, judge.version))
            account = accounts.get(judge.name, JudgeAccount())
            compared = await self._stores.comparing.compared(judge.name, judge.version)
            fields = judge_fields(judge, account, standing, refusal) | {
                "waiting": waiting.get(judge.name, 0),
                "leased": leased.get(judge.name, 0),
                "spend_day_usd": day.get(judge.name, JudgeAccount()).cost.cost_usd,
                "usd_per_day": judge.usd_per_day,
            }
            comparisons = comparison_state(judge, compared, pairs.get(judge.name, 0))
            found.append(fields | {"probes": probes.of(judge), "comparisons": comparisons})
        return {"judges": found}

    async def lease(self, judge: str, limit: int, lease_s: float) -> Mapping[str, object]:
        """Claim answers of a judge of kind ``client``. Raises NotFoundError, ConflictError."""
        rule = self._client(judge)
        now_us = self._clock.now_us()
        until_us = now_us + round(lease_s * MICROSECONDS_PER_SECOND)
        tasks = await self._store.lease(
            judge, rule.version, limit=limit, until_us=until_us, now_us=now_us, max_attempts=rule.max_attempts
        )
        return {
            "judge": judge,
            "rubric": rule.rubric,
            "tasks": [
                {
                    "task_id": task.task_id,
                    "lease": task.lease,
                    "decision_id": task.answer.decision_id,
                    "policy": task.answer.policy,
                    "question": task.answer.question,
                    "answer": task.answer.answer,
                    "attempt": task.attempts,
                    "leased_until": iso_time(task.leased_until_us),
                }
                for task in tasks
            ],
        }

    async def result(
        self, task_id: str, lease: str, *, score: float | None, reason: str, cost_usd: float
    ) -> Mapping[str, object]:
        """Store a verdict, once; without a score, return the task to the queue.

        Raises
        ------
        NotFoundError : no such task. ConflictError : its lease has expired and somebody else has claimed it.
        """
        now_us, cost = self._clock.now_us(), JudgeCost(calls=1, cost_usd=cost_usd)
        if score is None:  # the queue decides whether this was its last attempt
            judge = await self._store.give_back(
                task_id, lease, due_at_us=now_us, max_attempts=MANY, cost=cost, now_us=now_us
            )
            if judge is None:
                raise await self._lost(task_id)
            self._metrics.judging.count(judge, "failed", cost_usd)
            return {"task_id": task_id, "score": None, "duplicate": False}
        kept = await self._store.finish(
            task_id, lease, score=score, reason=reason[:MAX_REASON], cost=cost, now_us=now_us
        )
        duplicate = kept is None
        if kept is not None:
            self._metrics.judging.count(kept.judge, "judged", cost_usd)
        else:
            kept = await self._store.judgement_of_task(task_id)
        if kept is None:
            raise await self._lost(task_id)
        if duplicate and kept.score != score:
            raise ConflictError(
                f"task {task_id} has been judged: its score is {kept.score:g} and cannot change", code="TASK_JUDGED"
            )
        self._wake()
        return {"task_id": task_id, "score": kept.score, "duplicate": duplicate}

    def _client(self, judge: str) -> JudgeRule:
        rule = self._judges.get(judge)
        if rule is None:
            raise unknown_judge(judge, self._judges)
        if rule.kind != "client":
            raise ConflictError(
                f"judge {judge} is called by the daemon itself; only tasks of judges of kind client are leased",
                code="JUDGE_NOT_OF_CLIENTS",
                field="/judge",
            )
        return rule

    async def _lost(self, task_id: str) -> NotFoundError | ConflictError:
        if await self._store.has_task(task_id):
            return ConflictError(
                f"the lease of task {task_id} has expired, and somebody else may have the task; lease tasks again",
                code="TASK_LEASE_LOST",
                field="/lease",
            )
        return NotFoundError(
            f"no task {task_id}: it never existed here, or it waited too long and was deleted", code="TASK_NOT_FOUND"
        )


def judge_fields(
    judge: JudgeRule, account: JudgeAccount, standing: Standing, refusal: Refusal | None
) -> dict[str, object]:
    """A judge's state, except its queue, its day, its probes and its comparisons."""
    people = standing.people
    return {
        "judge": judge.name,
        "kind": judge.kind,
        "upstream": judge.upstream or None,
        "model": judge.model or None,
        "version": judge.version,
        "share": judge.share,
        "policies": sorted(judge.policies),
        "source": judge.source,
        "counts": refusal is None,
        "refused": None if refusal is None else {"at": iso_time(refusal.at_us), "reason": refusal.reason},
        "sampled": account.sampled,
        "judged": account.judged,
        "dropped": account.dropped,
        "failed": account.failed,
        "calls": account.cost.calls,
        "input_tokens": account.cost.input_tokens,
        "output_tokens": account.cost.output_tokens,
        "spend_usd": account.cost.cost_usd,
        "mean_score": standing.mean_score,
        "labels": standing.labels,
        "agreement": standing.agreement,
        "people": None
        if people is None
        else {"mean": people.mean, "interval": [people.low, people.high], "worth": people.worth},
        "labels_needed": FEWEST_LABELS,
        "favour": {"evidence": evidence_of(standing.test.log_evidence), "needed": 1.0 / ALPHA},
        "trust": trust_words(standing, None if refusal is None else refusal.reason),
        "by_arm": list(standing.by_arm),
        "words": _words(judge, account, standing, refusal),
    }


def _words(judge: JudgeRule, account: JudgeAccount, standing: Standing, refusal: Refusal | None) -> str:
    answers = "answer" if account.judged == 1 else "answers"
    done = f"{judge.name}: {account.judged:,} {answers} judged for {dollars_in_words(account.cost.cost_usd)}."
    if refusal is not None:
        return f"{done} Not trusted: {refusal.reason}. Its verdicts do not count as rewards."
    if standing.agreement is None:
        return f"{done} Its verdicts count; nobody has labelled any of these answers yet."
    agrees = f"It agrees with people on {standing.agreement:.0%} of {standing.labels:,} labelled answers"
    if standing.labels < FEWEST_LABELS:
        return f"{done} {agrees}: too few to tell whether it favours an arm. Its verdicts count."
    people = standing.people
    level = "" if people is None else f" People would give {people.mean:.2f} ({people.low:.2f} to {people.high:.2f})."
    return f"{done} {agrees} and favours no arm as far as they show. Its verdicts count.{level}"
