"""Both clients against a real daemon that loses answers, refuses and goes away."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from banditd import client as api
from banditd.client import AsyncClient, BanditdError, Client, NotFiniteError, Retries, Turn
from banditd.client.calls import authorized

QUICK = Retries(tries=4, base_s=0.001, cap_s=0.01)
NO_DECISION = "00000000-0000-7000-8000-000000000000"
Call = Callable[..., Awaitable[Any]]


class Both:
    """One of the two clients; the blocking one is called in a thread."""

    def __init__(self, inner: Client | AsyncClient) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Call:
        method = getattr(self.inner, name)
        if isinstance(self.inner, AsyncClient):
            return method  # type: ignore[no-any-return]

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(method, *args, **kwargs)

        return call


def make(kind: str, url: str, **options: Any) -> Client | AsyncClient:
    options = {"retries": QUICK, **options}
    return Client(url, **options) if kind == "blocking" else AsyncClient(url, **options)


@pytest.fixture(params=["blocking", "asyncio"])
async def client(request: pytest.FixtureRequest, daemon: Any) -> AsyncIterator[Both]:
    inner = make(request.param, daemon.url)
    if isinstance(inner, AsyncClient):
        async with inner:
            yield Both(inner)
    else:
        with inner:
            yield Both(inner)


async def stored(daemon: Any, decision_id: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{daemon.url}/v1/decisions/{decision_id}") as got:
        return await got.json()  # type: ignore[no-any-return]


async def test_a_decision_is_what_the_daemon_has_stored(client: Both, daemon: Any) -> None:
    decision = await client.route("What is 17 times 23?", tags={"team": "maths"}, candidates=["small"])
    assert (decision.arm, decision.model, decision.propensity) == ("small", "vendor/small-1", 1.0)
    assert decision.expires_at.tzinfo is not None
    row = await stored(daemon, decision.decision_id)
    assert row["arm"] == "small"
    assert row["tags"] == {"team": "maths"}
    assert decision.raw["policy_kind"] == "uniform"


async def test_messages_and_embeddings_are_queries_too(client: Both) -> None:
    talk = [{"role": "user", "content": "Translate 'cat' into French."}]
    assert (await client.route(talk, dry_run=True)).decision_id == ""
    vector = [1.0, *[0.0] * 111]
    assert (await client.route(vector, dry_run=True)).arm in {"small", "large"}


@pytest.mark.parametrize("faults", [["lose"], ["drop", "lose"], [503, "lose", 429], ["lose", "lose", "lose"]])
async def test_a_reward_that_is_sent_again_counts_once(client: Both, daemon: Any, faults: list[Any]) -> None:
    decision = await client.route("Write a poem about rain.")
    daemon.faults.seen.clear()
    daemon.faults.plan.extend(faults)
    receipt = await client.reward(decision.decision_id, 0.75, source="judge")
    assert receipt.reward == 0.75
    assert receipt.duplicate  # the lost try had been recorded
    keys = {key for _, _, key in daemon.faults.seen}
    assert len(daemon.faults.seen) == len(faults) + 1
    assert len(keys) == 1 and None not in keys
    rewards = (await stored(daemon, decision.decision_id))["rewards"]
    assert [event["reward"] for event in rewards] == [0.75]


async def test_two_calls_are_two_rewards_and_replace_makes_them_one(client: Both, daemon: Any) -> None:
    two = await client.route("one")
    await client.reward(two.decision_id, 0.2)
    await client.reward(two.decision_id, 0.2)
    assert len((await stored(daemon, two.decision_id))["rewards"]) == 2
    one = await client.route("two")
    await client.reward(one.decision_id, 0.2, replace=True)
    corrected = await client.reward(one.decision_id, "up", replace=True)
    assert (corrected.revision, corrected.reward) == (1, 1.0)
    gone = await client.retract(corrected.reward_id)
    assert gone.reward is None


async def test_a_reward_may_be_of_an_arm_that_did_not_serve(client: Both, daemon: Any) -> None:
    decision = await client.route("hello")
    other = next(arm for arm in ("small", "large") if arm != decision.arm)
    assert (await client.reward(decision.decision_id, 0.5, arm=other)).arm == other
    assert (await client.reward(decision.decision_id, 0.5, arm=decision.arm)).arm is None
    turn = await run_turn(client, lambda turn: turn.reward(0.5, arm=other), candidates=[decision.arm])
    [event] = (await stored(daemon, turn.decision_id))["rewards"]
    assert (turn.arm, event["arm"]) == (decision.arm, other)


async def test_usage_is_settled_once_though_its_answer_was_lost(client: Both, daemon: Any) -> None:
    decision = await client.route("Prove it.", candidates=["large"])
    daemon.faults.plan.extend(["lose", 503])
    receipt = await client.usage(decision.decision_id, input_tokens=1000, output_tokens=100, latency_ms=12.5)
    assert receipt.duplicate
    assert receipt.cost_usd == pytest.approx((1000 * 3 + 100 * 15) / 1e6)


async def test_the_daemons_wish_to_be_left_alone_is_respected(client: Both, daemon: Any) -> None:
    daemon.faults.plan.append(503)
    daemon.faults.retry_after = "1"
    started_s = time.monotonic()
    await client.route("patience")
    assert time.monotonic() - started_s >= 1.0


@pytest.mark.parametrize(
    ("kind", "status", "code", "ask"),
    [
        (api.NoArmError, 422, "NO_ELIGIBLE_ARM", lambda c: c.route("x", max_cost_usd=0.0)),
        (api.BadRequestError, 422, None, lambda c: c.route("x", max_cost=1)),
        (api.UnknownThingError, 404, "POLICY_UNKNOWN", lambda c: c.route("x", policy="nobody")),
        (api.UnknownThingError, 404, "DECISION_NOT_FOUND", lambda c: c.reward(NO_DECISION, 1)),
    ],
)  # fmt: skip
async def test_refusals_have_types_and_codes(
    client: Both, daemon: Any, kind: type[api.RefusedError], status: int, code: str | None, ask: Any
) -> None:
    with pytest.raises(kind) as refused:
        await ask(client)
    assert refused.value.status == status
    assert code is None or refused.value.code == code
    assert len(daemon.faults.seen) == 1  # a wrong request is not repeated
    if isinstance(refused.value, api.NoArmError):
        assert set(refused.value.exclusions) == {"small", "large"}


async def test_another_body_under_the_same_key_is_a_conflict(client: Both) -> None:
    decision = await client.route("conflict")
    key = f"key-{decision.decision_id}"
    await client.reward(decision.decision_id, 0.1, idempotency_key=key)
    with pytest.raises(api.WriteConflictError) as refused:
        await client.reward(decision.decision_id, 0.9, idempotency_key=key)
    assert refused.value.code == "IDEMPOTENCY_KEY_REUSED"


async def test_after_the_last_try_the_trouble_is_raised(client: Both, daemon: Any) -> None:
    daemon.faults.plan.extend([503] * 4)
    with pytest.raises(api.TroubleError):
        await client.route("never mind")
    daemon.faults.plan.extend(["drop"] * 4)
    with pytest.raises(api.UnavailableError, match="no answer"):
        await client.route("never mind")


async def ask_once(client: Client | AsyncClient) -> None:
    if isinstance(client, AsyncClient):
        async with client:
            await client.route("anybody?")
    else:
        with client:
            await asyncio.to_thread(client.route, "anybody?")


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
async def test_nobody_at_the_address_is_said_with_the_mend(kind: str) -> None:
    inner = make(kind, "http://127.0.0.1:9", retries=api.NO_RETRIES)
    with pytest.raises(api.UnavailableError, match="banditd serve"):
        await ask_once(inner)


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
async def test_a_silent_server_is_given_up_in_time(kind: str) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        left.set()

    left = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    inner = make(kind, url, timeout_s=0.2, retries=api.NO_RETRIES)
    async with server:
        with pytest.raises(api.UnavailableError) as refused:
            await ask_once(inner)
        await left.wait()
    assert refused.value.code == "TIMEOUT"


def test_a_client_is_shared_by_threads_and_survives_close(daemon: Any) -> None:
    client = Client(daemon.url, retries=QUICK)
    made: list[str] = []

    def work() -> None:
        made.extend(client.route(f"thread {threading.get_ident()} {i}").decision_id for i in range(5))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 30
    client.close()
    assert client.route("again").decision_id
    client.close()


def test_a_forked_child_does_not_write_into_its_parents_connection(
    daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(daemon.url, retries=api.NO_RETRIES) as client:
        client.route("parent")
        transport = client._transport
        again = transport._take()
        transport._give(again)
        assert transport._take() is again
        transport._give(again)
        monkeypatch.setattr(os, "getpid", lambda: -1)  # as a child sees it
        assert transport._take() is not again
        assert again.sock is None


class Completion:
    """A chat completion as OpenAI's library gives it."""

    def __init__(self) -> None:
        self.usage = type("Usage", (), {"prompt_tokens": 50, "completion_tokens": 7})()
        self.choices = [type("Choice", (), {"finish_reason": "stop"})()]


