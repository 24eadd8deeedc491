"""The hook of examples/litellm_proxy, called in the order and with the shapes that LiteLLM's proxy 1.110.2 has.

The proxy itself is too large to be installed with the tests; tests/gateway/test_litellm_hook.py runs it where it is.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import types
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

HOOK = Path(__file__).resolve().parents[2] / "examples" / "litellm_proxy" / "banditd_hook.py"
DECISION = "01890a5d-ac96-774b-bcce-b302099a8057"
MESSAGES = [{"role": "user", "content": "Say hello."}]
DEPLOYMENTS = [{"model_info": {"id": name, "banditd_arm": name}} for name in ("mini", "full")]


@dataclass
class Daemon:
    """What the hook sent.

    refusing : answers to usage reports that are 503 before one is taken. status : of the next answer to a query.
    """

    routes: list[dict[str, Any]] = field(default_factory=list)
    usage: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refusing: int = 0
    status: int = 200
    reported: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def daemon(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    state = Daemon()

    async def route(request: web.Request) -> web.Response:
        state.routes.append(await request.json())
        if state.status != 200:
            status, state.status = state.status, 200
            return web.json_response({"detail": "no"}, status=status)
        return web.json_response({"decision_id": DECISION, "arm": "full", "fallbacks": ["mini"]})

    async def usage(request: web.Request) -> web.Response:
        state.usage.append((request.match_info["id"], await request.json()))
        if state.refusing:
            state.refusing -= 1
            return web.json_response({}, status=503)
        state.reported.set()
        return web.json_response({"duplicate": False})

    app = web.Application(client_max_size=10_000)
    app.router.add_post("/v1/route", route)
    app.router.add_post("/v1/decisions/{id}/usage", usage)
    async with TestServer(app) as server:
        monkeypatch.setenv("BANDITD_URL", str(server.make_url("")))
        yield state


@pytest.fixture
async def hook(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    for name in ("litellm", "litellm.integrations", "litellm.integrations.custom_logger"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["litellm.integrations.custom_logger"].CustomLogger = object  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location("banditd_hook", HOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "banditd_hook", module)
    spec.loader.exec_module(module)
    yield module.hook
    if module.hook._session is not None:
        await module.hook._session.close()


def request(*, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """What ``async_pre_call_hook`` gets for a chat."""
    trace = types.SimpleNamespace(litellm_trace_id="7f4b5cb6-4f0c-4a39-9a9b-6ad7c9f0c111")
    return {
        "model": "gpt-5", "messages": MESSAGES, "litellm_call_id": "c-1", "litellm_logging_obj": trace,
        "proxy_server_request": {"headers": headers or {}}, "metadata": {}, **more,
    }  # fmt: skip


async def begun(hook: Any, data: dict[str, Any]) -> list[dict[str, Any]]:
    """The deployments that LiteLLM may call; it puts the one it takes into the request's metadata."""
    await hook.async_pre_call_hook(None, None, data, "completion")
    left: list[dict[str, Any]] = await hook.async_filter_deployments("gpt-5", DEPLOYMENTS, MESSAGES, data)
    data["metadata"] |= {"model_group": "gpt-5", "model_info": left[0]["model_info"]}
    return left


async def answered(hook: Any, data: dict[str, Any], **more: Any) -> None:
    usage = types.SimpleNamespace(prompt_tokens=11, completion_tokens=5, prompt_tokens_details=None)
    answer = types.SimpleNamespace(id="chatcmpl-9", usage=usage, **more)
    now = datetime.now(UTC)
    await hook.async_log_success_event({"litellm_params": data}, answer, now - timedelta(milliseconds=40), now)


async def test_usage_and_the_ids_that_rewards_may_name_are_reported_once_taken(hook: Any, daemon: Daemon) -> None:
    daemon.refusing = 1
    data = request()
    assert [one["model_info"]["id"] for one in await begun(hook, data)] == ["full"]
    await answered(hook, data)
    await daemon.reported.wait()
    assert daemon.routes[0]["reference"] == "7f4b5cb64f0c4a399a9b6ad7c9f0c111"  # as Langfuse calls the trace
    (first, sent), (again, resent) = daemon.usage
    assert first == again == DECISION
    assert sent == resent  # merged by banditd: counted once
    assert sent["response_id"] == "chatcmpl-9"
    assert [(one["arm"], one["output_tokens"]) for one in sent["attempts"]] == [("full", 5)]


