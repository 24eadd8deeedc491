"""The decision log as Parquet: one type per column, whatever the first rows hold. Needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from banditd.core.errors import ConfigurationError

# Every column of ``DecisionLog.stream`` and its Arrow type. Types are never guessed from rows: of a column that is
# null at first (no reward, no budget yet) they would say nothing.
COLUMNS: Final[Mapping[str, str]] = {
    "decision_id": "string",
    "policy": "string",
    "policy_kind": "string",
    "created_at_us": "int64",
    "expires_at_us": "int64",
    "arm": "string",
    "upstream_model": "string",
    "propensity": "double",
    "uniform": "double",
    "explored": "bool",
    "reason": "string",
    "degraded": "string",
    "arms": "list<string>",
    "probability": "list<double>",
    "mean": "list<double>",
    "deviation": "list<double>",
    "cost_usd": "list<double>",
    "penalty": "list<double>",
    "predicted_cost_usd": "double",
    "exclusions": "json",
    "x": "list<double>",
    "cluster": "int64",
    "schema_hash": "string",
    "snapshot_version": "int64",
    "epoch": "int64",
    "cost_weight": "double",
    "input_tokens": "int64",
    "input_hash": "string",
    "input_text": "string",
    "session_id": "string",
    "tags": "json",
    "deferred": "bool",
    "facts": "json",
    "charges": "json",
    "mixture": "json",
    "key_name": "string",
    "reward": "double",
    "reward_weight": "double",
    "spend_usd": "double",
    "served_arm": "string",
    "activated_at_us": "int64",
    "abandoned_at_us": "int64",
    "attempts": "json",
}


class ParquetWriter:
    """One row group per batch; vectors are lists, mappings and lists of them are JSON text."""

    def __init__(self, path: Path) -> None:
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
        self._schema = pa.schema([pa.field(name, types[kind]) for name, kind in COLUMNS.items()])
        self._table = pa.Table
        self._writer: Any = pq.ParquetWriter(path, self._schema)

    def write(self, rows: list[Mapping[str, Any]]) -> None:
        """Append rows as one row group.

        Raises
        ------
        ValueError : a column that has no type here; left out, it would be missed too late.
        """
        unknown = {name for row in rows for name in row} - COLUMNS.keys()
        if unknown:
            raise ValueError(f"no Parquet type for {', '.join(sorted(unknown))}")
        if rows:
            self._writer.write_table(self._table.from_pylist([_flat(row) for row in rows], schema=self._schema))

    def close(self) -> None:
        """Write the footer; an empty log gives an empty table with all columns."""
        self._writer.close()


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if COLUMNS[name] == "json" and value is not None else value
        for name, value in row.items()
    }
