"""Shell completion, in the shell itself where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from banditd.cli import commands

SHELLS = ["bash", "zsh", "fish"]


def script(shell: str) -> str:
    result = CliRunner().invoke(commands, ["completion", shell])
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``banditd`` is this interpreter's."""
    program = tmp_path / "banditd"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m banditd "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("banditd st", {"stats"}),
        ("banditd arms ", {"add", "set", "delete"}),
        ("banditd top --", {"--once", "--url", "--policy", "--interval-s", "--window-s", "--json", "--api-key"}),
        ("banditd completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes_commands_options_and_choices(words: str, wanted: set[str], on_path: dict[str, str]) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed here")
    line = words.split(" ")
    code = (
        f"{script('bash')}\nCOMP_WORDS=({' '.join(line)}); [ -z '{line[-1]}' ] && COMP_WORDS+=('')\n"
        f"COMP_CWORD={len(line) - 1}; _banditd_completion banditd\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, env=on_path)
    assert done.returncode == 0, done.stderr
    assert wanted <= set(done.stdout.split())
    assert "serve" not in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_what_its_shell_can_read(shell: str) -> None:
    text = script(shell)
    assert f"_BANDITD_COMPLETE={shell}_complete" in text
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here; its script was made all the same")
    check = ["--no-execute"] if shell == "fish" else ["-n"]
    done = subprocess.run([program, *check], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_what_each_shell_asks_is_answered(shell: str, on_path: dict[str, str]) -> None:
    """The protocol that the scripts speak: words and place in, candidates out."""
    place = "st" if shell == "fish" else "1"
    asked = {"COMP_WORDS": "banditd st", "COMP_CWORD": place, "_BANDITD_COMPLETE": f"{shell}_complete"}
    done = subprocess.run(["banditd"], capture_output=True, text=True, env=on_path | asked)
    assert "stats" in done.stdout
    assert "serve" not in done.stdout


def test_an_unknown_shell_is_wrong_usage() -> None:
    assert CliRunner().invoke(commands, ["completion", "csh"]).exit_code == 2
