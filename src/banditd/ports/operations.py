"""The stores around the two walks: leases, jobs, accounts of budgets, upkeep, switches, secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from banditd.core.money import AccountKey, AccountTotals, Correction

PRUNED_CURSOR: Final = "retention:pruned_before_us"
"""Job cursor that tells how far retention has deleted the log: from then on ``rebuild`` would forget."""


class LeaseStore(Protocol):
    async def acquire(self, name: str, holder: str, *, ttl_s: float, now_us: int) -> bool:
        """Take or extend a lease. False while another holder's has not expired.

        One that ends later than ``now_us + ttl_s`` allows is not believed, see ``storage/leases.py``.
        """

    async def release(self, name: str, holder: str) -> None: ...

    async def holder(self, name: str) -> str | None: ...

    async def expiry(self, name: str) -> tuple[str, int] | None:
        """(holder, microsecond of its end) as stored; None where nobody holds it."""


class JobStore(Protocol):
    async def started(self, job: str, at_us: int) -> None: ...

    async def finished(self, job: str, at_us: int, *, duration_s: float, error: str | None) -> None: ...

    async def runs(self) -> list[Mapping[str, object]]: ...

    async def cursor(self, job: str) -> int: ...

    async def set_cursor(self, job: str, value: int) -> None: ...


class BudgetStore(Protocol):
    async def load(self, policy: str) -> str | None: ...

    async def save(self, policy: str, state: str, at_us: int) -> None:
        """Keep the state of a policy's prices; the accounts keep themselves."""

    async def accounts(self, keys: Sequence[AccountKey]) -> Mapping[AccountKey, AccountTotals]:
        """What stands on these accounts; those that nothing was charged to are left out."""

    async def dearest(
        self, policy: str, budget: str, window_at_us: int, limit: int
    ) -> Sequence[tuple[AccountKey, AccountTotals]]:
        """The accounts of one budget and window that most was charged to."""


class CorrectionStore(Protocol):
    async def correct(self, correction: Correction) -> tuple[bool, AccountTotals]:
        """Correct an account and keep the correction, in one transaction: (it was made already, what stands).

        Raises ConflictError (another correction has this id) and InvalidInputError (less than nothing would stand).
        """


class Maintenance(Protocol):
    async def compact_rollups(self, now_us: int) -> int:
        """Merge old five-minute buckets into hours and old hours into days. Returns rows merged."""

    async def prune(self, *, before_us: int, limit: int) -> int:
        """Delete decisions (with their rewards and usage) older than that; statistics stay. Returns how many.

        ``PRUNED_CURSOR`` is set in the same transaction: without it the log looks whole.
        """

    async def forget_sessions(self, *, before_us: int, limit: int) -> int:
        """Delete the oldest sessions that no decision has touched since then, about ``limit``. Returns how many."""

    async def make_partitions(self, now_us: int) -> int:
        """Make the partitions that decisions of the next months need; returns how many were missing."""

    async def drop_partitions(self, *, before_us: int) -> int:
        """Drop those whose decisions are all older than that and have nothing left to be learned, archived if so set.

        Returns before what time decisions may be deleted one by one: of a log without partitions ``before_us``, else
        at most the start of its oldest partition, which goes as a whole; 0 where what is old is archived
        (without partitions, too: by the same spans).
        """

    async def forget_keys(self, *, before_us: int, limit: int) -> int:
        """Drop keys of requests older than that, the oldest first. Returns how many."""

    async def ping(self) -> None:
        """Raises StorageUnavailableError when the database does not answer, or could not store what came last."""

    def log_bytes(self) -> int | None:
        """Size of SQLite's write-ahead log; None where there is none."""

    async def schema_revision(self) -> str: ...


@dataclass(frozen=True, slots=True)
class StoredSwitches:
    """Of one policy: what differs from its configuration, by name. updated_at_us : 0 for nothing."""

    changes: Mapping[str, object] = field(default_factory=dict)
    updated_at_us: int = 0


class SwitchStore(Protocol):
    async def load(self) -> Mapping[str, StoredSwitches]:
        """By policy, of those that have any."""

    async def change(
        self, policy: str, work: Callable[[Mapping[str, object]], Mapping[str, object]], at_us: int
    ) -> StoredSwitches:
        """Replace what is stored by what ``work`` makes of it, under a lock; returns that.

        ``work`` is pure and may be called again; what it raises is raised, and nothing is stored.
        """


class Secrets(Protocol):
    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose, the same in every replica; another purpose's key tells nothing about it.

        purpose : a constant of the program such as ``input_hash``, never what a client sent. Not empty.
        """
