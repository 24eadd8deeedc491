"""Whole databases: copies into one file, back again, and from one kind of database to the other.

A backup is always one SQLite file at the schema of its source, whatever the source is: it opens with any SQLite,
every command of banditd reads it, an old one migrates as a database does, and a restore into PostgreSQL is the same
copy of rows as a move. An archive format of our own would need a second reader, tried only when it is needed.
"""

from banditd.storage.archive.moves import Moved, backup, copy_database, restore
from banditd.storage.archive.partitioning import Partitioned, partition_log
from banditd.storage.archive.tables import copied_tables

__all__ = ["Moved", "Partitioned", "backup", "copied_tables", "copy_database", "partition_log", "restore"]
