"""``banditd init`` against an upstream that answers, and one that refuses: the file it writes serves."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
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
    result = await init("--yes", "--server", server, "--arm", "ok", "--arm", "gpu/ok-slow", "--baseline", "ok")
    assert result.exit_code == 0, result.output
    assert "it answers" in result.output
    lines = (empty / "config.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 20
    settings = load_settings(empty / "config.yaml")
    assert settings.policies["default"].promise.baseline == "ok"
    async with serve_daemon(settings) as served, ClientSession() as session:
        body = {"model": "ok", "messages": [{"role": "user", "content": "hello"}]}
        async with session.post(f"{served.base}/chat/completions", json=body) as answer:
            assert answer.status == 200
            assert answer.headers["x-banditd-arm"] in {"ok", "ok-slow"}


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
    assert load_settings(empty / "config.yaml").policies["default"].arms[0].arm == "401"


async def test_what_is_asked_may_be_answered(faulty: Faulty, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banditd.cli.own_models._is_terminal", lambda: True)
    result = await init("--no-call", "--server", f"gpu={faulty.url}", input="ok, ok-long\nok-long\n0.9\n")
    assert result.exit_code == 0, result.output
    policy = load_settings(empty / "config.yaml").policies["default"]
    assert sorted(arm.arm for arm in policy.arms) == ["ok", "ok-long"]
    assert (policy.promise.baseline, policy.promise.keep) == ("ok-long", 0.9)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "OPENAI_API_KEY"),
        (("--server", "gpu=http://127.0.0.1:9/v1"), "is the server running"),
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
        (("--arm", "ok", "--baseline", "other"), "none of"),
    ):
        refused = await init(*server, *arguments)
        assert isinstance(refused.exception, InvalidInputError)
        assert says in str(refused.exception)
    (empty / "config.yaml").write_text("server: {port: 1}\n", encoding="utf-8")
    refused = await init(*server)
    assert "--force" in str(refused.exception)
    assert (empty / "config.yaml").read_text(encoding="utf-8") == "server: {port: 1}\n"
    assert (await init(*server, "--arm", "ok", "--force")).exit_code == 0


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
