"""The reward log: judging, inserting, finding. Usage reports are ``usage.py``'s; learning is not here.

A reward is inserted once per (identity, revision); the unique constraint decides races between replicas,
and the loser is judged again with the winner's row in sight.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table, and_, exists, insert, not_, or_, select

from banditd.core.errors import BanditdError
from banditd.core.ids import new_id
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import OF_TASK, RewardReceipt, RewardSubmission, TaskName, TaskReceipt, UsageReport
from banditd.core.usage import Settled
from banditd.ports import DecisionFacts, Judge, PriceCost, StoredReward, Verdict
from banditd.storage import dialect
from banditd.storage.abandonments import is_abandoned
from banditd.storage.among import among, in_chunks
from banditd.storage.arm_rewards import queue_arms, with_arms
from banditd.storage.codec import pack_mapping
from banditd.storage.decisions import queue_decisions
from banditd.storage.engine import Database
from banditd.storage.log_reader import reward_row
from banditd.storage.prepared import Prepared
from banditd.storage.reward_identities import Identities, resolved
from banditd.storage.schema import activation, arm_reward, decision, reward_event, usage_report
from banditd.storage.sums import RowCounter
from banditd.storage.task_rewards import reward_task
from banditd.storage.usage import UsageLog

_EVENT: Final = (
    "reward_id", "decision_id", "policy", "identity", "revision", "keyed", "kind", "status", "metric", "source",
    "value", "reward", "noise_variance", "late", "metadata", "body_hash", "received_at_us", "arm",
)  # fmt: skip

Answer = RewardReceipt | BanditdError


class SqlRewardLog:
    """``ports.RewardLog`` over one database."""

    def __init__(self, database: Database, *, writer_name: str) -> None:
        self._database = database
        self._usage = UsageLog(database, writer_name=writer_name)
        self._rows = RowCounter(database.engine, writer_name)
        self._insert = Prepared(database.engine, insert(reward_event), _EVENT)
        ordered = select(decision.c.decision_id).where(among(decision.c.decision_id)).order_by("decision_id")
        self._lock = dialect.lock_shared(database.engine, ordered)
        self._lock_named = dialect.lock_exclusive(database.engine, ordered)

    async def record(self, submissions: Sequence[RewardSubmission], judge: Judge) -> list[Answer]:
        if not submissions:
            return []
        answers: list[Answer] = await self._database.write_batched(self._record, (submissions, judge))
        return answers

    async def reward_task(
        self, task: TaskName, submission: RewardSubmission, judge: Judge, key: RequestKey | None
    ) -> TaskReceipt:
        def work(connection: Connection) -> TaskReceipt | BanditdError:
            def record(shares: Sequence[RewardSubmission]) -> list[Answer]:
                [answers] = self._record(connection, [(shares, judge)])
                return answers

            return reward_task(connection, task, submission, key, record)

        return await self._database.write(work)

    def _record(
        self, connection: Connection, batches: Sequence[tuple[Sequence[RewardSubmission], Judge]]
    ) -> list[list[Answer]]:
        batches = [(resolved(connection, submissions), judge) for submissions, judge in batches]
        everything = [submission for submissions, _ in batches for submission in submissions]
        named = {submission.decision_id for submission in everything if submission.arm is not None}
        facts = self._facts(connection, {submission.decision_id for submission in everything}, named)
        identities = Identities(connection, everything, facts)
        newest = identities.newest
        events: dict[bool, list[dict[str, Any]]] = {False: [], True: []}  # by whether they are kept apart
        answers: list[list[Answer]] = []
        for submissions, judge in batches:
            batch: list[Answer] = []
            for submission in submissions:
                known = facts.get(submission.decision_id)
                identity, apart = identities.of(submission, known)
                verdict = judge(submission, known, newest.get(identity))
                if verdict.error is None and verdict.duplicate_of is None and known is not None:
                    event = _event(submission, verdict, known) | {"identity": identity}
                    if apart and identity in newest:
                        event["arm"] = newest[identity].arm  # one that is taken back by its id names none
                    elif submission.steps:
                        event["arm"] = known.arm  # for readers; it teaches whoever has served
                    events[apart].append(event)
                    newest[identity] = _stored(event, apart=apart)
                    batch.append(_receipt(newest[identity], duplicate=False))
                else:
                    batch.append(_answer(verdict))
            answers.append(batch)
        if events[False]:
            self._insert.run(connection, [tuple(event[name] for name in _EVENT) for event in events[False]])
            queue_decisions(connection, *_learned(events[False]))
            self._rows.add(connection, "reward_event", len(events[False]))
        if events[True]:
            connection.execute(insert(arm_reward), events[True])
            queue_arms(connection, *_learned(events[True]))
        return answers

    def _facts(
        self, connection: Connection, decision_ids: Iterable[str], named: Collection[str]
    ) -> dict[str, DecisionFacts]:
        """Of those that are ``named``, since a reward names an arm of theirs, also their arms and who served them."""
        found: dict[str, DecisionFacts] = {}
        for chunk in in_chunks(sorted(decision_ids)):
            # No decision may be activated or abandoned between this look and our commit. The lock is the one that
            # the foreign key of the event takes anyway; where an arm is named nobody else may, on another replica,
            # find meanwhile that it has served and store the same words as the decision's own.
            lock = self._lock_named if named else self._lock
            if lock is not None:
                connection.execute(lock, chunk)
            for row in connection.execute(_FACTS, chunk).mappings():
                found[row["decision_id"]] = DecisionFacts(**row)
        return with_arms(connection, found, named)

    async def find(self, reward_id: str) -> Mapping[str, object] | None:
        def work(connection: Connection) -> dict[str, object] | None:
            for table in (reward_event, arm_reward):
                row = connection.execute(select(table).where(table.c.reward_id == reward_id)).mappings().one_or_none()
                if row is not None:
                    return reward_row(row)
            return None

        return await self._database.read(work)

    async def unrewarded(
        self, policy: str, expired_from_us: int, expired_to_us: int, limit: int
    ) -> list[DecisionFacts]:
        expires_at_us, activated_at_us = decision.c.expires_at_us, activation.c.activated_at_us
        query = _unrewarded_query(policy).order_by(expires_at_us).limit(limit)
        closed = query.where(
            expires_at_us > expired_from_us,
            expires_at_us <= expired_to_us,
            or_(not_(decision.c.deferred), activation.c.decision_id.is_not(None)),
        )
        # Activated when the window had closed: whoever looked then has passed it over.
        activated = query.where(
            activation.c.policy == policy,
            activated_at_us > expired_from_us,
            activated_at_us <= expired_to_us,
            expires_at_us <= expired_from_us,
        )

        def work(connection: Connection) -> list[DecisionFacts]:
            found = [DecisionFacts(**row) for row in connection.execute(closed).mappings()]
            if len(found) < limit:
                found += [DecisionFacts(**row) for row in connection.execute(activated).mappings()]
            return found[:limit]

        return await self._database.read(work)

    async def report_usage(self, report: UsageReport, price_cost: PriceCost) -> Settled:
        return await self._usage.report(report, price_cost)

    async def abandon(
        self, decision_id: str, at_us: int, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        return await self._usage.abandon(decision_id, at_us, key, owner)

    async def silent_usage(self, policy: str, from_us: int, to_us: int, limit: int) -> list[tuple[str, str, float]]:
        return await self._usage.silent(policy, from_us, to_us, limit)

    async def charge_estimate(self, decision_ids: Sequence[str], at_us: int) -> int:
        return await self._usage.charge_estimate(decision_ids, at_us)

    async def abandoned(self, policy: str, created_from_us: int, created_to_us: int, limit: int) -> list[str]:
        return await self._usage.abandoned(policy, created_from_us, created_to_us, limit)

    async def release(self, decision_ids: Sequence[str], at_us: int) -> int:
        return await self._usage.release(decision_ids, at_us)


def _unrewarded_query(policy: str) -> Select[Any]:
    return _facts_query().where(
        decision.c.policy == policy,
        not_(_has_reward(reward_event)),
        not_(_has_reward(arm_reward, OF_TASK)),
        not_(is_abandoned()),
        # A call that failed says nothing of the arm's quality, not even by default.
        not_(exists().where(_of_decision(usage_report), usage_report.c.error.is_not(None))),
    )


def _has_reward(table: Table, kind: str | None = None) -> ColumnElement[bool]:
    """A reward (of that kind) stands that may be learned, or the default was given once: taken back, it does not come
    again.

    What is only logged is no reward, and neither is one that was retracted (the rule of ``folds._active_events``).
    """
    event, later = table.alias(), table.alias()
    retracted = exists().where(
        later.c.identity == event.c.identity,
        later.c.revision > event.c.revision,
        later.c.status == "recorded",
        later.c.kind == "retraction",
    )
    alike = event.c.kind != "retraction" if kind is None else event.c.kind == kind
    stands = and_(event.c.status == "recorded", alike, not_(retracted))
    return exists().where(_of_decision(event), or_(event.c.kind == "default", stands))


def _of_decision(table: FromClause) -> ColumnElement[bool]:
    return table.c.decision_id == decision.c.decision_id


def _facts_query() -> Select[Any]:
    c = decision.c
    return select(
        c.decision_id,
        c.policy,
        c.arm,
        c.created_at_us,
        c.expires_at_us,
        c.deferred,
        activation.c.decision_id.is_not(None).label("activated"),
        c.key_name,
        is_abandoned().label("abandoned"),
    ).select_from(decision.outerjoin(activation, activation.c.decision_id == c.decision_id))


_FACTS: Final = _facts_query().where(among(decision.c.decision_id))


def _event(submission: RewardSubmission, verdict: Verdict, known: DecisionFacts) -> dict[str, Any]:
    return {
        "reward_id": new_id(submission.received_at_us),
        "decision_id": submission.decision_id,
        "policy": known.policy,
        "identity": submission.identity,
        "revision": verdict.revision,
        "keyed": submission.keyed,
        "kind": verdict.kind,
        "status": verdict.status,
        "metric": submission.metric,
        "source": submission.source,
        "value": None if submission.value is None else float(submission.value),
        "reward": None if verdict.reward is None else float(verdict.reward),
        "noise_variance": float(verdict.noise_variance),
        "late": verdict.late,
        "metadata": pack_mapping(submission.metadata),
        "body_hash": submission.body_hash,
        "received_at_us": submission.received_at_us,
        "arm": submission.arm,
    }


def _learned(events: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, str]], int]:
    """The decisions (id, policy) that these give something to learn, and when."""
    learned = {event["decision_id"]: event["policy"] for event in events if event["status"] == "recorded"}
    return list(learned.items()), max(event["received_at_us"] for event in events)


def _stored(event: Mapping[str, Any], *, apart: bool) -> StoredReward:
    return StoredReward(**{name: event[name] for name in StoredReward.__slots__ if name != "apart"}, apart=apart)


def _answer(verdict: Verdict) -> Answer:
    if verdict.error is not None:
        return verdict.error
    if verdict.duplicate_of is None:
        raise AssertionError("the judge let a reward of an unknown decision through")
    return _receipt(verdict.duplicate_of, duplicate=True)


def _receipt(stored: StoredReward, *, duplicate: bool) -> RewardReceipt:
    return RewardReceipt(
        reward_id=stored.reward_id,
        decision_id=stored.decision_id,
        status=stored.status,
        duplicate=duplicate,
        revision=stored.revision,
        reward=stored.reward,
        late=stored.late,
        arm=stored.arm if stored.apart else None,
    )
