"""Reading the decision log: one decision whole, pages, and the stream for export. Writes nothing.

Rows come back as plain dicts with vectors as lists; times stay integer microseconds.
"""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, select

from banditd.core.errors import DecisionDamagedError
from banditd.core.ids import end_id, first_id
from banditd.ports import DecisionFilter
from banditd.storage.arm_rewards import other_contributions
from banditd.storage.checksum import COLUMN, is_damaged
from banditd.storage.codec import pack_mapping, unpack_mapping
from banditd.storage.schema import (
    abandonment,
    activation,
    arm_reward,
    attempt,
    contribution,
    decision,
    reward_event,
    usage_report,
    usage_revision,
)
from banditd.storage.schema.log import request_log
from banditd.storage.schema.record import HEAVY, shown

OUTCOME_TYPES: Final = {
    "reward": "double",
    "reward_weight": "double",
    "spend_usd": "double",
    "served_arm": "string",
    "activated_at_us": "int64",
    "abandoned_at_us": "int64",
    "error": "string",
    "finish_reason": "string",
    "refusal": "bool",
    "output_tokens": "int64",
    "output_chars": "int64",
    "regenerated": "bool",
    "escalated": "bool",
    "escalated_to": "string",
    "attempts": "json",
    "arm_rewards": "json",
}
"""What is read beside a decision's own columns, and its Arrow type."""
_JOINED: Final = [
    request_log.c[name] for name in (
        "decision_id", "request_id", "trace_id", "release_side", "served_arm", "output_tokens", "output_chars",
        "error", "finish_reason", "refusal", "regenerated_from", "regenerated", "escalated_from", "escalated_to",
        "escalated", "judged_score",
    )
]  # fmt: skip
_EXPORTED: Final = frozenset({"regenerated_from", "escalated_from", *OUTCOME_TYPES}) - {"served_arm"}
_ATTEMPT_OURS: Final = frozenset({"decision_id", "policy", "ordinal", "told_cost_usd"})


def read_decision(connection: Connection, decision_id: str) -> dict[str, object] | None:
    row = connection.execute(_with_outcome(list(decision.columns), decision_id)).mappings().one_or_none()
    if row is None:
        return None
    whole = _whole(row)
    if "damage" in whole:
        raise DecisionDamagedError(decision_id, str(whole["damage"]))
    for name in ("reward", "reward_weight", "spend_usd", "served_arm"):
        whole.pop(name)
    events = [
        reward_row(event)
        for table in (reward_event, arm_reward)
        for event in connection.execute(select(table).where(table.c.decision_id == decision_id)).mappings()
    ]
    whole["rewards"] = sorted(events, key=itemgetter("received_at_us", "identity", "revision"))
    usage = connection.execute(select(usage_report).where(usage_report.c.decision_id == decision_id)).mappings()
    whole["usage"] = next(map(dict, usage), None)
    whole["request"] = _joined(connection, [decision_id]).get(decision_id)
    whole["usage_revisions"] = _revisions(connection, decision_id)
    whole["attempts"] = _attempts(connection, [decision_id]).get(decision_id, [])
    folded = connection.execute(select(contribution).where(contribution.c.decision_id == decision_id)).mappings()
    whole["contribution"] = next(map(dict, folded), None)
    whole["arm_rewards"] = _arm_rewards(connection, [decision_id]).get(decision_id, [])
    return whole


def read_page(connection: Connection, filters: DecisionFilter) -> list[dict[str, object]]:
    columns = [column for column in decision.columns if column.name not in HEAVY | {COLUMN}]
    query = _with_outcome(columns, None).where(*_conditions(filters))
    query = query.order_by(decision.c.decision_id.desc()).limit(filters.limit)
    return [_readable(row) for row in connection.execute(query).mappings()]


def read_search_end(connection: Connection, filters: DecisionFilter, rows: int) -> str | None:
    """The id ``rows`` decisions back, by the filters that an index serves: that index alone is read."""
    indexed = replace(filters, cluster=None, explored=None, text=None, tag=None)
    query = select(decision.c.decision_id).where(*_conditions(indexed)).order_by(decision.c.decision_id.desc())
    return connection.execute(query.limit(1).offset(rows - 1)).scalar()


def read_stream(connection: Connection, policy: str | None, after: str, batch_rows: int) -> list[dict[str, object]]:
    query = _with_outcome(list(decision.columns), None).where(decision.c.decision_id > after)
    if policy is not None:
        query = query.where(decision.c.policy == policy)
    query = query.order_by(decision.c.decision_id).limit(batch_rows)
    rows = [_whole(row) for row in connection.execute(query).mappings()]
    ids = [str(row["decision_id"]) for row in rows]
    attempts, others, joined = _attempts(connection, ids), _arm_rewards(connection, ids), _joined(connection, ids)
    return [
        row
        | {name: value for name, value in joined.get(one, {}).items() if name in _EXPORTED}
        | {"attempts": attempts.get(one, []), "arm_rewards": others.get(one, [])}
        for one, row in zip(ids, rows, strict=True)
    ]


