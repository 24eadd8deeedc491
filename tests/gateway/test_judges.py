"""Judges over the whole daemon: an answer is sampled, judged by a model or a client, and becomes a reward."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from bench.faulty.app import TEXT
from sqlalchemy import func, select
from tests.gateway.conftest import Serve, Served, arm

from banditd.services.judging import worker
from banditd.services.judging.sampling import AnswerSampling
from banditd.settings import Settings
from banditd.storage.schema import judge_task, judgement

CHAT = {"model": "banditd/auto", "messages": [{"role": "user", "content": "Say hello, 3 times."}]}
PRICE = {"usd_per_mtok_in": 1000.0, "usd_per_mtok_out": 10_000.0}


@dataclass
class Judge:
    """An upstream that answers with what it is told to, one after the other; the last one for ever."""

    replies: list[str] = field(default_factory=lambda: ['{"score": 0.75, "reason": "fine"}'])
    calls: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.append(await request.json())
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply == "503":
            return web.Response(status=503)
        body = {
            "id": "j", "object": "chat.completion", "model": "judge-model",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }  # fmt: skip
        return web.json_response(body)

    def section(self, **more: Any) -> dict[str, Any]:
        return {"quality": {"upstream": "judging", "model": "judge-model", "price": PRICE, "share": 1.0, **more}}

    @property
    def upstreams(self) -> dict[str, Any]:
        return {"judging": {"base_url": self.url}}


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    async with judging(Judge()) as made:
        yield made


@asynccontextmanager
async def judging(made: Judge) -> AsyncIterator[Judge]:
    """It answers chats on a free port."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield made
    finally:
        await runner.cleanup()


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await found():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)


async def count(served: Served, table: Any) -> int:
    query = select(func.count()).select_from(table)
    return int(await served.daemon.storage.database.read(lambda connection: connection.execute(query).scalar_one()))


async def rewards_of(served: Served, decision_id: str) -> list[Any]:
    return list((await served.decision(decision_id))["rewards"])


async def sampled(served: Served) -> dict[str, Any]:
    """What is known of judges once every answer so far is stored that is to be judged."""
    gateway = served.daemon.services.gateway
    assert gateway is not None
    await gateway.settled()
    assert isinstance(gateway.listener, AnswerSampling)  # type: ignore[attr-defined]
    await gateway.listener.close()  # type: ignore[attr-defined]
    return dict(await served.daemon.storage.judging.accounts())


@asynccontextmanager
async def client_of(served: Served) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"{served.url}/") as session:
        yield session


async def ask(session: aiohttp.ClientSession, path: str = "chat/completions", **more: Any) -> tuple[str, bytes]:
    async with session.post(f"v1/{path}", json={**CHAT, "max_tokens": 9, **more}) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers["x-banditd-decision-id"], await answer.read()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_judged_once_and_its_verdict_is_a_reward(serve: Serve, judge: Judge, stream: bool) -> None:
    async with (
        serve("ok", judges=judge.section(), upstreams=judge.upstreams) as served,
        client_of(served) as session,
    ):
        ids = []
        for path, more in (("chat/completions", {}), ("messages", {}), ("responses", {"input": "hello there"})):
            body = {**more, "stream": stream} if stream else more
            ids.append((await ask(session, path, **body))[0])

        async def counted() -> bool:
            return all([await rewards_of(served, one) for one in ids])

        await until(counted)
        for decision_id in ids:
            [reward] = await rewards_of(served, decision_id)
            assert (reward["source"], reward["value"], reward["status"]) == ("judge:quality", 0.75, "recorded")
            assert reward["metadata"]["probability"] == 1.0
        assert len(judge.calls) == 3
        # Neither a temperature nor a limit: newer models refuse them, or think them away.
        assert set(judge.calls[0]) == {"model", "messages"}
        seen = json.dumps([call["messages"] for call in judge.calls])
        assert seen.count(json.dumps(TEXT)[1:-1]) == 3  # the whole answer, of every surface
        assert "user: Say hello, 3 times." in seen
        assert "hello there" in seen
        # What was kept to be judged is gone; what it has cost is an account of its own.
        assert await count(served, judge_task) == 0
        async with session.get("v1/judges") as answer:
            [told] = (await answer.json())["judges"]
        assert (told["sampled"], told["judged"], told["calls"], told["failed"]) == (3, 3, 3, 0)
        assert told["spend_usd"] == pytest.approx(3 * (100 * 1e-3 + 10 * 1e-2))
        assert told["counts"] is True
        assert told["words"].startswith("quality: 3 answers judged for $0.60.")
        async with session.get("v1/savings") as answer:
            savings = await answer.json()
        assert savings["judges"]["usd"] == pytest.approx(told["spend_usd"])
        assert "$0.60" in savings["words"]["judges"]
        await served.daemon.services.gateway.settled()  # type: ignore[union-attr]
        async with session.get("metrics") as answer:
            metrics = await answer.text()
        assert 'banditd_judge_answers_total{judge="quality",outcome="judged"} 3.0' in metrics


