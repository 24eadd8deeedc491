"""What is measured while the traffic runs: processes by /proc (Linux only), and rows by SQL."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, create_engine, inspect

from banditd.storage.dialect import normalise_url
from bench.soak.traffic import Seen

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# What is on its way: taken out again by the learner and by the daemons' jobs.
_IN_TRANSIT: Final = ("fold_queue", "arm_fold_queue", "sum_entry", "tag_entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A replica after ``decisions`` decisions of all replicas; times are those since the sample before."""

    decisions: int
    resident_mb: float
    threads: int
    files: int
    processor_ms: float  # per request of this replica
    route_p50_ms: float
    route_p99_ms: float
    reward_p50_ms: float


class Meter:
    """Samples of one replica's process."""

    def __init__(self, pid: int, replica: int) -> None:
        self._folder, self._pid, self._replica = Path(f"/proc/{pid}"), pid, replica
        self._used_s = self._processor_s()

    def sample(self, decisions: int, seen: Seen) -> Sample:
        """Now. Raises OSError where the process has gone."""
        routes, rewards = sorted(seen.routes_ms[self._replica]), seen.rewards_ms[self._replica]
        before_s, self._used_s = self._used_s, self._processor_s()
        pages = int((self._folder / "statm").read_text(encoding="ascii").split()[1])
        return Sample(
            decisions=decisions,
            resident_mb=pages * _PAGE / 1e6,
            threads=sum(1 for _ in (self._folder / "task").iterdir()),
            files=sum(1 for _ in (self._folder / "fd").iterdir()),
            processor_ms=1e3 * (self._used_s - before_s) / max(len(routes) + len(rewards), 1),
            route_p50_ms=statistics.median(routes) if routes else 0.0,
            route_p99_ms=routes[int(0.99 * len(routes))] if routes else 0.0,
            reward_p50_ms=statistics.median(rewards) if rewards else 0.0,
        )

    def _processor_s(self) -> float:
        """Of threads that are gone too."""
        fields = (self._folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows by table, and bytes, after ``decisions`` decisions, with nothing on its way.

    waited_s : for the latter. unlearned : rewarded decisions that the learner had before it then.
    """

    decisions: int
    rows: dict[str, int]
    size_bytes: int
    waited_s: float
    unlearned: int = 0


_PARTITIONS: Final = "SELECT relname FROM pg_class WHERE relispartition"


class RowCounter:
    """Counts what is in the daemons' database."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(normalise_url(url))
        parts = _PARTITIONS if self._engine.dialect.name == "postgresql" else "SELECT 1 WHERE false"
        with self._engine.connect() as connection:
            within = set(connection.exec_driver_sql(parts).scalars())  # counted with the table that they belong to
        self._tables: Sequence[str] = sorted(set(inspect(self._engine).get_table_names()) - within)

    def close(self) -> None:
        self._engine.dispose()

    def count(self, decisions: int, *, stuck_s: float = 120.0) -> Stored:
        """As soon as learner and jobs have nothing more to do, or when they have got no further for so long."""
        unlearned = self._rows("fold_queue")
        began_s = further_s = time.monotonic()
        fewest = self._in_transit()
        while fewest and time.monotonic() < further_s + stuck_s:
            time.sleep(0.2)
            if (left := self._in_transit()) < fewest:
                fewest, further_s = left, time.monotonic()
        waited_s = time.monotonic() - began_s
        rows = {table: self._rows(table) for table in self._tables}
        return Stored(decisions, rows, self._size(), waited_s, unlearned)

    def _in_transit(self) -> int:
        return sum(map(self._rows, _IN_TRANSIT))

    def _rows(self, table: str) -> int:
        return self._number(f'SELECT count(*) FROM "{table}"')

    def _size(self) -> int:
        if self._engine.dialect.name == "postgresql":
            return self._number("SELECT pg_database_size(current_database())")
        return self._number("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")

    def _number(self, statement: str) -> int:
        with self._engine.connect() as connection:
            return int(connection.exec_driver_sql(statement).scalar_one())
