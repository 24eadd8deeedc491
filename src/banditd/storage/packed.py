"""What a commit of decisions writes, made before the writer has it: their rows, and what the counters gain.

The writer shares the interpreter with the event loop, and whatever it does in Python the two take from each other. So
rows and counters are made where the decisions have just been made, and the writer only hands them to the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from operator import mul
from typing import Any, Final, NamedTuple, cast

from banditd.core.generations import learned_as
from banditd.core.types import Decision, FloatArray
from banditd.storage.checksum import COLUMN, RowChecksum
from banditd.storage.journal import Entry, SumJournal
from banditd.storage.schema.record import ROW_COLUMNS, rows_of
from banditd.storage.sums import Increments, bucket_of, tags_of

COLUMNS: Final = (*ROW_COLUMNS, COLUMN)
_checksum: Final = RowChecksum(COLUMNS)


class Packed(NamedTuple):
    """Some decisions and what storing them writes.

    rows : of the table ``decision``, in the order of ``COLUMNS``. entry : what the counters gain, None without
    decisions. sessions : by (policy, session) a row of the table ``session``, of its newest decision.
    """

    decisions: Sequence[Decision]
    rows: list[tuple[Any, ...]]
    entry: Entry | None
    sessions: dict[tuple[str, str], tuple[Any, ...]]


def pack(decisions: Sequence[Decision], journal: SumJournal) -> Packed:
    """What storing these decisions writes."""
    if not decisions:
        return Packed((), [], None, {})
    sessions: dict[tuple[str, str], tuple[Any, ...]] = {}
    increments = journal.start()
    groups: dict[tuple[Any, ...], _Alike] = {}
    for made in decisions:
        arms = made.arms if not made.generations else tuple(_learned(made, arm) for arm in made.arms)
        bucket, tags = bucket_of(made.created_at_us), tags_of(made.tags)
        key = made.policy, bucket, tags, arms
        alike = groups.get(key)
        if alike is None:
            alike = groups[key] = _Alike(increments.of(made.policy, bucket, tags), made.policy, bucket, arms)
        alike.count(made)
        session_key = made.session_key or made.session_id
        if session_key is not None:
            of_session = (made.policy, session_key)
            sessions[of_session] = (*of_session, made.arm, made.decision_id, made.created_at_us)
    for alike in groups.values():
        alike.finish()
    rows = [(*row, _checksum(row)) for row in rows_of(decisions)]
    entry = journal.entry(increments, len(decisions), decisions[-1].created_at_us)
    return Packed(decisions, rows, entry, sessions)


class _Alike:
    """Collects what decisions of the same policy, bucket, tags and eligible arms add to the counters.

    Order of the sums: ``journal.COUNTED_SUMS``. What a promise gives to its baseline is not greedy, but nothing is
    tried by it.
    """

    __slots__ = ("_arms", "_cost_usd", "_increments", "_key", "_sums", "_times")

    def __init__(self, increments: Increments, policy: str, bucket_at_us: int, arms: tuple[str, ...]) -> None:
        self._increments, self._key, self._arms = increments, (policy, bucket_at_us), arms
        self._sums = [increments.bucket(policy, bucket_at_us, arm) for arm in arms]  # by arm
        self._times, self._cost_usd = 0, cast("FloatArray", 0.0)

    def count(self, made: Decision) -> None:
        """Add one of them."""
        self._times += 1
        self._cost_usd = self._cost_usd + made.cost_usd
        drawn = made.arms.index(made.arm)
        sums = self._sums[drawn]
        sums[0] += 1
        if made.explored:
            sums[1] += 1
            best = int((made.mean - made.penalty).argmax())
            self._sums[best][2] += 1
            if made.arm != made.baseline:
                sums[5] += 1
                sums[9] += float(made.cost_usd[drawn] - made.cost_usd[best])
                sums[10] += float(made.mean[best] - made.mean[drawn])
        else:
            sums[2] += 1
        if made.degraded is not None:
            sums[4] += 1
        positive = list(filter(None, made.probability.tolist()))
        sums[6] -= sum(map(mul, positive, map(log, positive)))
        sums[7] += made.predicted_cost_usd
        policy, bucket_at_us = self._key
        self._increments.cluster(policy, made.schema_hash, made.context.cluster, self._arms[drawn])[0] += 1
        for arm, unaffordable_usd in made.unaffordable_usd.items():
            fixed = self._increments.bucket(policy, bucket_at_us, _learned(made, arm))
            fixed[3] += 1
            fixed[8] += unaffordable_usd

    def finish(self) -> None:
        """Add what every eligible arm would have cost."""
        for sums, cost_usd in zip(self._sums, self._cost_usd.tolist(), strict=True):
            sums[3] += self._times
            sums[8] += cost_usd


def _learned(made: Decision, arm: str) -> str:
    return learned_as(arm, made.generations.get(arm, 1)) if made.generations else arm
