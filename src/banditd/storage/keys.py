"""Request keys: what each was used for, committed together with what it did.

A key's row is inserted in the transaction that it belongs to. Of two replicas that race on one key the primary key
refuses the second, whose transaction runs again and then finds the row of the first: so whatever breaks, either both
the deed and its key are there or neither. What was refused keeps no key: it may be tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, RowMapping, Select, bindparam, delete, insert, select, tuple_

from banditd.core.errors import BanditdError, ConflictError, DecisionDamagedError
from banditd.core.request_keys import RequestKey
from banditd.core.types import Decision
from banditd.ports import Committed
from banditd.storage.among import among, in_chunks, rows_among
from banditd.storage.checksum import is_damaged
from banditd.storage.schema import decision, idempotency_key
from banditd.storage.schema.record import decision_of

T = TypeVar("T")
Name = tuple[str, str, str, str]
"""(policy, name of the API key, operation, key): what one request, or one batch, is known by."""
_POLICY_OF: Final = select(decision.c.policy).where(decision.c.decision_id == bindparam("decision_id"))


def name_of(policy: str, key: RequestKey) -> Name:
    return policy, key.key_name, key.operation, key.key


def reused(key: RequestKey) -> ConflictError:
    return ConflictError(
        f"the Idempotency-Key {key.key!r} was used for another request; use a new key for a new request, "
        "and the same body to repeat one",
        code="IDEMPOTENCY_KEY_REUSED",
        field="Idempotency-Key",
    )


def once(
    connection: Connection,
    policy: str,
    key: RequestKey | None,
    at_us: int,
    work: Callable[[], T | BanditdError],
    *,
    pack: Callable[[T], object],
    again: Callable[[Any], T],
) -> T | BanditdError:
    """Do ``work`` and keep its answer under the key; or, where the key was used before, only give that answer again.

    pack, again : from the answer to the JSON that is kept of it, and from that to the answer of a repeat.
    """
    if key is None:
        return work()
    stored = _stored(connection, [name_of(policy, key)])
    for row in stored:
        if row.request_hash != key.request_hash:
            return reused(key)
        return again(json.loads(row.answer))
    made = work()
    if not isinstance(made, BanditdError):
        answer = json.dumps(pack(made), separators=(",", ":"))
        connection.execute(insert(idempotency_key), _row(policy, key, at_us) | {"answer": answer})
    return made


def once_for_decision(
    connection: Connection,
    decision_id: str,
    key: RequestKey | None,
    at_us: int,
    work: Callable[[], T | BanditdError],
    *,
    pack: Callable[[T], object],
    again: Callable[[Any], T],
) -> T | BanditdError:
    """``once`` for what is done to a decision: the key is one of its policy's."""
    policy = None
    if key is not None:
        policy = connection.execute(_POLICY_OF, {"decision_id": decision_id}).scalar_one_or_none()
    if policy is None:  # no key, or no such decision: ``work`` says so
        return work()
    return once(connection, policy, key, at_us, work, pack=pack, again=again)


def change_once(
    connection: Connection,
    decision_id: str,
    key: RequestKey | None,
    at_us: int,
    work: Callable[[], tuple[bool, bool] | BanditdError],
) -> tuple[bool, bool] | BanditdError:
    """``once`` for a change that ``work`` answers with (whether there was anything to change, False)."""
    return once_for_decision(
        connection,
        decision_id,
        key,
        at_us,
        work,
        pack=lambda answer: answer[0],
        again=lambda changed: (changed, True),
    )


# ---------------------------------------------------------------- decisions


def find_decisions(
    connection: Connection, keys: Sequence[tuple[str, RequestKey]]
) -> list[Decision | BanditdError | None]:
    """What each (policy, key) decided before, a conflict for another request, None for a new key."""
    held = _held(_stored(connection, [name_of(policy, key) for policy, key in keys]))
    claims = [_look(held, name_of(policy, key), key) for policy, key in keys]
    made = load_decisions(connection, [claim for claim in claims if isinstance(claim, str)])
    return [made.get(claim) if isinstance(claim, str) else claim for claim in claims]


def take_repeated(
    connection: Connection, batches: Sequence[Sequence[Decision]]
) -> tuple[Sequence[Sequence[Decision]], dict[str, Decision | BanditdError]]:
    """(the batches without decisions whose key was used before, what it was used for by the id of those).

    Of two in hand with the same key the first is made, and the other repeats it.
    """
    keyed = [made for batch in batches for made in batch if made.request_key is not None]
    if not keyed:
        return batches, {}
    held = _held(_stored(connection, [name_of(made.policy, made.request_key) for made in keyed if made.request_key]))
    first: dict[str, Decision] = {}
    repeated: dict[str, Decision | BanditdError] = {}
    waiting: dict[str, str] = {}
    for made in keyed:
        key = made.request_key
        if key is None:
            continue
        name = name_of(made.policy, key)
        found = _look(held, name, key)
        if found is None:
            held.setdefault(name, (key.request_hash, {}))[1][key.item] = made.decision_id
            first[made.decision_id] = made
        elif isinstance(found, BanditdError):
            repeated[made.decision_id] = found
        else:
            waiting[made.decision_id] = found
    stored = load_decisions(connection, [one for one in waiting.values() if one not in first])
    _forget(connection, waiting, first, stored)
    for made in keyed:
        found_id = waiting.get(made.decision_id)
        if found_id is None:
            continue
        before = first.get(found_id) or stored.get(found_id)
        if before is None:  # retention has taken what the key was used for: it is decided anew, once
            first[found_id] = made
        else:
            repeated[made.decision_id] = before
    kept = [[made for made in batch if made.decision_id not in repeated] for batch in batches]
    return kept, repeated


