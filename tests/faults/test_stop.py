"""A stop that hangs ends all the same, with its own exit code."""

from __future__ import annotations

import subprocess
import sys

from banditd.daemon.stopping import FORCED

HANGS = """
import threading
from banditd.daemon import stopping
from banditd.settings import ServerSettings
stopping.CLOSE_S = 0.1
last = stopping.LastResort(ServerSettings(drain_s=0.0, shutdown_timeout_s=0.1))
last.begin()
if {call_off}:
    last.call_off()
    threading.Event().wait(1.0)
else:
    threading.Event().wait()  # as a loop that never ends
print("went on")
"""


def ended(*, call_off: bool) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HANGS.format(call_off=call_off)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_stop_that_hangs_is_forced() -> None:
    done = ended(call_off=False)
    assert (done.returncode, done.stdout) == (FORCED, "")
    assert "server.stop_forced" in done.stderr


def test_a_stop_that_ended_in_time_is_left_alone() -> None:
    done = ended(call_off=True)
    assert (done.returncode, done.stdout) == (0, "went on\n")
