"""The decision log as Parquet, with fixed column types. Needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from banditd.core.errors import ConfigurationError


class ParquetWriter:
    """One row group per batch; vectors are lists, mappings and lists of them are JSON text.

    columns : name -> Arrow type (``LogReader.columns``). Types are never inferred from rows: a column may be null at
    first (no reward, no budget yet).
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - an optional dependency
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ImportError as error:
            raise ConfigurationError(
                "Parquet needs pyarrow: pip install 'banditd[tools]', or export to a .jsonl file"
            ) from error
        types = {
            "string": pa.string(),
            "json": pa.string(),
            "int64": pa.int64(),
            "double": pa.float64(),
            "bool": pa.bool_(),
            "list<string>": pa.list_(pa.string()),
            "list<double>": pa.list_(pa.float64()),
        }
        self._schema = pa.schema([pa.field(name, types[kind]) for name, kind in columns.items()])
        self._table = pa.Table
        self._columns = columns
        self._writer: Any = pq.ParquetWriter(path, self._schema)

    def write(self, rows: list[Mapping[str, Any]]) -> None:
        """Append rows as one row group.

        Raises
        ------
        ValueError : a column without a type, which must not be lost silently.
        """
        unknown = {name for row in rows for name in row} - self._columns.keys()
        if unknown:
            raise ValueError(f"no Parquet type for {', '.join(sorted(unknown))}")
        if rows:
            self._writer.write_table(self._table.from_pylist([self._flat(row) for row in rows], schema=self._schema))

    def close(self) -> None:
        """Write the footer; an empty log gives an empty table with all columns."""
        self._writer.close()

    def _flat(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: json.dumps(value, ensure_ascii=False)
            if self._columns[name] == "json" and value is not None
            else value
            for name, value in row.items()
        }
