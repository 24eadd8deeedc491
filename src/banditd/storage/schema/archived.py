"""What of the log is in an archive."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Table

from banditd.storage.schema.columns import metadata, text_column, time_column

# Decisions with after_id < id <= last_id, with all that hangs on them; the files are named after last_id and
# archived_at_us.
archived_part: Final = Table(
    "archived_part",
    metadata,
    text_column("last_id", primary_key=True),
    text_column("after_id"),
    text_column("tables"),  # JSON: name of a table -> rows
    Column("decisions", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    text_column("revision"),
    time_column("archived_at_us"),
)
