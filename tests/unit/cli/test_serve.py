"""What ``banditd serve`` says at its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ANNOUNCE = "from banditd.cli.serve import _announce; _announce('http://127.0.0.1:1')"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_start_that_cannot_be_announced_is_a_start_all_the_same() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", ANNOUNCE], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
