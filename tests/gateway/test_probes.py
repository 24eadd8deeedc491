"""Probes over the whole daemon: another arm answers what was answered, the judge scores it, that arm learns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from bench.faulty.app import Faulty
from sqlalchemy import select
from tests.gateway.conftest import Serve, Served
from tests.gateway.test_judges import CHAT, PRICE, Judge, ask, client_of, judging, until

from banditd.core.types import Context
from banditd.ope import preference
from banditd.replay.decider import InProcessDecider, Row
from banditd.replay.prices import Tariff
from banditd.services.judging import probe_worker, worker
from banditd.services.judging.probe_sampling import Listeners
from banditd.settings import Settings
from banditd.storage.schema import probe, probe_judgement

PROBES = {"share": 1.0, "usd_per_day": 1000.0}
TRUTH = {"a": 0.9, "b": 0.4, "c": 0.1}


class Honest(Judge):
    """Arms that say who they are, and a judge that knows what each is worth; or that prefers what comes first."""

    compares = "truly"

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.calls.append(body)
        said = f"Answer of {body['model']}."
        if body["model"] == "judge-model" and " second answer" in (case := body["messages"][1]["content"]):
            better = {"first": "first"}.get(self.compares, "")
            if not better:
                first = min(TRUTH, key=lambda arm: case.find(f"Answer of {arm}.") % 10**6)
                second = max(TRUTH, key=lambda arm: case.find(f"Answer of {arm}."))
                better = "first" if truth(first, case) > truth(second, case) else "second"
            said = json.dumps({"better": better, "reason": ""})
        elif body["model"] == "judge-model":
            [arm] = [arm for arm in TRUTH if f"Answer of {arm}." in case]
            said = json.dumps({"score": truth(arm, case), "reason": ""})
        return web.json_response({
            "id": "j", "object": "chat.completion", "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        })  # fmt: skip


def truth(arm: str, case: str) -> float:
    """Worth of an arm's answer: another one of every other question."""
    return 1.0 - TRUTH[arm] if "odd" in case else TRUTH[arm]


@pytest.fixture
async def honest() -> AsyncIterator[Honest]:
    async with judging(Honest()) as made:
        assert isinstance(made, Honest)
        yield made


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    async with judging(Judge()) as made:
        yield made


async def states(served: Served) -> list[dict[str, Any]]:
    query = select(probe).order_by(probe.c.probe_id)
    rows = await served.daemon.storage.database.read(lambda connection: connection.execute(query).mappings().all())
    return [dict(row) for row in rows]


async def all_over(served: Served, n: int) -> bool:
    """Whether so many probes have ended, and every verdict on them is a reward."""
    made = await states(served)
    query = select(probe_judgement.c.reward)
    rewards = await served.daemon.storage.database.read(lambda connection: connection.execute(query).scalars().all())
    answered = [one for one in made if one["state"] == "answered"]
    return (
        len(made) == n
        and not any(one["state"] in {"waiting", "calling"} for one in made)
        and len(rewards) == len(answered)
        and set(rewards) <= {"counted"}
    )


@asynccontextmanager
async def probing(serve: Serve, judge: Judge, *models: Any, **section: Any) -> AsyncIterator[Any]:
    judges = judge.section(**{"probes": PROBES, **section})
    async with (
        serve(*models, judges=judges, upstreams=judge.upstreams) as served,
        client_of(served) as session,
    ):
        yield served, session


async def sampled(served: Served) -> None:
    """Until every answer so far is stored that is to be judged or probed."""
    gateway = served.daemon.services.gateway
    assert gateway is not None
    await gateway.settled()
    listener = gateway.listener  # type: ignore[attr-defined]
    assert isinstance(listener, Listeners)
    for one in listener._listeners:
        await one.close()  # type: ignore[attr-defined]


