"""``banditd top`` in a terminal of its own, while its daemon works, goes away and comes back."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.commands import as_json, run
from tests.e2e.conftest import ROOT, Start

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving

ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A program in a pseudo terminal, and all that it has drawn."""

    def __init__(self, command: list[str]) -> None:
        self._here, there = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160", "LINES": "50"}
        # Who runs the tests in the background ignores Ctrl-C, and what is started there would, too.
        ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(
                command, stdin=there, stdout=there, stderr=there, env=environment, cwd=ROOT
            )
        finally:
            signal.signal(signal.SIGINT, ignored)
        os.close(there)

    def until(self, text: bytes) -> None:
        """Read until it is drawn. What never comes is stopped by whoever runs the tests."""
        seen = b""
        while text not in ESCAPE.sub(b"", seen):
            select.select([self._here], [], [])
            try:
                piece = os.read(self._here, 65536)
            except OSError:  # the program has ended
                piece = b""
            assert piece, f"ended before it said {text!r}: {seen[-2000:]!r}"
            seen += piece

    def end(self) -> int:
        """Ctrl-C; the exit code. What it still draws is read: it would wait for room in the terminal for ever."""
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the program has ended
            while os.read(self._here, 65536):
                pass
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._here)


@pytest.fixture
def watching() -> Iterator[list[Screen]]:
    screens: list[Screen] = []
    yield screens
    for screen in screens:
        screen.close()


def test_it_follows_the_traffic_and_outlives_its_daemon(start: Start, watching: list[Screen], tmp_path: Path) -> None:
    daemon = start()
    command = [sys.executable, "-m", "banditd", "top", "--url", daemon.url, "--interval-s", "0.2"]
    screen = Screen(command)
    watching.append(screen)
    screen.until(b"no decisions yet")
    run("route", "What is 17 times 23?", url=daemon.url)
    screen.until(b"100.0 %")
    stop_daemon(daemon.process)
    screen.until(b"does not answer")
    again = start_daemon(
        database=f"sqlite:///{tmp_path}/banditd.db",
        config=ROOT / "config.yaml",
        port=int(daemon.url.rsplit(":", 1)[1]),
    )
    try:
        wait_until_serving(again)
        screen.until(b"ready")
        assert screen.end() == 0
    finally:
        stop_daemon(again)


def test_one_frame_for_a_pipe_and_json_for_programs(start: Start) -> None:
    daemon = start()
    run("route", "x", url=daemon.url)
    for arguments in (["top"], ["top", "--once"]):
        shown = run(*arguments, url=daemon.url)
        assert "large-reasoner" in shown
        assert "\x1b" not in shown
    sample = as_json("top", url=daemon.url)
    assert sample["life"]["decisions"] == 1
    assert sample["alarms"] == []


def test_no_daemon_and_no_policy_are_said_in_a_sentence(start: Start) -> None:
    assert "banditd serve" in run("top", "--once", url="http://127.0.0.1:9", code=1)
    daemon = start()
    assert "nobody" in run("top", "--policy", "nobody", url=daemon.url, code=1)
