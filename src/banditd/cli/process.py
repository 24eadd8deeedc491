"""A daemon of one's own, as a child process: for demonstrations and measurements, gone when they end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from banditd.core.errors import UnavailableError

_ANNOUNCEMENT = re.compile(rb"banditd serves on (\S+)")
STOP_TIMEOUT_S = 30.0


@contextmanager
def own_daemon(*, database: str, config: Path | None = None) -> Iterator[str]:
    """Start ``banditd serve`` on a free port of localhost; yields its URL; stops it at the end.

    Its log goes to standard error only when it fails to start.
    """
    process = start_daemon(database=database, config=config)
    try:
        yield wait_until_serving(process)
    finally:
        stop_daemon(process)


def start_daemon(
    *,
    database: str,
    config: Path | None = None,
    port: int = 0,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> subprocess.Popen[bytes]:
    """The process, not yet ready. ``log`` receives what it logs; nobody does without it."""
    command = [sys.executable, "-m", "banditd", "serve", "--port", str(port), "--database", database]
    if config is not None:
        command += ["--config", str(config)]
    target = log.open("ab") if log is not None else subprocess.DEVNULL
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command,
            stdout=subprocess.PIPE,
            stderr=target,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "BANDITD_LOGGING__LEVEL": "WARNING", **(environment or {})},
        )
    finally:
        if not isinstance(target, int):
            target.close()


def wait_until_serving(process: subprocess.Popen[bytes]) -> str:
    """The URL that the daemon announces. Raises UnavailableError when it ends instead."""
    for line in process.stdout or ():
        found = _ANNOUNCEMENT.search(line)
        if found:
            return found.group(1).decode()
    raise UnavailableError(f"the daemon ended with code {process.wait()} before it served; 'banditd serve' shows why")


def stop_daemon(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, then SIGKILL when it does not end. Returns the exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    code = process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return code