async def test_a_judge_that_tells_the_truth_teaches_by_probes_what_a_replay_teaches(
    serve: Serve, honest: Honest
) -> None:
    arms = [{"arm": name, "upstream": "judging", "upstream_model": name, "price": PRICE} for name in TRUTH]
    section = {"probes": {**PROBES, "arms": 9}, "noise_variance": 0.0}
    async with probing(serve, honest, *arms, **section) as (served, session):
        texts = [f"Question {i}, which is {'odd' if i % 2 else 'even'}" for i in range(6)]
        ids = [(await ask(session, stream=False, messages=[{"role": "user", "content": text}]))[0] for text in texts]

        async def over() -> bool:
            return await all_over(served, 12)

        await until(over)
        runtime, learner = served.daemon.runtimes["default"], served.daemon.learner

        async def learned() -> bool:
            whole = [await served.decision(one) for one in ids]
            return all(len(one["rewards"]) == 3 for one in whole)

        await until(learned)
        await learner.drained()
        decider = InProcessDecider(
            schema=runtime.builder.schema,
            settings=runtime.config.settings,
            arms=tuple(TRUTH),
            contexts=[Context(np.array((await served.decision(one))["x"]), -1) for one in ids],
            seed=0,
            tariff=Tariff.of_means(np.full(3, 1e-3), len(ids)),
        )
        for row, text in enumerate(texts):
            told = await decider.decide(Row(row, text, warmup_arm=0))
            await decider.reward(told, reward=truth("a", text), cost_usd=0.0)
            await decider.reward_others(told, {1: truth("b", text), 2: truth("c", text)})
        for name in TRUTH:
            ours, theirs = runtime.learned.sums(name), decider.state.sums(name)
            assert ours.weight == theirs.weight == 6.0
            np.testing.assert_allclose(ours.gram, theirs.gram, atol=1e-9)
            np.testing.assert_allclose(ours.xr, theirs.xr, atol=1e-9)
        # The user has waited for one arm, and what the others cost is an account of its own.
        [told] = (await (await session.get("v1/judges")).json())["judges"]
        probes = told["probes"]
        assert (probes["drawn"], probes["answered"], probes["waiting"], told["judged"]) == (12, 12, 0, 18)
        spent = 12 * (100 * 1e-3 + 10 * 1e-2)
        assert probes["spend_usd"] == probes["spend_day_usd"] == pytest.approx(spent)
        assert f"12 queries for ${spent:,.2f}; ${spent:,.2f} of at most $1,000" in probes["words"]
        savings = await (await session.get("v1/savings")).json()
        assert savings["judges"]["probes_usd"] == pytest.approx(spent)
        assert savings["judges"]["usd"] == pytest.approx(told["spend_usd"])
        if savings["saved"]["usd"] is not None:
            left = savings["saved"]["usd"] - spent - told["spend_usd"]
            assert savings["judges"]["saved_less_judges_usd"] == pytest.approx(left)
        assert savings["words"]["judges"] in savings["headline"]
        # Nobody's decision has cost more, and no arm was used more often, for that.
        stats = await (await session.get("v1/stats")).json()
        assert {one["arm"]: one["decisions"] for one in stats["arms"]} == {"a": 6, "b": 0, "c": 0}
        metrics = await (await session.get("metrics")).text()
        assert 'banditd_probes_total{judge="quality",outcome="answered"} 12.0' in metrics


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:,x"}}
ASKED_AGAIN = [
    ("chat/completions", {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0.5}),
    ("messages", {"system": "Be short.", "tools": [{"name": "f", "input_schema": {}}]}),
    ("responses", {"input": "hello", "messages": None, "max_tokens": None, "store": True}),
    ("chat/completions", {"tools": [TOOL]}),
]
NOT_ASKED_AGAIN = [
    ("chat/completions", {"tools": [TOOL, {"type": "web_search"}]}),
    ("chat/completions", {"n": 2}),
    ("chat/completions", {"web_search_options": {"search_context_size": "low"}}),
    ("responses", {"input": "go on", "messages": None, "conversation": "conv_1"}),
    ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, PICTURE]}]}),
    (
        "chat/completions",
        {"messages": [
            {"role": "user", "content": "what?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", **TOOL}]},
            {"role": "tool", "tool_call_id": "1", "content": "that"},
        ]},
    ),
    ("chat/completions", {"model": "banditd/arm/ok@a"}),  # the client has named its arm
]  # fmt: skip


