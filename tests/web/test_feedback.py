"""Feedback links over HTTP, on both databases: made with an API key, used without one, as browsers do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, nullcontext
from functools import partial
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.over_http import key_of
from tests.patience import PATIENT

from banditd.daemon.open import Daemon, open_services
from banditd.settings import Settings
from banditd.web.app import WebSettings, create_app

PUBLIC = "https://banditd.example.com/way"
KEYS = (key_of("app", "route", "reward", "read"), key_of("own", "route", "reward:own"))
FOLLOWED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
PRESSED = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


class Site:
    def __init__(self, client: Any, daemon: Daemon) -> None:
        self.client = client
        self.daemon = daemon

    async def api(self, method: str, path: str, body: Any = None, who: str = "app") -> tuple[int, Any]:
        answer = await self.client.request(method, path, json=body, headers={"x-api-key": who})
        return answer.status, await answer.json()

    async def route(self, who: str = "app", **more: Any) -> str:
        status, made = await self.api("POST", "/v1/route", {"input": "hello", **more}, who)
        assert status == 200
        return str(made["decision_id"])

    async def link(self, decision_id: str, **asked: Any) -> str:
        """The path of a new link."""
        status, made = await self.api("POST", f"/v1/decisions/{decision_id}/feedback-link", asked or None)
        assert status == 200, made
        return str(made["url"]).removeprefix(PUBLIC)

    async def press(self, path: str, thumb: str, headers: dict[str, str] | None = None) -> Any:
        answer = await self.client.post(path, data={"thumb": thumb}, headers=PRESSED if headers is None else headers)
        await answer.read()
        return answer

    async def votes(self, decision_id: str) -> list[tuple[str, str, float]]:
        _, whole = await self.api("GET", f"/v1/decisions/{decision_id}")
        return [(one["source"], one["metric"], one["reward"]) for one in whole["rewards"]]


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    rewards = {"sources": {"human": {}, "mail": {"minimum": 1.0, "maximum": 5.0}}}
    settings = Settings(
        database={"url": database_url, **PATIENT},  # type: ignore[arg-type]
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},  # type: ignore[arg-type]
        policies={"default": {"arms": [{"arm": "a"}], "reward": rewards}},  # type: ignore[dict-item]
    )
    async with AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(open_services(settings, start_jobs=False))
        web = WebSettings(access_log=False, api_keys=KEYS, public_url=PUBLIC, rate_limit_per_s=0.0)
        app = create_app(partial(nullcontext, daemon), web)
        client: Any = await stack.enter_async_context(TestClient(TestServer(app)))
        yield Site(client, daemon)


async def test_a_vote_counts_once_and_can_be_changed(site: Site) -> None:
    made = await site.route()
    path = await site.link(made)
    for _ in range(3):
        assert (await site.press(path, "up")).status == 200
    assert await site.votes(made) == [("human", "quality", 1.0)]
    answer = await site.press(path, "down")
    assert "change it" in await answer.text()
    assert await site.votes(made) == [("human", "quality", 1.0), ("human", "quality", 0.0)]
    _, receipt = await site.api("POST", "/v1/rewards", {"decision_id": made, "thumb": "down"})
    assert receipt["duplicate"] is True


async def test_looking_counts_nothing(site: Site) -> None:
    """Mail scanners open every link, with and without a browser's headers."""
    made = await site.route()
    path = await site.link(made)
    for method in ("GET", "HEAD", "OPTIONS"):
        for headers in ({}, FOLLOWED, PRESSED):
            await site.client.request(method, f"{path}?thumb=up", headers=headers)
    assert await site.votes(made) == []


async def test_the_page_has_two_buttons_no_script_and_tells_nobody_its_address(site: Site) -> None:
    made = await site.route()
    path = await site.link(made, question="War das <b>gut</b>?", up="Ja", down="Nein")
    answer = await site.client.get(path, headers=FOLLOWED)
    page = await answer.text()
    assert answer.status == 200
    assert re.findall(r"<button name=thumb value=(\w+)>([^<]*)</button>", page) == [("up", "Ja"), ("down", "Nein")]
    assert "War das &lt;b&gt;gut&lt;/b&gt;?" in page
    assert "<script" not in page
    assert "http" not in page
    policy = answer.headers["Content-Security-Policy"]
    for rule in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_form_of_another_site_cannot_vote(site: Site) -> None:
    made = await site.route()
    path = await site.link(made)
    foreign: list[dict[str, str]] = [
        FOLLOWED,
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
    ]
    for headers in foreign:
        answer = await site.press(path, "up", headers)
        assert (answer.status, (await answer.json())["code"]) == (403, "CROSS_ORIGIN")
    assert await site.votes(made) == []
    # A proxy has rewritten Host, and the browser is an old one: the public address is an origin of ours.
    assert (await site.press(path, "up", {"Origin": "https://banditd.example.com"})).status == 200


