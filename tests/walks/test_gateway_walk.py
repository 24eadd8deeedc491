"""The walk of an answer over both databases, without HTTP: attempts, the arm that served, the budget, rewards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import event, text
from tests.walks.conftest import OpenDaemon, leads

from banditd.core.errors import StorageUnavailableError
from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.ports.upstreams import UpstreamError
from banditd.services.gateway.call import GatewayCall
from banditd.services.gateway.exchange import Exchange
from banditd.services.gateway.gateway import Gateway
from banditd.services.turns import Ahead
from banditd.services.walks import RewardInput

PRICE = {"usd_per_mtok_in": 1000.0, "usd_per_mtok_out": 2000.0}
ARMS = [{"arm": "nowhere", "upstream": "dead", "price": PRICE}, {"arm": "echo", "upstream": "echo", "price": PRICE}]
UPSTREAMS: dict[str, Any] = {"dead": {"base_url": "http://127.0.0.1:9/v1"}, "echo": {"kind": "echo"}}
FIRST: dict[str, Any] = {"arms": ARMS, "kind": "fixed", "options": {"arm": "nowhere"}, "exploration_floor": 0.0}


def gateway_of(daemon: Daemon) -> Gateway:
    gateway = daemon.services.gateway
    assert isinstance(gateway, Gateway)
    return gateway


def ask(daemon: Daemon, *, stream: bool = True, **query: Any) -> Exchange:
    asked = Query(text="one two three four", **query)
    body = {"model": "banditd/auto", "messages": [{"role": "user", "content": asked.text}]}
    return gateway_of(daemon).exchange(GatewayCall(query=asked, surface="chat", body=body, stream=stream))


async def read(exchange: Exchange) -> None:
    await exchange.begin()
    async for _ in exchange.events():
        pass
    settling = exchange.finish()
    assert settling is not None
    assert exchange.finish() is settling
    await settling


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    while not await true():  # noqa: ASYNC110 - what is waited for is in a database
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_fallback_is_recorded_whole_and_its_reward_teaches_the_arm_that_served(
    open_daemon: OpenDaemon, stream: bool
) -> None:
    budget = {"name": "day", "usd": 100.0, "per": "day"}
    async with open_daemon(upstreams=UPSTREAMS, budgets=[budget], **FIRST) as daemon:
        await leads(daemon)
        exchange = ask(daemon, stream=stream)
        await read(exchange)
        assert exchange.decision is not None
        decision_id = exchange.decision.decision_id
        whole = await daemon.services.reports.decision(decision_id)
        usage: Any = whole["usage"]
        attempts: Any = whole["attempts"]
        assert (whole["arm"], usage["served_arm"], usage["error"]) == ("nowhere", "echo", None)
        assert [(one["arm"], one["error"]) for one in attempts] == [("nowhere", "transport"), ("echo", None)]
        assert (attempts[1]["first_token_ms"] is not None) is stream
        assert (usage["input_tokens"], usage["output_tokens"]) == (5, 5)
        assert usage["cost_usd"] == pytest.approx(5 * 1000e-6 + 5 * 2000e-6)
        [account] = (await daemon.services.budgets.budgets("default"))["budgets"]  # type: ignore[misc]
        assert account["charged_usd"] == pytest.approx(usage["cost_usd"])
        await daemon.services.rewards.submit([RewardInput(decision_id=decision_id, value=1.0)])

        async def learned() -> bool:
            rows: Any = await daemon.services.reports.stats("default", None)
            return {one["arm"]: one["rewards"] for one in rows["arms"]} == {"nowhere": 0, "echo": 1}

        await until(learned)


async def test_when_nobody_answers_nothing_is_charged_and_no_quality_is_taught(open_daemon: OpenDaemon) -> None:
    budget = {"name": "day", "usd": 100.0, "per": "day"}
    async with open_daemon(upstreams=UPSTREAMS, budgets=[budget], **(FIRST | {"arms": ARMS[:1]})) as daemon:
        exchange = ask(daemon)
        with pytest.raises(UpstreamError):
            await exchange.begin()
        settling = exchange.finish()
        assert settling is not None
        await settling
        assert exchange.decision is not None
        whole = await daemon.services.reports.decision(exchange.decision.decision_id)
        assert whole["usage"]["error"] == "transport"  # type: ignore[index]
        [account] = (await daemon.services.budgets.budgets("default"))["budgets"]  # type: ignore[misc]
        assert account["charged_usd"] == 0.0


async def test_a_pinned_arm_says_nothing_about_what_others_would_have_earned(open_daemon: OpenDaemon) -> None:
    async with open_daemon(upstreams=UPSTREAMS, arms=ARMS) as daemon:
        await leads(daemon)
        exchange = ask(daemon, candidates=("echo",), pinned=True)
        await read(exchange)
        decision = exchange.decision
        assert decision is not None
        assert (decision.reason, decision.propensity, decision.arms) == ("pinned", 1.0, ("echo",))
        await daemon.services.rewards.submit([RewardInput(decision_id=decision.decision_id, value=1.0)])

        async def learned() -> bool:
            rows: Any = await daemon.services.reports.stats("default", None)
            return {one["arm"]: one["rewards"] for one in rows["arms"]}["echo"] == 1

        await until(learned)
        [item] = await daemon.storage.learning.sample_contributions("default", 10)
        assert item.predicted == ()


async def test_an_arm_that_goes_while_its_query_is_decided_is_passed_over(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon(upstreams=UPSTREAMS, **FIRST) as daemon:
        gateway = gateway_of(daemon)
        ahead = gateway._ahead

        async def late(query: Query) -> Ahead:
            decided = await ahead(query)
            await daemon.services.arms.patch("default", "nowhere", {"upstream": None})
            return decided

        monkeypatch.setattr(gateway, "_ahead", late)
        exchange = ask(daemon)
        await read(exchange)
        assert exchange.decision is not None
        whole = await daemon.services.reports.decision(exchange.decision.decision_id)
        assert (whole["arm"], whole["usage"]["served_arm"]) == ("nowhere", "echo")  # type: ignore[index]


async def test_a_settlement_that_the_database_does_not_take_is_tried_again(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    from banditd.core.errors import StorageUnavailableError

    monkeypatch.setattr("banditd.services.patience.AGAIN_S", (0.0, 0.0, 0.0))
    async with open_daemon(upstreams=UPSTREAMS, arms=ARMS[1:]) as daemon:
        gateway = gateway_of(daemon)
        report, tries = gateway._report, []

        async def flaky(usage: Any) -> object:
            tries.append(usage)
            if len(tries) < 3:
                raise StorageUnavailableError("away")
            return await report(usage)

        monkeypatch.setattr(gateway, "_report", flaky)
        exchange = ask(daemon)
        await read(exchange)
        assert exchange.decision is not None
        whole = await daemon.services.reports.decision(exchange.decision.decision_id)
        assert whole["usage"] is not None
        assert len(tries) == 3


@asynccontextmanager
async def upstream(seen: list[int], decisions: Callable[[], Awaitable[int]]) -> AsyncIterator[dict[str, Any]]:
    """An upstream over HTTP; ``seen`` : how many decisions were durable at each call."""

    async def answer(_request: web.Request) -> web.Response:
        seen.append(await decisions())
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        return web.json_response({"id": "a", "model": "m", "choices": [choice]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        arms = [{"arm": "one", "upstream": "http", "price": PRICE}]
        yield {"upstreams": {"http": {"base_url": str(server.make_url("/v1"))}}, "arms": arms}


async def test_nothing_is_sent_before_its_decision_is_durable(open_daemon: OpenDaemon) -> None:
    seen: list[int] = []
    opened: list[Daemon] = []

    async def decisions() -> int:
        database = opened[0].storage.database
        return await database.read(lambda c: int(c.execute(text("SELECT count(*) FROM decision")).scalar_one()))

    async with upstream(seen, decisions) as config, open_daemon(**config) as daemon:
        opened.append(daemon)
        event.listen(daemon.storage.database.engine, "commit", lambda _: time.sleep(0.1))
        for _ in range(3):
            exchange = ask(daemon, stream=False)
            await read(exchange)
            assert exchange.decision is not None
        assert seen == [1, 2, 3]


@pytest.mark.parametrize("fails", [False, True])
async def test_what_was_prepared_for_a_decision_that_does_not_hold_is_not_sent(
    open_daemon: OpenDaemon, fails: bool
) -> None:
    seen: list[int] = []

    async def decisions() -> int:
        return 0

    async with upstream(seen, decisions) as config, open_daemon(**config) as daemon:
        gateway = gateway_of(daemon)

        async def ahead(query: Query) -> Ahead:
            first, second = [await daemon.services.routing.route(query) for _ in range(2)]

            async def durable() -> Decision:
                assert seen == []
                if fails:
                    raise StorageUnavailableError("gone")
                return second

            held.append(second)
            return Ahead(first, durable)

        held: list[Decision] = []
        gateway._ahead = ahead
        exchange = ask(daemon, stream=False)
        if fails:
            with pytest.raises(StorageUnavailableError):
                await exchange.begin()
            assert (exchange.finish(), seen) == (None, [])
            return
        await read(exchange)
        assert exchange.decision is held[0]
        assert (len(seen), [one.arm for one in exchange.attempts]) == (1, ["one"])