async def test_only_what_can_be_asked_again_is(serve: Serve, judge: Judge, faulty: Faulty) -> None:
    params = {"arm": "ok@b", "upstream": "up", "upstream_model": "ok@b", "params": {"top_p": 0.5}, "price": PRICE}
    async with probing(serve, judge, "ok@a", params) as (served, session):

        async def post(path: str, body: dict[str, Any]) -> None:
            whole = {name: value for name, value in {**CHAT, "max_tokens": 9, **body}.items() if value is not None}
            headers = {"openai-beta": "x", "authorization": "no", "x-secret": "no"}
            async with session.post(f"v1/{path}", json=whole, headers=headers) as answer:
                assert answer.status == 200, (path, body, await answer.text())
                await answer.read()
            await sampled(served)

        for path, body in NOT_ASKED_AGAIN:
            await post(path, body)
            assert await states(served) == [], (path, body)
        assert set(faulty.models_called()) == {"ok@a"}
        for n, (path, body) in enumerate(ASKED_AGAIN, 1):
            faulty.calls.clear()
            await post(path, body)

            async def over(n: int = n) -> bool:
                return await all_over(served, n)

            await until(over)
            assert [call.model for call in faulty.calls] == ["ok@a", "ok@b"], (path, body)
            first, second = faulty.calls
            assert second.path == first.path
            assert not second.stream
            changed = {"model", "stream", "stream_options", "top_p", "store"}
            assert {k: v for k, v in second.body.items() if k not in changed} == {
                k: v for k, v in first.body.items() if k not in changed
            }
            assert second.body["top_p"] == 0.5
            assert not second.body.get("store")
            assert second.headers["openai-beta"] == "x"
            assert second.headers["authorization"] == first.headers["authorization"]  # the upstream's own key
        assert {(row["body"], row["headers"], row["probability"]) for row in await states(served)} == {
            (None, None, 1.0)
        }


async def test_no_arm_is_called_for_a_judge_that_is_behind_or_beyond_the_cap(
    serve: Serve, judge: Judge, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_worker, "MOST_UNJUDGED", 1)
    judge.replies = ["503"]
    async with probing(serve, judge, "ok@a", "ok@b", probes={**PROBES, "usd_per_day": 100.0}) as (served, session):
        for _ in range(4):
            await ask(session)
            await sampled(served)

        async def behind() -> bool:
            found = [one["state"] for one in await states(served)]
            return "answered" in found and "calling" not in found

        await until(behind)
        called = faulty.models_called().count("ok@b")
        assert called <= probe_worker.CONCURRENCY  # as many as were claimed at once, and then it is behind
        [told] = (await (await session.get("v1/judges")).json())["judges"]
        assert told["probes"]["waiting"] == 4 - called
    # Beyond the cap nothing is even kept: these cost more than there is for a day.
    async with probing(serve, judge, "ok@a", "ok@b", probes={**PROBES, "usd_per_day": 1e-6}) as (served, session):
        await ask(session)
        await sampled(served)
        [told] = (await (await session.get("v1/judges")).json())["judges"]
        assert told["probes"]["dropped"] == 1
        assert "for want of money, room or time" in told["probes"]["words"]