AS_JSON = {
    "usage": {"prompt_tokens": 50, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 20}},
    "choices": [{"finish_reason": "stop"}],
}


def ask(turn: Turn, shape: str) -> Any:
    return turn.observe(AS_JSON if shape == "json" else Completion())


async def run_turn(client: Both, body: Callable[[Turn], None], **options: Any) -> Turn:
    inner = client.inner
    if isinstance(inner, AsyncClient):
        async with inner.turn("a query", **options) as turn:
            body(turn)
        return turn

    def blocking() -> Turn:
        with inner.turn("a query", **options) as turn:
            body(turn)
        return turn

    return await asyncio.to_thread(blocking)


@pytest.mark.parametrize("shape", ["object", "json"])
async def test_a_turn_reports_tokens_latency_and_rewards(
    client: Both, daemon: Any, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr("banditd.client.turn.time", SimpleNamespace(perf_counter=lambda: now_s[0]))

    def body(turn: Turn) -> None:
        now_s[0] += 0.25  # the model takes its time
        ask(turn, shape)
        now_s[0] += 4.0  # judging is not the model's latency
        turn.reward(0.5)
        turn.reward("up", source="judge", metric="style", metadata={"rubric": "v3"})

    turn = await run_turn(client, body, source="metric")
    row = await stored(daemon, turn.decision_id)
    usage = row["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["finish_reason"]) == (50, 7, "stop")
    assert usage["cached_input_tokens"] == (20 if shape == "json" else None)
    assert usage["latency_ms"] == pytest.approx(250.0)
    assert usage["error"] is None
    said = {(e["source"], e["metric"], e["reward"]) for e in row["rewards"]}
    assert said == {("metric", "quality", 0.5), ("judge", "style", 1.0)}
    with pytest.raises(RuntimeError, match="this turn is over"):
        turn.reward(1.0)


async def test_a_failure_is_reported_before_the_answer_and_not_after_it(client: Both, daemon: Any) -> None:
    turns: list[Turn] = []

    def fails(turn: Turn) -> None:
        turns.append(turn)
        raise ConnectionError("upstream")

    def fails_later(turn: Turn) -> None:
        turns.append(ask(turn, "object") and turn)
        raise KeyError("my own mistake")

    with pytest.raises(ConnectionError):
        await run_turn(client, fails)
    with pytest.raises(KeyError):
        await run_turn(client, fails_later)
    first, second = [(await stored(daemon, turn.decision_id))["usage"] for turn in turns]
    assert first["error"] == "ConnectionError"
    assert second["error"] is None
    assert second["output_tokens"] == 7


async def test_what_cannot_be_reported_does_not_take_the_answer_away(client: Both, daemon: Any, caplog: Any) -> None:
    def body(turn: Turn) -> None:
        daemon.faults.plan.extend([503] * 8)  # the usage report and the reward, four tries each
        turn.usage(output_tokens=3)
        turn.reward(1.0)

    turn = await run_turn(client, body)
    assert [type(error) for error in turn.failures] == [api.TroubleError, api.TroubleError]
    assert "was not recorded" in caplog.text


async def test_a_fallback_and_a_dry_run(client: Both, daemon: Any) -> None:
    turn = await run_turn(client, lambda turn: turn.served(turn.decision.fallbacks[0]))
    assert (await stored(daemon, turn.decision_id))["usage"]["served_arm"] == turn.decision.fallbacks[0]
    daemon.faults.seen.clear()
    await run_turn(client, lambda turn: turn.reward(1.0), dry_run=True)
    assert [path for _, path, _ in daemon.faults.seen] == ["/v1/route"]


async def test_failed_attempts_are_told_with_the_answer(client: Both, daemon: Any) -> None:
    def body(turn: Turn) -> None:
        turn.attempt(turn.arm, "RateLimitError", retry_after_s=2.0)
        turn.served(turn.decision.fallbacks[0])
        turn.usage(output_tokens=7)

    def fails(turn: Turn) -> None:
        turn.attempt(turn.arm, "401")
        raise ConnectionError

    turn = await run_turn(client, body)
    whole = await stored(daemon, turn.decision_id)
    assert [(one["error"], one["output_tokens"]) for one in whole["attempts"]] == [("overload", None), (None, 7)]
    assert whole["usage"]["served_arm"] == turn.decision.fallbacks[0]
    with pytest.raises(ConnectionError):
        await run_turn(client, fails)


async def test_later_usage_completes_earlier(client: Both) -> None:
    decision = await client.route("complete")
    assert (await client.usage(decision.decision_id, latency_ms=5.0)).revision == 0
    later = await client.usage(decision.decision_id, output_tokens=7)
    assert (later.revision, later.duplicate) == (1, False)
    assert (await client.usage(decision.decision_id, latency_ms=5.0)).duplicate


async def test_a_decorated_function_is_routed_timed_and_rewarded(client: Both, daemon: Any) -> None:
    inner = client.inner
    seen: list[Turn] = []
    if isinstance(inner, AsyncClient):

        @inner.routed(reward=lambda answer: len(answer) / 10, source="metric", candidates=["small"])
        async def answer(turn: Turn, prompt: str, *, loud: bool = False) -> str:
            seen.append(turn)
            return prompt.upper() if loud else prompt

        assert await answer("hello", loud=True) == "HELLO"
    else:

        @inner.routed(reward=lambda answer: len(answer) / 10, source="metric", candidates=["small"])
        def answer_blocking(turn: Turn, prompt: str, *, loud: bool = False) -> str:
            seen.append(turn)
            return prompt.upper() if loud else prompt

        assert answer_blocking.__name__ == "answer_blocking"
        assert await asyncio.to_thread(answer_blocking, "hello", loud=True) == "HELLO"
    row = await stored(daemon, seen[0].decision_id)
    assert [(event["source"], event["reward"]) for event in row["rewards"]] == [("metric", 0.5)]
    assert row["usage"]["latency_ms"] >= 0


async def test_arms_and_any_other_call(client: Both) -> None:
    arms = {arm.arm: arm for arm in await client.arms()}
    assert arms["large"].model == "vendor/large-1"
    assert (await client.call("GET", "/v1/stats", query={"policy": "default", "window_s": 3600}))[
        "policy"
    ] == "default"


def test_what_can_be_told_wrong_at_once_is() -> None:
    with pytest.raises(ValueError, match="address"):
        Client("127.0.0.1:8484")
    client = Client("http://127.0.0.1:9")
    with pytest.raises(ValueError, match="'up' or 'down'"):
        client.reward("id", "sideways")
    with pytest.raises(ValueError, match="not both"):
        client.reward("id", 1.0, idempotency_key="k", replace=True)
    assert authorized("key\r\n") == {"Authorization": "Bearer key"}
    for key in ("ke\ny", "schlüssel"):
        with pytest.raises(BanditdError, match="copy it again"):
            Client("http://127.0.0.1:9", api_key=key)
    for number in (float("nan"), float("inf")):
        with pytest.raises(NotFiniteError, match="NaN or infinite"):
            client.reward("id", number)
