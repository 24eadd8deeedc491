"""A part of the log as Parquet files below a URL, one a table: ``<url>/<table>/<last id>-<time>.parquet``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Connection, Double, Integer, LargeBinary, Select, Table, Text, insert

from banditd.core.errors import ConfigurationError, InvalidInputError, StorageUnavailableError
from banditd.storage.partitions.layout import CHILDREN
from banditd.storage.schema import arm_fold_queue, comparison_task, decision, fold_queue, judge_task, probe_answer

_WAITING: Final = frozenset({fold_queue, arm_fold_queue, judge_task, probe_answer, comparison_task})
ARCHIVED: Final = (decision, *(table for table in CHILDREN if table not in _WAITING))
"""What is kept of a decision: not what only waits for somebody."""
_ROWS: Final = 2_000
_ARROW: Final[Mapping[type, str]] = {
    Text: "string", LargeBinary: "binary", Boolean: "bool", Double: "double", Integer: "int64", BigInteger: "int64",
}  # fmt: skip


def _libraries() -> tuple[Any, Any, Any]:
    """fsspec, pyarrow, pyarrow.parquet."""
    try:
        import fsspec  # noqa: PLC0415 - an optional dependency
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"an archive needs {error.name}: pip install 'banditd[objectstore]', for s3:// 'banditd[s3]'"
        ) from error
    return fsspec, pa, pq


class ArchiveFolder:
    """Files below a URL. Its methods block.

    Raises ConfigurationError for a URL that nothing installed can open, StorageUnavailableError when the store does
    not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def put(self, name: str, local: Path) -> int:
        """Store a file under a name in place of any that is there; returns its size in bytes, as the store says."""
        size = local.stat().st_size
        store, place = self._open(name)
        try:
            store.makedirs(place.rpartition("/")[0], exist_ok=True)
            store.put_file(str(local), place)
            if "file" in _protocols(store):
                _sync(Path(place))
            found = int(store.info(place)["size"])
        except Exception as error:  # a store's library has errors of its own: botocore's are no OSError
            raise StorageUnavailableError(f"{name} cannot be written to {self.url}: {_reason(error)}") from error
        if found != size:
            raise StorageUnavailableError(f"{self.url}/{name} has {found} bytes instead of {size}")
        return found

    def get(self, name: str, local: Path) -> None:
        """Fetch a file. Raises InvalidInputError where it is not there."""
        store, place = self._open(name)
        try:
            store.get_file(place, str(local))
        except FileNotFoundError as error:
            raise InvalidInputError(
                f"{name} of the archived log is not below {self.url}: bring it back, or say in jobs.archive_url "
                "where it is"
            ) from error
        except Exception as error:
            raise StorageUnavailableError(f"{self.url}/{name} cannot be read: {_reason(error)}") from error

    def _open(self, name: str) -> tuple[Any, str]:
        fsspec = _libraries()[0]
        try:
            store, place = fsspec.core.url_to_fs(f"{self.url}/{name}")
        except (ImportError, ValueError) as error:
            how = " (pip install 'banditd[s3]')" if self.url.startswith("s3:") else ""
            raise ConfigurationError(f"jobs.archive_url {self.url} cannot be opened: {error}{how}") from error
        return store, str(place)


def _protocols(store: Any) -> tuple[str, ...]:
    return (store.protocol,) if isinstance(store.protocol, str) else tuple(store.protocol)


def _sync(place: Path) -> None:
    """Until it is on the disk, nothing that it holds may be deleted from the database."""
    for path, flags in ((place, os.O_RDONLY), (place.parent, os.O_RDONLY)):
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# ---------------------------------------------------------------- rows


def file_of(table: str, last_id: str, at_us: int) -> str:
    """The name of a part's file. at_us : when it was written, so that a copied database overwrites none."""
    return f"{table}/{last_id}-{at_us}.parquet"


def write_rows(connection: Connection, query: Select[Any], table: Table, local: Path) -> int:
    """Write what a query finds of a table; returns the rows. No file where there is none."""
    _, pa, pq = _libraries()
    schema = pa.schema([(column.name, pa.type_for_alias(_arrow(column.type))) for column in table.columns])
    writer, count = None, 0
    try:
        with connection.execute(query.execution_options(stream_results=True, max_row_buffer=_ROWS)) as result:
            for rows in result.mappings().partitions(_ROWS):
                writer = writer or pq.ParquetWriter(local, schema, compression="zstd", write_page_checksum=True)
                writer.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema))
                count += len(rows)
    finally:
        if writer is not None:
            writer.close()
    return count


def read_rows(connection: Connection, table: Table, local: Path) -> int:
    """Insert the rows of a file into a table; returns how many. Columns that it lacks get their defaults.

    Raises InvalidInputError for a file that is damaged, or that a later release has written.
    """
    count = 0
    for batch in _batches(table, local):
        connection.execute(insert(table), batch)
        count += len(batch)
    return count


def _batches(table: Table, local: Path) -> Iterator[list[dict[str, Any]]]:
    _, pa, pq = _libraries()
    try:
        with pq.ParquetFile(local, page_checksum_verification=True) as file:
            unknown = set(file.schema_arrow.names) - set(table.columns.keys())
            if unknown:
                raise InvalidInputError(
                    f"{table.name} of the archive has {', '.join(sorted(unknown))}: a later release has written it"
                )
            for batch in file.iter_batches(batch_size=_ROWS):
                yield batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{table.name} of the archived log is damaged: {error}") from error


def _arrow(kind: Any) -> str:
    return next(name for cls, name in _ARROW.items() if isinstance(kind, cls))
