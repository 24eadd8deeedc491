"""Usage reports: what serving a decision really cost. One report per decision; an estimate gives way to it.

Money, tokens, latency and errors are counted for the arm that served, in the bucket of the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, not_, select

from banditd.core.errors import BanditdError, ConflictError, NotFoundError
from banditd.core.ids import lowest_id
from banditd.core.money import AccountKey
from banditd.core.types import Arm, Price, UsageReport, price_at
from banditd.storage import dialect
from banditd.storage.accounts import NO_CHARGES, Ledger, unpack_charges
from banditd.storage.arms import load_arms, load_prices
from banditd.storage.decisions import queue_decisions
from banditd.storage.engine import Database
from banditd.storage.keys import once_for_decision
from banditd.storage.schema import activation, decision, usage_report
from banditd.storage.sums import Increments, RowCounter, SumWriter, bucket_of

_USAGE_SUMS: Final = (
    "usage_reports",
    "input_tokens",
    "output_tokens",
    "latency_reports",
    "errors",
    "cached_input_tokens",
    "spend_usd",
    "latency_ms_sum",
)
_CLUSTER_SUMS: Final = ("latency_reports", "spend_usd", "latency_ms_sum")
_ID_SLACK_US: Final = 60_000_000

PriceCost = Callable[[Arm, UsageReport], float | None]
Answer = tuple[bool, float | None] | BanditdError


class UsageLog:
    """The usage half of ``ports.RewardLog``."""

    def __init__(self, database: Database, *, writer_name: str) -> None:
        self._database = database
        self._sums = SumWriter(database.engine, writer_name, _USAGE_SUMS, _CLUSTER_SUMS)
        self._rows = RowCounter(database.engine, writer_name)
        self._ledger = Ledger(database.engine)

    async def report(self, report: UsageReport, price_cost: PriceCost) -> tuple[bool, float | None]:
        if report.request_key is not None:
            return await self._database.write(lambda connection: self._report_once(connection, report, price_cost))
        answer: tuple[bool, float | None] = await self._database.write_batched(self._report, (report, price_cost))
        return answer

    def _report_once(self, connection: Connection, report: UsageReport, price_cost: PriceCost) -> Answer:
        return once_for_decision(
            connection,
            report.decision_id,
            report.request_key,
            report.received_at_us,
            lambda: self._report(connection, [(report, price_cost)])[0],
            pack=lambda answer: answer[1],
            again=lambda cost_usd: (True, cost_usd),
        )

    def _report(self, connection: Connection, payloads: Sequence[tuple[UsageReport, PriceCost]]) -> list[Answer]:
        ids = [report.decision_id for report, _ in payloads]
        decisions = _decisions(connection, ids)
        stored = _stored(connection, ids)
        served = {
            (decisions[r.decision_id].policy, r.served_arm or decisions[r.decision_id].arm)
            for r, _ in payloads
            if r.decision_id in decisions
        }
        arms = load_arms(connection, served)
        prices = load_prices(connection, served)
        increments = self._sums.start()
        changes: dict[AccountKey, float] = {}
        new: dict[str, dict[str, Any]] = {}
        replaced: list[str] = []
        answers: list[Answer] = []
        for report, price_cost in payloads:
            made = decisions.get(report.decision_id)
            before = stored.get(report.decision_id)
            answer = _judge(report, made, before, arms)
            if answer is not None or made is None:
                answers.append(answer or (False, None))
                continue
            row = _row(report, made, arms, prices, price_cost)
            _correct(changes, made, before, row)
            if before is not None:
                replaced.append(report.decision_id)
                _count(increments, made, before, -1)
            _count(increments, made, row, +1)
            stored[report.decision_id] = new[report.decision_id] = row
            answers.append((False, row["cost_usd"]))
        if new:
            if replaced:
                connection.execute(delete(usage_report).where(usage_report.c.decision_id.in_(replaced)))
            connection.execute(insert(usage_report), list(new.values()))
            self._sums.flush(connection, increments)
            self._rows.add(connection, "usage_report", len(new) - len(replaced))
            self._ledger.correct(connection, changes, max(report.received_at_us for report, _ in payloads))
            _queue_rerouted(connection, list(new.values()), decisions)
        return answers

    async def silent(self, policy: str, from_us: int, to_us: int, limit: int) -> list[tuple[str, str, float]]:
        made = _unreported(policy, limit).where(*_created(from_us, to_us), not_(decision.c.deferred))
        # What was never activated was never served.
        at_us = activation.c.activated_at_us
        activated = _unreported(policy, limit).where(activation.c.policy == policy, at_us >= from_us, at_us < to_us)

        def work(connection: Connection) -> list[tuple[str, str, float]]:
            found = [(row[0], row[1], row[2]) for row in connection.execute(made)]
            if len(found) < limit:
                found += [(row[0], row[1], row[2]) for row in connection.execute(activated)]
            return found[:limit]

        return await self._database.read(work)

    async def abandoned(self, policy: str, created_from_us: int, created_to_us: int, limit: int) -> list[str]:
        never = decision.c.deferred & activation.c.decision_id.is_(None) & (decision.c.charges != NO_CHARGES)
        query = _unreported(policy, limit).where(*_created(created_from_us, created_to_us), never)
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))

    async def charge_estimate(self, decision_ids: Sequence[str], at_us: int) -> int:
        return await self._database.write(lambda connection: self._presume(connection, decision_ids, at_us))

    async def release(self, decision_ids: Sequence[str], at_us: int) -> int:
        return await self._database.write(lambda connection: self._release(connection, decision_ids, at_us))

    def _release(self, connection: Connection, decision_ids: Sequence[str], at_us: int) -> int:
        # Locked as an activation locks it: one that comes now waits, and finds what is to be charged again.
        ids = sorted(set(decision_ids))
        locked = (
            select(decision.c.decision_id).where(decision.c.decision_id.in_(ids)).order_by(decision.c.decision_id)
        )
        connection.execute(dialect.lock_exclusive(self._database.engine, locked))
        served = select(activation.c.decision_id).where(activation.c.decision_id.in_(ids))
        active = set(connection.execute(served).scalars())
        return self._presume(connection, [one for one in decision_ids if one not in active], at_us, served=False)

    def _presume(
        self, connection: Connection, decision_ids: Sequence[str], at_us: int, *, served: bool = True
    ) -> int:
        """Settle decisions that nobody reported on: at their estimate, or at nothing when they never served."""
        decisions = _decisions(connection, decision_ids)
        stored = _stored(connection, decision_ids)
        increments = self._sums.start()
        changes: dict[AccountKey, float] = {}
        rows = []
        for decision_id, made in decisions.items():
            if decision_id in stored:
                continue
            cost_usd = made.predicted_cost_usd if served else 0.0
            report = UsageReport(decision_id=decision_id, cost_usd=cost_usd, received_at_us=at_us)
            row = _row(report, made, {}, {}, lambda _arm, _report: None) | {"estimated": True}
            _correct(changes, made, None, row)
            _count(increments, made, row, +1)
            rows.append(row)
        if rows:
            connection.execute(insert(usage_report), rows)
            self._sums.flush(connection, increments)
            self._rows.add(connection, "usage_report", len(rows))
            self._ledger.correct(connection, changes, at_us)
        return len(rows)


def _unreported(policy: str, limit: int) -> Select[Any]:
    """(decision_id, arm, predicted cost) of decisions without a usage report, oldest first."""
    c = decision.c
    return (
        select(c.decision_id, c.arm, c.predicted_cost_usd)
        .select_from(
            decision.outerjoin(usage_report, usage_report.c.decision_id == c.decision_id).outerjoin(
                activation, activation.c.decision_id == c.decision_id
            )
        )
        .where(c.policy == policy, usage_report.c.decision_id.is_(None))
        .order_by(c.decision_id)
        .limit(limit)
    )


def _created(from_us: int, to_us: int) -> tuple[ColumnElement[bool], ...]:
    c = decision.c
    return (
        c.created_at_us >= from_us,
        c.created_at_us < to_us,
        c.decision_id >= lowest_id(from_us - _ID_SLACK_US),
        c.decision_id < lowest_id(to_us + _ID_SLACK_US),
    )


def _decisions(connection: Connection, decision_ids: Sequence[str]) -> dict[str, Any]:
    c = decision.c
    query = select(
        c.decision_id, c.policy, c.arm, c.created_at_us, c.cluster, c.schema_hash, c.predicted_cost_usd, c.charges
    )
    rows = connection.execute(query.where(c.decision_id.in_(sorted(set(decision_ids)))))
    return {row.decision_id: row for row in rows}


def _stored(connection: Connection, decision_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    query = select(usage_report).where(usage_report.c.decision_id.in_(sorted(set(decision_ids))))
    return {row["decision_id"]: dict(row) for row in connection.execute(query).mappings()}


def _judge(
    report: UsageReport,
    made: Any,
    before: Mapping[str, Any] | None,
    arms: Mapping[tuple[str, str], Arm],
) -> Answer | None:
    """The answer where nothing is to be written, or None for a report that is to be stored."""
    if made is None:
        return NotFoundError(f"No decision {report.decision_id}.", code="DECISION_NOT_FOUND")
    if report.served_arm is not None and (made.policy, report.served_arm) not in arms:
        return NotFoundError(
            f"Policy {made.policy} has no arm {report.served_arm}.", code="ARM_UNKNOWN", field="/served_arm"
        )
    if before is None or before["estimated"]:
        return None
    if before["body_hash"] == report.body_hash:
        return (True, before["cost_usd"])
    return ConflictError(f"Decision {report.decision_id} has another usage report already.", code="USAGE_CONFLICT")


def _row(
    report: UsageReport,
    made: Any,
    arms: Mapping[tuple[str, str], Arm],
    prices: Mapping[tuple[str, str], Sequence[tuple[int, Price]]],
    price_cost: PriceCost,
) -> dict[str, Any]:
    server = report.served_arm or made.arm
    cost_usd = report.cost_usd
    arm = arms.get((made.policy, server))
    if cost_usd is None and arm is not None:
        history = prices.get((made.policy, server), ())
        cost_usd = price_cost(replace(arm, price=price_at(history, made.created_at_us) or arm.price), report)
    return {
        "decision_id": report.decision_id,
        "policy": made.policy,
        "arm": server,
        "served_arm": report.served_arm,
        "input_tokens": report.input_tokens,
        "output_tokens": report.output_tokens,
        "cached_input_tokens": report.cached_input_tokens,
        "cost_usd": None if cost_usd is None else float(cost_usd),
        "latency_ms": None if report.latency_ms is None else float(report.latency_ms),
        "error": report.error,
        "finish_reason": report.finish_reason,
        "estimated": False,
        "body_hash": report.body_hash,
        "received_at_us": report.received_at_us,
    }


def _correct(
    changes: dict[AccountKey, float], made: Any, before: Mapping[str, Any] | None, row: Mapping[str, Any]
) -> None:
    """Note by how much the accounts of a decision change: the estimate stood there, or what was reported before."""
    charged = before["cost_usd"] if before is not None else None
    charged = made.predicted_cost_usd if charged is None else charged
    cost = made.predicted_cost_usd if row["cost_usd"] is None else row["cost_usd"]
    for key in unpack_charges(made.policy, made.charges):
        changes[key] = changes.get(key, 0.0) + cost - charged


def _count(increments: Increments, made: Any, row: Mapping[str, Any], sign: int) -> None:
    """Add (or with -1 take back) one usage row. Order of the sums: ``_USAGE_SUMS``, ``_CLUSTER_SUMS``.

    A report without tokens and dollars leaves the estimate standing, here as on the accounts.
    """
    cost = sign * (made.predicted_cost_usd if row["cost_usd"] is None else row["cost_usd"])
    latency = sign * (row["latency_ms"] or 0.0)
    timed = sign * (row["latency_ms"] is not None)
    changes = (
        sign * (not row["estimated"]),
        sign * (row["input_tokens"] or 0),
        sign * (row["output_tokens"] or 0),
        timed,
        sign * (row["error"] is not None),
        sign * (row["cached_input_tokens"] or 0),
        cost,
        latency,
    )
    sums = increments.bucket(made.policy, bucket_of(made.created_at_us), row["arm"])
    for index, change in enumerate(changes):
        sums[index] += change
    sums = increments.cluster(made.policy, made.schema_hash, made.cluster, row["arm"])
    for index, change in enumerate((timed, cost, latency)):
        sums[index] += change


def _queue_rerouted(connection: Connection, rows: Sequence[Mapping[str, Any]], decisions: Mapping[str, Any]) -> None:
    """Where another arm served than was chosen, what was learned belongs to that one: fold again.

    Whether there is anything to fold is not asked: a reward that another replica commits just now is not seen here,
    nor is this report seen by its fold. A fold without rewards changes nothing.
    """
    rerouted = sorted(row["decision_id"] for row in rows if row["arm"] != decisions[row["decision_id"]].arm)
    if rerouted:
        found = [(decision_id, decisions[decision_id].policy) for decision_id in rerouted]
        queue_decisions(connection, found, max(row["received_at_us"] for row in rows))
