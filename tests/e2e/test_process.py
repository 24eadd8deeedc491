"""One daemon as a process: it learns, forgets nothing over a restart, drains, and says why it cannot start."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ROOT, Start, until

from banditd.client import DaemonClient, RefusedError
from banditd.core.errors import UnavailableError

QUERY = {"input": "Write a Python function that merges overlapping intervals."}
BEST = "code-specialist"


async def _teach(client: DaemonClient, rounds: int) -> None:
    for _ in range(rounds):
        answer = await client.route(QUERY)
        value = 1.0 if answer["arm"] == BEST else 0.0
        await client.reward({"decision_id": answer["decision_id"], "value": value, "source": "metric"})


async def _until_learned(client: DaemonClient, rewards: int) -> dict[str, Any]:
    """The statistics once the learner has folded so many rewards."""
    while True:
        stats: dict[str, Any] = await client.call("GET", "/v1/stats")
        if stats["rewards"] >= rewards:
            return stats
        await asyncio.sleep(0.05)


async def _beliefs(client: DaemonClient) -> tuple[int, dict[str, float]]:
    """(version of the policy, what it expects of each arm): the same version always means the same beliefs."""
    answer = await client.route({**QUERY, "dry_run": True, "explain": True})
    return answer["policy_version"], {arm["arm"]: arm["mean"] for arm in answer["arms"]}


async def test_what_was_learned_survives_a_restart(start: Start) -> None:
    daemon = start()
    taught = 0
    async with DaemonClient(daemon.url) as client:
        # Arms are drawn: how many rounds it takes until the best one is known is luck, that it will be is not.
        for _ in range(10):
            await _teach(client, 60)
            taught += 60
            before = await _until_learned(client, taught)
            known = await _beliefs(client)
            if max(known[1], key=lambda arm: known[1][arm]) == BEST:
                break
        else:
            pytest.fail(f"after {taught} rewards the best arm is not known: {known[1]}")
    # A refit that the last rewards made due is committed by itself, perhaps after the beliefs were read: the
    # version tells. With nothing left to learn there can be one, before the daemon stops or after it starts.
    for _ in range(3):
        assert daemon.stop() == 0
        daemon = start()
        async with DaemonClient(daemon.url) as client:
            after = await client.call("GET", "/v1/stats")
            again = await _beliefs(client)
        if again[0] == known[0]:
            break
        known = again
    else:
        pytest.fail("the learner goes on committing although nothing was left to learn")
    assert again[1] == pytest.approx(known[1], abs=1e-9)
    assert after["decisions"] == before["decisions"] == taught
    assert after["rewards"] == taught


async def test_rewards_that_the_learner_had_no_time_for_are_folded_after_a_kill(start: Start) -> None:
    first = start(BANDITD_LEARNER__PAUSE_MS="60000")
    async with DaemonClient(first.url) as client:
        await _teach(client, 10)
    first.process.send_signal(signal.SIGKILL)
    first.stop()
    second = start()
    async with DaemonClient(second.url) as client:
        stats = await _until_learned(client, 10)
    assert stats["rewards"] == 10


async def test_sigterm_finishes_the_requests_that_run_and_exits_with_zero(start: Start) -> None:
    daemon = start()
    answered: list[str] = []
    broken: list[str] = []

    async def keep_asking(client: DaemonClient) -> None:
        while True:
            try:
                answered.append((await client.route(QUERY))["decision_id"])
            except UnavailableError as error:
                if "Disconnected" in str(error) and len(answered) < 50:
                    broken.append(str(error))
                return

    async with DaemonClient(daemon.url) as client:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(keep_asking(client)) for _ in range(8)]

            async def some_answered() -> bool:
                return len(answered) >= 50

            await until(some_answered)
            daemon.process.send_signal(signal.SIGTERM)
        assert all(task.done() for task in tasks)
    assert daemon.stop() == 0
    assert broken == []
    second = start()
    async with DaemonClient(second.url) as client:
        for decision_id in answered:
            await client.call("GET", f"/v1/decisions/{decision_id}")


async def test_while_draining_it_answers_but_is_not_ready(start: Start) -> None:
    daemon = start(BANDITD_SERVER__DRAIN_S="3")
    async with DaemonClient(daemon.url) as client:
        ready = await client.call("GET", "/health/readiness")
        daemon.process.send_signal(signal.SIGTERM)
        while True:
            try:
                await client.call("GET", "/health/readiness")
            except RefusedError as error:
                refused = error
                break
            await asyncio.sleep(0.01)
        answer = await client.route(QUERY)
        await client.call("GET", "/health/liveness")
    assert ready
    assert refused.status == 503
    assert answer["arm"]
    assert daemon.stop() == 0


def _serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "banditd", "serve", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=ROOT,
    )


def test_a_port_in_use_is_told_with_the_mend(start: Start, tmp_path: Path) -> None:
    daemon = start()
    port = daemon.url.rsplit(":", 1)[1]
    done = _serve("--port", port, "--database", f"sqlite:///{tmp_path}/other.db")
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--config", "no-such-file.yaml"], {}, "does not exist"),
        ([], {"BANDITD_SERVRE__PORT": "1"}, "BANDITD_SERVER"),
        (["--host", "192.0.2.1"], {}, "api_keys"),
        ([], {"BANDITD_SERVER__PORT": "many"}, "server.port"),
        ([], {"BANDITD_DATABASE__URL": "mysql://somewhere/x"}, "mysql"),
    ],
)
def test_a_configuration_that_cannot_work_stops_the_start_with_code_two(
    arguments: list[str], environment: dict[str, str], said: str
) -> None:
    done = _serve(*arguments, **environment)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_logs_are_json_lines_without_the_text_of_queries(start: Start) -> None:
    import json

    daemon = start(BANDITD_LOGGING__LEVEL="INFO")
    async with DaemonClient(daemon.url) as client:
        await client.route({"input": "the password of the vault is swordfish"})
    assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.log.read_text(encoding="utf-8").splitlines()]
    assert {"server.started", "server.stopped"} <= {line["event"] for line in lines}
    assert "swordfish" not in daemon.log.read_text(encoding="utf-8")


def test_the_daemon_is_the_same_object_when_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "banditd", "--version"], capture_output=True, text=True)
    from banditd import __version__

    assert done.stdout.strip() == f"banditd, version {__version__}"