async def test_what_fails_for_a_moment_is_called_again_and_what_will_not_do_is_not(
    serve: Serve, judge: Judge, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FIRST_PAUSE_S", 0.0)
    models = ("once-503", "500", "400")
    async with probing(serve, judge, "ok@a", *models, probes={**PROBES, "arms": 9}) as (served, session):
        await ask(session)

        async def over() -> bool:
            return await all_over(served, 3)

        await until(over)
        ended = {row["arm"]: (row["state"], row["attempts"]) for row in await states(served)}
        assert ended == {"once-503": ("answered", 2), "500": ("failed", 3), "400": ("failed", 1)}
        assert sorted(faulty.models_called()) == sorted(["ok@a", *["once-503"] * 2, *["500"] * 3, "400"])
        # The user's own requests do not hear of it: the breaker is theirs.
        assert served.daemon.services.gateway.left_alone("default") == {}  # type: ignore[union-attr]
        account = (await served.daemon.storage.probing.accounts())["quality"]
        assert (account.calls, account.answered, account.failed) == (6, 1, 2)


async def test_an_arm_that_is_disabled_meanwhile_is_not_called(
    serve: Serve, judge: Judge, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_worker, "CONCURRENCY", 0)
    async with probing(serve, judge, "ok@a", "ok@b") as (served, session):
        await ask(session)
        await sampled(served)
        async with session.patch("v1/arms/ok@b", json={"enabled": False}) as answer:
            assert answer.status == 200, await answer.text()
        monkeypatch.setattr(probe_worker, "CONCURRENCY", 2)

        async def over() -> bool:
            return await all_over(served, 1)

        await until(over)
        assert [row["state"] for row in await states(served)] == ["dropped"]
        assert faulty.models_called() == ["ok@a"]
        assert (await served.daemon.storage.probing.accounts())["quality"].cost_usd == 0.0


async def test_the_baselines_answer_is_compared_in_both_orders_until_it_is_known_how_often_it_is_better(
    serve: Serve, honest: Honest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preference, "BOUND", 1.0)  # known after two that are preferred
    prices = {"a": PRICE, "b": {"usd_per_mtok_in": 2000.0, "usd_per_mtok_out": 20_000.0}, "c": PRICE}
    arms = [
        {"arm": name, "upstream": "judging", "upstream_model": name, "price": price} for name, price in prices.items()
    ]
    async with probing(serve, honest, *arms, probes={**PROBES, "compare": True}) as (served, session):
        storage, version = served.daemon.storage, (await known(session))["version"]

        async def compared(n: int) -> None:
            async def there() -> bool:
                return (
                    len(await storage.comparing.compared("quality", version)) == n
                    and not await storage.comparing.waiting()
                )

            await until(there)

        await started(served)
        honest.compares = "first"
        await ask(session, messages=[{"role": "user", "content": "even"}])
        await compared(1)
        honest.compares = "truly"
        for n, word in enumerate(("even", "odd", "odd"), 2):  # b is worse than a where it is even, better where odd
            await ask(session, messages=[{"role": "user", "content": word}])
            await compared(n)
        [told] = (await known(session))["comparisons"]
        words, way, equal = told.pop("words"), told.pop("way"), told.pop("equal_length")
        assert ([n for n, _ in way], equal) == ([1, 2, 3, 4], None)
        assert told["log_odds"] == pytest.approx(way[-1][1])
        assert told.pop("bound") > told.pop("log_odds") > 1.0  # the bound of the test is lower here
        assert told == {
            "policy": "default", "baseline": "b", "compared": 4, "waiting": 0, "baseline_preferred": 2,
            "served_preferred": 1, "same": 0, "inconsistent": 1, "preferred": "often", "known_after": 4,
            "win_rate": (2 + 0.5) / 4,
        }  # fmt: skip
        assert words.startswith("default: b's answer is preferred to the one that was served in 2 of 4 comparisons")
        assert "1 turned with the order" in words
        # It knows: the next probe asks whom it tells most about, and no pair is bought.
        await ask(session, messages=[{"role": "user", "content": "odd"}])
        await sampled(served)
        made = await states(served)
        assert [row["served_arm"] for row in made] == ["a"] * 4 + [None]
        assert [row["arm"] for row in made[:4]] == ["b"] * 4
        assert {row["served_answer"] for row in made} == {None}

        # The baseline's answers are probes like others: scored, and its rewards.
        async def over() -> bool:
            return await all_over(served, 5)

        await until(over)
        account = (await storage.judging.accounts())["quality"]
        assert account.judged == 10
        assert account.cost.calls == 10 + 2 * 4  # each answer once, each pair twice


async def test_a_client_compares_pairs_in_its_own_time_and_each_counts_once(serve: Serve, honest: Honest) -> None:
    prices = {"a": PRICE, "b": {"usd_per_mtok_in": 2000.0, "usd_per_mtok_out": 20_000.0}}
    arms = [
        {"arm": name, "upstream": "judging", "upstream_model": name, "price": price} for name, price in prices.items()
    ]
    judges = {"mine": {"kind": "client", "share": 1.0, "rubric": "Short.", "probes": {**PROBES, "compare": True}}}
    async with (
        serve(*arms, judges=judges, upstreams=honest.upstreams) as served,
        client_of(served) as session,
    ):
        storage = served.daemon.storage
        await started(served, "mine")

        async def post(path: str, body: dict[str, Any]) -> tuple[int, Any]:
            async with session.post(path, json=body) as answer:
                return answer.status, await answer.json()

        for text in ("even", "odd"):
            await ask(session, messages=[{"role": "user", "content": text}])

        async def waits() -> bool:
            return (await storage.comparing.waiting()).get("mine") == 2

        await until(waits)
        status, leased = await post("v1/comparisons/lease", {"judge": "mine"})
        assert (status, leased["rubric"], len(leased["pairs"])) == (200, "Short.", 2)
        assert (await post("v1/comparisons/lease", {"judge": "mine"}))[1]["pairs"] == []
        pair, other = leased["pairs"]
        assert {pair["first"], pair["second"]} == {"Answer of a.", "Answer of b."}
        own = {"task_id": pair["task_id"], "lease": pair["lease"]}
        back = {"task_id": other["task_id"], "lease": other["lease"], "failed": True}
        said = {"better": "first", "better_swapped": "second"}  # the one that was given as the first, both times
        for body, wanted in (
            (own, 422),
            ({**own, "better": "first"}, 422),
            ({**own, **said, "failed": True}, 422),
            ({**own, **said, "better": "neither"}, 422),
            ({**own, **said, "lease": pair["task_id"]}, 409),
            ({**own, **said, "task_id": pair["decision_id"]}, 404),
            ({**own, **said, "cost_usd": 0.25}, 200),
            ({**own, **said, "cost_usd": 0.25}, 200),
            ({**own, "better": "same", "better_swapped": "same"}, 409),
            (back, 200),
            (back, 409),
        ):
            status, told = await post("v1/comparisons", body)
            assert status == wanted, (body, told)
        assert (await post("v1/comparisons/lease", {"judge": "nobody"}))[0] == 404
        _, again = await post("v1/comparisons/lease", {"judge": "mine"})
        assert [(one["task_id"], one["attempt"]) for one in again["pairs"]] == [(other["task_id"], 2)]
        async with session.get("v1/comparisons?judge=mine") as answer:
            found = await answer.json()
        [kept] = found["comparisons"]
        assert found["next_before_id"] is None
        assert (kept["decision_id"], kept["served_arm"], kept["baseline"]) == (pair["decision_id"], "a", "b")
        baseline_was_first = pair["first"] == "Answer of b."
        assert (kept["outcome"], kept["served_first"], kept["baseline_first"]) == (
            ("baseline", "second", "first") if baseline_was_first else ("served", "first", "second")
        )
        assert (kept["probability"], kept["served_chars"], kept["baseline_chars"]) == (1.0, 12, 12)
        async with session.get(f"v1/comparisons?before_id={kept['decision_id']}&limit=1") as answer:
            assert await answer.json() == {"comparisons": [], "next_before_id": None}
        for query in ("judge=nobody", f"judge=nobody&before_id={kept['decision_id']}"):
            async with session.get(f"v1/comparisons?{query}") as answer:
                assert (answer.status, (await answer.json())["code"]) == (404, "JUDGE_UNKNOWN")
        async with session.get("v1/comparisons?limit=0") as answer:
            assert answer.status == 422
        assert (await storage.judging.accounts())["mine"].cost.cost_usd == 0.25
        [state] = (await known(session))["comparisons"]
        assert (state["compared"], state["waiting"]) == (1, 1)


async def known(session: aiohttp.ClientSession) -> dict[str, Any]:
    [judge] = (await (await session.get("v1/judges")).json())["judges"]
    return dict(judge)


async def started(served: Served, judge: str = "quality") -> None:
    """Until it is known what is still to be compared."""

    async def looked() -> bool:
        gateway = served.daemon.services.gateway
        _, asking = gateway.listener._listeners  # type: ignore[union-attr, attr-defined]
        return bool(asking._comparing.wanted(judge, "default") == "b")

    await until(looked)


def test_a_probe_without_its_served_answer_beside_it_is_refused() -> None:
    upstreams = {"up": {"base_url": "http://127.0.0.1:1/v1"}}
    section = {"upstream": "up", "model": "m", "share": 0.05, "probes": {"share": 0.1, "usd_per_day": 1.0}}
    with pytest.raises(ValueError, match=r"raise share, or lower probes\.share"):
        Settings(upstreams=upstreams, judges={"quality": section})  # type: ignore[arg-type]


async def test_without_probes_no_answer_is_heard_for_them(serve: Serve, judge: Judge) -> None:
    async with serve("ok@a", "ok@b", judges=judge.section(), upstreams=judge.upstreams) as served:
        assert not isinstance(served.daemon.services.gateway.listener, Listeners)  # type: ignore[union-attr]
    async with serve("ok@a", "ok@b") as served, aiohttp.ClientSession(f"{served.url}/") as session:
        await ask(session)
        assert served.daemon.services.gateway.listener is None  # type: ignore[union-attr]
        assert await states(served) == []
