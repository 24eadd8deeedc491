"""Tags as context: their columns outlive restarts, and what was learned before goes on when tags are added."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon, leads, make_settings
from tests.walks.test_repair import refold
from tests.walks.test_reward_walk import learned, refolded, reward, route

from banditd.core.types import Decision, Query
from banditd.daemon.open import Daemon
from banditd.daemon.workbench import open_workbench
from banditd.features.outline import PROMPT_TEMPLATE
from banditd.features.tags import PLACES, SIGHTINGS

TASK = {"context_tags": ["task"]}


async def place_of(daemon: Daemon, value: str) -> int:
    """The column of the tag ``task`` that a query with this value has."""
    await route(daemon, tags={"task": value})
    builder = daemon.runtimes["default"].builder
    x = builder.build(text="?", embedding=np.eye(1, builder.schema.embedding_dimension)[0], tags={"task": value}).x
    [column] = np.flatnonzero(x[builder.schema.groups[-1].start :])
    return int(column)


def sums(daemon: Daemon) -> dict[str, tuple[float, float]]:
    """Per arm (weight, weighted reward) that count."""
    state = daemon.runtimes["default"].learned
    found = {arm.arm: state.sums(arm.arm) for arm in state.arms}
    return {arm: (total.weight, total.wr) for arm, total in found.items() if total.weight}


async def test_a_value_keeps_its_column_over_restarts_and_on_every_replica(open_daemon: OpenDaemon) -> None:
    async with open_daemon(**TASK) as one, open_daemon(**TASK) as two:
        assert await place_of(one, "sql") == PLACES  # nobody has a column for it yet
        await one.jobs.run_now("context_values")
        assert await place_of(two, "chat") == PLACES
        await two.jobs.run_now("context_values")
        await one.jobs.run_now("context_values")
        for daemon in (one, two):
            assert [await place_of(daemon, value) for value in ("sql", "chat")] == [0, 1]
    async with open_daemon(**TASK) as again:
        assert [await place_of(again, value) for value in ("chat", "sql", "new")] == [1, 0, PLACES]


async def test_what_was_learned_before_goes_on_with_a_tag_added(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        kept, corrected, retracted, late = [await route(daemon) for _ in range(4)]
        await reward(daemon, kept, 0.25)
        await reward(daemon, corrected, 0.5)
        receipt = await reward(daemon, retracted, 1.0)
        await daemon.learner.drained()
        before, d = sums(daemon), daemon.runtimes["default"].builder.schema.n_features
    async with open_daemon(**TASK) as daemon:
        assert daemon.runtimes["default"].learned.schema.n_features == d + PLACES + 1
        assert sums(daemon) == before
        assert (await refolded(daemon)).agrees  # though nothing is stored under this schema yet
        await reward(daemon, corrected, 0.75)
        await daemon.services.rewards.retract(receipt.reward_id)
        await reward(daemon, late, 0.5)
        await reward(daemon, await route(daemon, tags={"task": "sql"}), 1.0)
        assert await learned(daemon) == (4.0, pytest.approx(0.25 + 0.75 + 0.5 + 1.0))
        report = await refolded(daemon)
        assert (report.decisions, report.skipped) == (5, 0)  # the one whose reward was taken back among them
        assert report.agrees
        after = sums(daemon)
        await daemon.jobs.run_now("integrity")
        assert {run["job"]: run["error"] for run in await daemon.storage.jobs.runs()}["integrity"] is None
    async with open_daemon(context_tags=["task", "team"]) as daemon:  # and once more
        assert sums(daemon) == after
        await reward(daemon, await route(daemon, tags={"team": "core"}), 0.5)
        await daemon.learner.drained()
        assert (await refolded(daemon)).agrees


async def test_a_replica_with_the_tag_follows_an_older_leader_until_it_leads(open_daemon: OpenDaemon) -> None:
    async with AsyncExitStack() as stack:
        older = await stack.enter_async_context(AsyncExitStack())
        old = await older.enter_async_context(open_daemon())
        await leads(old)
        new = await stack.enter_async_context(open_daemon(**TASK))
        theirs, mine = await route(old), await route(new, tags={"task": "sql"})
        await reward(new, theirs, 0.5)
        await reward(old, mine, 1.0)
        await old.learner.drained()
        while sums(new) != sums(old):  # noqa: ASYNC110 - it polls
            await asyncio.sleep(0.01)
        await reward(old, theirs, 0.25)
        await old.learner.drained()
        await older.aclose()
        assert await learned(new) == (2.0, pytest.approx(1.25))
        assert (await refolded(new)).agrees


async def test_on_the_way_back_a_rebuild_learns_what_came_meanwhile(
    open_daemon: OpenDaemon, database_url: str
) -> None:
    async with open_daemon() as daemon:
        early, late = await route(daemon), await route(daemon)
        await reward(daemon, early, 0.5)
        await daemon.learner.drained()
    async with open_daemon(**TASK) as daemon:
        await reward(daemon, await route(daemon, tags={"task": "sql"}), 1.0)
        await reward(daemon, late, 0.25)
        await daemon.learner.drained()
    async with open_workbench(make_settings(database_url)) as bench:
        assert not (await refold(bench, write=False)).agrees  # the reward that came under the other schema
        await refold(bench, write=True)
        assert (await refold(bench, write=False)).agrees
    async with open_daemon() as daemon:
        assert sum(weight for weight, _ in sums(daemon).values()) == 2.0


async def test_a_prompt_template_is_found_and_has_one_column_on_every_replica(open_daemon: OpenDaemon) -> None:
    found = {"context_tags": [PROMPT_TEMPLATE]}

    async def ask(daemon: Daemon, template: str | None, **query: object) -> Decision:
        asked = Query(text="What is this?", template=lambda: template, **query)  # type: ignore[arg-type]
        return await daemon.services.routing.route(asked)

    def column(daemon: Daemon, decision: Decision) -> list[int]:
        start = daemon.runtimes["default"].builder.schema.groups[-1].start
        return np.flatnonzero(decision.context.x[start:]).tolist()

    async with open_daemon(**found) as one, open_daemon(**found) as two:
        for _ in range(SIGHTINGS[PROMPT_TEMPLATE]):
            first = await ask(one, "You are a judge.")
            await ask(one, "You are a cook.", dry_run=True)
        assert column(one, first) == [PLACES]
        await one.jobs.run_now("context_values")
        await two.jobs.run_now("context_values")
        name = first.tags[PROMPT_TEMPLATE]
        assert re.fullmatch("template-[0-9a-f]{16}", name)
        row: Any = await one.storage.decisions.get(first.decision_id)
        assert row["tags"] == {PROMPT_TEMPLATE: name}
        for daemon in (one, two):
            known, new = await ask(daemon, "You are a judge."), await ask(daemon, "You are a cook.")
            assert known.tags[PROMPT_TEMPLATE] == name != new.tags[PROMPT_TEMPLATE]
            assert (column(daemon, known), column(daemon, new)) == ([0], [PLACES])
            assert column(daemon, await ask(daemon, None)) == []
            own = await ask(daemon, "You are a cook.", tags={PROMPT_TEMPLATE: name, "team": "core"})
            assert (column(daemon, own), own.tags) == ([0], {PROMPT_TEMPLATE: name, "team": "core"})
        assert (await ask(one, "You are a judge.", policy="other")).tags == {}  # it has no such context tag
    async with open_daemon(**found) as again:
        assert column(again, await ask(again, "You are a judge.")) == [0]
    async with open_daemon(**TASK) as without:
        assert (await ask(without, "You are a judge.")).tags == {}