def _joined(connection: Connection, decision_ids: list[str]) -> dict[str, dict[str, object]]:
    """What ``request_log`` says of decisions, but for what their own columns say."""
    query = select(*_JOINED).where(request_log.c.decision_id.in_(decision_ids))
    found = map(dict, connection.execute(query).mappings())
    return {str(row.pop("decision_id")): row for row in found}


def _arm_rewards(connection: Connection, decision_ids: list[str]) -> dict[str, list[dict[str, object]]]:
    """What was learned of arms that did not serve, merged and by arm; those without any are left out."""
    return {
        decision_id: [{"arm": put.arm, "reward": put.reward, "weight": put.weight} for put in puts.values()]
        for decision_id, puts in other_contributions(connection, decision_ids).items()
    }


def _attempts(connection: Connection, decision_ids: list[str]) -> dict[str, list[dict[str, object]]]:
    """The attempts of decisions, in order; those that tell of none are left out."""
    c = attempt.c
    query = select(attempt).where(c.decision_id.in_(decision_ids)).order_by(c.decision_id, c.ordinal)
    found: dict[str, list[dict[str, object]]] = {}
    for row in connection.execute(query).mappings():
        own_fields = {name: value for name, value in row.items() if name not in _ATTEMPT_OURS}
        found.setdefault(row["decision_id"], []).append(own_fields)
    return found


def _revisions(connection: Connection, decision_id: str) -> list[dict[str, object]]:
    """What usage reports said before later ones completed or corrected it, oldest first."""
    c = usage_revision.c
    query = select(c.revision, c.received_at_us, c.cost_usd, c.report).where(c.decision_id == decision_id)
    rows = connection.execute(query.order_by(c.revision)).mappings()
    return [{**row, "report": unpack_mapping(row["report"])} for row in rows]


def _whole(row: RowMapping) -> dict[str, object]:
    """The row, or its id and ``damage``, why it cannot be read."""
    if is_damaged(row):
        return {"decision_id": row["decision_id"], "damage": "its checksum does not hold"}
    return _readable(row)


def _readable(row: RowMapping) -> dict[str, object]:
    """The same where the checksum has been looked at, or costs too much to look at."""
    try:
        return _decode(row)
    except (TypeError, ValueError, OverflowError) as error:
        return {"decision_id": row["decision_id"], "damage": f"it cannot be read: {error}"}


def reward_row(row: RowMapping) -> dict[str, object]:
    event = dict(row)
    event["metadata"] = unpack_mapping(event["metadata"])
    return event


def _with_outcome(columns: list[Any], decision_id: str | None) -> Select[Any]:
    """The decision with its merged reward (as folded), spend, serving arm and activation."""
    query = select(
        *columns,
        contribution.c.reward.label("reward"),
        contribution.c.weight.label("reward_weight"),
        usage_report.c.cost_usd.label("spend_usd"),
        usage_report.c.served_arm.label("served_arm"),
        activation.c.activated_at_us.label("activated_at_us"),
        abandonment.c.abandoned_at_us.label("abandoned_at_us"),
    ).select_from(
        decision.outerjoin(contribution, contribution.c.decision_id == decision.c.decision_id)
        .outerjoin(usage_report, usage_report.c.decision_id == decision.c.decision_id)
        .outerjoin(activation, activation.c.decision_id == decision.c.decision_id)
        .outerjoin(abandonment, abandonment.c.decision_id == decision.c.decision_id)
    )
    return query if decision_id is None else query.where(decision.c.decision_id == decision_id)


def _conditions(filters: DecisionFilter) -> list[ColumnElement[bool]]:
    c = decision.c
    conditions = [
        column == wanted
        for column, wanted in (
            (c.policy, filters.policy),
            (c.arm, filters.arm),
            (c.session_id, filters.session_id),
            (c.reference, filters.reference),
            (c.request_id, filters.request_id),
            (c.trace_id, filters.trace_id),
            (c.task_id, filters.task_id),
            (c.cluster, filters.cluster),
            (c.explored, filters.explored),
        )
        if wanted is not None
    ]
    if filters.text is not None:
        conditions.append(c.input_text.icontains(filters.text, autoescape=True))
    if filters.tag is not None:
        conditions.append(_tagged(*filters.tag))
    if filters.since_us is not None:
        conditions += [
            c.created_at_us >= filters.since_us,
            c.decision_id >= first_id(filters.since_us),
        ]
    if filters.until_us is not None:
        conditions += [
            c.created_at_us < filters.until_us,
            c.decision_id < end_id(filters.until_us),
        ]
    if filters.before_id is not None:
        conditions.append(c.decision_id < filters.before_id)
    if filters.from_id is not None:
        conditions.append(c.decision_id >= filters.from_id)
    return conditions


def _tagged(name: str, value: str) -> ColumnElement[bool]:
    """Whether the stored tags have it. As text: a damaged row must not end the search, and case counts."""
    pair = pack_mapping({name: value})[1:-1]
    return func.replace(decision.c.tags, pair, "") != decision.c.tags


def _decode(row: RowMapping) -> dict[str, object]:
    found = shown(row)
    found.pop(COLUMN, None)
    return found
