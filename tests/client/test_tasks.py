"""An agent in steps by the Python client and the command line."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner
from tests.client.conftest import LiveDaemon

from banditd.cli import commands
from banditd.client import Client


def run(daemon: LiveDaemon, *arguments: str) -> str:
    done = CliRunner().invoke(commands, [*arguments, "--url", daemon.url])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_client_and_the_command_line_name_a_task_and_list_its_steps(daemon: LiveDaemon) -> None:
    with Client(daemon.url) as client, client.turn("Plan it.", task_id="run cli", step="plan") as turn:
        turn.reward(0.5, source="judge")
    parent = ["--parent-decision-id", turn.decision_id]
    made: Any = json.loads(run(daemon, "route", "Do it.", "--task-id", "run cli", "--step", "act", *parent, "--json"))
    listed = json.loads(run(daemon, "decisions", "--task-id", "run cli", "--json"))["decisions"]
    assert [(one["decision_id"], one["tags"], one["parent_decision_id"]) for one in listed] == [
        (made["decision_id"], {"step": "act"}, turn.decision_id),
        (turn.decision_id, {"step": "plan"}, None),
    ]
    shown = run(daemon, "decisions", "--tag", "step:act")
    assert made["decision_id"] in shown
    assert turn.decision_id in shown  # as the step before
    assert "run cli" in shown
    receipt = json.loads(run(daemon, "reward", "--task", "run cli", "1", "--source", "metric", "--json"))
    assert [receipt[name] for name in ("decisions", "recorded", "outweighed", "duplicate")] == [2, 1, 1, False]
    with Client(daemon.url) as client:
        assert client.reward_task("run cli", 1.0, source="metric").duplicate
        corrected = client.reward_task("run cli", "down", source="metric")
    assert (corrected.task_id, corrected.reward, corrected.duplicate) == ("run cli", 0.0, False)
    assert "There are more" in run(daemon, "decisions", "--task-id", "run cli", "--limit", "1")