async def test_a_link_that_was_changed_is_none(site: Site) -> None:
    made, other = await site.route(), await site.route()
    path, theirs = await site.link(made), await site.link(other)
    (text, signature), (_, another) = (one.removeprefix("/feedback/").split(".") for one in (path, theirs))
    flipped = ("A" if text[10] != "A" else "B").join((text[:10], text[11:]))
    wrong = [
        *(
            f"{text}.{another}",
            f"{flipped}.{signature}",
            text,
            f"{text}.",
            f".{signature}",
            "x",
            f"{text}.{signature}A",
        ),
        *(f"{text}=.{signature}", f"{text}.{signature[:-2]}", "%00.%00", "ü.ü"),
    ]
    for token in wrong:
        for answer in (await site.client.get(f"/feedback/{token}"), await site.press(f"/feedback/{token}", "up")):
            assert answer.status == 404, token
            assert answer.content_type == "text/html"
    assert await site.votes(made) == await site.votes(other) == []


async def test_a_link_ends_with_its_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await site.route()
    path = await site.link(made, expires_in_s=3600)
    feedback: Any = site.daemon.services.feedback
    now_us = feedback._clock.now_us()

    class Later:
        def now_us(self) -> int:
            return int(now_us + 3_601_000_000)

    monkeypatch.setattr(feedback, "_clock", Later())
    assert (await site.client.get(path)).status == 410
    assert (await site.press(path, "up")).status == 410
    assert await site.votes(made) == []


async def test_a_link_is_for_its_own_source_and_metric_on_that_sources_scale(site: Site) -> None:
    made = await site.route()
    path = await site.link(made, source="mail", metric="tone")
    assert (await site.press(path, "up")).status == 200
    assert await site.votes(made) == [("mail", "tone", 1.0)]


async def test_what_no_button_says_is_refused(site: Site) -> None:
    made = await site.route()
    path = await site.link(made)
    for body in ({}, {"thumb": "sideways"}, {"value": "1"}):
        answer = await site.client.post(path, data=body, headers=PRESSED)
        assert answer.status in {400, 415, 422}
    assert (await site.client.post(path, json={"thumb": "up"}, headers=PRESSED)).status == 415
    assert (await site.client.post(path, data={"thumb": "up" * 1000}, headers=PRESSED)).status == 413
    assert await site.votes(made) == []


async def test_somebody_who_presses_on_and_on_is_slowed_down(site: Site) -> None:
    made, other = await site.route(), await site.route()
    path = await site.link(made)
    statuses = [(await site.press(path, ("up", "down")[n % 2])).status for n in range(20)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert (await site.press(await site.link(other), "up")).status == 200


async def test_links_are_made_for_decisions_that_the_key_may_reward(site: Site) -> None:
    theirs, mine = await site.route(), await site.route("own")
    path = "/v1/decisions/{}/feedback-link"
    assert (await site.api("POST", path.format(mine), who="own"))[0] == 200
    status, problem = await site.api("POST", path.format(theirs), who="own")
    assert (status, problem["code"]) == (403, "DECISION_OF_ANOTHER_KEY")
    assert (await site.client.post(path.format(mine))).status == 401
    status, problem = await site.api("POST", path.format("00000000-0000-7000-8000-00000000dead"))
    assert (status, problem["code"]) == (404, "DECISION_NOT_FOUND")
    for asked in ({"source": "nobody"}, {"expires_in_s": 1}, {"question": "x" * 201}, {"unknown": 1}):
        assert (await site.api("POST", path.format(mine), asked))[0] == 422
    named = await site.route(reference="mail-1")
    assert (await site.api("POST", "/v1/decisions/reference:mail-1/feedback-link"))[1]["decision_id"] == named


async def test_a_vote_on_what_retention_has_deleted_says_so(site: Site) -> None:
    made = await site.route()
    path = await site.link(made)
    assert await site.daemon.storage.maintenance.prune(before_us=2**53, limit=1) == 1
    assert (await site.press(path, "up")).status == 404


async def test_without_a_public_address_links_lead_to_where_they_were_asked_for(site: Site) -> None:
    made = await site.route()
    web = WebSettings(access_log=False, api_keys=KEYS)
    async with TestClient(TestServer(create_app(partial(nullcontext, site.daemon), web))) as plain:
        answer = await plain.post(f"/v1/decisions/{made}/feedback-link", headers={"x-api-key": "app"})
        url = (await answer.json())["url"]
        assert url.startswith(f"http://{plain.host}:{plain.port}/feedback/")
        assert (await plain.get(url.removeprefix(f"http://{plain.host}:{plain.port}"))).status == 200
