"""kill -9 at random moments: nothing acknowledged is lost or counted twice. `make chaos` does it 50 times."""

from __future__ import annotations

from pathlib import Path

from bench.chaos import run_chaos


async def test_a_killed_daemon_keeps_its_word_on_sqlite(tmp_path: Path) -> None:
    report = await run_chaos(kills=3, database=f"sqlite:///{tmp_path}/chaos.db", seed=11)
    assert report.wrong == []
    assert report.kills == 3
    assert report.counts["repeated"] > 0


async def test_killed_replicas_keep_their_word_on_postgresql(empty_postgres_url: str) -> None:
    report = await run_chaos(kills=2, database=empty_postgres_url, replicas=2, seed=12)
    assert report.wrong == []
