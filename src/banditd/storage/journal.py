"""Counters behind the log: what a commit adds to them is one row, and a job adds the rows up.

A commit of decisions raises some dozens of counters (roll-ups, totals per arm, clusters). It writes them as one row
of ``sum_entry`` instead, in the transaction that stores the decisions. Whoever adds an entry up deletes it in the
transaction that raises the counters: an entry that is there is not counted, one that is gone is. So no kill counts
twice or not at all, no clock and no order of ids matters, and any replica may finish what a dead one has left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, delete, insert

from banditd.core.ids import new_id
from banditd.storage.codec import pack_numbers
from banditd.storage.engine import Database
from banditd.storage.entries import Entries
from banditd.storage.prepared import Prepared
from banditd.storage.schema import SUMS, sum_entry
from banditd.storage.sums import Increments, RowCounter, SumWriter
from banditd.storage.tag_counters import TagCounters

ROUTE_SUMS: Final = (
    "decisions",
    "explored",
    "greedy",
    "fixed_decisions",
    "degraded",
    "entropy_sum",
    "predicted_spend_usd",
    "fixed_cost_usd",
)
"""What an entry holds of a bucket, in the order that older replicas know."""
TRIED_SUMS: Final = ("tried_decisions", "tried_usd", "tried_reward")
"""What it holds beside that, where a decision tried an arm; an older replica that adds the entry up leaves it out."""
COUNTED_SUMS: Final = tuple(name for name in SUMS if name in {*ROUTE_SUMS, *TRIED_SUMS})
"""Both, in the order of the tables: what a commit collects."""
_ROUTE_PLACES: Final = tuple(COUNTED_SUMS.index(name) for name in ROUTE_SUMS)
_TRIED_PLACES: Final = tuple(COUNTED_SUMS.index(name) for name in TRIED_SUMS)
_of_route, _of_tried = itemgetter(*_ROUTE_PLACES), itemgetter(*_TRIED_PLACES)
_CLUSTER_SUMS: Final = ("decisions",)

T = TypeVar("T")

_INSERT: Final = insert(sum_entry)


class Entry(NamedTuple):
    """What a commit adds to the counters: a row of ``sum_entry``, and rows of ``tag_entry``."""

    row: tuple[str, str]
    tag_rows: list[tuple[str, ...]]


class SumJournal(Entries):
    """The entries of one database. ``writer_name`` : whose counters this process raises."""

    def __init__(self, database: Database, *, writer_name: str) -> None:
        super().__init__(database, sum_entry)
        engine = database.engine
        self._insert = Prepared(engine, _INSERT, ("entry_id", "sums"))
        self._sums = SumWriter(engine, writer_name, COUNTED_SUMS, _CLUSTER_SUMS, kind="route")
        self._rows = RowCounter(engine, writer_name)
        self._tags = TagCounters(database)

    def start(self) -> Increments:
        """Increments of one commit, over ``COUNTED_SUMS``."""
        return self._sums.start()

    def entry(self, increments: Increments, rows: int, at_us: int) -> Entry:
        """What a commit of so many decisions adds, to be written down; it is counted later."""
        total = increments.total()
        sums = {
            "rows": rows,
            "buckets": [key + _of_route(sums) for key, sums in total.buckets.items()],
            "clusters": [[*key, *sums] for key, sums in total.clusters.items()],
        }
        first = _TRIED_PLACES[0]
        tried = [key + _of_tried(sums) for key, sums in total.buckets.items() if sums[first]]
        if tried:
            sums["tried"] = tried
        return Entry((new_id(at_us), pack_numbers(sums)), self._sums.tag_rows(increments))

    def insert(self, connection: Connection, entries: Sequence[Entry]) -> None:
        """Write entries down, in the transaction that stores their decisions."""
        self._insert.run(connection, [one.row for one in entries])
        self._sums.insert_tags(connection, [row for one in entries for row in one.tag_rows])

    async def add_up(self) -> None:
        """Count every entry that nobody else is counting, those by tag as well."""
        await super().add_up()
        await self._tags.add_up()

    async def read_tags(self, work: Callable[[Connection], T]) -> T:
        """The same for the entries by tag."""
        return await self._tags.read(work)

    def _count(self, connection: Connection, ids: list[str]) -> None:
        taken = delete(sum_entry).where(sum_entry.c.entry_id.in_(ids)).returning(sum_entry.c.sums)
        entries = [json.loads(text) for text in connection.execute(taken).scalars()]
        increments = self.start()
        for entry in entries:
            for name, places in (("buckets", _ROUTE_PLACES), ("tried", _TRIED_PLACES)):
                for policy, bucket_at_us, arm, *sums in entry.get(name, ()):
                    _raise(increments.bucket(policy, bucket_at_us, arm), sums, places)
            for policy, schema_hash, cluster, arm, *sums in entry["clusters"]:
                _raise(increments.cluster(policy, schema_hash, cluster, arm), sums, range(len(_CLUSTER_SUMS)))
        self._sums.flush(connection, increments)
        self._rows.add(connection, "decision", sum(entry["rows"] for entry in entries))


def _raise(sums: list[Any], by: list[Any], places: Sequence[int]) -> None:
    for place, value in zip(places, by, strict=True):
        sums[place] += value
