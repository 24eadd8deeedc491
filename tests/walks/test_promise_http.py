"""Promises and switches over HTTP, against a whole daemon: shapes as described, refusals that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.over_http import ask, client_of
from tests.walks.conftest import make_settings

from banditd.daemon.open import open_services
from banditd.settings import Settings
from banditd.web.app import WebSettings, create_app
from banditd.web.schemas.promise import PromiseAnswer
from banditd.web.schemas.routing import RouteAnswer

ROOT = Path(__file__).resolve().parents[2]


def shipped_before() -> dict[str, Any]:
    """The whole configuration as it was shipped before there were promises: all else is as it was."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    policy = content["policies"]["default"]
    for name in ("promise", "rollout", "mode"):
        del policy[name]
    policy["profiles"] = {
        "quality": {"cost_weight": 0.0}, "balanced": {"cost_weight": 0.1}, "economy": {"cost_weight": 0.3},
    }  # fmt: skip
    return content


@pytest.fixture
async def client(sqlite_url: str) -> Any:
    settings = make_settings(sqlite_url, promise={"keep": 0.95})
    async with client_of(settings) as found:
        yield found


async def test_a_promise_is_shown_changed_and_refused(client: Any) -> None:
    status, shown = await ask(client, "GET", "/v1/promise")
    assert status == 200
    PromiseAnswer.model_validate(shown)
    assert (shown["baseline"], shown["keep"], shown["state"], shown["held"]) == ("large", 0.95, "learning", "unknown")
    status, changed = await ask(client, "PATCH", "/v1/promise", {"keep": 0.9})
    assert (status, changed["keep"], changed["overrides"]["promise.keep"]["configured"]) == (200, 0.9, 0.95)
    status, changed = await ask(client, "PATCH", "/v1/policies/default", {"rollout": 0, "promise": {"keep": 0.97}})
    assert (status, changed["rollout"], changed["keep"]) == (200, 0.0, 0.97)
    status, off = await ask(client, "PATCH", "/v1/policies/default", {"promise": None, "rollout": 1})
    assert (status, off["on"], off["state"]) == (200, False, "off")
    for method, path, body, where in (
        ("PATCH", "/v1/promise", {}, None),
        ("PATCH", "/v1/promise", {"keep": 0.2}, "/keep"),
        ("PATCH", "/v1/promise", {"keep": 0.9, "share": 1}, "/share"),
        ("PATCH", "/v1/promise", {"baseline": "nobody"}, "/promise/baseline"),
        ("PATCH", "/v1/policies/default", {}, None),
        ("PATCH", "/v1/policies/default", {"rollout": 1.5}, "/rollout"),
        ("PATCH", "/v1/policies/default", {"mode": "dark"}, "/mode"),
        ("PATCH", "/v1/policies/other", {"promise": {}}, "/promise"),
        ("POST", "/v1/route", {"input": "x", "keep": 0.1}, "/keep"),
        ("POST", "/v1/route", {"input": "x", "keep": 0.9, "cost_weight": 0.1}, "/keep"),
        ("POST", "/v1/route", {"input": "x", "keep": 0.9}, "/keep"),
    ):
        status, problem = await ask(client, method, path, body)
        assert status == 422, (path, body)
        if where is not None:
            assert [one["pointer"] for one in problem["errors"]] == [where], (path, body)
    for path in ("/v1/policies/nowhere", "/v1/policies/%00"):
        assert (await ask(client, "PATCH", path, {"rollout": 0}))[0] == 404


async def test_every_answer_says_how_the_promise_stood(client: Any) -> None:
    status, answer = await ask(client, "POST", "/v1/route", {"input": "a query", "explain": True})
    assert status == 200
    RouteAnswer.model_validate(answer)
    assert answer["promise"]["baseline"] == answer["arm"] == "large"
    assert (answer["promise"]["keep"], answer["promise"]["fallback"]) == (0.95, "learning")
    _, batch = await ask(
        client,
        "POST",
        "/v1/route/batch",
        {"queries": [{"input": "b", "keep": 0.99}, {"input": "c", "cost_weight": 1}]},
    )
    assert [one["decision"]["promise"] and one["decision"]["promise"]["keep"] for one in batch["results"]] == [
        0.99,
        None,
    ]
    _, row = await ask(client, "GET", f"/v1/decisions/{answer['decision_id']}")
    assert (row["keep"], row["baseline"]) == (0.95, "large")
    assert {"own_probability", "probability"} <= set(row["arms"][0])
    _, stats = await ask(client, "GET", "/v1/stats")
    assert stats["promise"]["keep"] == 0.95


async def test_an_upgrade_changes_no_routing(sqlite_url: str) -> None:
    for content in (shipped_before(), {"policies": {"default": {"arms": [{"arm": "a"}, {"arm": "b"}]}}}):
        settings = Settings(**content | {"database": {"url": sqlite_url}})
        assert settings.policies["default"].promise is None
        app = create_app(lambda s=settings: open_services(s, start_jobs=False), WebSettings(access_log=False))
        async with TestClient[web.Request, web.Application](TestServer(app)) as client:
            for body in ({"input": "x"}, {"input": "x", "profile": "economy"}, {"input": "x", "cost_weight": 0.2}):
                _, answer = await ask(client, "POST", "/v1/route", body)
                assert answer["promise"] is None
                assert answer["reason"] == "policy"
            assert (await ask(client, "GET", "/v1/promise"))[1]["state"] == "off"
