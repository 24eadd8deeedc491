"""A classifier over the whole daemon: a label of each query becomes a tag, and its cost is in the account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.gateway.conftest import Serve, Served, serve_daemon
from tests.gateway.test_judges import CHAT, Judge, ask, client_of, judging, until

from banditd.core.types import Query
from banditd.services import classifying
from banditd.services.classifying import Classifier
from banditd.services.decider import MOST_QUERIES

PRICE = {"usd_per_mtok_in": 1000.0, "usd_per_mtok_out": 10_000.0}
CALL_USD = 100 * 1000.0 / 1e6 + 10 * 10_000.0 / 1e6
KIND = "Which kind is it? {query}"


@dataclass
class Labels(Judge):
    """A model that labels what it is shown by ``says``, and notes how many calls it had at once."""

    says: Callable[[str], str] = lambda text: "code" if "def " in text else "prose"
    hangs: asyncio.Event | None = None
    now: int = 0
    peak: int = 0
    texts: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.calls.append(body)
        self.texts.append(body["messages"][0]["content"])
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            if self.hangs is not None:
                await self.hangs.wait()
        finally:
            self.now -= 1
        said = self.says(self.texts[-1])
        if said in {"500", "503"}:
            return web.Response(status=int(said))
        if said == "html":
            return web.Response(text="<html>", content_type="text/html")
        return web.json_response({
            "id": "l", "object": "chat.completion", "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        })  # fmt: skip

    def policy(self, **more: Any) -> dict[str, Any]:
        given = {
            "upstream": "judging", "model": "small", "prompt": KIND, "labels": ["code", "plain prose", "prose"],
            "tag": "kind", "price": PRICE, "timeout_s": 60.0, **more,
        }  # fmt: skip
        return {"classifier": given, "context_tags": ["kind"]}


@pytest.fixture
async def labels() -> AsyncIterator[Labels]:
    async with judging(Labels()) as made:
        assert isinstance(made, Labels)
        yield made


async def route(session: aiohttp.ClientSession, text: str, status: int = 200, **more: Any) -> dict[str, Any]:
    async with session.post("v1/route", json={"input": text, **more}) as answer:
        assert answer.status == status, await answer.text()
        return dict(await answer.json())


def classifier_of(served: Served) -> Classifier:
    found = served.daemon.runtimes["default"].classifier
    assert isinstance(found, Classifier)
    return found


def counted(served: Served, outcome: str) -> float:
    labels = {"policy": "default", "outcome": outcome}
    return served.daemon.metrics.registry.get_sample_value("banditd_classifier_queries_total", labels) or 0.0


async def spent(served: Served) -> float:
    await classifier_of(served).close()
    return await served.daemon.storage.classifying.spent_usd("default", None, None)


async def test_the_label_is_a_tag_on_every_way_in_and_its_cost_is_taken_off_the_savings(
    serve: Serve, labels: Labels
) -> None:
    async with (
        serve("ok", policy=labels.policy(), upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        answer = await route(session, "def f(): pass", explain=True, tags={"team": "a"})
        assert answer["classified"] == {"kind": "code"}
        found = await served.decision(answer["decision_id"])
        assert found["tags"] == {"kind": "code", "team": "a"}
        assert found["facts"]["classified:kind"] == 1.0
        batch = {"queries": [{"input": "A poem."}, {"input": "def f(): pass"}]}
        async with session.post("v1/route/batch", json=batch) as answered:
            made = [one["decision"]["decision_id"] for one in (await answered.json())["results"]]
        made.append((await ask(session))[0])
        assert [(await served.decision(one))["tags"]["kind"] for one in made] == ["prose", "code", "prose"]
        # What is learned from has the label's column; each text was asked about once, and nothing but the text.
        columns = {one: (await served.decision(one))["x"] for one in (answer["decision_id"], *made)}
        width = len(columns[made[0]])
        assert [sum(x[width - 16 :]) for x in columns.values()] == [1.0] * 4
        assert labels.texts[:2] == [KIND.replace("{query}", text) for text in ("def f(): pass", "A poem.")]
        assert len(labels.calls) == 3
        assert set(labels.calls[0]) == {"model", "messages"}
        assert (counted(served, "labelled"), counted(served, "known")) == (3, 1)
        assert await spent(served) == pytest.approx(3 * CALL_USD)
        async with session.get("v1/savings") as answered:
            savings = await answered.json()
        assert savings["judges"]["classifier_usd"] == pytest.approx(3 * CALL_USD)
        assert savings["judges"]["usd"] == 0.0
        assert savings["words"]["judges"].startswith("The classifier cost $0.60 beside the traffic")
        spend = served.daemon.metrics.registry.get_sample_value(
            "banditd_classifier_spend_usd_total", {"policy": "default"}
        )
        assert spend == pytest.approx(3 * CALL_USD)


async def test_who_sets_the_tag_or_has_an_arm_already_is_not_asked_about(serve: Serve, labels: Labels) -> None:
    async with (
        serve("ok", policy=labels.policy(), upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        mine = await route(session, "def f(): pass", tags={"kind": "mine"}, explain=True)
        assert (await served.decision(mine["decision_id"]))["tags"] == {"kind": "mine"}
        assert "classified" not in mine
        await ask(session, model="banditd/arm/ok")
        call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        under_way = [
            *CHAT["messages"],
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "42"},
        ]
        await ask(session, messages=under_way)
        await route(session, "  ")
        assert labels.calls == []
        assert await spent(served) == 0.0


@pytest.mark.parametrize(
    ("said", "tag", "outcome"),
    [
        (" CODE\n", "code", "labelled"),
        ("Plain\t prose", "plain prose", "labelled"),
        ("<think>\nIs it prose?\n</think>\n\ncode", "code", "labelled"),
        ("code.", None, "no_label"),
        ("It is code", None, "no_label"),
        ("", None, "no_label"),
        ("p" * 300_000, None, "no_label"),
        ("503", None, "overload"),
        ("500", None, "server"),
        ("html", None, "server"),
    ],
)
async def test_only_a_label_is_a_label_and_a_failure_fails_no_query(
    serve: Serve, labels: Labels, said: str, tag: str | None, outcome: str
) -> None:
    labels.says = lambda _: said
    async with (
        serve("ok", policy=labels.policy(), upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        answer = await route(session, "anything", explain=True)
        assert answer["classified"] == {"kind": tag}
        found = await served.decision(answer["decision_id"])
        assert found["tags"] == ({} if tag is None else {"kind": tag})
        assert found["facts"]["classified:kind"] == float(tag is not None)
        assert counted(served, outcome) == 1
        failed = outcome not in {"labelled", "no_label"}
        assert await spent(served) == pytest.approx(0.0 if failed else CALL_USD, abs=1e-12)
        await route(session, "anything")
        assert len(labels.calls) == (2 if failed else 1)  # what failed is not remembered


async def test_who_answers_too_late_leaves_the_query_as_it_was_and_is_left_alone_then(
    serve: Serve, labels: Labels
) -> None:
    labels.hangs = asyncio.Event()
    policy = {**labels.policy(timeout_s=0.5), "breaker_errors": 2, "breaker_s": 600.0}
    async with (
        serve("ok", policy=policy, upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        for i in range(5):
            answer = await route(session, f"query {i}", explain=True)
            assert answer["classified"] == {"kind": None}
            await classifier_of(served).close()
        assert len(labels.calls) == 2
        assert counted(served, "late") + counted(served, "timeout") == 2
        assert counted(served, "resting") == 3
        # It may have worked all the same: what was set aside stands.
        assert await spent(served) > 0.0
        labels.hangs.set()


async def test_a_batch_waits_for_the_classifier_once(serve: Serve, labels: Labels) -> None:
    labels.hangs = asyncio.Event()
    policy = {**labels.policy(timeout_s=1.0), "breaker_errors": 0}
    async with (
        serve("ok", policy=policy, upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        batch = {"queries": [{"input": f"query {i}", "explain": True} for i in range(2 * MOST_QUERIES + 1)]}
        async with session.post("v1/route/batch", json=batch) as answered:
            results = (await answered.json())["results"]
        assert [one["decision"]["classified"] for one in results] == [{"kind": None}] * len(results)
        assert len(labels.calls) <= 16  # who waited for a place waited no longer than who was called
        labels.hangs.set()


async def test_a_call_is_booked_once_whatever_becomes_of_the_query(serve: Serve, labels: Labels) -> None:
    async with (
        serve("ok", policy=labels.policy(), upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        await route(session, "nobody may answer", status=422, excluded_arms=["ok"])
        assert await spent(served) == pytest.approx(CALL_USD)
        labels.hangs = asyncio.Event()
        classifier = classifier_of(served)
        waiting = [asyncio.create_task(classifier.tagged(Query(text="gone"))) for _ in range(3)]

        async def called() -> bool:
            return len(labels.calls) == 2

        await until(called)
        for one in waiting[1:]:
            one.cancel()
        labels.hangs.set()
        await asyncio.wait(waiting)
        assert waiting[0].result()[0].tags == {"kind": "prose"}
        assert await spent(served) == pytest.approx(2 * CALL_USD)
        before = await asyncio.gather(*(classifier.tagged(Query(text="gone")) for _ in range(3)))
        assert [query.tags for query, _ in before] == [{"kind": "prose"}] * 3
        assert len(labels.calls) == 2


async def test_a_call_that_goes_on_holds_up_no_end_and_stands_as_reserved(
    serve: Serve, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banditd.services.classifying.CLOSE_S", 0.05)
    labels.hangs = asyncio.Event()
    async with serve("ok", policy=labels.policy(), upstreams=labels.upstreams) as served:
        waiting = asyncio.create_task(classifier_of(served).tagged(Query(text="long")))

        async def called() -> bool:
            return len(labels.calls) == 1

        await until(called)
        waiting.cancel()
        assert await spent(served) > 0.0
        labels.hangs.set()


async def test_nothing_is_asked_while_the_baseline_answers_everything(serve: Serve, labels: Labels) -> None:
    policy = {**labels.policy(), "kind": "thompson", "options": {}, "promise": {"baseline": "ok"}, "rollout": 0.0}
    async with (
        serve("ok", "also", policy=policy, upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        assert (await route(session, "all to the baseline"))["arm"] == "ok"
        assert not labels.calls


async def test_the_cap_is_one_of_all_replicas(serve: Serve, labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifying, "SPENT_PAUSE_S", 3600.0)
    policy = labels.policy(usd_per_day=3.5 * CALL_USD)
    async with (
        serve("ok", policy=policy, upstreams=labels.upstreams) as one,
        serve_daemon(one.settings) as other,
        client_of(one) as here,
        client_of(other) as there,
    ):
        for i in range(4):
            for session in (here, there):
                await route(session, f"query {i}, asked at {session is here}")
            await classifier_of(one).close()
            await classifier_of(other).close()
        assert len(labels.calls) == 4
        assert await spent(one) == pytest.approx(4 * CALL_USD)
        assert counted(one, "spent") + counted(other, "spent") == 4
        assert classifier_of(one)._spent_until_s > 0.0


async def test_many_queries_are_asked_about_at_once_but_no_more_than_may(serve: Serve, labels: Labels) -> None:
    labels.hangs = asyncio.Event()
    async with (
        serve("ok", policy=labels.policy(concurrency=4), upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        texts = [f"def f{i % 20}(): pass" for i in range(60)]
        posted = asyncio.create_task(
            session.post("v1/route/batch", json={"queries": [{"input": text} for text in texts]})
        )

        async def as_many_as_may() -> bool:
            return labels.now == 4

        await until(as_many_as_may)
        await route(session, "def f0(): pass", tags={"kind": "mine"})  # others are served meanwhile
        labels.hangs.set()
        results = (await (await posted).json())["results"]
        assert [one["status_code"] for one in results] == [200] * 60
        assert (len(labels.calls), labels.peak) == (20, 4)
        assert await spent(served) == pytest.approx(20 * CALL_USD)


async def test_of_texts_a_bounded_number_of_keyed_hashes_is_remembered(serve: Serve, labels: Labels) -> None:
    policy = labels.policy(cache=2, max_chars=200)
    async with serve("ok", policy=policy, upstreams=labels.upstreams) as served, client_of(served) as session:
        for text in ("first", "second", "first", "third", "first", "second"):
            await route(session, text)
        assert [text.rpartition(" ")[2] for text in labels.texts] == ["first", "second", "third", "second"]
        assert len(classifier_of(served)._known) == 2
        assert all(key.startswith("hmac-sha256:") for key in classifier_of(served)._known)
        await route(session, "a" * 5000 + "end")
        assert len(labels.texts[-1]) <= len(KIND) + 200
        assert labels.texts[-1].endswith("end")


async def test_constraints_see_the_tag(serve: Serve, labels: Labels) -> None:
    constraint = {"name": "code", "action": "force", "arms": ["ok-slow"], "tags": {"kind": "code"}}
    policy = {**labels.policy(), "constraints": [constraint], "kind": "uniform", "options": {}}
    async with (
        serve("ok", "ok-slow", policy=policy, upstreams=labels.upstreams) as served,
        client_of(served) as session,
    ):
        arms = {(await route(session, f"def f{i}(): pass"))["arm"] for i in range(8)}
        assert arms == {"ok-slow"}


async def test_an_upstream_that_cannot_chat_is_refused_at_the_start(serve: Serve, labels: Labels) -> None:
    upstreams = {"judging": {"base_url": labels.url, "surfaces": ["embeddings"]}}
    with pytest.raises(Exception, match="classifier: the upstream judging cannot answer a chat"):
        async with serve("ok", policy=labels.policy(), upstreams=upstreams):
            pass
