"""The decision log: appending (the hot path), activation, sessions. Reading it back is ``log_reader.py``'s.

Every statement of ``append`` is compiled once and fed with tuples; a group of decisions is one statement
per table, whoever sent them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from math import log
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, insert, literal_column, or_, select, update

from banditd.core.errors import BanditdError, NotFoundError, StorageUnavailableError
from banditd.core.generations import learned_as
from banditd.core.ids import new_id
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey
from banditd.core.types import Decision
from banditd.ports import Committed, DecisionFilter, SessionArm
from banditd.storage import dialect
from banditd.storage.abandonments import refusal_of
from banditd.storage.accounts import AccountCharges
from banditd.storage.arm_rewards import release_arms
from banditd.storage.checksum import RowChecksum
from banditd.storage.codec import (
    unpack_charges,
)
from banditd.storage.engine import Database
from banditd.storage.journal import SumJournal
from banditd.storage.keys import find_decisions, keep_keys, once_for_decision, take_repeated, with_repeated
from banditd.storage.log_reader import OUTCOME_TYPES, read_decision, read_page, read_stream
from banditd.storage.prepared import Prepared
from banditd.storage.references import find_references
from banditd.storage.schema import abandonment, activation, decision, fold_queue, reward_event, session, usage_report
from banditd.storage.schema.record import ARROW_TYPES, rows_of
from banditd.storage.sessions import SessionReader
from banditd.storage.sums import Increments, RowCounter, Tags, bucket_of, tags_of

_COLUMNS: Final = tuple(column.name for column in decision.columns)
_checksum: Final = RowChecksum(_COLUMNS)
_CLOCK_SLACK_US: Final = 60_000_000
_SESSION_COLUMNS: Final = ("policy", "session_id", "arm", "decision_id", "updated_at_us")
_INSERT: Final = insert(decision)


_Fixed = dict[tuple[str, int, Tags, tuple[str, ...]], list[Any]]
"""(policy, bucket, tags, eligible arms) -> number of decisions, sum of their vectors of predicted cost."""


class SqlDecisionLog:
    """``ports.DecisionLog`` over one database."""

    def __init__(self, database: Database, journal: SumJournal, *, writer_name: str) -> None:
        engine = database.engine
        self._database = database
        self._insert = Prepared(engine, _INSERT, _COLUMNS)
        self._journal = journal
        self._rows = RowCounter(engine, writer_name)
        self._accounts = AccountCharges(engine)
        self._sessions = SessionReader(database)
        newer = dialect.insert_into(engine, session)
        self._session = Prepared(
            engine,
            newer.on_conflict_do_update(
                index_elements=["policy", "session_id"],
                set_={name: newer.excluded[name] for name in ("arm", "decision_id", "updated_at_us")},
                # A time that is far ahead came of a clock that was wrong: it must not hold the session's arm.
                where=or_(
                    session.c.updated_at_us <= newer.excluded.updated_at_us,
                    session.c.updated_at_us - newer.excluded.updated_at_us > literal_column(str(_CLOCK_SLACK_US)),
                ),
            ),
            _SESSION_COLUMNS,
        )

    columns: Final[Mapping[str, str]] = ARROW_TYPES | OUTCOME_TYPES

    async def append(self, decisions: Sequence[Decision]) -> Committed:
        if not decisions:
            return Committed()
        try:
            committed: Committed = await self._database.write_batched(self._append, decisions)
        except StorageUnavailableError:
            raise
        except Exception:
            if len(decisions) == 1:
                raise
            # Nothing of them is stored. One may hold what cannot be: the others do not share its fate.
            return await self._append_singly(decisions)
        return committed

    async def _append_singly(self, decisions: Sequence[Decision]) -> Committed:
        whole = Committed()
        for made in decisions:
            try:
                whole = whole.beside(await self.append([made]))
            except Exception as error:
                whole = whole.beside(Committed(failed={made.decision_id: error}))
        return whole

    def _append(self, connection: Connection, batches_in_hand: Sequence[Sequence[Decision]]) -> list[Committed]:
        batches, repeated = take_repeated(connection, batches_in_hand)
        made_by_batch, answers = self._charge(connection, batches)
        increments = self._journal.start()
        fixed: _Fixed = {}
        decisions = [made for batch in made_by_batch for made in batch]
        sessions: dict[tuple[str, str], tuple[Any, ...]] = {}
        for made in decisions:
            _count(made, increments, fixed)
            session_key = made.session_key or made.session_id
            if session_key is not None:
                # One row per session and statement; the last decision of the group is the newest.
                key = (made.policy, session_key)
                sessions[key] = (*key, made.arm, made.decision_id, made.created_at_us)
        _count_fixed(increments, fixed)
        self._insert.run(connection, [(*row, _checksum(row)) for row in rows_of(decisions)])
        if decisions:
            self._journal.enter(connection, increments, len(decisions), decisions[-1].created_at_us)
        self._session.run(connection, [sessions[key] for key in sorted(sessions)])
        keep_keys(connection, decisions)
        return with_repeated(batches_in_hand, answers, repeated)

    def _charge(
        self, connection: Connection, batches: Sequence[Sequence[Decision]]
    ) -> tuple[Sequence[Sequence[Decision]], list[Committed]]:
        """Charge the budgets: what may be stored of each batch, and its answer."""
        if not any(made.charges for batch in batches for made in batch):
            return batches, [Committed()] * len(batches)
        flat = [(made.created_at_us, made.charges) for batch in batches for made in batch]
        refused, accounts = self._accounts.charge(connection, flat)
        verdicts = iter(refused)
        kept, answers = [], []
        for batch in batches:
            full = {made.decision_id: account for made in batch if (account := next(verdicts)) is not None}
            kept.append([made for made in batch if made.decision_id not in full])
            mine = {charge.key for made in batch for charge in made.charges}
            answers.append(Committed(full, accounts={key: accounts[key] for key in mine if key in accounts}))
        return kept, answers

    async def repeated(self, keys: Sequence[tuple[str, RequestKey]]) -> Sequence[Decision | BanditdError | None]:
        return await self._database.read(lambda connection: find_decisions(connection, keys))

    async def get(self, decision_id: str) -> Mapping[str, object] | None:
        return await self._database.read(lambda connection: read_decision(connection, decision_id))

    async def page(self, filters: DecisionFilter) -> Sequence[Mapping[str, object]]:
        return await self._database.read(lambda connection: read_page(connection, filters))

    async def stream(self, policy: str | None, *, batch_rows: int = 1000) -> AsyncIterator[Mapping[str, object]]:
        last = ""
        while True:
            rows = await self._database.read(
                lambda connection, after=last: read_stream(connection, policy, after, batch_rows),  # type: ignore[misc]
                report=True,
            )
            for row in rows:
                yield row
            if len(rows) < batch_rows:
                return
            last = str(rows[-1]["decision_id"])

    async def session_arm(self, policy: str, session_id: str) -> str | None:
        found = await self._sessions.find(policy, session_id)
        return None if found is None else found.arm

    async def session(self, policy: str, session_id: str) -> SessionArm | None:
        return await self._sessions.find(policy, session_id)

    async def find_reference(self, reference: Reference) -> str | None:
        found = await self._database.read(lambda connection: find_references(connection, reference))
        return found[0][0] if found else None

    async def activate(
        self, decision_id: str, at_us: int, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        def work(connection: Connection) -> tuple[bool, bool] | BanditdError:
            return once_for_decision(
                connection,
                decision_id,
                key,
                at_us,
                lambda: self._activate(connection, decision_id, at_us, owner),
                pack=lambda answer: answer[0],
                again=lambda activated: (activated, True),
            )

        return await self._database.write(work)

    def _activate(
        self, connection: Connection, decision_id: str, at_us: int, owner: str | None
    ) -> tuple[bool, bool] | BanditdError:
        # The lock keeps a reward that is being judged as held out of the gap between here and the update.
        found = connection.execute(
            dialect.lock_exclusive(
                self._database.engine,
                select(decision.c.policy, decision.c.deferred, decision.c.key_name).where(
                    decision.c.decision_id == decision_id
                ),
            )
        ).one_or_none()
        if found is None:
            return NotFoundError(f"No decision {decision_id}.", code="DECISION_NOT_FOUND")
        marked = select(exists().where(abandonment.c.decision_id == decision_id))
        abandoned = bool(connection.execute(marked).scalar())
        refused = refusal_of(decision_id, key_name=found.key_name, abandoned=abandoned, owner=owner)
        if refused is not None:
            return refused
        if not found.deferred:
            return False, False
        if connection.execute(select(exists().where(activation.c.decision_id == decision_id))).scalar():
            return False, False
        connection.execute(
            insert(activation), {"decision_id": decision_id, "policy": found.policy, "activated_at_us": at_us}
        )
        held = (reward_event.c.decision_id == decision_id) & (reward_event.c.status == "held")
        released = connection.execute(update(reward_event).where(held).values(status="recorded")).rowcount
        if released:
            queue_decisions(connection, [(decision_id, found.policy)], at_us)
        release_arms(connection, decision_id, found.policy, at_us)
        self._charge_again(connection, decision_id, at_us)
        return True, False

    def _charge_again(self, connection: Connection, decision_id: str, at_us: int) -> None:
        """Where it was taken for abandoned: its estimate counts again, and its usage is waited for."""
        abandoned = (usage_report.c.decision_id == decision_id) & usage_report.c.estimated
        settled = connection.execute(delete(usage_report).where(abandoned).returning(usage_report.c.cost_usd))
        released_usd = settled.scalar_one_or_none()
        if released_usd is None:
            return
        self._rows.add(connection, "usage_report", -1)
        c = decision.c
        made = connection.execute(
            select(c.policy, c.predicted_cost_usd, c.charges).where(c.decision_id == decision_id)
        ).one()
        owed_usd = made.predicted_cost_usd - released_usd
        self._accounts.correct(connection, dict.fromkeys(unpack_charges(made.policy, made.charges), owed_usd), at_us)


def queue_decisions(connection: Connection, decisions: Sequence[tuple[str, str]], at_us: int) -> None:
    """Put (decision_id, policy) pairs into the learner's queue."""
    if decisions:
        connection.execute(
            insert(fold_queue),
            [
                {
                    "queue_id": new_id(at_us),
                    "policy": policy,
                    "decision_id": decision_id,
                    "enqueued_at_us": at_us,
                }
                for decision_id, policy in decisions
            ],
        )


