"""The daemon as tools of an agent, by the Model Context Protocol: an adapter over its HTTP interface.

The library is an extra (``pip install 'banditd[mcp]'``), imported when a server is made.
"""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

from pydantic import Field

from banditd import __version__
from banditd.client.calls import Json
from banditd.client.daemon import DaemonClient
from banditd.core.errors import BanditdError
from banditd.core.nearest import nearest_names

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

INSTRUCTIONS: Final = (
    "banditd decides which large language model (an 'arm') should answer a query, and learns from rewards. "
    "Ask `route` before you call a model, call the `upstream_model` that it names, and tell `reward` what the answer "
    "was worth, from 0 to 1. `explain_decision`, `savings` and `arms` only read."
)

Input = Annotated[str, Field(description="the text that a model is to answer")]
Tags = Annotated[dict[str, str] | None, Field(description="such as {'task': 'summary', 'team': 'search'}")]
Keep = Annotated[
    float | None, Field(ge=0.5, le=1, description="share of the baseline's quality to keep, such as 0.98")
]
MaxCost = Annotated[float | None, Field(gt=0, description="dearest expected cost, in US dollars")]
MaxLatency = Annotated[float | None, Field(gt=0, description="longest expected latency, in milliseconds")]
Session = Annotated[str | None, Field(description="queries of one session keep their arm")]
Task = Annotated[str | None, Field(description="what you call the run of yours that the query is a part of")]
Parent = Annotated[str | None, Field(description="`decision_id` of the step that led to this one")]
Step = Annotated[str | None, Field(description="which step of the task it is, such as 'plan': one of a few names")]
DecisionId = Annotated[str, Field(description="`decision_id` of an answer of `route`")]
OfDecision = Annotated[str | None, Field(description="`decision_id` of an answer of `route`; or give `task_id`")]
Value = Annotated[float, Field(ge=0, le=1, description="what the answer was worth: 0 nothing, 1 all")]
Source = Annotated[str, Field(description="who says so: human, judge, metric or implicit")]
Policy = Annotated[str | None, Field(description="which policy; the server's own unless named")]
Days = Annotated[float, Field(gt=0, le=3650, description="over the last so many days")]


class AgentTools:
    """What an agent may do. Refusals reach it in the daemon's words.

    policy : of calls that name none. refused : what the library takes for a failure that the agent may read.
    """

    def __init__(self, client: DaemonClient, policy: str, refused: type[Exception]) -> None:
        self._client = client
        self._policy = policy
        self._refused = refused

    async def route(
        self, input: Input, tags: Tags = None, keep: Keep = None, max_cost_usd: MaxCost = None,  # noqa: A002 - the API's word
        max_latency_ms: MaxLatency = None, session_id: Session = None, task_id: Task = None,
        parent_decision_id: Parent = None, step: Step = None, policy: Policy = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Decide which model should answer a query. Call the model that it names, then reward the decision."""
        wishes = {
            "tags": tags, "keep": keep, "max_cost_usd": max_cost_usd, "max_latency_ms": max_latency_ms,
            "session_id": session_id, "task_id": task_id, "parent_decision_id": parent_decision_id, "step": step,
        }  # fmt: skip
        given: dict[str, Json] = {name: value for name, value in wishes.items() if value is not None}
        given |= {"recipes": False}  # an agent calls one model
        return await self._call("POST", "/v1/route", {"input": input, "policy": policy or self._policy, **given})

    async def reward(
        self, value: Value, decision_id: OfDecision = None, task_id: Task = None, source: Source = "judge"
    ) -> dict[str, Any]:
        """Report what the answer to a routed query was worth, or what a whole task was, which its decisions share.
        Said twice by the same source, it counts once; another value of the same source corrects it.
        """
        named = {"decision_id": decision_id, "task_id": task_id}
        body: dict[str, Json] = {"value": value, "source": source}
        return await self._call("POST", "/v1/rewards", body | {k: one for k, one in named.items() if one is not None})

    async def explain_decision(self, decision_id: DecisionId) -> dict[str, Any]:
        """Why a query went where it went: every arm's prediction and probability, rewards, usage and attempts."""
        return await self._call("GET", f"/v1/decisions/{quote(decision_id, safe='', errors='replace')}")

    async def savings(self, days: Days = 30.0, policy: Policy = None) -> dict[str, Any]:
        """What was saved against the baseline, what was lost of its quality, how sure that is, and the promise."""
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
        query: dict[str, Json] = {"policy": policy or self._policy, "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
        return await self._call("GET", "/v1/savings", query=query)

    async def arms(self, policy: Policy = None) -> dict[str, Any]:
        """The models to choose from, with prices, use and mean rewards."""
        return await self._call("GET", "/v1/arms", query={"policy": policy or self._policy})

    async def _call(
        self, method: str, path: str, body: dict[str, Json] | None = None, *,
        query: dict[str, Json] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        try:
            answer = await self._client.call(method, path, body=body, query=query)
        except BanditdError as error:
            raise self._refused(error.message) from error
        return dict(answer)


def agent_server(url: str, api_key: str | None, policy: str) -> MCPServer[DaemonClient]:
    """A server of these tools in front of the daemon at ``url``. Raises ModuleNotFoundError without its library."""
    from mcp.server.mcpserver import MCPServer  # noqa: PLC0415 - an optional extra
    from mcp.server.mcpserver.exceptions import ToolError  # noqa: PLC0415
    from mcp_types import ToolAnnotations  # noqa: PLC0415

    client = DaemonClient(url, api_key=api_key)

    @asynccontextmanager
    async def connected(_server: MCPServer[DaemonClient]) -> AsyncIterator[DaemonClient]:
        async with client:
            yield client

    tools = AgentTools(client, policy, ToolError)
    works = (
        (tools.route, False), (tools.reward, False), (tools.explain_decision, True), (tools.savings, True),
        (tools.arms, True),
    )  # fmt: skip

    class Server(MCPServer[DaemonClient]):
        """A misspelt argument is refused: silence would lose a limit."""

        async def call_tool(self, name: str, arguments: dict[str, Any], *more: Any, **named: Any) -> Any:
            if name not in {work.__name__ for work, _ in works}:
                return await super().call_tool(name, arguments, *more, **named)
            known = set(inspect.signature(getattr(AgentTools, name)).parameters) - {"self"}
            if unknown := sorted(arguments.keys() - known):
                near = nearest_names(unknown[0], sorted(known))
                mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
                raise ToolError(f"{name} has no argument {unknown[0]!r}: {mend}")
            return await super().call_tool(name, arguments, *more, **named)

    server = Server(
        "banditd", instructions=INSTRUCTIONS, version=__version__, lifespan=connected, log_level="WARNING"
    )
    for work, reads in works:
        hints = ToolAnnotations(read_only_hint=reads, destructive_hint=False, open_world_hint=False)
        server.tool(annotations=hints)(work)
    return server
