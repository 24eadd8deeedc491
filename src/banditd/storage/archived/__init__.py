"""Old decisions in Parquet files on a disk or an object store, and one reader for the log wherever its rows live.

Retention writes what hangs together of a stretch of decisions before it deletes them (``writing.py``). To be
read, a part is brought into a temporary SQLite file with the tables of the log, and the statements that read the
database read it there (``reading.py``): what archived rows mean is said once.
"""