def _forget(
    connection: Connection, waiting: Mapping[str, str], first: Mapping[str, Decision], stored: Mapping[str, object]
) -> None:
    """Drop the keys of decisions that are gone."""
    gone = sorted({found for found in waiting.values() if found not in first and found not in stored})
    for chunk in in_chunks(gone):
        connection.execute(delete(idempotency_key).where(among(idempotency_key.c.decision_id)), chunk)


def with_repeated(
    batches: Sequence[Sequence[Decision]],
    answers: Sequence[Committed],
    repeated: Mapping[str, Decision | BanditdError],
) -> list[Committed]:
    """Each batch's answer, with what became of its decisions whose key was used before."""
    if not repeated:
        return list(answers)
    refused = {decision_id: account for answer in answers for decision_id, account in answer.refused.items()}
    whole = []
    for batch, answer in zip(batches, answers, strict=True):
        own_repeats = {made.decision_id: repeated[made.decision_id] for made in batch if made.decision_id in repeated}
        # The one in hand that it would repeat was refused itself: then this one was not made either.
        ids = {one: first.decision_id for one, first in own_repeats.items() if isinstance(first, Decision)}
        also = {one: refused[first] for one, first in ids.items() if first in refused}
        before = {one: _as_duplicate(first) for one, first in own_repeats.items() if one not in also}
        whole.append(Committed({**answer.refused, **also}, before, answer.accounts))
    return whole


def _as_duplicate(made: Decision | BanditdError) -> Decision | BanditdError:
    return made._replace(duplicate=True) if isinstance(made, Decision) else made


def keep_keys(connection: Connection, decisions: Sequence[Decision]) -> None:
    """Insert the keys of decisions that are being committed."""
    rows = [
        _row(made.policy, made.request_key, made.created_at_us) | {"decision_id": made.decision_id}
        for made in decisions
        if made.request_key is not None
    ]
    if rows:  # in one order, so that two replicas never wait for each other in a circle
        rows.sort(key=lambda row: tuple(row[column.name] for column in idempotency_key.primary_key.columns))
        connection.execute(insert(idempotency_key), rows)


def load_decisions(connection: Connection, decision_ids: Sequence[str]) -> dict[str, Decision | BanditdError]:
    """Decisions as they were answered, by id; an error instead of one whose row is damaged."""
    found: dict[str, Decision | BanditdError] = {}
    for chunk in in_chunks(sorted(set(decision_ids))):
        for row in connection.execute(_DECISIONS, chunk).mappings():
            found[row["decision_id"]] = _whole(row)
    return found


def forget_keys(connection: Connection, before_us: int, limit: int | None = None) -> int:
    """Drop keys of requests older than that, at most ``limit``, the oldest first. Returns how many."""
    c = idempotency_key.c
    names = tuple_(*idempotency_key.primary_key.columns)
    oldest = select(*idempotency_key.primary_key.columns).where(c.created_at_us < before_us)
    going = oldest.order_by(c.created_at_us).limit(limit)
    return connection.execute(delete(idempotency_key).where(names.in_(going))).rowcount


_Held = dict[Name, tuple[str, dict[int, str]]]
"""Per name the hash of its request and, by item, the decision that was made."""


def _held(rows: Sequence[Row[Any]]) -> _Held:
    held: _Held = {}
    for row in rows:
        name = (row.policy, row.key_name, row.operation, row.idempotency_key)
        held.setdefault(name, (row.request_hash, {}))[1][row.item] = row.decision_id
    return held


def _look(held: _Held, name: Name, key: RequestKey) -> str | BanditdError | None:
    if name not in held:
        return None
    request_hash, items = held[name]
    return items.get(key.item) if request_hash == key.request_hash else reused(key)


def _named() -> Select[Any]:
    c = idempotency_key.c
    return select(idempotency_key).where(among(c.policy, c.key_name, c.operation, c.idempotency_key))


_NAMED: Final = _named()
_DECISIONS: Final = select(decision).where(among(decision.c.decision_id))


def _stored(connection: Connection, names: Sequence[Name]) -> list[Row[Any]]:
    return list(rows_among(connection, _NAMED, sorted(set(names))))


def _row(policy: str, key: RequestKey, at_us: int) -> dict[str, object]:
    return {
        "policy": policy,
        "key_name": key.key_name,
        "operation": key.operation,
        "idempotency_key": key.key,
        "item": key.item,
        "request_hash": key.request_hash,
        "decision_id": None,
        "answer": None,
        "created_at_us": at_us,
    }


def _whole(row: RowMapping) -> Decision | BanditdError:
    if is_damaged(row):
        return DecisionDamagedError(row["decision_id"], "its checksum does not hold")
    try:
        return decision_of(row)._replace(duplicate=True)
    except (TypeError, ValueError) as error:
        return DecisionDamagedError(row["decision_id"], f"it cannot be read: {error}")
