"""A whole daemon without jobs, over HTTP in this process."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from banditd.daemon.open import Daemon, open_services
from banditd.settings import Settings
from banditd.web.app import WebSettings, create_app
from banditd.web.security import ApiKey

Client = TestClient[web.Request, web.Application]


def key_of(name: str, *scopes: str) -> ApiKey:
    """A key that is its own name."""
    return ApiKey(name, hashlib.sha256(name.encode()).hexdigest(), frozenset(scopes))


def client_of(settings: Settings, **how: Any) -> Client:
    """Its client, to be entered; ``how`` : of ``WebSettings``."""
    web_settings = WebSettings(access_log=False, **how)
    return TestClient(TestServer(create_app(lambda: open_services(settings, start_jobs=False), web_settings)))


@asynccontextmanager
async def replicas(
    settings: Settings, keys: Sequence[ApiKey], count: int = 2
) -> AsyncIterator[tuple[list[Any], list[Daemon]]]:
    """So many on one database: (clients, daemons)."""
    async with AsyncExitStack() as stack:
        clients, daemons = [], []
        for _ in range(count):
            daemon = await stack.enter_async_context(open_services(settings, start_jobs=False))
            app = create_app(partial(nullcontext, daemon), WebSettings(access_log=False, api_keys=tuple(keys)))
            clients.append(await stack.enter_async_context(TestClient(TestServer(app))))
            daemons.append(daemon)
        yield clients, daemons


@dataclass
class Replicas:
    """What ``replicas`` has opened."""

    clients: list[Any]
    daemons: list[Daemon]


async def ask(client: Any, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """(status, JSON) of an answer; an underscore in a header's name is a dash."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.request(method, path, json=body, headers=named)
    return answer.status, await answer.json() if answer.status != 204 else None


async def get(client: Any, path: str) -> Any:
    """The JSON of what is there."""
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    return await answer.json()
