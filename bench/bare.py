"""The yardstick: an aiohttp handler (uvloop, pydantic) with bodies as large as the daemon's, and nothing behind it.

It validates the request as the daemon does and answers bytes that pydantic makes. Run as a process of its own.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web
from pydantic import BaseModel, ConfigDict


class Query(BaseModel):
    """The request, validated strictly."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    input: str | None = None
    embedding: list[float] | None = None
    policy: str = "default"


class Answer(BaseModel):
    """An answer with the fields and the length of the daemon's."""

    decision_id: str = "01890a5d-ac96-774b-bcce-b302099a8057"
    policy: str = "default"
    arm: str = "medium-general"
    upstream_model: str = "example/medium-general-70b"
    propensity: float = 0.7347638420153
    predicted_reward: float = 0.81239847562
    predicted_cost_usd: float = 0.000756300
    explored: bool = False
    reason: str = "policy"
    degraded: str | None = None
    fallbacks: list[str] = ["large-reasoner", "code-specialist", "small-general", "tiny-general"]
    policy_version: int = 1234
    policy_kind: str = "thompson"
    expires_at: str = "2026-01-31T09:30:00.123456Z"
    session_id: str | None = None
    dry_run: bool = False


async def route(request: web.Request) -> web.Response:
    Query.model_validate_json(await request.read())
    return web.Response(body=Answer().model_dump_json().encode(), content_type="application/json")


async def serve() -> None:
    app = web.Application()
    app.router.add_post("/v1/route", route)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"banditd serves on http://{host}:{port}", flush=True)  # the words that start_daemon waits for
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    uvloop.run(serve())
