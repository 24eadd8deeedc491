"""Usage reports: what serving a decision really cost. An estimate gives way to a report, a report to its revisions.

A report is merged into what is known (``core.usage``); in the same transaction the accounts and the sums move by the
difference. Money, tokens, latency and errors are counted for the arm that had them, in the bucket of the decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, insert, not_, select

from banditd.core.errors import BanditdError, InvalidInputError, NotFoundError
from banditd.core.ids import end_id, first_id
from banditd.core.money import AccountKey
from banditd.core.recipes import Recipe, in_its_run
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import UsageReport
from banditd.core.types import Arm
from banditd.core.usage import Settled, merged, normalised, repeated, says_the_same
from banditd.ports import PriceCost
from banditd.storage import dialect
from banditd.storage.abandonments import abandon, refusal_of
from banditd.storage.accounts import AccountCharges
from banditd.storage.arm_rewards import queue_rerouted
from banditd.storage.arms import load_arms, load_prices
from banditd.storage.codec import NO_CHARGES, unpack_charges
from banditd.storage.decisions import queue_decisions
from banditd.storage.engine import Database
from banditd.storage.keys import change_once, once_for_decision
from banditd.storage.schema import activation, decision, usage_report
from banditd.storage.sessions import hand_over
from banditd.storage.settling import Outcomes, count_settled, note_settled
from banditd.storage.sums import RowCounter, SumWriter
from banditd.storage.usage_rows import (
    USAGE_SUMS,
    Pricing,
    Row,
    charged_usd,
    count_row,
    keep_revisions,
    make_row,
    read_decisions,
    read_rows,
    report_of,
    write_rows,
)

CLUSTER_SUMS: Final = ("latency_reports", "spend_usd", "latency_ms_sum")

Answer = Settled | BanditdError


class UsageLog:
    """The usage half of ``ports.RewardLog``."""

    def __init__(self, database: Database, *, writer_name: str) -> None:
        self._database = database
        self._sums = SumWriter(database.engine, writer_name, USAGE_SUMS, CLUSTER_SUMS, kind="usage")
        self._rows = RowCounter(database.engine, writer_name)
        self._accounts = AccountCharges(database.engine)

    async def report(self, report: UsageReport, price_cost: PriceCost) -> Settled:
        if report.request_key is not None:
            return await self._database.write(lambda connection: self._report_once(connection, report, price_cost))
        answer: Settled = await self._database.write_batched(self._report, (report, price_cost))
        return answer

    def _report_once(self, connection: Connection, report: UsageReport, price_cost: PriceCost) -> Answer:
        return once_for_decision(
            connection,
            report.decision_id,
            report.request_key,
            report.received_at_us,
            lambda: self._report(connection, [(report, price_cost)])[0],
            pack=lambda settled: {"cost_usd": settled.cost_usd, "revision": settled.revision},
            again=lambda kept: repeated(report, **kept),
        )

    def _report(self, connection: Connection, payloads: Sequence[tuple[UsageReport, PriceCost]]) -> list[Answer]:
        ids = [report.decision_id for report, _ in payloads]
        # Locked first and looked at after: an abandonment that comes now either waits or is seen.
        stored = read_rows(connection, self._database.engine, ids)
        decisions = read_decisions(connection, ids)
        named = _named_arms(payloads, decisions, stored)
        arms, prices = load_arms(connection, named), load_prices(connection, named)
        increments = self._sums.start()
        outcomes, changes = Outcomes(), dict[AccountKey, float]()
        rows: dict[str, Row] = {}
        replaced: list[tuple[Row, UsageReport]] = []
        rerouted: set[str] = set()
        handed: dict[str, str] = {}
        answers: list[Answer] = []
        pricings: dict[PriceCost, Pricing] = {}
        for report, price_cost in payloads:
            made = decisions.get(report.decision_id)
            error = _refusal(report, made, arms)
            if error is not None or made is None:
                answers.append(error or NotFoundError(f"No decision {report.decision_id}."))
                continue
            recipe = _recipe(made, arms)
            before = rows.get(report.decision_id) or stored.get(report.decision_id)
            pricing = pricings.get(price_cost) or Pricing(arms, prices, price_cost)
            pricings[price_cost] = pricing
            settled, row = _settle(report if recipe is None else in_its_run(report, recipe), made, before, pricing)
            answers.append(settled)
            if settled.duplicate:
                continue
            if settled.before is not None and before is not None:
                replaced.append((before, settled.before))
            if before is not None:
                count_row(increments, made, before, -1)
            count_row(increments, made, row, +1)
            _correct(changes, made, before, row)
            note_settled(outcomes, made.policy, recipe, before, row)
            if row["arm"] != (made.arm if before is None else before["arm"]):
                rerouted.add(report.decision_id)
                if report.session_key is not None:
                    handed[report.decision_id] = report.session_key
            rows[report.decision_id] = row
        if rows:
            at_us = max(report.received_at_us for report, _ in payloads)
            keep_revisions(connection, replaced)
            new = write_rows(connection, list(rows.values()), stored)
            self._sums.flush(connection, increments)
            self._rows.add(connection, "usage_report", new)
            count_settled(connection, self._database.engine, self._sums.writer, outcomes)
            self._accounts.correct(connection, changes, at_us)
            # Whether there is anything to fold is not asked: a reward that another replica commits just now is not
            # seen here, nor is this report seen by its fold. A fold without rewards changes nothing.
            elsewhere = [(one, decisions[one].policy) for one in sorted(rerouted)]
            queue_decisions(connection, elsewhere, at_us)
            queue_rerouted(connection, elsewhere, at_us)
            for one, session_key in sorted(handed.items()):
                hand_over(connection, decisions[one].policy, session_key, one, rows[one]["arm"])
        return answers

    async def abandon(
        self, decision_id: str, at_us: int, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        return await self._database.write(
            lambda connection: change_once(
                connection, decision_id, key, at_us, lambda: self._abandon(connection, decision_id, at_us, owner)
            )
        )

    def _abandon(
        self, connection: Connection, decision_id: str, at_us: int, owner: str | None
    ) -> tuple[bool, bool] | BanditdError:
        """Mark a decision and take its estimate off every account; what was reported to be spent stays charged."""
        marked: bool | BanditdError = abandon(connection, self._database.engine, decision_id, at_us, owner)
        if isinstance(marked, BanditdError):
            return marked
        if not marked:
            return False, False
        before = read_rows(connection, self._database.engine, [decision_id]).get(decision_id)
        if before is None:
            self._presume(connection, [decision_id], at_us, served=False)
        elif before["estimated"] or before["cost_usd"] is None:  # a report without money left the estimate standing
            [made] = read_decisions(connection, [decision_id]).values()
            others_usd = before["attempts_usd"] or 0.0
            row = dict(before) | {"cost_usd": others_usd, "estimated": True, "received_at_us": at_us}
            increments, changes = self._sums.start(), dict[AccountKey, float]()
            count_row(increments, made, before, -1)
            count_row(increments, made, row, +1)
            _correct(changes, made, before, row)
            write_rows(connection, [row], {decision_id: before})
            self._sums.flush(connection, increments)
            self._accounts.correct(connection, changes, at_us)
        return True, False

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
        decisions = read_decisions(connection, decision_ids)
        stored = read_rows(connection, self._database.engine, decision_ids)
        increments = self._sums.start()
        changes: dict[AccountKey, float] = {}
        rows = []
        pricing = Pricing({}, {}, lambda _arm, _report: None)
        for decision_id, made in decisions.items():
            if decision_id in stored:
                continue
            cost_usd = made.predicted_cost_usd if served else 0.0
            report = UsageReport(decision_id=decision_id, cost_usd=cost_usd, received_at_us=at_us)
            row = make_row(report, made, pricing, 0) | {"estimated": True}
            _correct(changes, made, None, row)
            count_row(increments, made, row, +1)
            rows.append({name: value for name, value in row.items() if name != "attempts"})
        if rows:
            connection.execute(insert(usage_report), rows)
            self._sums.flush(connection, increments)
            self._rows.add(connection, "usage_report", len(rows))
            self._accounts.correct(connection, changes, at_us)
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
        c.decision_id >= first_id(from_us),
        c.decision_id < end_id(to_us),
    )


def _named_arms(
    payloads: Sequence[tuple[UsageReport, PriceCost]], decisions: Mapping[str, Any], stored: Mapping[str, Row]
) -> set[tuple[str, str]]:
    """(policy, arm) of everybody whose price may be asked for."""
    named = set()
    for report, _ in payloads:
        made = decisions.get(report.decision_id)
        if made is not None:
            before = stored.get(report.decision_id)
            arms = {made.arm, report.served_arm, *(one.arm for one in report.attempts)}
            if before is not None:
                arms |= {before["arm"], *(one["arm"] for one in before["attempts"])}
            named |= {(made.policy, arm) for arm in arms if arm is not None}
    return named


def _recipe(made: Any, arms: Mapping[tuple[str, str], Arm]) -> Recipe | None:
    """What the arm of a decision is made of; None of a model."""
    chosen = arms.get((made.policy, made.arm))
    return None if chosen is None else chosen.recipe


def _refusal(report: UsageReport, made: Any, arms: Mapping[tuple[str, str], Arm]) -> BanditdError | None:
    if made is None:
        return NotFoundError(f"No decision {report.decision_id}.", code="DECISION_NOT_FOUND")
    refused = refusal_of(report.decision_id, key_name=made.key_name, abandoned=made.abandoned, owner=report.owner)
    if refused is not None:
        return refused
    named = [("/served_arm", report.served_arm)]
    named += [(f"/attempts/{i}/arm", one.arm) for i, one in enumerate(report.attempts)]
    for field, arm in named:
        if arm is not None and (made.policy, arm) not in arms:
            return NotFoundError(f"Policy {made.policy} has no arm {arm}.", code="ARM_UNKNOWN", field=field)
    answered = [(f"/attempts/{i}/arm", one.arm) for i, one in enumerate(report.attempts) if one.error is None]
    if report.served_arm not in (None, made.arm):  # the chosen recipe has served, too
        answered.append(("/served_arm", report.served_arm))
    for field, arm in answered:
        recipe = arms[made.policy, arm].recipe
        if recipe is not None:
            return InvalidInputError(
                f"{arm} is a recipe, which no call can be made of: report the calls of {', '.join(recipe.parts)}",
                code="ARM_IS_RECIPE",
                field=field,
            )
    return None


def _settle(report: UsageReport, made: Any, row: Row | None, pricing: Pricing) -> tuple[Settled, dict[str, Any]]:
    """What a report makes of what is known, and the row to store (unless it is a duplicate)."""
    before = None if row is None or row["estimated"] else report_of(row, made, pricing)
    after = normalised(report, made.arm) if before is None else merged(before, report, made.arm)
    same = before is not None and says_the_same(before, after)
    revision = 0 if before is None or row is None else row["revision"] + (not same)
    new = make_row(after, made, pricing, revision) | {
        "body_hash": report.body_hash,
        "received_at_us": report.received_at_us,
    }
    settled = Settled(
        duplicate=same,
        cost_usd=row["cost_usd"] if same and row is not None else new["cost_usd"],
        revision=revision,
        policy=made.policy,
        chosen_arm=made.arm,
        arm=new["arm"],
        before=before,
        after=after,
        cost_before_usd=None if before is None or row is None else row["cost_usd"],
    )
    return settled, new


def _correct(changes: dict[AccountKey, float], made: Any, before: Row | None, row: Row) -> None:
    """Note by how much the accounts of a decision change: the estimate stood there, or what was reported before."""
    difference_usd = charged_usd(row, made) - charged_usd(before, made)
    for key in unpack_charges(made.policy, made.charges):
        changes[key] = changes.get(key, 0.0) + difference_usd
