"""The decision log: appending (the hot path), activation, sessions. Reading it back is ``log_reader.py``'s.

Every statement of ``append`` is compiled once and fed with tuples; a group of decisions is one statement
per table, whoever sent them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, column, delete, exists, insert, literal_column, or_, select, table, update

from banditd.core.errors import BanditdError, NotFoundError, StorageUnavailableError
from banditd.core.ids import new_id
from banditd.core.pace import Pace
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey
from banditd.core.types import Decision
from banditd.ports import Committed, DecisionFilter, SessionArm
from banditd.storage import dialect, driver_errors
from banditd.storage.abandonments import refusal_of
from banditd.storage.accounts import AccountCharges
from banditd.storage.arm_rewards import release_arms
from banditd.storage.codec import (
    unpack_charges,
)
from banditd.storage.engine import Database
from banditd.storage.journal import SumJournal
from banditd.storage.keys import change_once, find_decisions, keep_keys, take_repeated, with_repeated
from banditd.storage.log_reader import read_decision, read_page
from banditd.storage.packed import COLUMNS, Packed, pack
from banditd.storage.prepared import Prepared
from banditd.storage.references import find_references
from banditd.storage.schema import abandonment, activation, decision, fold_queue, reward_event, session, usage_report
from banditd.storage.sessions import SessionReader
from banditd.storage.sums import RowCounter

_CLOCK_SLACK_US: Final = 60_000_000
_SESSION_COLUMNS: Final = ("policy", "session_id", "arm", "decision_id", "updated_at_us")
# Columns in the order of the rows, which is not the table's.
_QUEUE: Final = insert(fold_queue)
_INSERT: Final = insert(table("decision", *(column(name, decision.c[name].type) for name in COLUMNS)))
_PACKED_AT_ONCE: Final = 64  # decisions; the event loop packs them


class SqlDecisionLog:
    """``ports.DecisionLog`` over one database."""

    def __init__(self, database: Database, journal: SumJournal, *, writer_name: str) -> None:
        engine = database.engine
        self._database = database
        self._insert = Prepared(engine, _INSERT, COLUMNS)
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

    async def append(self, decisions: Sequence[Decision], committing: Callable[[], None] | None = None) -> Committed:
        if not decisions:
            return Committed()
        try:
            packs = await self._packed(decisions)
            committed: Committed = await self._database.write_batched(
                self._append, packs, at_once=True, committing=committing
            )
        except StorageUnavailableError:
            raise
        except Exception as error:
            if len(decisions) == 1:
                translated = driver_errors.translate(error)
                if translated is error:
                    raise
                raise translated from error
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

    async def _packed(self, decisions: Sequence[Decision]) -> list[Packed]:
        packs, pace = [], Pace()
        for first in range(0, len(decisions), _PACKED_AT_ONCE):
            packs.append(pack(decisions[first : first + _PACKED_AT_ONCE], self._journal))
            await pace.step()
        return packs

    def _append(self, connection: Connection, packs_in_hand: Sequence[Sequence[Packed]]) -> list[Committed]:
        batches_in_hand = [[made for one in packs for made in one.decisions] for packs in packs_in_hand]
        batches, repeated = take_repeated(connection, batches_in_hand)
        made_by_batch, answers = self._charge(connection, batches)
        packs: list[Packed] = []
        for before, batch, made in zip(packs_in_hand, batches_in_hand, made_by_batch, strict=True):
            packs += before if len(made) == len(batch) else [pack(made, self._journal)]
        sessions = {key: row for one in packs for key, row in one.sessions.items()}  # of each the newest
        self._insert.run(connection, [row for one in packs for row in one.rows])
        self._journal.insert(connection, [one.entry for one in packs if one.entry is not None])
        self._session.run(connection, [sessions[key] for key in sorted(sessions)])
        keep_keys(connection, [made for batch in made_by_batch for made in batch])
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
            charged = {charge.key for made in batch for charge in made.charges}
            answers.append(Committed(full, accounts={key: accounts[key] for key in charged if key in accounts}))
        return kept, answers

    async def repeated(self, keys: Sequence[tuple[str, RequestKey]]) -> Sequence[Decision | BanditdError | None]:
        return await self._database.read(lambda connection: find_decisions(connection, keys))

    async def get(self, decision_id: str) -> Mapping[str, object] | None:
        return await self._database.read(lambda connection: read_decision(connection, decision_id))

    async def page(self, filters: DecisionFilter) -> Sequence[Mapping[str, object]]:
        return await self._database.read(lambda connection: read_page(connection, filters))

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
        return await self._database.write(
            lambda connection: change_once(
                connection, decision_id, key, at_us, lambda: self._activate(connection, decision_id, at_us, owner)
            )
        )

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
    rows = [(new_id(at_us), policy, decision_id, at_us) for decision_id, policy in decisions]
    Prepared(connection.engine, _QUEUE, ("queue_id", "policy", "decision_id", "enqueued_at_us")).run(connection, rows)