async def test_the_bytes_of_a_stream_are_those_without_a_judge(serve: Serve, judge: Judge) -> None:
    bodies = []
    for judges in ({}, judge.section()):
        async with serve("ok", judges=judges, upstreams=judge.upstreams) as served, client_of(served) as session:
            bodies.append((await ask(session, stream=True))[1])
    assert bodies[0] == bodies[1]


async def test_what_is_no_verdict_is_tried_again_a_bounded_number_of_times(
    serve: Serve, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FIRST_PAUSE_S", 0.0)
    judge.replies = ["7 of 10", '{"score": 2}', "503", '```json\n{"score": 1}\n```', "nonsense"]
    async with (
        serve("ok", judges=judge.section(max_attempts=4), upstreams=judge.upstreams) as served,
        client_of(served) as session,
    ):
        first, _ = await ask(session)

        async def first_counted() -> bool:
            return bool(await rewards_of(served, first))

        await until(first_counted)
        assert [reward["value"] for reward in await rewards_of(served, first)] == [1.0]
        second, _ = await ask(session)

        async def second_failed() -> bool:
            accounts = await served.daemon.storage.judging.accounts()
            return accounts["quality"].failed == 1

        await until(second_failed)
        assert await count(served, judge_task) == 0
        assert await rewards_of(served, second) == []
        account = (await served.daemon.storage.judging.accounts())["quality"]
        assert (account.cost.calls, len(judge.calls)) == (8, 8)
        assert account.cost.cost_usd == pytest.approx(7 * 0.2)  # the 503 has cost nothing


async def test_a_judge_that_has_spent_its_money_makes_no_call(
    serve: Serve, judge: Judge, caplog: pytest.LogCaptureFixture
) -> None:
    """Two answers at once may go beyond it; none is called for after that."""
    section = judge.section(usd_per_day=0.3, concurrency=1)
    async with serve("ok", judges=section, upstreams=judge.upstreams) as served, client_of(served) as session:
        for _ in range(4):
            await ask(session)

        async def waits() -> bool:
            account = (await served.daemon.storage.judging.accounts()).get("quality")
            spent = any(record.getMessage() == "judge.spent" for record in caplog.records)
            return spent and account is not None and account.sampled == 4

        await until(waits)
        assert len(judge.calls) == 2
        assert await served.daemon.storage.judging.waiting() == {"quality": 2}


async def test_a_recipes_answer_is_judged_as_the_recipes(serve: Serve, judge: Judge) -> None:
    duo = {"arm": "duo", "recipe": {"kind": "agree", "members": ["ok@a", "ok@b"], "else": "ok@c"}}
    policy = {"kind": "fixed", "options": {"arm": "duo"}, "exploration_floor": 0.0}
    async with (
        serve(
            "ok@a", "ok@b", "ok@c", duo, policy=policy, judges=judge.section(), upstreams=judge.upstreams
        ) as served,
        client_of(served) as session,
    ):
        for stream in (False, True):
            decision_id, _ = await ask(session, stream=stream)

            async def counted(one: str = decision_id) -> bool:
                return bool(await rewards_of(served, one))

            await until(counted)
        query = select(judgement.c.arm)
        rows = await served.daemon.storage.database.read(lambda connection: connection.execute(query).scalars().all())
        assert rows == ["duo", "duo"]
        assert TEXT in judge.calls[-1]["messages"][1]["content"]


async def test_what_nobody_judges_is_not_kept(serve: Serve, judge: Judge) -> None:
    """Another policy's answers, those that the coin leaves out, broken ones, and all where there is no judge."""
    others = {"other": {"kind": "fixed", "options": {"arm": "a"}, "arms": [{"arm": "a", "upstream": "up"}]}}
    section = judge.section(policies=["other"])
    async with (
        serve("ok", judges=section, upstreams=judge.upstreams, more_policies=others) as served,
        client_of(served) as session,
    ):
        await ask(session)
        assert await sampled(served) == {}
    # The database keeps the arms of every daemon: none of them is granted queries as a new one.
    cut, endless = (arm(name, onboarding_decisions=0) for name in ("cut", "endless"))
    async with (
        serve(cut, judges=judge.section(), upstreams=judge.upstreams) as served,
        client_of(served) as session,
        session.post("v1/chat/completions", json={**CHAT, "stream": True}) as answer,
    ):
        await answer.read()
        assert await sampled(served) == {}
    async with (
        serve(endless, judges=judge.section(), upstreams=judge.upstreams) as served,
        client_of(served) as session,
    ):
        async with session.post("v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            await answer.content.readany()
            answer.close()  # the client hangs up behind the first words

        async def noticed() -> bool:
            return bool(served.daemon.metrics.gateway_requests.labels("chat", "client_gone")._value.get())

        await until(noticed)
        assert await sampled(served) == {}
    assert judge.calls == []


async def test_a_client_judges_in_its_own_time(serve: Serve) -> None:
    async with (
        serve("ok", judges={"mine": {"kind": "client", "share": 1.0, "rubric": "1 is good."}}) as served,
        client_of(served) as session,
    ):
        decision_id, _ = await ask(session)

        async def waits() -> bool:
            return await count(served, judge_task) == 1

        await until(waits)
        async with session.post("v1/judge-tasks/lease", json={"judge": "mine"}) as answer:
            leased = await answer.json()
        [task] = leased["tasks"]
        assert (task["decision_id"], leased["rubric"], task["answer"]) == (decision_id, "1 is good.", TEXT)
        async with session.post("v1/judge-tasks/lease", json={"judge": "mine"}) as answer:
            assert (await answer.json())["tasks"] == []
        path = f"v1/judge-tasks/{task['task_id']}/result"
        for body, status in (
            ({"lease": task["lease"]}, 422),
            ({"lease": task["lease"], "score": 1.5}, 422),
            ({"lease": task["task_id"], "score": 0.5}, 409),
            ({"lease": task["lease"], "score": 0.5, "cost_usd": 0.25}, 200),
            ({"lease": task["lease"], "score": 0.5, "cost_usd": 0.25}, 200),
            ({"lease": task["lease"], "score": 0.6}, 409),
        ):
            async with session.post(path, json=body) as answer:
                told = await answer.json()
                assert answer.status == status, told
        async with session.post(
            f"v1/judge-tasks/{decision_id}/result", json={"lease": decision_id, "score": 1}
        ) as no:
            assert no.status == 404
        async with session.post("v1/judge-tasks/lease", json={"judge": "nobody"}) as answer:
            assert answer.status == 404

        async def counted() -> bool:
            return bool(await rewards_of(served, decision_id))

        await until(counted)
        [reward] = await rewards_of(served, decision_id)
        assert (reward["source"], reward["value"]) == ("judge:mine", 0.5)
        # Nobody else speaks as a judge, whatever the key; only this verdict itself may be taken back.
        claim = {"decision_id": decision_id, "source": "judge:mine"}
        for body in ({**claim, "value": 0.0}, {**claim, "thumb": "up", "metric": "f1"}, {**claim, "retract": True}):
            for headers in ({}, {"Idempotency-Key": "mine"}):
                async with session.post("v1/rewards", json=body, headers=headers) as answer:
                    assert (answer.status, (await answer.json())["code"]) == (403, "SOURCE_OF_JUDGE")
        assert [one["value"] for one in await rewards_of(served, decision_id)] == [0.5]
        async with session.delete(f"v1/rewards/{reward['reward_id']}") as answer:
            assert answer.status == 200, await answer.text()
        assert (await served.daemon.storage.judging.accounts())["mine"].cost.cost_usd == 0.25
        async with session.get("metrics") as answer:
            metrics = await answer.text()
        assert 'banditd_judge_answers_total{judge="mine",outcome="judged"} 1.0' in metrics
        assert 'banditd_judge_spend_usd_total{judge="mine"} 0.25' in metrics
        assert await count(served, judgement) == 1


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"model": "m"}, "needs upstream and model"),
        ({"kind": "client", "upstream": "up"}, "called by you"),
        ({"kind": "client", "usd_per_day": 5, "params": {}}, "params, usd_per_day would do nothing"),
        ({"upstream": "none", "model": "m"}, "names the upstream none"),
        ({"upstream": "up", "model": "m", "policies": ["none"]}, "names the policy none"),
        ({"upstream": "up", "model": "m", "people": ["nobody"]}, "not a source of rewards"),
        ({"upstream": "up", "model": "m", "share": 0.0}, "share"),
    ],
)
def test_judges_of_what_is_not_there_are_refused(section: dict[str, Any], words: str) -> None:
    upstreams = {"up": {"base_url": "http://127.0.0.1:1/v1"}}
    with pytest.raises(ValueError, match=words):
        Settings(upstreams=upstreams, judges={"quality": section})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="it is off"):
        Settings(judges={"quality": {"kind": "client"}})  # type: ignore[dict-item]
