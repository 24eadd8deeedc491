"""Under what a reward is stored, and what is stored there: the decision's own rewards, and those of other arms apart.

A retry must find its first try, whoever has served by now; so what is stored already says where a reward belongs, and
only a new one is judged by who serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, literal, select, union_all

from banditd.core.references import Reference
from banditd.core.rewards import RewardSubmission, source_identity
from banditd.core.types import DEFAULT_POLICY
from banditd.ports import DecisionFacts, StoredReward
from banditd.storage.among import among, rows_among
from banditd.storage.references import find_references
from banditd.storage.schema import arm_reward, reward_event


def resolved(connection: Connection, submissions: Sequence[RewardSubmission]) -> Sequence[RewardSubmission]:
    """Submissions by reference as submissions for the decision that it means now.

    A retry under a key is for the decision of its first try, whatever the reference means by now.
    """
    found: dict[Reference, list[tuple[str, str]]] = {}
    about = []
    for one in submissions:
        reference = one.reference
        if reference is None:
            about.append(one)
            continue
        if reference not in found:
            found[reference] = find_references(connection, reference)
        first = _first_try(connection, one, {policy for _, policy in found[reference]}) if one.keyed else None
        newest = found[reference][0][0] if found[reference] else ""
        about.append(one.about(newest if first is None else first))
    return about


def _first_try(connection: Connection, submission: RewardSubmission, policies: Iterable[str]) -> str | None:
    """The decision that the same submission was for when it came first, None for a new one."""
    known = _newest(connection, {_scoped(submission, policy) for policy in policies})
    return next((one.decision_id for one in known.values() if one.body_hash == submission.body_hash), None)


class Identities:
    """Under what each submission is stored, and what is stored there.

    A key is one of its API key and policy. Rows from before keys were scoped, and those without API keys under the
    default policy, have the key alone: such a row of the same decision is the one that is meant.
    """

    def __init__(
        self,
        connection: Connection,
        submissions: Sequence[RewardSubmission],
        facts: Mapping[str, DecisionFacts],
    ) -> None:
        names = {submission.identity for submission in submissions}
        names |= {_scoped(one, _policy(facts.get(one.decision_id))) for one in submissions}
        names |= {_as_own(one) for one in submissions if one.arm is not None and not one.keyed}
        self.newest = _newest(connection, names)

    def of(self, submission: RewardSubmission, known: DecisionFacts | None) -> tuple[str, bool]:
        """(identity, whether it is kept apart from the decision's own rewards)."""
        identity = self._keyed(submission, known) if submission.keyed else submission.identity
        stored = self.newest.get(identity)
        if stored is not None:
            return identity, stored.apart
        if submission.steps:
            return identity, True
        if submission.arm is None or known is None:
            return identity, False
        served = submission.arm == (known.served_arm or known.arm)
        if submission.keyed:
            return identity, not served
        own = self.newest.get(_as_own(submission))
        if served or (own is not None and own.arm == submission.arm):
            return _as_own(submission), False
        return identity, True

    def _keyed(self, submission: RewardSubmission, known: DecisionFacts | None) -> str:
        scoped = _scoped(submission, _policy(known))
        plain = self.newest.get(submission.identity)
        if scoped not in self.newest and plain is not None and plain.decision_id == submission.decision_id:
            return submission.identity
        return scoped


def _as_own(submission: RewardSubmission) -> str:
    """The identity of the same words about the answer that was served."""
    return source_identity(submission.decision_id, submission.metric, submission.source)


def _policy(known: DecisionFacts | None) -> str | None:
    return None if known is None else known.policy


def _scoped(submission: RewardSubmission, policy: str | None) -> str:
    """``key:<API key> <policy> <key>``: neither a policy nor a key has a space."""
    if submission.scope is None or policy is None or (not submission.scope and policy == DEFAULT_POLICY):
        return submission.identity
    return f"key:{submission.scope} {policy} {submission.identity.removeprefix('key:')}"


_STORED: Final = tuple(name for name in StoredReward.__slots__ if name != "apart")


def _under_names() -> Select[Any]:
    def under(table: Table, *, apart: bool) -> Select[Any]:
        columns = [table.c[name] for name in _STORED]
        query = select(*columns, table.c.identity, literal(int(apart)).label("apart"))
        return query.where(among(table.c.identity))

    both = union_all(under(arm_reward, apart=True), under(reward_event, apart=False)).subquery()
    # The decision's own last: a key that two replicas took at once for both is the own one's.
    return select(both).order_by(both.c.apart.desc(), both.c.revision)


_UNDER: Final = _under_names()


def _newest(connection: Connection, identities: Iterable[str]) -> dict[str, StoredReward]:
    found: dict[str, StoredReward] = {}
    for row in rows_among(connection, _UNDER, sorted(identities)):
        *stored, identity, apart = row
        found[identity] = StoredReward(**dict(zip(_STORED, stored, strict=True)), apart=bool(apart))
    return found
