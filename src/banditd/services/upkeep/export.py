"""Exports the decision log to a file (JSON lines or Parquet), or what was learned as a prior. Read-only."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.posterior.prior import Prior
from banditd.bandit.state import PolicyState
from banditd.core.errors import ConfigurationError, NotFoundError
from banditd.core.types import FeatureSchema
from banditd.ports import LearningStore
from banditd.services.upkeep.export_parquet import ParquetWriter

BATCH_ROWS = 1000


class RowWriter(Protocol):
    def write(self, rows: list[Mapping[str, Any]]) -> None: ...

    def close(self) -> None: ...


class LogReader(Protocol):
    """Reads the log, wherever its rows are stored."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Column name -> Arrow type."""

    def stream(self, policy: str | None, *, batch_rows: int = 1000) -> AsyncIterator[Mapping[str, object]]:
        """Every decision with its merged reward and usage, oldest first."""


class JsonLinesWriter:
    """One JSON object per line, UTF-8."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, rows: list[Mapping[str, Any]]) -> None:
        """Append rows."""
        self._file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


def writer_of(path: Path, columns: Mapping[str, str]) -> Callable[[Path], RowWriter]:
    """The writer for the file's ending: .parquet, or .jsonl. columns : those of the log.

    Raises
    ------
    ConfigurationError : another ending.
    """
    if path.suffix == ".parquet":
        return partial(ParquetWriter, columns=columns)
    if path.suffix in {".jsonl", ".ndjson"}:
        return JsonLinesWriter
    raise ConfigurationError(f"cannot tell the format of {path.name}; name it .jsonl or .parquet")


async def export_log(
    decisions: LogReader,
    path: Path,
    *,
    policy: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
    damaged: Callable[[str, str], None] = lambda _id, _reason: None,
) -> int:
    """Write every decision with its merged reward and usage, oldest first. Returns the number of rows.

    damaged : called with (id, reason) for each damaged row, which is left out.

    The file is replaced only once it is complete: until then, and after a failure, the former file stays.

    Raises
    ------
    ConfigurationError : an unknown ending, Parquet without pyarrow, or a place that cannot be written to.
    """
    make_writer = writer_of(path, decisions.columns)
    count = 0
    with _once_whole(path) as unfinished, closing(make_writer(unfinished)) as writer:
        async for batch in _batches(decisions.stream(policy)):
            whole = [row for row in batch if "damage" not in row]
            for row in batch:
                if "damage" in row:
                    damaged(str(row["decision_id"]), str(row["damage"]))
            writer.write(whole)
            count += len(whole)
            progress(count)
    return count


@contextmanager
def _once_whole(path: Path) -> Iterator[Path]:
    """A temporary file that replaces ``path`` at the end, or is deleted after a failure."""
    target = path.resolve()  # for a link, replace what it points to
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        unfinished.replace(target)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


async def export_prior(policy: str, schema: FeatureSchema, settings: PolicySettings, store: LearningStore) -> Prior:
    """What a policy has learned, from its stored segments, without reading the log.

    Raises
    ------
    NotFoundError : nothing was learned under this feature schema.
    """
    stored = await store.load(policy, schema.hash)
    state = PolicyState.restore(
        schema=schema,
        settings=settings,
        arms=[],
        version=stored.version,
        hyperparameters=stored.hyperparameters,
        learner=stored.learner,
        segments=[(s.arm, s.epoch, s.sums) for s in stored.segments],
    )
    prior = state.to_prior(f"policy {policy} of a deployment at version {stored.version}")
    if not prior.rewards > 0.0:
        raise NotFoundError(
            f"policy {policy} has learned nothing under feature schema {schema.hash}: export with the configuration "
            "(encoder, feature maps, caller features) that it was served with"
        )
    return prior


async def _batches(rows: AsyncIterator[Mapping[str, object]]) -> AsyncIterator[list[Mapping[str, object]]]:
    batch: list[Mapping[str, object]] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
