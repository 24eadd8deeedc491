"""A usage report as rows and back: its own, those of its attempts, and what it replaced.

``cost_usd`` of a row is what the decision cost with all its attempts, ``attempts_usd`` of it is not the answer's. A
failed call that tells no figures cost nothing; an answer that tells none leaves the estimate standing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, Engine, delete, insert, select, update
from sqlalchemy import bindparam as parameter

from banditd.core.attempts import Attempt
from banditd.core.generations import learned_as
from banditd.core.rewards import UsageReport
from banditd.core.types import Arm, Price, price_at
from banditd.core.usage import main_attempt, normalised
from banditd.ports import PriceCost
from banditd.storage import dialect
from banditd.storage.abandonments import is_abandoned
from banditd.storage.codec import readable_tags, unpack_mapping, unpack_names, unpack_vector
from banditd.storage.like_with_like import figured_arm, main_place, served_as, would_have_cost_usd
from banditd.storage.schema import attempt, decision, usage_report, usage_revision
from banditd.storage.sums import Increments, bucket_of

USAGE_SUMS: Final = (
    "usage_reports",
    "input_tokens",
    "output_tokens",
    "latency_reports",
    "errors",
    "cached_input_tokens",
    "compared_decisions",
    "spend_usd",
    "latency_ms_sum",
    "compared_usd",
    "compared_fixed_usd",
)
COMPARED_PLACES: Final = (6, 9, 10)
_NO_FIGURES: Final = dict.fromkeys(("latency_ms", "input_tokens", "output_tokens", "cached_input_tokens"))
Row = Mapping[str, Any]
Arms = Mapping[tuple[str, str], Arm]
Prices = Mapping[tuple[str, str], Sequence[tuple[int, Price]]]
_REPORTED: Final = (
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "retry_after_s",
    "first_token_ms",
    "recipe",
)
_AS_REPORTED: Final = (
    "served_arm", "input_tokens", "output_tokens", "cached_input_tokens", "error", "finish_reason", "response_id",
    "refusal", "output_chars", "regenerated_from", "escalated_to", "body_hash", "received_at_us",
)  # fmt: skip
_ATTEMPT: Final = ("decision_id", "ordinal", "policy", "arm", "error", *_REPORTED, "cost_usd", "told_cost_usd")


class Pricing:
    """What calls cost at the prices in force when their decision was made."""

    def __init__(self, arms: Arms, prices: Prices, price_cost: PriceCost) -> None:
        self._arms, self._prices, self._price_cost = arms, prices, price_cost
        self._priced: dict[tuple[str, str], Arm] = {}  # as they were priced last: nearly always the same

    def cost_usd(self, policy: str, arm: str, at_us: int, report: UsageReport) -> float | None:
        """Dollars as told, else of the tokens; None where there is neither, or no such arm."""
        if report.cost_usd is not None:
            return float(report.cost_usd)
        found = self._arms.get((policy, arm))
        if found is None or found.recipe is not None:
            return None  # a recipe has no price: its calls have
        price = price_at(self._prices.get((policy, arm), ()), at_us) or found.price
        priced = self._priced.get((policy, arm), found)
        if priced.price != price:
            priced = replace(found, price=price)
        self._priced[policy, arm] = priced
        cost = self._price_cost(priced, report)
        return None if cost is None else float(cost)

    def of_attempt(self, made: Any, one: Attempt) -> float:
        """What one attempt cost; nothing where it tells no figures."""
        if not one.has_figures:
            return 0.0
        report = UsageReport(
            decision_id=made.decision_id,
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            cached_input_tokens=one.cached_input_tokens,
            cost_usd=one.cost_usd,
        )
        return self.cost_usd(made.policy, one.arm, made.created_at_us, report) or 0.0


def make_row(report: UsageReport, made: Any, pricing: Pricing, revision: int) -> dict[str, Any]:
    """The row of a normalised report; its attempts are under ``attempts``, which is no column."""
    server = report.served_arm or made.arm
    main = main_attempt(report.attempts) if report.attempts else -1
    attempts = [
        _attempt_row(made, i, one, 0.0 if i == main else pricing.of_attempt(made, one))
        for i, one in enumerate(report.attempts)
    ]
    # Figures are those of one attempt, and so is their price: an arm may fail in another's stead, too.
    priced = report.attempts[main].arm if attempts else server
    own = pricing.cost_usd(made.policy, priced, made.created_at_us, report)
    if own is None and report.error is not None:
        own = 0.0
    if attempts:
        attempts[main]["cost_usd"] = own
    others_usd = math.fsum(row["cost_usd"] for i, row in enumerate(attempts) if i != main)
    return {
        "decision_id": report.decision_id,
        "policy": made.policy,
        "arm": server,
        **{name: getattr(report, name) for name in _AS_REPORTED},
        "cost_usd": None if own is None else own + others_usd,
        "told_cost_usd": None if report.cost_usd is None else float(report.cost_usd),
        "attempts_usd": others_usd,
        "latency_ms": None if report.latency_ms is None else float(report.latency_ms),
        "estimated": False,
        "revision": revision,
        "attempts": attempts,
    }


def _attempt_row(made: Any, ordinal: int, one: Attempt, cost_usd: float) -> dict[str, Any]:
    row: dict[str, Any] = {"decision_id": made.decision_id, "ordinal": ordinal, "policy": made.policy}
    row |= {"arm": one.arm, "error": one.error, "cost_usd": cost_usd, "told_cost_usd": one.cost_usd}
    for name in _REPORTED:
        row[name] = getattr(one, name)
    return row


def report_of(row: Row, made: Any, pricing: Pricing) -> UsageReport:
    """What is known by a stored row, normalised."""
    reported_usd = row["told_cost_usd"]
    report = UsageReport(
        decision_id=row["decision_id"],
        cost_usd=reported_usd,
        latency_ms=row["latency_ms"],
        attempts=tuple(_attempt_of(one) for one in row["attempts"]),
        **{name: row[name] for name in _AS_REPORTED},
    )
    if reported_usd is None and row["cost_usd"] is not None and not row["revision"] and not row["attempts"]:
        # An older replica wrote it, perhaps: dollars that its tokens do not explain were told.
        priced = pricing.cost_usd(made.policy, row["arm"], made.created_at_us, report)
        priced = 0.0 if priced is None and report.error is not None else priced
        if priced is None or not math.isclose(priced, row["cost_usd"], rel_tol=1e-9, abs_tol=1e-15):
            report = report._replace(cost_usd=row["cost_usd"])
    return normalised(report, made.arm)


def _attempt_of(row: Row) -> Attempt:
    reported = {name: row[name] for name in _REPORTED}
    return Attempt(arm=row["arm"], error=row["error"], cost_usd=row["told_cost_usd"], **reported)


def charged_usd(row: Row | None, made: Any) -> float:
    """What stands on the accounts for a decision: what was reported, or its estimate."""
    if row is None:
        return float(made.predicted_cost_usd)
    if row["cost_usd"] is not None:
        return float(row["cost_usd"])
    return float(made.predicted_cost_usd + (row["attempts_usd"] or 0.0))


# ---------------------------------------------------------------- the database


# Composed once: every settlement reads and writes by them.
_IDS: Final[BindParameter[Any]] = parameter("ids", expanding=True)
_DECISIONS: Final = select(
    *(decision.c[name] for name in (
        "decision_id", "policy", "arm", "created_at_us", "cluster", "schema_hash", "predicted_cost_usd", "charges",
        "key_name", "generations", "tags", "arms", "cost_usd",
    )),
    is_abandoned().label("abandoned"),
).where(decision.c.decision_id.in_(_IDS))  # fmt: skip
_STORED: Final = select(usage_report).where(usage_report.c.decision_id.in_(_IDS)).order_by(usage_report.c.decision_id)
_ATTEMPTS: Final = (
    select(attempt).where(attempt.c.decision_id.in_(_IDS)).order_by(attempt.c.decision_id, attempt.c.ordinal)
)
_CHANGE: Final = update(usage_report).where(usage_report.c.decision_id == parameter("of_decision"))
_DROP_ATTEMPTS: Final = delete(attempt).where(attempt.c.decision_id.in_(_IDS))


def read_decisions(connection: Connection, decision_ids: Sequence[str]) -> dict[str, Any]:
    rows = connection.execute(_DECISIONS, {"ids": sorted(set(decision_ids))})
    return {row.decision_id: row for row in rows}


def read_rows(connection: Connection, engine: Engine, decision_ids: Sequence[str]) -> dict[str, Row]:
    """Stored reports with their attempts, locked: two replicas never settle the same difference."""
    found = connection.execute(dialect.lock_exclusive(engine, _STORED), {"ids": sorted(set(decision_ids))}).mappings()
    rows: dict[str, dict[str, Any]] = {row["decision_id"]: {**row, "attempts": []} for row in found}
    if rows:
        for one in connection.execute(_ATTEMPTS, {"ids": sorted(rows)}).mappings():
            rows[one["decision_id"]]["attempts"].append(dict(one))
    return dict(rows)


def write_rows(connection: Connection, rows: Sequence[Row], stored: Mapping[str, Row]) -> int:
    """Store rows, in place of those in ``stored``. Returns how many are new."""
    changed = [row for row in rows if row["decision_id"] in stored]
    new = [row for row in rows if row["decision_id"] not in stored]
    if new:
        connection.execute(insert(usage_report), [_columns(row) for row in new])
    if changed:
        values = [_columns(row) for row in changed]
        connection.execute(_CHANGE, [{"of_decision": one.pop("decision_id"), **one} for one in values])
        had = [row["decision_id"] for row in changed if stored[row["decision_id"]]["attempts"]]
        if had:
            connection.execute(_DROP_ATTEMPTS, {"ids": had})
    attempts = [{name: one[name] for name in _ATTEMPT} for row in rows for one in row["attempts"]]
    if attempts:
        connection.execute(insert(attempt), attempts)
    return len(new)


def keep_revisions(connection: Connection, replaced: Sequence[tuple[Row, UsageReport]]) -> None:
    """Keep what reports said that others have replaced."""
    if replaced:
        connection.execute(
            insert(usage_revision),
            [
                {
                    "decision_id": row["decision_id"],
                    "revision": row["revision"],
                    "policy": row["policy"],
                    "cost_usd": row["cost_usd"],
                    "report": _text(report),
                    "received_at_us": row["received_at_us"],
                }
                for row, report in replaced
            ],
        )


def _columns(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "attempts"}


def _text(report: UsageReport) -> str:
    ours = {"decision_id", "body_hash", "received_at_us", "request_key", "session_key"}
    stated = {name: value for name, value in report._asdict().items() if name not in ours and value not in (None, ())}
    if "attempts" in stated:
        stated["attempts"] = [{k: v for k, v in one._asdict().items() if v is not None} for one in report.attempts]
    return json.dumps(stated, separators=(",", ":"), ensure_ascii=False)


def count_row(increments: Increments, made: Any, row: Row, sign: int) -> None:
    """Add (or with -1 take back) one usage row to the sums: ``USAGE_SUMS``, ``usage.CLUSTER_SUMS``.

    An answer without tokens and dollars leaves the estimate standing, here as on the accounts. Attempts beside it
    are counted for their own arms, and those of a recipe's run for the recipe.
    """
    increments = increments.of(made.policy, bucket_of(made.created_at_us), readable_tags(made.tags))
    _compare(increments, made, row, sign)
    own_usd = charged_usd(row, made) - (row["attempts_usd"] or 0.0)
    _count(increments, made, figured_arm(row), row, own_usd, sign, reports=not row["estimated"])
    main = main_place(row)
    for ordinal, one in enumerate(row["attempts"]):
        if ordinal == main:
            continue
        failed = {"error": None} if one["recipe"] else {}  # that is its arm's, and the recipe has not failed by it
        _count(increments, made, served_as(one), {**one, "latency_ms": None, **failed}, one["cost_usd"], sign)
        if one["recipe"] and one["error"] is not None:
            _count(increments, made, one["arm"], {**_NO_FIGURES, "error": one["error"]}, 0.0, sign)


def _count(
    increments: Increments, made: Any, arm: str, row: Row, cost_usd: float, sign: int, *, reports: bool = False
) -> None:
    arm = learned_as(arm, unpack_mapping(made.generations).get(arm, 1))
    latency = sign * (row["latency_ms"] or 0.0)
    timed = sign * (row["latency_ms"] is not None)
    changes = (
        sign * reports,
        sign * (row["input_tokens"] or 0),
        sign * (row["output_tokens"] or 0),
        timed,
        sign * (row["error"] is not None),
        sign * (row["cached_input_tokens"] or 0),
        0,
        sign * cost_usd,
        latency,
    )
    sums = increments.bucket(made.policy, bucket_of(made.created_at_us), arm)
    for index, change in enumerate(changes):
        sums[index] += change
    sums = increments.cluster(made.policy, made.schema_hash, made.cluster, arm)
    for index, change in enumerate((timed, sign * cost_usd, latency)):
        sums[index] += change


def _compare(increments: Increments, made: Any, row: Row, sign: int) -> None:
    """What a decision cost, beside what every arm listed for it would have (``would_have_cost_usd``).

    One that never served is in neither: it was settled at nothing, and no arm would have cost anything.
    """
    if row["estimated"] and not row["cost_usd"] and made.predicted_cost_usd > 0.0:
        return
    try:
        arms, predicted_usd = unpack_names(made.arms), unpack_vector(made.cost_usd)
    except (TypeError, ValueError):  # a damaged row: its usage is settled, it compares with nothing
        return
    spent_usd, generations = charged_usd(row, made), unpack_mapping(made.generations)
    would_usd = would_have_cost_usd(dict(zip(arms, predicted_usd, strict=False)), made.arm, row, spent_usd)
    bucket = bucket_of(made.created_at_us)
    for arm, cost_usd in would_usd.items():
        sums = increments.bucket(made.policy, bucket, learned_as(arm, generations.get(arm, 1)))
        sums[COMPARED_PLACES[0]] += sign
        sums[COMPARED_PLACES[1]] += sign * spent_usd
        sums[COMPARED_PLACES[2]] += sign * cost_usd
