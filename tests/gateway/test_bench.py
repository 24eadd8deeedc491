"""The bench of the gateway: its proxy passes on, its table says what it saw, its audit finds what is wrong."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest
from bench.gateway import endings, kills, servers
from bench.gateway.servers import Subject


def test_a_bare_proxy_ends_cleanly_where_its_upstream_does_and_so_truncates(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the table calls silent is silent: the official client raises nothing."""
    monkeypatch.setattr(endings, "WAIT_S", 5.0)
    with servers.upstream() as up, servers.bare(up) as bare:
        other = Subject("another proxy", bare.server, bare.models)
        rows, found = endings.measure([up, other], quick=True, progress=lambda _: None)
    for seen in found.values():
        assert seen["eof", True] == endings.SILENT
        assert seen["500", True] == seen["500", False] == "error 500"
        assert seen["cut", True] == "error in the stream"
        assert seen["silent", False] == "hangs"
    silent = {row.name: row.value for row in rows if "silent" in row.name}
    assert set(silent) == {"direct: silent truncations", "another proxy: silent truncations"}
    assert all(value > 0 for value in silent.values())
    assert "| `eof` |" in endings.table(found)


def test_the_audit_of_kills_sees_what_is_lost_or_charged_twice(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    with sqlite3.connect(database) as connection:
        connection.executescript(
            "CREATE TABLE decision (decision_id, policy, predicted_cost_usd);"
            "CREATE TABLE usage_report (decision_id, policy, cost_usd);"
            "CREATE TABLE budget_account (policy, decisions, charged_usd);"
            "INSERT INTO decision VALUES ('a', 'ok-slow', 1.0), ('b', 'ok-slow', 2.0);"
            "INSERT INTO usage_report VALUES ('b', 'ok-slow', 3.0);"
            "INSERT INTO budget_account VALUES ('ok-slow', 2, 4.0);"
        )
    assert _missed(database, {"a", "b"}, 2) == []
    assert _missed(database, {"a", "c"}, 2) == ["started calls that are not in the log"]
    assert _missed(database, {"a"}, 3) == ["started calls that are not in the log"]
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE budget_account SET decisions = 3, charged_usd = 5.0")
    assert len(_missed(database, {"a", "b"}, 2)) == 2


def _missed(database: Path, seen: set[str], calls: int) -> list[str]:
    rows = kills._audit(database, seen, ["ok-slow"] * calls, 1, 1)
    return [row.name for row in rows if row.met is False]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed")
def test_a_killed_daemon_has_charged_what_it_had_begun(tmp_path: Path) -> None:
    with servers.upstream() as up:
        rows = kills.measure(up, tmp_path, kills=1, progress=lambda _: None)
    assert [row.name for row in rows if row.met is False] == []
    assert "0 streams were open" not in rows[0].note
