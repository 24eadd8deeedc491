"""Write the decision log to a file (JSON lines, or Parquet when pyarrow is installed), or what it taught as a prior.

Reads only.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from banditd.bandit.base import PolicySettings
from banditd.bandit.prior import Prior
from banditd.bandit.state import PolicyState
from banditd.core.errors import ConfigurationError, NotFoundError
from banditd.core.types import FeatureSchema
from banditd.ports import DecisionLog, LearningStore

BATCH_ROWS = 1000


class RowWriter(Protocol):
    def write(self, rows: list[Mapping[str, Any]]) -> None: ...

    def close(self) -> None: ...


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


class ParquetWriter:
    """One row group per batch; vectors are lists, mappings are JSON text."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - an optional dependency
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ImportError as error:
            raise ConfigurationError(
                "Parquet needs pyarrow: pip install 'banditd[tools]', or export to a .jsonl file"
            ) from error
        self._pa, self._pq, self._path = pa, pq, path
        self._writer: Any = None

    def write(self, rows: list[Mapping[str, Any]]) -> None:
        """Append rows as one row group."""
        if not rows:
            return
        flat = [{k: json.dumps(v) if isinstance(v, Mapping) else v for k, v in row.items()} for row in rows]
        if self._writer is None:
            self._schema = self._infer_schema(flat)
            self._writer = self._pq.ParquetWriter(self._path, self._schema)
        self._writer.write_table(self._pa.Table.from_pylist(flat, schema=self._schema))

    def close(self) -> None:
        """Write the footer; an empty log gives an empty table."""
        if self._writer is None:
            self._pq.write_table(self._pa.table({}), self._path)
        else:
            self._writer.close()

    def _infer_schema(self, rows: list[dict[str, Any]]) -> Any:
        # A column that is null all through the first batch may hold text later; null-typed columns would break.
        pa = self._pa
        inferred = pa.Table.from_pylist(rows).schema
        return pa.schema([pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type) for f in inferred])


def open_writer(path: Path) -> RowWriter:
    """A writer by the file's ending: .parquet, or .jsonl.

    Raises
    ------
    ConfigurationError : another ending, or Parquet without pyarrow.
    """
    if path.suffix == ".parquet":
        return ParquetWriter(path)
    if path.suffix in {".jsonl", ".ndjson"}:
        return JsonLinesWriter(path)
    raise ConfigurationError(f"cannot tell the format of {path.name}; name it .jsonl or .parquet")


async def export_log(
    decisions: DecisionLog,
    path: Path,
    *,
    policy: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write every decision with its merged reward and usage, oldest first. Returns the number of rows."""
    writer = open_writer(path)
    count = 0
    try:
        async for batch in _batches(decisions.stream(policy)):
            writer.write(batch)
            count += len(batch)
            progress(count)
    finally:
        writer.close()
    return count


async def export_prior(policy: str, schema: FeatureSchema, settings: PolicySettings, store: LearningStore) -> Prior:
    """What a policy has learned, from its stored segments: no pass over the log.

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
