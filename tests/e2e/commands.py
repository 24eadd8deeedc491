"""Commands against a real daemon, in the process of the tests: an interpreter for each would cost them seconds."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from banditd.cli import main

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, url: str | None = None, code: int = 0, stdin: str = "") -> str:
    """Standard output of a command that must end with ``code``."""
    out, err = _stream(), _stream()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"BANDITD_URL": url} if url else {}))
        stack.enter_context(mock.patch.object(sys, "argv", ["banditd", *arguments]))
        stack.enter_context(mock.patch.object(sys, "stdin", _stream(stdin)))
        stack.enter_context(contextlib.chdir(ROOT))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(_logging_restored())
        try:
            main()
            ended: object = 0
        except SystemExit as end:
            ended = end.code or 0
    assert ended == code, _text(err)
    assert "Traceback" not in _text(err)
    return _text(out) + (_text(err) if code else "")


def as_json(*arguments: str, url: str | None = None, stdin: str = "") -> Any:
    return json.loads(run(*arguments, "--json", url=url, stdin=stdin))


def _stream(text: str = "") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


@contextlib.contextmanager
def _logging_restored() -> Any:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
