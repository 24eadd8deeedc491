"""The decision log of PostgreSQL in partitions by ranges of ``decision_id``, which are ranges of time.

New databases have them (``migrate`` makes them), older ones from ``banditd migrate --partition`` on; SQLite has none.
Retention drops whole partitions. No table refers to a partitioned log by a foreign key: each would make PostgreSQL
read all of its rows before a partition goes, and look for the partition at every insert. What hangs on decisions is
deleted behind them (``upkeep.py``); who adds to one has looked at it in the same transaction, and a drop
waits for that.
"""
