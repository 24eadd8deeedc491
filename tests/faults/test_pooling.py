"""Behind a proxy that pools by transaction: nothing is left in the session, nothing is expected of it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.proxy import Proxy, free_port
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from banditd.storage.engine import Database


def _other_key(data: bytes) -> bytes:
    """What a pooling proxy does: it answers the start with a process id and a key of its own."""
    place = data.find(b"K\x00\x00\x00\x0c")
    return data if place < 0 else data[: place + 5] + b"\x00\x00\x00\x07" + data[place + 9 :]


async def _work(database: Database) -> None:
    def insert(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": 1})

    def count(connection: Connection) -> int:
        return int(connection.execute(text("SELECT count(*) FROM t WHERE n = :n"), {"n": 1}).scalar_one())

    await database.write(lambda c: c.execute(text("CREATE TABLE IF NOT EXISTS t (n INTEGER)")) and None)
    for _ in range(30):
        await database.write(insert)
        await database.read(count)


@pytest.mark.parametrize("pooled", [True, False])
async def test_nothing_is_left_in_the_session_behind_a_pooling_proxy(postgres_url: str, pooled: bool) -> None:
    said: list[bytes] = []

    def note(data: bytes) -> bytes:
        said.append(data)
        return data

    with Proxy.before(postgres_url, to_server=note, to_client=_other_key if pooled else None) as proxy:
        async with Database(proxy.url) as database:
            await _work(database)
    wire = b"".join(said)
    assert b"\x00options\x00" not in wire
    prepared = b"_pg3_" in wire
    session = re.search(rb"\x00\x00.SET (?!LOCAL)", wire) is not None
    # Straight to the server both are there: this test can see them.
    assert (prepared, session) == (not pooled, not pooled)


@pytest.fixture
def pgbouncer_url(postgres_url: str) -> Iterator[str]:
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("pgbouncer is not installed; the test above holds the rules that matter")
    # Not below pytest's own folder: as root it runs under another user, who may not enter that.
    folder = Path(tempfile.mkdtemp(prefix="banditd-pgbouncer-"))
    folder.chmod(0o777)
    url = make_url(postgres_url)
    port = free_port()
    host = url.query.get("host") or url.host
    (folder / "users.txt").write_text(f'"{url.username}" "{url.password or ""}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{url.database} = host={host} port={url.port or 5432} user={url.username}\n"
        f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\nauth_type=any\n"
        f"pool_mode=transaction\ndefault_pool_size=3\nlogfile={folder}/log\n"
    )
    # It refuses to be root, and must reach the server's socket.
    owner = Path(str(host)).stat().st_uid if str(host).startswith("/") else "nobody"
    user = owner if os.geteuid() == 0 else None
    with subprocess.Popen([program, str(folder / "pgbouncer.ini")], user=user, stderr=subprocess.PIPE) as process:
        try:
            while not _listens(port):
                assert process.poll() is None, process.communicate()
            yield url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
        finally:
            process.terminate()
    shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_two_replicas_share_few_connections_of_pgbouncer(pgbouncer_url: str) -> None:
    async with Database(pgbouncer_url) as one, Database(pgbouncer_url) as two:
        await _work(one)
        await asyncio.gather(*(_work(database) for database in (one, two) for _ in range(3)))
