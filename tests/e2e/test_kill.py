"""kill -9 at random moments: nothing acknowledged is lost or counted twice. `make chaos` does it 50 times."""

from __future__ import annotations

from pathlib import Path

from bench.chaos import run_chaos
from bench.chaos_audit import audit
from bench.chaos_load import Ledger, RewardEntry
from sqlalchemy import Connection, insert

from banditd.storage import open_storage
from banditd.storage.schema import row_count


async def test_a_killed_daemon_keeps_its_word_on_sqlite(tmp_path: Path) -> None:
    report = await run_chaos(kills=3, database=f"sqlite:///{tmp_path}/chaos.db", seed=11)
    assert report.wrong == []
    assert report.kills == 3
    assert report.counts["repeated"] > 0


async def test_killed_replicas_keep_their_word_on_postgresql(empty_postgres_url: str) -> None:
    report = await run_chaos(kills=2, database=empty_postgres_url, replicas=2, seed=12)
    assert report.wrong == []


async def test_the_audit_sees_what_is_missing_or_counted_twice(sqlite_url: str) -> None:
    """A control: an audit that finds nothing wrong anywhere would make the tests above worthless."""
    ledger = Ledger(decisions={"01890a5d-ac96-774b-bcce-b302099a8057": "small-general"}, usage={"gone"})
    ledger.rewards.append(RewardEntry("gone", "key-1", "judge", sent=[0.5], acknowledged=0.5))
    ledger.rewards.append(RewardEntry("other", None, "judge", sent=[0.5], unsure=True))
    async with open_storage(sqlite_url, writer_name="test") as storage:
        await storage.database.write(_miscount)
    wrong = await audit(sqlite_url, ledger)
    assert sorted(wrong) == [
        "decision 01890a5d-ac96-774b-bcce-b302099a8057 lost",
        "reward events counted: 3 instead of 0",
        "reward key:key-1 lost",
        "usage of gone lost",
    ]


def _miscount(connection: Connection) -> None:
    """As if events had been counted that are not there."""
    connection.execute(insert(row_count), {"name": "reward_event", "writer": "somebody", "rows": 3})
