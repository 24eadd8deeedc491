"""After the killing: is everything acknowledged in the database, once, and does the learned state equal the log?"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from sqlalchemy import func, select

from banditd.core.errors import BanditdError
from banditd.storage import Storage, open_storage
from banditd.storage.schema import (
    arm_total,
    cluster_stat,
    contribution,
    decision,
    reward_event,
    row_count,
    usage_report,
)
from bench.chaos_load import Ledger

QUEUE_TIMEOUT_S = 90.0


async def wait_until_folded(url: str) -> None:
    """Until the learner's queue is empty; raises TimeoutError when it stays filled."""
    async with open_storage(url, writer_name="audit") as storage:
        until_s = time.monotonic() + QUEUE_TIMEOUT_S
        while await storage.learning.queue_depth():
            if time.monotonic() > until_s:
                raise TimeoutError(f"{await storage.learning.queue_depth()} rewards were never folded")
            await asyncio.sleep(0.1)


async def audit(url: str, ledger: Ledger) -> list[str]:
    """Everything that is wrong; empty when the daemon kept its word."""
    async with open_storage(url, writer_name="audit") as storage:
        return [*await _acknowledged(storage, ledger), *await _counted(storage)]


def rebuild_check(url: str, config: Path) -> dict[str, object]:
    """What ``banditd rebuild --check`` says of policy ``default``."""
    command = [
        sys.executable,
        "-m",
        "banditd",
        "rebuild",
        "--check",
        "--json",
        "--database",
        url,
        "--config",
        str(config),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise BanditdError(f"rebuild --check failed: {done.stderr[-800:]}")
    report: dict[str, object] = json.loads(done.stdout)[0]
    return report


async def _acknowledged(storage: Storage, ledger: Ledger) -> list[str]:
    """Acknowledged decisions, rewards and usage reports against the tables."""
    arms = dict(await _rows(storage, select(decision.c.decision_id, decision.c.arm)))
    reported = {row[0] for row in await _rows(storage, select(usage_report.c.decision_id))}
    events = defaultdict(list)
    columns = (reward_event.c.identity, reward_event.c.revision, reward_event.c.value)
    for identity, revision, value in await _rows(storage, select(*columns).order_by(reward_event.c.revision)):
        events[identity].append((revision, value))
    wrong = [f"decision {key} lost" for key, arm in ledger.decisions.items() if arms.get(key) != arm]
    wrong += [f"usage of {key} lost" for key in ledger.usage - reported]
    for entry in ledger.rewards:
        found = events.pop(entry.identity, [])
        values = [value for _, value in found]
        if entry.acknowledged is not None and not found:
            wrong.append(f"reward {entry.identity} lost")
        elif entry.acknowledged is not None and not entry.unsure and values[-1] != entry.acknowledged:
            wrong.append(f"reward {entry.identity} is {values[-1]}, acknowledged was {entry.acknowledged}")
        if [revision for revision, _ in found] != list(range(len(found))):
            wrong.append(f"reward {entry.identity} has revisions {found}")
        if (entry.key and len(found) > 1) or any(a == b for a, b in itertools.pairwise(values)):
            wrong.append(f"reward {entry.identity} is in the log twice: {found}")
        if set(values) - set(entry.sent):
            wrong.append(f"reward {entry.identity} holds values that nobody sent: {found}")
    return wrong + [f"reward {identity} was never sent" for identity in events]


async def _counted(storage: Storage) -> list[str]:
    """The counters beside the log: each decision and each rewarded decision is in them once."""
    decisions = (await _rows(storage, select(func.count()).select_from(decision)))[0][0]
    rewarded = (await _rows(storage, select(func.count(func.distinct(reward_event.c.decision_id)))))[0][0]
    folded = (await _rows(storage, select(func.count()).select_from(contribution)))[0][0]
    events = (await _rows(storage, select(func.count()).select_from(reward_event)))[0][0]
    rows = dict(await _rows(storage, select(row_count.c.name, func.sum(row_count.c.rows)).group_by(row_count.c.name)))
    await storage.journal.add_up()
    sums = (await _rows(storage, select(func.sum(arm_total.c.decisions), func.sum(arm_total.c.rewards))))[0]
    clusters = (await _rows(storage, select(func.sum(cluster_stat.c.decisions), func.sum(cluster_stat.c.rewards))))[0]
    pairs = {
        "rewarded decisions folded": (rewarded, folded),
        "decisions counted per arm": (decisions, int(sums[0] or 0)),
        "rewards counted per arm": (folded, int(sums[1] or 0)),
        "decisions counted per cluster": (decisions, int(clusters[0] or 0)),
        "rewards counted per cluster": (folded, int(clusters[1] or 0)),
        "decision rows counted": (decisions, int(rows.get("decision", 0))),
        "reward events counted": (events, int(rows.get("reward_event", 0))),
    }
    return [f"{name}: {found} instead of {wanted}" for name, (wanted, found) in pairs.items() if wanted != found]


async def _rows(storage: Storage, query: object) -> list[tuple]:  # type: ignore[type-arg]
    def work(connection):  # type: ignore[no-untyped-def]
        return [tuple(row) for row in connection.execute(query)]

    return await storage.database.read(work)
