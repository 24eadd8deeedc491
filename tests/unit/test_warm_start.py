"""A daemon that is forked is a process like one that was started: its streams, its folder, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.warm_start import COMMAND, FORKS, Popen

from banditd import __version__

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are adopted as Linux does it")


def ended(process: Popen) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("environment", [{}, {"PYTHONHASHSEED": "7"}], ids=["forked", "started"])
def test_it_speaks_to_its_streams_and_ends_with_its_code(environment: dict[str, str], tmp_path: Path) -> None:
    env = {**os.environ, **environment, "BANDITD_LOGGING__LEVEL": "LOUD"}
    assert FORKS.can_be(env) is not bool(environment)
    asked = ["--version"], ["no-such-command"], ["check-config", "--config", "here.yaml"]
    (tmp_path / "here.yaml").write_text("port: 1\n")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    said, unknown, refused = (ended(Popen([*COMMAND, *one], cwd=tmp_path, env=env, **pipes)) for one in asked)
    assert said == (0, f"banditd, version {__version__}\n", "")
    assert unknown[:2] == (2, "")
    assert "no-such-command" in unknown[2]
    assert refused[:2] == (2, "")
    assert "here.yaml" in refused[2]  # of its own folder
    assert "logging.level" in refused[2]  # of its own environment


def test_a_signal_ends_it_and_its_parent_is_told(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--port", "0", "--database", f"sqlite:///{tmp_path}/fork.db"]
    process = Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.poll() is None
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()
