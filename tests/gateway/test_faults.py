"""Every fault as the official client sees it: an answer that is whole, or an error; and nothing is charged twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from bench.faulty.app import Faulty
from bench.faulty.faults import FAULTS
from bench.faulty.shapes import TEXT
from bench.gateway.endings import ASKED, read
from openai import AsyncOpenAI
from tests.gateway.conftest import KEY, Serve, Served, arm, settling

from banditd.ports import DecisionFilter

BROKEN = [name for name, fault in FAULTS.items() if fault.ending == "error"]
HEALTHY = [name for name, fault in FAULTS.items() if fault.ending == "answer" and name not in {"ok-large", "ok-late"}]
# What a lone arm's failure is told as: status before an answer has begun, None after it.
STATUS = {
    "silent": 504, "headers-silent": 504, "role-silent": 504, "stall-comments": 504,
    "reset": 502, "eof-start": 502, "eof-role": 502, "cut-start": 502, "malformed-start": 502,
    "error-first": 502, "error-role": 502, "error-rate": 429, "error-quota": 502, "error-context": 400,
    "400": 400, "400-context": 400, "400-context-llama": 400, "400-policy": 400, "400-quota": 502, "422-unknown": 422,
    "401": 502, "402": 502, "403": 502, "404": 502,
    "429": 429, "429-after": 429, "429-after-ms": 429, "429-date": 429, "429-quota": 502,
    "500": 502, "502": 502, "503": 429, "529": 429, "redirect": 502, "html": 502, "json-error": 502,
}  # fmt: skip


def client(served: Served) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=served.base, api_key="none", max_retries=0)


async def each(fails: Callable[[str, bool], Awaitable[None]], both: list[tuple[str, bool]]) -> None:
    """One call after another; but those that wait do it together. All at once would not do: on a busy machine the
    clocks of many calls run out where an answer was due."""
    waits = [one for one in both if STATUS.get(one[0]) == 504 or one[0] in {"stall", "429-after", "503"}]
    await asyncio.gather(*(fails(*one) for one in waits))
    for one in both:
        if one not in waits:
            await fails(*one)


async def settled(served: Served) -> list[dict[str, Any]]:
    """Every decision, newest first, once all are settled: a client may see the end of a stream just before that."""
    while True:
        await settling(served)
        listed = await served.daemon.services.reports.decisions(DecisionFilter(limit=200))
        whole = [await served.decision(row["decision_id"]) for row in listed["decisions"]]  # type: ignore[attr-defined]
        if all(one["usage"] is not None for one in whole):
            return whole


async def hung_up(faulty: Faulty) -> None:
    while faulty.open:  # noqa: ASYNC110 - the other side of a connection
        await asyncio.sleep(0.01)


async def test_a_lone_arm_that_fails_is_always_an_error(serve: Serve, faulty: Faulty) -> None:
    """Never an answer that looks whole, in a stream or in one piece, and never 409."""
    arms = [arm(name) for name in BROKEN]
    async with serve(*arms, short_clocks=True, policy={"breaker_errors": 0}) as served, client(served) as ai:

        async def fails(name: str, stream: bool) -> None:
            with pytest.raises(openai.APIError) as raised:
                await read(ai, f"banditd/arm/{name}", stream=stream)
            if isinstance(raised.value, openai.APIStatusError):
                assert raised.value.status_code == STATUS.get(name, raised.value.status_code), name
                assert raised.value.response.headers["x-should-retry"] in {"true", "false"}, name
                assert raised.value.response.headers["x-banditd-decision-id"], name
            else:
                assert stream and name not in STATUS, name

        await each(fails, [(name, stream) for name in BROKEN for stream in (True, False)])
        await hung_up(faulty)
        rows = await settled(served)
    assert len(rows) == 2 * len(BROKEN)
    assert all(row["usage"]["error"] for row in rows)
    assert all(row["propensity"] == 1.0 and row["reason"] == "pinned" for row in rows)


@pytest.mark.parametrize("name", HEALTHY)
async def test_a_healthy_answer_is_whole(serve: Serve, faulty: Faulty, name: str) -> None:
    async with serve(name) as served, client(served) as ai:
        text = await read(ai)
        assert await read(ai, stream=False) == TEXT
        rows = await settled(served)
    if name not in {"ok-long", "ok-slow", "ok-empty", "ok-tools"}:
        assert text == TEXT
    assert [row["usage"]["error"] for row in rows] == [None, None]


@pytest.mark.parametrize("name", [name for name in BROKEN if name in STATUS and name not in {"400", "400-policy"}])
async def test_the_next_arm_is_asked_before_the_commit_point(serve: Serve, faulty: Faulty, name: str) -> None:
    first, second = arm(name, context_window_tokens=1000), arm("ok", context_window_tokens=2000)
    async with serve(first, second, short_clocks=True) as served, client(served) as ai:
        raw = await ai.chat.completions.with_raw_response.create(model="banditd/auto", messages=ASKED, stream=True)
        text = "".join(
            [(chunk.choices[0].delta.content or "") if chunk.choices else "" async for chunk in raw.parse()]
        )
        assert text == TEXT
        assert (raw.headers["x-banditd-arm"], raw.headers["x-banditd-fallback"]) == ("ok", "true")
        [row] = await settled(served)
    assert (row["arm"], row["usage"]["served_arm"], row["usage"]["error"]) == (name, "ok", None)
    attempts = row["attempts"]
    assert [one["error"] is None for one in attempts] == [False] * (len(attempts) - 1) + [True]
    assert faulty.models_called()[-1] == "ok"
    assert row["usage"]["output_tokens"] == 5


@pytest.mark.parametrize(
    "name", ["400", "400-policy", "eof", "cut", "stall", "malformed", "error-second", "done-early"]
)
async def test_nobody_else_is_asked(serve: Serve, faulty: Faulty, name: str) -> None:
    """After the first word, or where the request is at fault."""
    async with serve(name, "ok", short_clocks=True) as served, client(served) as ai:
        with pytest.raises(openai.APIError):
            await read(ai)
        [row] = await settled(served)
    assert faulty.models_called() == [name]
    assert [one["arm"] for one in row["attempts"]] == [name]


async def test_a_prompt_that_is_too_long_goes_to_larger_windows_only(serve: Serve, faulty: Faulty) -> None:
    small = arm("400-context", context_window_tokens=1000)
    async with (
        serve(small, arm("ok@same", context_window_tokens=1000), arm("ok@large", context_window_tokens=9000)) as s,
        client(s) as ai,
    ):
        assert await read(ai) == TEXT
    assert faulty.models_called() == ["400-context", "ok@large"]


async def test_a_policy_refusal_is_another_arms_turn_where_it_is_configured(serve: Serve, faulty: Faulty) -> None:
    async with serve("400-policy", "ok", gateway={"fallback_on_policy": True}) as served, client(served) as ai:
        assert await read(ai) == TEXT


async def test_a_server_that_fails_once_is_asked_again(serve: Serve, faulty: Faulty) -> None:
    async with serve("once-500", "ok") as served, client(served) as ai:
        assert await read(ai) == TEXT
        [row] = await settled(served)
    assert faulty.models_called() == ["once-500", "once-500"]
    assert [one["error"] for one in row["attempts"]] == ["server", None]
    assert row["usage"]["served_arm"] in {None, "once-500"}


@pytest.mark.parametrize(
    ("name", "again"), [("once-429-after-ms", True), ("once-429-date", False), ("once-429", False)]
)
async def test_a_short_wait_is_waited_for_and_a_long_one_is_not(
    serve: Serve, faulty: Faulty, name: str, again: bool
) -> None:
    async with serve(name, "ok") as served, client(served) as ai:
        assert await read(ai) == TEXT
    assert faulty.models_called() == ([name, name] if again else [name, "ok"])


async def test_attempts_are_bounded_and_so_is_their_time(serve: Serve, faulty: Faulty) -> None:
    arms = [arm(f"404@{i}") for i in range(5)]
    async with serve(*arms, gateway={"max_attempts": 3}) as served, client(served) as ai:
        with pytest.raises(openai.APIStatusError) as raised:
            await read(ai)
        assert raised.value.response.headers["x-should-retry"] == "false"
        assert len(faulty.calls) == 3
    slow = [arm(f"silent@{i}") for i in range(5)]
    patient = serve(*slow, gateway={"deadline_s": 1.0, "max_attempts": 5}, timeouts={"headers_s": 0.4})
    async with patient as served, client(served) as ai:
        with pytest.raises(openai.APIStatusError) as late:
            await read(ai)
    assert late.value.status_code == 504
    assert 1 <= len(faulty.calls) - 3 <= 3


async def test_an_overloaded_arm_is_left_alone_for_as_long_as_it_asks(serve: Serve, faulty: Faulty) -> None:
    async with serve("429-date", "ok") as served, client(served) as ai:
        assert [await read(ai) for _ in range(3)] == [TEXT] * 3
        assert served.daemon.services.gateway.left_alone("default") == {"429-date": "cooling_down"}  # type: ignore[union-attr]
    assert faulty.models_called() == ["429-date", "ok", "ok", "ok"]


@pytest.mark.parametrize(
    ("name", "opens"),
    [("401", True), ("400", False), ("422-unknown", False), ("400-context", False), ("400-policy", False)],
)
async def test_what_opens_a_breaker_at_once_and_what_never_does(
    serve: Serve, faulty: Faulty, name: str, opens: bool
) -> None:
    async with serve(name, "ok", policy={"breaker_errors": 2}) as served, client(served) as ai:
        for _ in range(3):
            with pytest.raises(openai.APIError):
                await read(ai, f"banditd/arm/{name}", stream=False)
        left = served.daemon.services.gateway.left_alone("default")  # type: ignore[union-attr]
    assert left == ({name: "breaker_open"} if opens else {})


async def test_a_failure_counts_once_for_its_breaker(serve: Serve, faulty: Faulty) -> None:
    async with serve("404@a", "ok", policy={"breaker_errors": 2}) as served, client(served) as ai:
        await read(ai)
        assert served.daemon.services.gateway.left_alone("default") == {}  # type: ignore[union-attr]
        await read(ai)
        assert served.daemon.services.gateway.left_alone("default") == {"404@a": "breaker_open"}  # type: ignore[union-attr]


async def test_a_stream_without_usage_is_charged_by_what_was_counted(serve: Serve, faulty: Faulty) -> None:
    async with serve("ok-no-usage") as served, client(served) as ai:
        assert await read(ai) == TEXT
        [row] = await settled(served)
        estimated = served.daemon.metrics.gateway_usage_estimated._value.get()
    assert row["usage"]["output_tokens"] == 5
    assert row["usage"]["input_tokens"] > 0
    assert row["usage"]["cost_usd"] > 0
    assert estimated == 1


async def test_an_answer_that_broke_off_is_charged_for_what_came(serve: Serve, faulty: Faulty) -> None:
    async with serve("cut") as served, client(served) as ai:
        with pytest.raises(openai.APIError):
            await read(ai)
        [row] = await settled(served)
    assert (row["usage"]["error"], row["usage"]["output_tokens"]) == ("transport", 2)
    assert row["usage"]["cost_usd"] > 0


async def test_who_began_to_answer_in_anothers_stead_has_served(serve: Serve, faulty: Faulty) -> None:
    async with serve("500", "cut") as served, client(served) as ai:
        with pytest.raises(openai.APIError):
            await read(ai)
        [row] = await settled(served)
    assert (row["arm"], row["usage"]["served_arm"], row["usage"]["error"]) == ("500", "cut", "transport")


async def test_keys_are_nowhere(
    serve: Serve, faulty: Faulty, capfd: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    """Not in answers, errors, logs, the database or metrics, whatever happens."""
    import logging

    logging.getLogger().setLevel(logging.DEBUG)
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage() + str(record.__dict__) + (self.format(record)))

    handler = Keep()
    logging.getLogger().addHandler(handler)
    try:
        names = ["401", "400", "500", "cut", "error-second", "redirect", "silent", "ok"]
        async with serve(*names, short_clocks=True) as served, client(served) as ai:
            for name in names:
                try:
                    seen.append(await read(ai, f"banditd/arm/{name}"))
                except openai.APIError as error:
                    seen.append(f"{error} {error.body} {getattr(error, 'response', None)}")
            seen.append(served.daemon.metrics.render().decode())
            seen.append(repr(served.settings) + served.settings.model_dump_json())
            seen.append(
                str(
                    [
                        vars(view) if hasattr(view, "__dict__") else view
                        for view in await served.daemon.services.arms.list("default")
                    ]
                )
            )
    finally:
        logging.getLogger().removeHandler(handler)
    assert all(KEY in call.headers["authorization"] for call in faulty.calls)
    assert KEY not in "".join(seen)
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in capfd.readouterr().err
