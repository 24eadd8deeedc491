"""Drift over HTTP and on the command line: the anchor's part of it, who may renew it, and what is refused."""

from __future__ import annotations

from typing import Any

from aiohttp.test_utils import TestClient
from click.testing import CliRunner
from tests.over_http import client_of
from tests.patience import PATIENT

from banditd.cli import commands
from banditd.settings import Settings

ARMS = [{"arm": "small"}, {"arm": "large"}]


def serving(url: str, **policy: Any) -> TestClient[Any, Any]:
    settings = Settings(
        database={"url": url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},
        policies={"default": {"arms": ARMS, **policy}, "off": {"arms": ARMS}},
    )
    return client_of(settings)


async def test_an_anchor_is_renewed_once_there_is_something_to_hold_on_to(sqlite_url: str) -> None:
    place = "/v1/policies/default"
    async with serving(sqlite_url, drift={"anchor": {"share": 0.1}}) as client:
        before = await (await client.get(f"{place}/drift")).json()
        assert (before["own"]["anchor_id"], before["own"]["share"], before["causes"]) == (None, 0.1, [])
        assert "No anchor yet" in before["own"]["words"]
        refused = await client.post(f"{place}/anchor/renew")
        assert (refused.status, (await refused.json())["code"]) == (409, "NOTHING_LEARNED")
        made = await (await client.post("/v1/route", json={"input": "a query"})).json()
        await client.post("/v1/rewards", json={"decision_id": made["decision_id"], "value": 1.0})
        while (await client.post(f"{place}/anchor/renew", json={"reason": "fine"})).status == 409:
            pass
        found = (await (await client.get(f"{place}/drift")).json())["own"]
        assert (found["reason"], found["deciding"], found["problem"]) == ("fine", True, None)
        assert found["events"][0]["at"] == found["taken_at"]
        for body, status in (({"reason": 3}, 422), ({"why": "x"}, 422), ({"reason": "x" * 501}, 422)):
            assert (await client.post(f"{place}/anchor/renew", json=body)).status == status
        off = await client.post("/v1/policies/off/anchor/renew")
        assert (off.status, (await off.json())["code"]) == (409, "ANCHOR_OFF")
        assert (await client.post("/v1/policies/nobody/anchor/renew")).status == 404
        assert (await (await client.get("/v1/policies/off/drift")).json())["own"] is None


def test_the_commands_are_there() -> None:
    for words in (["drift"], ["anchor"], ["anchor", "renew"]):
        result = CliRunner().invoke(commands, [*words, "--help"])
        assert (result.exit_code, "Example" in result.output) == (0, True)
