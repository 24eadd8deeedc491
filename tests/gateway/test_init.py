"""``banditd init`` against an upstream that answers, and one that refuses: the file it writes serves."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from bench.faulty.app import Faulty
from click.testing import CliRunner, Result
from tests.gateway.conftest import KEY, serve_daemon

from banditd.cli import commands
from banditd.core.errors import InvalidInputError
from banditd.settings import load_settings
from banditd.setup.known_models import read_known_models

PROVIDERS = ("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL")


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for provider in PROVIDERS:
        monkeypatch.delenv(f"{provider}_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def init(*arguments: str, **extra: Any) -> Result:
    """The command in a thread: the fault upstream serves from this one."""
    return await asyncio.to_thread(CliRunner().invoke, commands, ["init", "--no-local", *arguments], **extra)


async def test_the_file_that_is_written_serves_the_first_call(faulty: Faulty, empty: Path) -> None:
    server = f"gpu={faulty.url}"
    prices = ("--price", "ok=2,10", "--price", "gpu/ok-slow=0,0")
    result = await init("--yes", "--server", server, "--arm", "ok", "--arm", "gpu/ok-slow", *prices)
    assert result.exit_code == 0, result.output
    assert "it answers" in result.output
    assert "One arm of each was called, the cheapest; not called: ok.\n" in result.output
    assert "Next: banditd serve;" in result.output
    lines = (empty / "config.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 20
    settings = load_settings(empty / "config.yaml")
    assert settings.policies["default"].promise.baseline == "ok"
    async with serve_daemon(settings) as served, ClientSession() as session:
        body = {"model": "ok", "messages": [{"role": "user", "content": "hello"}]}
        async with session.post(f"{served.base}/chat/completions", json=body) as answer:
            assert answer.status == 200
            assert answer.headers["x-banditd-arm"] in {"ok", "ok-slow"}


async def test_ollamas_ids_name_no_answer(faulty: Faulty, empty: Path) -> None:
    """There are 999 of them: the decision's own stands in their place."""
    for name, ids in (("ollama", "decision"), ("gpu", "upstream")):
        result = await init("--yes", "--server", f"{name}={faulty.url}", "--arm", "ok", "--output", f"{name}.yaml")
        assert result.exit_code == 0, result.output
        assert load_settings(empty / f"{name}.yaml").gateway.response_id == ids


async def test_a_provider_of_which_a_key_is_there_is_proposed_at_its_list_prices(
    faulty: Faulty, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    result = await init("--json", "--base-url", f"anthropic={faulty.url}", "--keep", "0.98")
    report = json.loads(result.output)
    assert report["baseline"] == "claude-opus-5-5"  # the dearest of those proposed
    assert [call["upstream"] for call in report["calls"]] == ["anthropic"]
    text = (empty / "config.yaml").read_text(encoding="utf-8")
    assert KEY not in text + result.output
    settings = load_settings(empty / "config.yaml")
    known = read_known_models()
    arms = settings.policies["default"].arms
    assert len(arms) >= 3
    for arm in arms:
        fact = known.named(arm.arm)
        assert fact is not None
        assert (arm.price.usd_per_mtok_in, arm.price.usd_per_mtok_out) == (
            fact.usd_per_mtok_in,
            fact.usd_per_mtok_out,
        )
        assert (arm.quality_tier, arm.context_window_tokens) == (fact.quality_tier, fact.context_window_tokens)
    assert settings.policies["default"].promise.keep == 0.98


async def test_an_upstream_that_refuses_is_named_and_the_file_is_there_all_the_same(
    faulty: Faulty, empty: Path
) -> None:
    result = await init("--server", f"gpu={faulty.url}", "--arm", "401")
    assert result.exit_code == 1
    assert "gpu" in result.output
    assert "it answers" not in result.output
    assert "gpu did not answer for 401: does it want a key? Put it into GPU_API_KEY" in result.output
    assert "Next:" not in result.output
    assert load_settings(empty / "config.yaml").policies["default"].arms[0].arm == "401"


async def test_what_is_asked_may_be_answered(faulty: Faulty, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banditd.cli.own_models._is_terminal", lambda: True)
    answers = "okk\nok, ok-long\nother\nok-long\n0.3\n90%\n"  # every wrong one is asked again
    result = await init("--no-call", "--server", f"gpu={faulty.url}", "--price", "ok-long=1,2", input=answers)
    assert result.exit_code == 0, result.output
    policy = load_settings(empty / "config.yaml").policies["default"]
    assert sorted(arm.arm for arm in policy.arms) == ["ok", "ok-long"]
    assert (policy.promise.baseline, policy.promise.keep) == ("ok-long", 0.9)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "OPENAI_API_KEY"),
        (("--server", "gpu=http://127.0.0.1:9/v1"), "gpu at http://127.0.0.1:9/v1/models: no answer"),
        (("--server", "gpu=127.0.0.1:9/v1"), "no URL: it begins with http://"),
        (("--base-url", "opnai=http://x/v1"), "openai"),
        (("--server", "gpu"), "NAME=VALUE"),
    ],
)
async def test_what_cannot_be_says_what_to_do(empty: Path, arguments: tuple[str, ...], says: str) -> None:
    result = await init(*arguments)
    assert says in result.output + str(result.exception)
    assert not (empty / "config.yaml").exists()


