"""Making room for a state that replaces what is stored of a policy under a schema, damaged rows included."""

from __future__ import annotations

from sqlalchemy import Connection, delete, update

from banditd.ports import FoldCommit
from banditd.storage.among import among, in_chunks
from banditd.storage.schema import (
    arm_total,
    cluster_stat,
    learner_state,
    rollup,
    segment,
    snapshot,
    tag_cluster,
    tag_entry,
    tag_rollup,
    tag_total,
)


def clear_state(
    connection: Connection, fold: FoldCommit, sums: tuple[str, ...], cluster_sums: tuple[str, ...]
) -> None:
    """Delete the state, its segments and the snapshots to drop; where all is recounted, set the sums to zero.

    sums : those columns of roll-ups and totals that folds raise; ``cluster_sums`` : of the clusters.
    """
    for table in (learner_state, segment):
        mine = (table.c.policy == fold.policy) & (table.c.schema_hash == fold.schema_hash)
        connection.execute(delete(table).where(mine))
    c = snapshot.c
    mine = (c.policy == fold.policy) & (c.schema_hash == fold.schema_hash)
    for chunk in in_chunks(fold.dropped_snapshots):
        connection.execute(delete(snapshot).where(mine, among(c.version)), chunk)
    if fold.recounts:
        # Entries first: what another replica counts just now is in the tables before they are set to zero.
        waiting = (tag_entry.c.policy == fold.policy) & (tag_entry.c.kind == "reward")
        connection.execute(delete(tag_entry).where(waiting))
        for table in (rollup, arm_total, tag_rollup, tag_total):
            connection.execute(update(table).where(table.c.policy == fold.policy).values(dict.fromkeys(sums, 0)))
        for table in (cluster_stat, tag_cluster):
            mine = (table.c.policy == fold.policy) & (table.c.schema_hash == fold.schema_hash)
            connection.execute(update(table).where(mine).values(dict.fromkeys(cluster_sums, 0)))
