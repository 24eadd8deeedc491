"""Names and origins: what a page of another site, or another name for this machine, may make the daemon do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.web.test_walls import ID, QUERY, key

from banditd.web.origin import read_authority
from banditd.web.routes import ROUTES

FOREIGN_NAMES = (
    "evil.example", "evil.example:8484", "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost", "10.0.0.7",
    "localhost@evil.example", "[::2]", "127.0.0.2", "", "localhost:80:80",
)  # fmt: skip
FOREIGN_PAGES: tuple[dict[str, str], ...] = (
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:3000"},
    {"Origin": "https://127.0.0.1"}, {"Origin": "chrome-extension://abc"}, {"Origin": "http://evil.example:8484"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "Cross-Site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
)  # fmt: skip


def paths() -> list[tuple[str, str, bool]]:
    """(method, path, answered under any name) of every operation, and two that are none."""
    listed = [(r.method, re.sub(r"\{[a-z]+\}", ID, r.path), r.by_any_name) for r in ROUTES]
    return [*listed, ("GET", "/nowhere", False), ("PUT", "/v1/arms", False), ("OPTIONS", "/v1/route", False)]


@pytest.mark.parametrize("name", FOREIGN_NAMES)
async def test_without_keys_no_route_answers_to_a_foreign_name(client: Any, name: str) -> None:
    for method, path, by_any_name in paths():
        answer = await client.request(method, path, headers={"Host": name})
        if by_any_name:
            assert answer.status == 200, path
            assert set(await answer.json()) <= {"status", "version", "failing"}
        else:
            assert answer.status == 421, (method, path, name)
            assert "server.allowed_hosts" in await answer.text()  # in the error's form of every surface


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8484", "[0:0:0:0:0:0:0:1]"])
async def test_its_own_names_are_answered_under_any_port(client: Any, name: str) -> None:
    assert (await client.post("/v1/route", json=QUERY, headers={"Host": name})).status == 200


@pytest.mark.parametrize("headers", FOREIGN_PAGES, ids=str)
@pytest.mark.parametrize("keyed", [False, True])
async def test_a_page_of_another_origin_reaches_no_route(
    serve: Any, daemon: Any, headers: dict[str, str], keyed: bool
) -> None:
    client = await serve(daemon, api_keys=(key("all", "admin"),) if keyed else ())
    known = {"x-api-key": "secret-all"} if keyed else {}
    for method, path, _ in paths():
        for body in ({}, {"json": QUERY}, {"data": b"{}"}):
            answer = await client.request(method, path, headers={**headers, **known}, **body)
            assert answer.status == 403, (method, path)
            assert "Access-Control-Allow-Origin" not in answer.headers
    assert daemon.routing.queries == []


async def test_the_page_itself_and_links_to_it_go_on_working(client: Any) -> None:
    own = f"http://127.0.0.1:{client.port}"
    same = {"Origin": own, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert (await client.post("/v1/route", json=QUERY, headers=same)).status == 200
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    link = {**typed, "Sec-Fetch-Site": "cross-site"}
    for path in ("/", "/docs"):
        for headers in (typed, link):
            assert (await client.get(path, headers=headers)).status == 200, path
    assert (await client.get("/v1/arms", headers=link)).status == 403
    assert (await client.post("/v1/route", json=QUERY, headers=link)).status == 403


async def test_behind_a_proxy_a_listed_name_is_the_daemons_own(serve: Any, daemon: Any) -> None:
    client = await serve(daemon, allowed_hosts=("banditd.example.org", "tools.example.org:8443"))

    async def status(host: str, origin: str) -> int:
        answer = await client.post("/v1/route", json=QUERY, headers={"Host": host, "Origin": origin})
        return int(answer.status)

    assert await status("banditd.example.org", "https://banditd.example.org") == 200
    assert await status("127.0.0.1:8484", "https://banditd.example.org") == 200  # the proxy rewrites Host
    assert await status("tools.example.org", "https://tools.example.org:8443") == 200
    assert await status("127.0.0.1:8484", "https://tools.example.org") == 403
    assert await status("127.0.0.1:8484", "https://banditd.example.org:3000") == 403
    assert await status("other.example.org", "https://banditd.example.org") == 421


async def test_with_keys_names_count_only_where_some_are_listed(serve: Any, daemon: Any) -> None:
    headers = {"Host": "banditd.internal", "x-api-key": "secret-all"}
    anybody = await serve(daemon, api_keys=(key("all", "admin"),))
    assert (await anybody.post("/v1/route", json=QUERY, headers=headers)).status == 200
    listed = await serve(daemon, api_keys=(key("all", "admin"),), allowed_hosts=("banditd.example.org",))
    assert (await listed.post("/v1/route", json=QUERY, headers=headers)).status == 421
    rewritten = {"x-api-key": "secret-all", "Origin": "https://banditd.internal", "Sec-Fetch-Site": "same-origin"}
    assert (await anybody.post("/v1/route", json=QUERY, headers=rewritten)).status == 200


async def test_a_whole_url_as_target_brings_its_own_name(client: Any) -> None:
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET http://evil.example/v1/arms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"421"
    writer.close()


async def test_strangers_hear_yes_or_no_and_the_scope_read_hears_why(serve: Any, daemon: Any) -> None:
    client = await serve(daemon, api_keys=(key("see", "read"), key("ask", "route")))
    daemon.health.ready = False
    for headers in ({}, {"x-api-key": "secret-ask"}, {"x-api-key": "wrong"}):
        answer = await client.get("/health/readiness", headers=headers)
        assert (answer.status, await answer.json()) == (503, {"status": "not ready", "failing": ["database"]})
    seen = await (await client.get("/health/readiness", headers={"x-api-key": "secret-see"})).json()
    assert seen["database"] == {"ok": False}


@pytest.mark.parametrize("text", ["a b", "a/b", "http://a", "a:", "[::1", "::1", "[zz]", "ü", "a:999999"])
def test_what_is_no_name_is_nobodys(text: str) -> None:
    assert read_authority(text) is None