async def test_a_wrong_name_and_a_file_that_is_there_are_refused(faulty: Faulty, empty: Path) -> None:
    server = ("--server", f"gpu={faulty.url}", "--no-call")
    for arguments, says in (
        (("--arm", "okk"), "did you mean 'ok'"),
        (("--arm", "ok", "--baseline", "other"), "not one of the arms"),
    ):
        refused = await init(*server, *arguments)
        assert isinstance(refused.exception, InvalidInputError)
        assert says in str(refused.exception)
    priced = ("--arm", "ok", "--arm", "ok-long", "--price", "ok=1,2", "--baseline", "ok-long")
    unpriced = await init(*server, *priced)
    assert "give --price ok-long=IN,OUT" in str(unpriced.exception)
    assert "of no arm" in str((await init(*server, "--arm", "ok", "--price", "other=1,2")).exception)
    assert not (empty / "config.yaml").exists()
    (empty / "config.yaml").write_text("server: {port: 1}\n", encoding="utf-8")
    refused = await init(*server)
    assert "--force" in str(refused.exception)
    assert (empty / "config.yaml").read_text(encoding="utf-8") == "server: {port: 1}\n"
    assert (await init(*server, "--arm", "ok", "--force")).exit_code == 0
    nowhere = await init(*server, "--arm", "ok", "-o", "no-such-folder/config.yaml")
    assert "no-such-folder/config.yaml cannot be written" in str(nowhere.exception)


async def test_models_that_nobody_has_listed_and_names_that_are_none_of_arms(faulty: Faulty, empty: Path) -> None:
    """A model by its upstream's name; one whose name is no arm's keeps it as the upstream's model."""
    arms = ("--arm", "gpu/@hf/a model:*", "--arm", "ok", "--price", "ok=1,1", "--baseline", "ok")
    report = json.loads((await init("--json", "--no-call", "--server", f"gpu={faulty.url}", *arms)).output)
    assert report["unpriced"] == ["hf/a-model:-"]
    found = {arm.arm: arm.upstream_model for arm in load_settings(empty / "config.yaml").policies["default"].arms}
    assert found == {"ok": None, "hf/a-model:-": "@hf/a model:*"}


async def test_nothing_is_written_that_a_daemon_would_refuse(faulty: Faulty, empty: Path) -> None:
    with_password = faulty.url.replace("http://", "http://me:swordfish@")
    refused = await init("--no-call", "--server", f"gpu={with_password}", "--arm", "gpu/ok")
    assert refused.exit_code != 0
    assert not (empty / "config.yaml").exists()


async def test_without_any_price_quality_alone_counts(faulty: Faulty, empty: Path) -> None:
    result = await init("--no-call", "--server", f"gpu={faulty.url}", "--arm", "ok")
    assert "routes for quality alone, with one arm, so there is nothing to choose" in result.output
    assert load_settings(empty / "config.yaml").policies["default"].promise is None
    kept = await init("--no-call", "--force", "--server", f"gpu={faulty.url}", "--arm", "ok", "--keep", "0.9")
    assert "no price is known" in str(kept.exception)


async def test_a_server_that_wants_a_key_gets_the_one_of_its_name(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listed(request: web.Request) -> web.Response:
        allowed = request.headers.get("Authorization") == f"Bearer {KEY}"
        return web.json_response({"data": [{"id": "own"}]}, status=200 if allowed else 401)

    app = web.Application()
    app.router.add_get("/v1/models", listed)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        server = ("--no-call", "--server", f"my-gpu=http://127.0.0.1:{runner.addresses[0][1]}/v1")
        refused = await init(*server)
        assert "it answers 401; a key is read from MY_GPU_API_KEY" in str(refused.exception)
        monkeypatch.setenv("MY_GPU_API_KEY", KEY)
        assert (await init(*server)).exit_code == 0
    finally:
        await runner.cleanup()
    text = (empty / "config.yaml").read_text(encoding="utf-8")
    assert "api_key_env: MY_GPU_API_KEY" in text
    assert KEY not in text


def test_the_table_is_whole_and_knows_its_age() -> None:
    table = read_known_models()
    names = [model.model for model in table.models]
    assert len(set(names)) == len(names)
    for provider in table.providers:
        proposed = [model for model in table.of(provider) if model.proposed]
        assert len({model.usd_per_mtok_out for model in proposed}) == len(proposed) >= 3
        assert {"economy"} <= {model.quality_tier for model in proposed}
    assert all(0 < m.usd_per_mtok_in <= m.usd_per_mtok_out for m in table.models)
    assert all((m.usd_per_mtok_cached_in or 0) <= m.usd_per_mtok_in for m in table.models)
    assert all(m.retires is None or m.retires > table.as_of for m in table.models)
    shown = CliRunner().invoke(commands, ["models", "--json"])
    today = dt.datetime.now(dt.UTC).date()
    assert json.loads(shown.output)["age_days"] in {table.age_days(today), table.age_days(today) - 1}
    assert {row["model"] for row in json.loads(shown.output)["models"]} == set(names)
    assert CliRunner().invoke(commands, ["models", "--max-age-days", "100000"]).exit_code == 0


async def test_a_database_that_is_there_keeps_its_arms_and_init_says_so(faulty: Faulty, empty: Path) -> None:
    server = ("--server", f"null={faulty.url}", "--no-call", "--yes", "--no-local", "--arm", "ok")
    assert "stay as they are" not in (await init(*server)).output
    assert list(load_settings(empty / "config.yaml").upstreams) == ["null"]
    (empty / "var").mkdir()
    (empty / "var" / "banditd.db").write_bytes(b"")
    assert "'banditd apply config.yaml --yes --delete'" in (await init(*server, "--force")).output