def _count(made: Decision, increments: Increments, fixed: _Fixed) -> None:
    """Collect the increments of one decision.

    Order of the sums: ``journal.COUNTED_SUMS``. What every eligible arm would have cost goes to ``fixed``. What a
    promise gives to its baseline is not greedy, but nothing is tried by it.
    """
    policy, chosen = made.policy, _learned(made, made.arm)
    arms = made.arms if not made.generations else tuple(_learned(made, arm) for arm in made.arms)
    bucket, tags = bucket_of(made.created_at_us), tags_of(made.tags)
    increments = increments.of(policy, bucket, tags)
    eligible = fixed.get((policy, bucket, tags, arms))
    if eligible is None:
        fixed[policy, bucket, tags, arms] = [1, made.cost_usd]
    else:
        eligible[0] += 1
        eligible[1] = eligible[1] + made.cost_usd
    for arm, unaffordable_usd in made.unaffordable_usd.items():
        sums = increments.bucket(policy, bucket, _learned(made, arm))
        sums[3] += 1
        sums[8] += unaffordable_usd
    sums = increments.bucket(policy, bucket, chosen)
    sums[0] += 1
    if made.explored:
        sums[1] += 1
        best, drawn = int((made.mean - made.penalty).argmax()), made.arms.index(made.arm)
        increments.bucket(policy, bucket, arms[best])[2] += 1
        if made.arm != made.baseline:
            sums[5] += 1
            sums[9] += float(made.cost_usd[drawn] - made.cost_usd[best])
            sums[10] += float(made.mean[best] - made.mean[drawn])
    else:
        sums[2] += 1
    sums[6] -= sum([p * log(p) for p in made.probability.tolist() if p > 0.0])
    sums[7] += made.predicted_cost_usd
    if made.degraded is not None:
        sums[4] += 1
    increments.cluster(policy, made.schema_hash, made.context.cluster, chosen)[0] += 1


def _learned(made: Decision, arm: str) -> str:
    return learned_as(arm, made.generations.get(arm, 1)) if made.generations else arm


def _count_fixed(increments: Increments, fixed: _Fixed) -> None:
    for (policy, bucket, tags, arms), (times, cost_usd) in fixed.items():
        part = increments.of(policy, bucket, tags)
        for arm, cost in zip(arms, cost_usd.tolist(), strict=True):
            sums = part.bucket(policy, bucket, arm)
            sums[3] += times
            sums[8] += cost
