"""What strangers send to a real process: nothing of it is in the log, and nothing of it stops the daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bench.proxy import free_port
from tests.e2e.conftest import ROOT, Running, Start, until

from banditd.client import DaemonClient

QUERY = {"input": "x"}
POST = b"POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BROKEN = (
    b"GET /v1/arms HTTP/1.1\r\nHost: x\r\nx-api-key: SECRET\r\r\n\r\n",
    b"GET /v1/arms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\x01\r\n\r\n",
    b"GET /v1/arms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"SECRET" * 3_000 + b"\r\n\r\n",
    b"GET /v1/arms HTTP/1.1\r\n" + b"SECRET" * 3_000 + b": x\r\n\r\n",
    b"GET /" + b"SECRET" * 3_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /SECRET HTTP/9.9\r\nHost: x\r\n\r\n",
    b"SECRET SECRET SECRET\r\n\r\n",
    b"\x16\x03\x01SECRET\r\n\r\n",
    b"GET /SECRET\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[SECRET HTTP/1.1\r\nHost: x\r\n\r\n",
    POST + b"Content-Length: 2\r\n\r\n{}SECRET\x01 x\r\n\r\n",
    b"POST /v1/route HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: SECRET\r\n\r\n{}",
    b"POST /v1/route HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: SECRET\r\nContent-Length: 3\r\n\r\n{}",
    POST + b"Transfer-Encoding: chunked\r\n\r\nSECRET\r\n",
    b"GET /v1/arms HTTP/1.1\r\nHost: SECRET\r\nHost: SECRET\r\n\r\n",
    b"GET /v1/arms?key=SECRET HTTP/1.1\r\nHost: localhost\r\nCookie: SECRET\r\nx-api-key: SECRET\r\n\r\n",
)  # fmt: skip


def connect(daemon: Running) -> socket.socket:
    address = urlsplit(daemon.url)
    return socket.create_connection((address.hostname or "", address.port or 0))


def read_all(stream: socket.socket) -> bytes:
    """Until the daemon closes."""
    pieces = b""
    while piece := stream.recv(65_536):
        pieces += piece
    return pieces


@pytest.mark.parametrize("style", ["json", "text"])
async def test_no_secret_of_a_broken_request_reaches_the_log_at_any_level(start: Start, style: str) -> None:
    daemon = start(
        BANDITD_LOGGING__LEVEL="DEBUG",
        BANDITD_LOGGING__FORMAT=style,
        BANDITD_LOGGING__ACCESS="true",
        PYTHONASYNCIODEBUG="1",
    )
    for sent in BROKEN:
        with connect(daemon) as stream:
            stream.sendall(sent)
            stream.shutdown(socket.SHUT_WR)
            read_all(stream)
    assert daemon.stop() == 0
    log = daemon.log.read_text(encoding="utf-8")
    assert "request.malformed" in log
    assert "SECRET" not in log


async def test_the_end_does_not_wait_for_half_a_request(start: Start) -> None:
    daemon = start(BANDITD_SERVER__SHUTDOWN_TIMEOUT_S="600", BANDITD_SERVER__BODY_TIMEOUT_S="600")
    halves = (
        POST, POST + b"Content-Length: 100\r\n\r\n{", POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        POST + b"Content-Length: 9\r\nContent-Encoding: gzip\r\n\r\n\x1f",
        b"GET /nowhere HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    )  # fmt: skip
    streams = [connect(daemon) for _ in halves]
    for stream, half in zip(streams, halves, strict=True):
        stream.sendall(half)
    async with DaemonClient(daemon.url) as client:
        await client.route(QUERY)  # by now the others have been seen
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait() == 0  # its own time-outs are ten minutes
    for stream in streams:
        stream.close()


def test_half_a_head_is_given_up(start: Start) -> None:
    daemon = start(BANDITD_SERVER__HEADER_TIMEOUT_S="0.2", BANDITD_SERVER__KEEPALIVE_S="600")
    with connect(daemon) as stream:
        stream.sendall(b"GET /health/liveness HTTP/1.1\r\nHost: loc")
        assert read_all(stream) == b""
    with connect(daemon) as stream:  # a slow but whole one is answered, and the connection stays
        for _ in range(2):
            stream.sendall(b"GET /health/liveness HTTP/1.1\r\n")
            stream.sendall(b"Host: localhost\r\n\r\n")
            assert stream.recv(65_536).startswith(b"HTTP/1.1 200")


async def test_sighup_reads_the_log_level_again_and_ends_nothing(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    config.write_text(text, encoding="utf-8")
    daemon = start(config=config, BANDITD_LOGGING__LEVEL="")  # empty: the file's

    async def reloaded(count: int) -> bool:
        return daemon.log.read_text(encoding="utf-8").count('"server.reload') >= count

    for number, content in enumerate(
        (text.replace("level: INFO", "level: WARNING").replace("max_batch: 256 ", "max_batch: 128 "), "nonsense: 1"),
        1,
    ):
        config.write_text(content, encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        await until(lambda number=number: reloaded(number))
    async with DaemonClient(daemon.url) as client:
        await client.route(QUERY)
    assert daemon.stop() == 0
    log = daemon.log.read_text(encoding="utf-8")
    assert '"applied":["logging.level"]' in log
    assert '"server.max_batch"' in log
    assert "server.reload_failed" in log
    assert "server.stopped" not in log  # it is INFO


def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "banditd", "serve", "-c", str(ROOT / "config.yaml"), "--port", "0",
         "--database", f"sqlite:///{tmp_path}/b.db"],
        stdout=subprocess.PIPE, stderr=writing, cwd=ROOT,
    )  # fmt: skip
    os.close(writing)
    assert process.stdout is not None
    url = process.stdout.readline().decode().split()[3]
    daemon = Running(url=url, process=process, log=tmp_path / "none")
    with connect(daemon) as stream:  # far more lines than a pipe holds
        for _ in range(1_500):
            stream.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            stream.recv(65_536)
        time.sleep(0.5)  # the lines of the last quarter of a second
        stream.sendall(b"GET /health/liveness HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(65_536).startswith(b"HTTP/1.1 200")
    assert daemon.stop() == 0
    os.close(reading)


def test_a_taken_port_leaves_the_database_alone(start: Start, tmp_path: Path) -> None:
    port = start().url.rsplit(":", 1)[1]
    database = tmp_path / "other.db"
    command = [sys.executable, "-m", "banditd", "serve", "--port", port, "--database", f"sqlite:///{database}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert not database.exists()


def test_the_line_that_says_where_it_serves_is_the_last_of_the_start(start: Start, tmp_path: Path) -> None:
    with (tmp_path / "both.log").open("wb") as both:
        process = subprocess.Popen(
            [sys.executable, "-m", "banditd", "serve", "-c", str(ROOT / "config.yaml"), "--port", "0",
             "--database", f"sqlite:///{tmp_path}/b.db"],
            stdout=both, stderr=both, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    while "banditd serves on" not in (tmp_path / "both.log").read_text(encoding="utf-8"):
        assert process.poll() is None
        time.sleep(0.05)
    lines = (tmp_path / "both.log").read_text(encoding="utf-8").splitlines()
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "alembic" not in "".join(lines)
    before = lines[: next(n for n, line in enumerate(lines) if line.startswith("banditd serves on"))]
    assert len(before) < 10
    assert any('"server.started"' in line for line in before)


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-"])
def test_standard_streams_that_are_closed_are_nobodys(tmp_path: Path, closed: str) -> None:
    port = free_port()
    command = ["-m", "banditd", "serve", "--port", str(port), "--database", f"sqlite:///{tmp_path}/b.db"]
    process = subprocess.Popen(["/bin/sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, *command], cwd=ROOT)
    while process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveness") as up:
            assert up.status == 200
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.05)
    assert process.wait() == 0


def test_an_open_daemon_without_names_says_which_setting_to_change(start: Start) -> None:
    daemon = start(BANDITD_SERVER__ALLOW_UNAUTHENTICATED="true")
    assert daemon.stop() == 0
    assert "server.allowed_hosts" in daemon.log.read_text(encoding="utf-8")
    named = start(BANDITD_SERVER__ALLOW_UNAUTHENTICATED="true", BANDITD_SERVER__ALLOWED_HOSTS='["banditd"]')
    assert named.stop() == 0
    assert "server.names_missing" not in named.log.read_text(encoding="utf-8")
