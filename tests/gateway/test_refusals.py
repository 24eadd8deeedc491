"""What is refused before a handler has it, in the form of the client that called."""

from __future__ import annotations

import hashlib

import aiohttp
from tests.gateway.conftest import Serve


async def test_refusals_have_the_form_of_the_client(serve: Serve) -> None:
    """Whatever it is: a key, a rate, a method, a path."""
    keys = [{"name": "one", "sha256": hashlib.sha256(b"secret").hexdigest(), "scopes": ["chat"]}]
    limits = {"api_keys": keys, "rate_limit_per_s": 0.001, "rate_limit_burst": 8}
    known, anthropics = {"Authorization": "Bearer secret"}, {"anthropic-version": "2023-06-01"}
    asked: list[tuple[str, str, dict[str, str], int, bool]] = [
        ("GET", "/models?limit=0", known | anthropics, 400, True),
        ("GET", "/models?limit=1" + "0" * 4400, known | anthropics, 400, True),
        ("GET", "/models", anthropics, 401, True),
        ("GET", "/models", {}, 401, False),
        ("POST", "/messages", {}, 401, True),
        ("GET", "/messages", known, 405, True),
        ("POST", "/messages/batches", known | anthropics, 404, True),
        ("POST", "/completions", known, 404, False),
        ("GET", "/chat/completions", known, 405, False),
    ]
    async with serve("ok", server=limits) as served, aiohttp.ClientSession() as session:
        for method, path, headers, status, form in asked:
            async with session.request(method, served.base + path, headers=headers) as answer:
                told = await answer.json()
                assert (answer.status, told.get("type") == "error") == (status, form), path
                assert told["error"]["message"], path
        for _ in range(9):
            async with session.post(f"{served.base}/messages", headers=known, json={}) as answer:
                told = await answer.json()
        assert (answer.status, told["type"], told["error"]["type"]) == (429, "error", "rate_limit_error")