async def test_what_a_request_comes_after_and_a_refusal_are_passed_on(hook: Any, daemon: Daemon) -> None:
    headers = {
        "x-banditd-regenerated-from": DECISION, "x-banditd-task-id": "run 1",
        "x-banditd-parent-decision-id": DECISION,
    }  # fmt: skip
    data = request(headers=headers, metadata={"banditd_escalated_from": "no decision", "banditd_step": "act"})
    await begun(hook, data)
    declined = types.SimpleNamespace(finish_reason="stop", message=types.SimpleNamespace(content=None, refusal="No."))
    await answered(hook, data, choices=[declined])
    await daemon.reported.wait()
    assert daemon.routes[0]["regenerated_from"] == DECISION
    assert "escalated_from" not in daemon.routes[0]
    told = [daemon.routes[0][name] for name in ("task_id", "step", "parent_decision_id")]
    assert told == ["run 1", "act", DECISION]
    ((_, usage),) = daemon.usage
    assert (usage["refusal"], usage["finish_reason"]) == (True, "stop")


@pytest.mark.parametrize(
    ("stated", "reference"),
    [
        ({"metadata": {"banditd_reference": "message-17"}}, "message-17"),
        ({"headers": {"x-banditd-reference": "message-18"}}, "message-18"),
        ({"metadata": {"trace_id": "0AF7651916CD43DD8448EB211C80319C"}}, "0af7651916cd43dd8448eb211c80319c"),
        ({"metadata": {"existing_trace_id": "checkout", "trace_id": "x"}}, "c7761e58969f7edd498186641b2021e8"),
        ({"litellm_logging_obj": None, "litellm_call_id": None}, None),
    ],
)
async def test_a_decision_is_called_as_the_client_or_its_trace_is(
    hook: Any, daemon: Daemon, stated: dict[str, Any], reference: str | None
) -> None:
    await begun(hook, request(**stated))
    assert daemon.routes[0].get("reference") == reference


@pytest.mark.parametrize(
    "stated", [{"headers": {"x-banditd-decision-id": DECISION}}, {"metadata": {"banditd_decision_id": DECISION}}]
)
async def test_a_decision_that_was_brought_is_not_asked_for_and_hears_of_every_call(
    hook: Any, daemon: Daemon, stated: dict[str, Any]
) -> None:
    data = request(**stated)
    assert await begun(hook, data) == DEPLOYMENTS
    await hook.async_post_call_failure_deployment_hook(data, TimeoutError(), None)
    data["metadata"]["model_info"] = DEPLOYMENTS[1]["model_info"]
    await answered(hook, data)
    await daemon.reported.wait()
    assert daemon.routes == []
    ((decision, usage),) = daemon.usage
    assert decision == DECISION
    assert [(one["arm"], one.get("error")) for one in usage["attempts"]] == [("mini", "server"), ("full", None)]


async def test_a_whole_failure_is_reported_and_no_id_leads_out_of_the_path(hook: Any, daemon: Daemon) -> None:
    data = request(headers={"x-banditd-decision-id": "../arms/full"})
    await begun(hook, data)
    assert len(daemon.routes) == 1  # it is no decision: one is asked for
    failure = type("RateLimitError", (Exception,), {})()
    await hook.async_post_call_failure_deployment_hook(data, failure, None)
    await hook.async_post_call_failure_hook(data, failure, None)
    await daemon.reported.wait()
    ((decision, usage),) = daemon.usage
    assert decision == DECISION
    assert [(one["arm"], one["error"]) for one in usage["attempts"]] == [("full", "overload")]


@pytest.mark.parametrize(("status", "asked"), [(413, 2), (422, 2), (404, 2), (429, 1), (500, 1), (503, 1)])
async def test_what_is_wrong_with_one_request_keeps_no_other_from_being_routed(
    hook: Any, daemon: Daemon, status: int, asked: int
) -> None:
    daemon.status = status
    assert await begun(hook, request()) == DEPLOYMENTS
    left = await begun(hook, request())
    assert len(daemon.routes) == asked
    assert left == (DEPLOYMENTS[1:] if asked == 2 else DEPLOYMENTS)


async def test_a_request_beyond_the_daemons_limit_keeps_no_other_from_being_routed(hook: Any, daemon: Daemon) -> None:
    large, data = [{"role": "user", "content": "x" * 20_000}], request()
    await hook.async_pre_call_hook(None, None, data, "completion")
    assert await hook.async_filter_deployments("gpt-5", DEPLOYMENTS, large, data) == DEPLOYMENTS
    assert await begun(hook, request()) == DEPLOYMENTS[1:]


@pytest.mark.parametrize("metadata", [["a"], "abc", 7, None])
@pytest.mark.parametrize("name", ["metadata", "litellm_metadata"])
async def test_metadata_that_is_no_mapping_says_nothing(
    hook: Any, daemon: Daemon, name: str, metadata: object
) -> None:
    data = request(**{name: metadata})
    assert await begun(hook, data) == DEPLOYMENTS[1:]
    await answered(hook, data)
    await daemon.reported.wait()
    assert len(daemon.usage) == 1
