"""Arms through the real parts: replicas that start together, and changes that cross."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, event
from tests.walks.conftest import OpenDaemon

from banditd.core.errors import InvalidInputError
from banditd.core.types import Arm, Price, Query
from banditd.services.reports import onboarding
from banditd.services.reports.onboarding import assess

EIGHT = [{"arm": f"a{i}"} for i in range(8)]


class Behind:
    """A clock that is half a second late."""

    def now_us(self) -> int:
        return time.time_ns() // 1000 - 500_000


async def test_replicas_that_start_together_all_start_and_no_arm_counts_as_added_later(
    open_daemon: OpenDaemon,
) -> None:
    async with AsyncExitStack() as stack:
        daemons = await asyncio.gather(*(stack.enter_async_context(open_daemon(arms=EIGHT)) for _ in range(4)))
        for daemon in daemons:
            runtime = daemon.runtimes["default"]
            assert [arm.arm for arm in runtime.arms] == [f"a{i}" for i in range(8)]
            assert len({arm.created_at_us for arm in runtime.arms}) == 1
            assert runtime.view.onboarding_share.tolist() == [0.0] * 8


async def test_changes_of_different_fields_at_once_all_arrive(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as here, open_daemon() as there:
        for i in range(5):
            await here.services.arms.patch("default", "large", {"enabled": True, "price": Price()})
            await asyncio.gather(
                here.services.arms.patch("default", "large", {"enabled": False}),
                there.services.arms.patch("default", "large", {"provider": f"p{i}"}),
                here.services.arms.patch("default", "large", {"price": {"usd_per_mtok_in": 2.0 + i}}),
                there.services.arms.patch("default", "large", {"price": {"usd_per_mtok_out": 3.0 + i}}),
            )
            view = await here.services.arms.get("default", "large")
            assert (view.arm.enabled, view.arm.provider, view.arm.price) == (False, f"p{i}", Price(2.0 + i, 3.0 + i))
            assert view.price_history[-1][1] == view.arm.price


async def test_shares_that_are_raised_at_once_still_hold_together(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as here, open_daemon() as there:
        answers = await asyncio.gather(
            here.services.arms.patch("default", "small", {"min_share": 0.6}),
            there.services.arms.patch("default", "large", {"min_share": 0.6}),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [type(error) for error in refused] == [InvalidInputError]
        assert sum(arm.min_share for arm in await here.storage.arms.arms("default")) == pytest.approx(0.6)


async def test_an_arm_that_comes_while_the_dashboard_reads_does_not_break_its_answer(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        for i in range(4):
            await daemon.services.routing.route(Query(text=f"query {i}"))
        reader = copy.copy(daemon.storage.reports)

        async def with_a_newcomer(policy: str) -> list[Mapping[str, float | str]]:
            arms = daemon.runtimes["default"].arms
            await daemon.services.arms.add(dataclasses.replace(arms[0], arm=f"new {len(arms)}"))
            return await daemon.storage.reports.contexts(policy)

        monkeypatch.setattr(reader, "contexts", with_a_newcomer)
        monkeypatch.setattr(daemon.services.dashboard, "_reports", reader)
        learned: Any = await daemon.services.dashboard.learning("default")
        assert [row["arm"] for row in learned["fixed"]] == ["small", "large", "vision"]
        chosen: Any = await daemon.services.dashboard.choices("default")
        assert {len(cluster["arms"]) for cluster in chosen["clusters"]} == {4}


async def test_a_clock_that_is_behind_does_not_bring_the_older_price_back(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as here, open_daemon() as there:
        await here.services.arms.patch("default", "large", {"price": Price(5.0)})
        monkeypatch.setattr(there.services.arms, "_clock", Behind())
        await there.services.arms.patch("default", "large", {"price": Price(6.0)})
        await here.jobs.run_now("prices")
        assert (await here.services.arms.get("default", "large")).arm.price == Price(6.0)


async def test_how_an_arm_is_called_is_kept_and_only_configured_upstreams_are_taken(open_daemon: OpenDaemon) -> None:
    said = {
        "upstream": "up", "params": {"reasoning_effort": "low", "temperature": None, "stop": ["ä", 1.5]},
        "rename_params": {"max_tokens": "max_completion_tokens"}, "first_token_s": 180.0,
    }  # fmt: skip
    async with open_daemon(arms=EIGHT[:1], upstreams={"up": {"kind": "echo"}}) as daemon:
        patched = await daemon.services.arms.patch("default", "a0", said)
        added = await daemon.services.arms.add(Arm(policy="default", arm="new", upstream_model="m", **said))
        for view in (patched, added):
            assert {name: getattr(view.arm, name) for name in said} == said
        for url in ("https://elsewhere.example/v1", "other", ""):
            with pytest.raises(InvalidInputError, match="there is no upstream"):
                await daemon.services.arms.patch("default", "a0", {"upstream": url})
            with pytest.raises(InvalidInputError, match="there is no upstream"):
                await daemon.services.arms.add(Arm(policy="default", arm="x", upstream_model="m", upstream=url))
    async with open_daemon(arms=EIGHT[:1]) as again:  # the upstream is gone from the configuration, the arm is not
        kept = await again.services.arms.get("default", "a0")
        assert {name: getattr(kept.arm, name) for name in said} == said
        cleared = await again.services.arms.patch("default", "a0", {"upstream": None, "params": {}})
        assert (cleared.arm.upstream, cleared.arm.params) == (None, {})


def names(count: int) -> list[dict[str, str]]:
    return [{"arm": f"a{i}"} for i in range(count)]


def listen(engine: Engine) -> list[str]:
    """Every statement that is sent from now on."""
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    return statements


async def test_looking_at_arms_asks_as_often_for_many_as_for_one(open_daemon: OpenDaemon) -> None:
    for count in (2, 40):  # the second start adds 38 arms to the same database
        async with open_daemon(arms=names(count)) as daemon:
            statements = listen(daemon.storage.database.engine)
            looks = []
            for _ in range(5):
                looks.append(len(statements))
                assert len(await daemon.services.arms.list("default")) == count
            # The learner and the jobs ask in between, and of other things: prices only when somebody looks at arms.
            assert sum("arm_price" in said for said in statements) == 5
            assert min(after - before for before, after in pairwise([*looks, len(statements)])) < 40


async def test_looking_at_one_arm_judges_that_one_alone(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []

    def noting(view: Any, index: int, **more: Any) -> Any:
        judged.append(index)
        return assess(view, index, **more)

    monkeypatch.setattr(onboarding, "assess", noting)
    async with open_daemon(arms=names(2)) as daemon:
        arms = daemon.services.arms
        for name in ("c", "d", "e"):
            await arms.add(Arm(policy="default", arm=name, upstream_model=name, price=Price(1.0, 2.0)))
        await daemon.services.routing.route(Query(text="A question."))
        judged.clear()
        whole = {view.arm.arm: view.onboarding["state"] for view in await arms.list("default")}
        assert len(judged) == 3
        judged.clear()
        assert (await arms.get("default", "d")).onboarding["state"] == whole["d"] == "onboarding"
        assert len(judged) == 1
