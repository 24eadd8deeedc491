"""The daemon as an agent's tools, by the official client of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bench.proxy import free_port
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from tests.client.conftest import LiveDaemon

from banditd.agents import agent_server
from banditd.cli import commands
from banditd.core.errors import ConfigurationError

TOOLS = {"route", "reward", "explain_decision", "savings", "arms"}


def content(result: Any) -> Any:
    return json.loads(result.content[0].text)


@asynccontextmanager
async def in_process(daemon: LiveDaemon) -> AsyncIterator[Client]:
    async with Client(agent_server(daemon.url, None, "default")) as client:
        yield client


async def test_an_agent_routes_rewards_and_reads(daemon: LiveDaemon) -> None:
    async with in_process(daemon) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == TOOLS
        assert {name for name, tool in tools.items() if tool.annotations.read_only_hint} == TOOLS - {
            "route",
            "reward",
        }
        assert all(tool.description for tool in tools.values())
        assert tools["route"].input_schema["required"] == ["input"]
        routed = content(await client.call_tool("route", {"input": "hello", "tags": {"task": "greeting"}}))
        given = {"decision_id": routed["decision_id"], "value": 0.75}
        first, again = [content(await client.call_tool("reward", given)) for _ in range(2)]
        assert (first["duplicate"], again["duplicate"]) == (False, True)
        explained = content(await client.call_tool("explain_decision", {"decision_id": routed["decision_id"]}))
        assert explained["arm"] == routed["arm"]
        assert explained["tags"] == {"task": "greeting"}
        assert [reward["value"] for reward in explained["rewards"]] == [0.75]
        corrected = content(await client.call_tool("reward", {**given, "value": 0.25}))
        assert (corrected["duplicate"], corrected["revision"]) == (False, 1)
        other = content(await client.call_tool("reward", {**given, "source": "human"}))
        assert (other["duplicate"], other["revision"]) == (False, 0)
        assert {row["arm"] for row in content(await client.call_tool("arms", {}))["arms"]} >= {routed["arm"]}
        assert content(await client.call_tool("savings", {"days": 1}))["policy"] == "default"
        task = {"task_id": "run 1", "parent_decision_id": routed["decision_id"], "step": "act"}
        then = content(await client.call_tool("route", {"input": "and then", **task}))
        found = content(await client.call_tool("explain_decision", {"decision_id": then["decision_id"]}))
        whole = content(await client.call_tool("reward", {"task_id": "run 1", "value": 0.5}))
        assert (whole["decisions"], whole["reward"]) == (1, 0.5)
        assert [found["task_id"], found["parent_decision_id"], found["tags"]["step"]] == list(task.values())


async def test_what_the_daemon_refuses_reaches_the_agent_in_its_words(daemon: LiveDaemon) -> None:
    async with in_process(daemon) as client:
        decision = content(await client.call_tool("route", {"input": "hello"}))["decision_id"]
        for name, arguments, says in (
            ("explain_decision", {"decision_id": "nothing"}, "decision"),
            ("arms", {"policy": "nobody"}, "nobody"),
            ("reward", {"decision_id": "x", "value": 7}, "less than or equal to 1"),
            ("reward", {"decision_id": decision, "value": 0.5, "source": "n\u00e9\n"}, "/source"),
            ("reward", {"decision_id": "\u00e9\r\nX: y", "value": 0.5}, "decision_id"),
            ("reward", {"value": 0.5}, "decision_id"),
            ("explain_decision", {"decision_id": "\ud800"}, "decision"),
            ("route", {"input": "hello", "keep": 0.4}, "greater than or equal to 0.5"),
            ("route", {"input": "hello", "max_cost": 0.1}, "did you mean 'max_cost_usd'?"),
            ("__class__", {}, "Unknown tool"),
        ):
            result = await client.call_tool(name, arguments)
            assert result.is_error, name
            assert says in result.content[0].text


async def test_over_stdio_as_an_agent_starts_it(daemon: LiveDaemon) -> None:
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "banditd", "mcp", "--url", daemon.url], env={**os.environ}
    )
    async with Client(command) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        assert content(await client.call_tool("route", {"input": "hello"}))["decision_id"]


async def listening(process: asyncio.subprocess.Process, port: int) -> None:
    """Until it does. It ends, and the test with it, where it cannot."""
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def test_over_http_on_this_machine_only(daemon: LiveDaemon) -> None:
    port = free_port()
    command = [sys.executable, "-m", "banditd", "mcp", "--url", daemon.url, "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        await listening(process, port)
        async with Client(f"http://127.0.0.1:{port}/mcp") as client:
            assert content(await client.call_tool("route", {"input": "hello"}))["decision_id"]
    finally:
        process.terminate()
        await process.communicate()


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    refused = CliRunner().invoke(commands, ["mcp"])
    assert isinstance(refused.exception, ConfigurationError)
    assert "pip install 'banditd[mcp]'" in str(refused.exception)
