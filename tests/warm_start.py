"""Daemons as forks of one interpreter that has imported them: most of what a start costs are its imports.

Everything after the imports is a start as any other: a process of its own with the arguments, the environment, the
folder and the streams it was given, and a child of who started it. Daemons that tests start by their own command
line (``python -m banditd``, ``banditd``) go the whole way.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "banditd"]
PRELOADED = ("banditd.daemon.serve", "alembic.command", "alembic.autogenerate", "psycopg", "uvloop")
# What an interpreter or a library reads once, while it starts.
READ_AT_START = ("PYTHON", "LD_", "MALLOC_", "OPENBLAS_", "OMP_", "MKL_", "LC_", "LANG", "TZ")
PR_SET_CHILD_SUBREAPER = 36


class Forks:
    """The interpreter that is forked, started when the first daemon is."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asking: socket.socket | None = None
        self._environment: dict[str, str] = {}
        self._one_at_a_time = threading.Lock()

    def can_be(self, environment: Mapping[str, str]) -> bool:
        """Whether an interpreter that starts with this environment starts as ours did."""
        with self._one_at_a_time:
            self._started()
        changed = {name for name, _ in environment.items() ^ self._environment.items()}
        return not any(name.startswith(READ_AT_START) for name in changed)

    def new(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str, streams: list[int]) -> int:
        """A child of this process that runs ``banditd`` with these arguments; its id."""
        told = json.dumps({"arguments": arguments, "environment": dict(environment), "folder": folder}).encode()
        with self._one_at_a_time:
            asking = self._started()
            _adopt_orphans(yes=True)
            try:
                asking.sendall(len(told).to_bytes(4, "big"))
                socket.send_fds(asking, [told[:1]], streams)
                asking.sendall(told[1:])
                answer = asking.recv(4)
            finally:
                _adopt_orphans(yes=False)
        if len(answer) < 4:
            raise RuntimeError("the interpreter that daemons are forked from has ended")
        return int.from_bytes(answer, "big")

    def _started(self) -> socket.socket:
        if self._asking is None:
            self._environment = dict(os.environ)
            self._asking, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
        return self._asking

    def end(self) -> None:
        if self._asking is not None and self._process is not None:
            self._asking.close()
            self._process.wait()
            self._asking = self._process = None


FORKS = Forks()


class Popen(subprocess.Popen[bytes]):
    """A process as ``subprocess.Popen`` gives it; a fork if it is a daemon whose interpreter would be as ours."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        # As the standard library calls it (3.11 to 3.14); what start_daemon does not name has its default.
        _executable, _preexec, _close, _pass, cwd, env, _info, _flags, _shell, *ends = rest[:15]
        environment = dict(os.environ) if env is None else env
        if args[:3] != COMMAND or not FORKS.can_be(environment):
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        streams = [ours if end == -1 else end for ours, end in enumerate((ends[0], ends[3], ends[5]))]
        try:
            self.pid = FORKS.new(args[3:], environment, str(cwd or Path.cwd()), streams)
            self._child_created = True
        finally:
            self._close_pipe_fds(*ends)  # type: ignore[attr-defined]


def _adopt_orphans(*, yes: bool) -> None:
    """Whether a process below this one whose parent ends becomes a child of this one."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def _serve_forks(asked: socket.socket) -> list[str]:
    """Fork whenever asked to; returns only in a fork, with its arguments."""
    while True:
        size = asked.recv(4, socket.MSG_WAITALL)
        if len(size) < 4:
            sys.exit()
        first, streams, _, _ = socket.recv_fds(asked, 1, 3)
        told = json.loads(first + asked.recv(int.from_bytes(size, "big") - 1, socket.MSG_WAITALL))
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            fork = os.fork()
            if fork == 0:
                return _become(told, streams)
            os.write(writing, fork.to_bytes(4, "big"))
            os._exit(0)  # the fork's parent ends, and who asked adopts it
        os.waitpid(between, 0)
        answer = os.read(reading, 4)
        for one in (reading, writing, *streams):
            os.close(one)
        asked.sendall(answer)


def _become(told: dict[str, Any], streams: array.array[int] | list[int]) -> list[str]:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["folder"])
    sys.path.insert(0, told["folder"])  # as ``-m`` does
    arguments: list[str] = told["arguments"]
    return arguments


if __name__ == "__main__":
    from importlib import import_module

    from banditd.cli import main

    for module in PRELOADED:
        import_module(module)
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        sys.argv = ["banditd", *_serve_forks(asked)]
        asked.detach()  # closed already
    main()
