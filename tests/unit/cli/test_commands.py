"""Help, usage errors and output of the commands, without a daemon."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from banditd.cli import commands
from banditd.settings import ApiKeySettings

NAMES = sorted(commands.commands)


def invoke(*arguments: str, **extra: Any):
    return CliRunner().invoke(commands, list(arguments), **extra)


def test_the_contract_of_commands_is_kept() -> None:
    assert set(NAMES) >= {
        "serve", "migrate", "check-config", "route", "reward", "arms", "stats", "simulate", "replay", "encoder",
        "rebuild", "export", "keys",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    group = commands.commands[name]
    shown = [invoke(name, "--help")]
    if name in {"keys", "encoder"}:
        shown = [invoke(name, sub, "--help") for sub in group.commands]  # type: ignore[attr-defined]
    for result in shown:
        assert result.exit_code == 0
        assert f"banditd {name}" in result.output
        assert "Example" in result.output or "serve" in result.output
        assert "\b" not in result.output


def test_replay_has_every_option_of_its_contract() -> None:
    shown = invoke("replay", "--help").output
    for option in (
        "--pool", "--split", "--warmup-split", "--policy", "--cost-weight", "--budget", "--limit", "--seeds",
        "--order", "--reward-delay", "--json", "--plot", "--url", "--reward-rate", "--feedback", "--warmup-rows",
        "--warmup-policy",
    ):  # fmt: skip
        assert option in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["reward", "some-id"],
        ["reward", "some-id", "0.5", "--retract"],
        ["reward", "some-id", "splendid"],
        ["replay", "somewhere", "--cost-weight", "1", "--budget", "1"],
        ["replay", "somewhere", "--order", "sideways"],
        ["replay", "somewhere", "--feedback", "thumb", "--url", "http://127.0.0.1:1"],
        ["replay", "somewhere", "--reward-rate", "0"],
        ["replay", "somewhere", "--warmup-rows", "1"],
        ["stats", "--contexts", "--report"],
        ["encoder", "build", "--model", "other"],
        ["simulate", "--requests", "0"],
        ["serve", "--port", "70000"],
        ["arms", "set", "small"],
        ["nonsense"],
    ],
)
def test_wrong_usage_ends_with_code_two_and_a_sentence(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.output


def test_a_created_key_is_shown_once_and_its_entry_is_valid_configuration() -> None:
    made = json.loads(invoke("keys", "create", "--name", "gateway", "--scope", "read", "--json").output)
    entry = ApiKeySettings.model_validate(made["entry"])
    assert entry.sha256.get_secret_value() == hashlib.sha256(made["key"].encode()).hexdigest()
    assert entry.scopes == ("read",)
    other = json.loads(invoke("keys", "create", "--name", "gateway", "--json").output)
    assert other["key"] != made["key"]


def test_the_key_entry_for_people_can_be_pasted_into_yaml() -> None:
    shown = invoke("keys", "create", "--name", 'a "quoted" name').output
    (entry,) = yaml.safe_load(shown[shown.index("  - name") :])
    assert entry["name"] == 'a "quoted" name'
    assert len(entry["sha256"]) == 64


def test_check_config_prints_what_holds_and_hides_secrets(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("database: {url: 'postgresql://me:swordfish@db/x'}\nserver: {port: 9000}\n", encoding="utf-8")
    result = invoke("check-config", "-c", str(config))
    assert result.exit_code == 0
    assert "swordfish" not in result.output
    assert yaml.safe_load(result.output)["server"]["port"] == 9000
    assert json.loads(invoke("check-config", "-c", str(config), "--json").output)["server"]["port"] == 9000


def test_a_bad_configuration_ends_with_code_two_and_the_place(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("server: {prot: 9000}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "banditd", "check-config", "-c", str(config)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "server.prot" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_blas_threads_are_limited_before_numpy_is_imported() -> None:
    code = (
        "import sys; sys.argv = ['banditd', '--version']\n"
        "from banditd.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "import os; assert os.environ['OPENBLAS_NUM_THREADS'] == '1' and 'numpy' not in sys.modules\n"
        "import numpy; print('fine')"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "fine", done.stderr
