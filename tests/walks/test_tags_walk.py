"""Which model is good at what, in the caller's own words: from queries with tags to the reports by tag."""

from __future__ import annotations

from typing import Any

import pytest
from tests.walks.conftest import OpenDaemon, leads, make_settings
from tests.walks.test_repair import refold
from tests.walks.test_reward_walk import reward, route

from banditd.core.errors import InvalidInputError, NotFoundError
from banditd.daemon.open import Daemon
from banditd.daemon.workbench import open_workbench
from banditd.ports import DecisionFilter


async def traffic(daemon: Daemon, **tags: Any) -> list[str]:
    made = []
    for i in range(6):
        task = ("sql", "chat")[i % 2]
        made.append(await route(daemon, tags={"task": task, **tags}))
        if i < 4:
            await reward(daemon, made[-1], float(task == "sql"))
    await daemon.learner.drained()
    return made


async def test_the_reports_by_tag_add_up_to_the_whole(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        await traffic(daemon)
        await route(daemon)
        tags = daemon.services.tags
        whole: Any = await tags.stats("default", None, by="task")
        groups = {group["value"]: group for group in whole["groups"]}
        assert {value: group["decisions"] for value, group in groups.items()} == {"sql": 3, "chat": 3}
        assert whole["without_tag"] == 1
        assert (groups["sql"]["rewards"], groups["sql"]["mean_reward"]) == (2, pytest.approx(1.0))
        assert groups["chat"]["mean_reward"] == pytest.approx(0.0)
        for value, group in groups.items():
            only: Any = await tags.stats("default", 3600, of=f"task:{value}")
            assert only["tag"] == {"tag": "task", "value": value, "other": False}
            for name in ("decisions", "rewards", "mean_reward", "predicted_spend_usd", "exploration_rate"):
                assert only[name] == pytest.approx(group[name])
            assert sum(cell["decisions"] for cell in group["arms"]) == 3
            # No interval is told where none can be given, and no winner of two rewards is.
            assert group["best_arm"] is None
        contexts: Any = await tags.contexts("default", of="task:sql")
        assert sum(row["decisions"] for row in contexts["clusters"]) == 3
        assert all(cell["posterior_mean"] is None for row in contexts["clusters"] for cell in row["arms"])
        by_tag: Any = await tags.contexts("default", by="task")
        assert [group["arms"] for group in by_tag["groups"]] == [group["arms"] for group in whole["groups"]]
        series: Any = await tags.timeseries("default", None, None, 3600, by="task")
        assert sum(step["decisions"] for step in series["steps"]) == 6
        assert {step["value"] for step in series["steps"]} == {"sql", "chat"}
        one: Any = await tags.timeseries("default", None, None, 3600, of="task:sql")
        assert sum(step["decisions"] for step in one["steps"]) == 3
        known: Any = await tags.tags("default")
        assert [(tag["tag"], tag["decisions"]) for tag in known["tags"]] == [("task", 6)]


async def test_what_was_saved_by_tag_adds_up_to_the_whole(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        await traffic(daemon)
        tags = daemon.services.tags
        whole: Any = await tags.savings("default", None, None, by="task")
        groups = {group["value"]: group for group in whole["groups"]}
        assert set(groups) == {"sql", "chat"}
        for name in ("usd", "would_have_cost_usd", "spent_usd", "compared_decisions"):
            assert sum(group["saved"][name] for group in groups.values()) == pytest.approx(whole["saved"][name])
        assert sum(group["lost"]["rated_decisions"] for group in groups.values()) == 4
        assert groups["sql"]["lost"]["reward"] == pytest.approx(1.0)
        assert groups["chat"]["lost"]["reward"] == pytest.approx(0.0)
        for value, group in groups.items():
            only: Any = await tags.savings("default", None, None, of=f"task:{value}")
            assert only["tag"] == {"tag": "task", "value": value, "other": False}
            assert (only["saved"], only["lost"], only["headline"]) == (
                group["saved"], group["lost"], group["headline"],
            )  # fmt: skip
        assert (await tags.savings("default", None, None))["groups"] == []
        for most in (1, 2, 9):
            busiest: Any = await tags.savings("default", None, None, by="task", most=most)
            assert busiest["groups"] == whole["groups"][:most]


async def test_the_log_is_searched_by_tag_with_case_and_whatever_the_value_holds(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        odd = ['say "task":"sql"', "100 % \\ Käse", "SQL", "sql", "a:b"]
        made = {value: await route(daemon, tags={"task": value, "team": "x"}) for value in odd}
        for value in odd:
            found: Any = await daemon.services.reports.decisions(DecisionFilter(tag=("task", value)))
            assert [row["decision_id"] for row in found["decisions"]] == [made[value]]
        found = await daemon.services.reports.decisions(DecisionFilter(tag=("eam", "x")))
        assert found["decisions"] == []


async def test_a_name_with_colons_is_found_where_it_has_counters(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await route(daemon, tags={"app:env": "prod:eu", "app": "x"})
        tags = daemon.services.tags
        told = [await tags.value_of("default", text) for text in ("app:env:prod:eu", "app:x", "new:a:b", "app:")]
        assert [(one.tag, one.value) for one in told] == [
            ("app:env", "prod:eu"), ("app", "x"), ("new", "a:b"), ("app", None),
        ]  # fmt: skip
        with pytest.raises(InvalidInputError):
            await tags.value_of("default", "task")


async def test_a_name_of_a_cluster_is_kept_and_another_replica_shows_it(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon, open_daemon() as other:
        await route(daemon)
        shipped: Any = await daemon.services.tags.contexts("default")
        [row] = shipped["clusters"]
        assert (row["name_source"], row["name"]) == ("shipped", ", ".join(row["words"][:3]))
        cluster = row["cluster"]
        await daemon.services.tags.rename("default", cluster, "  Capitals ")
        [seen] = (await other.services.tags.contexts("default"))["clusters"]  # type: ignore[attr-defined]
        assert (seen["name"], seen["name_source"], seen["words"]) == ("Capitals", "user", row["words"])
        again = await other.services.tags.rename("default", cluster, None)
        assert (again["name"], again["name_source"]) == (row["name"], "shipped")
        for wrong in (-1, 10_000):
            with pytest.raises(NotFoundError):
                await daemon.services.tags.rename("default", wrong, "x")
        for name in (" ", "x" * 81):
            with pytest.raises(InvalidInputError):
                await daemon.services.tags.rename("default", cluster, name)
        with pytest.raises(NotFoundError):
            await daemon.services.tags.rename("nobody", cluster, "x")


async def test_a_rebuild_gives_the_same_counters_by_tag(open_daemon: OpenDaemon, database_url: str) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        await traffic(daemon, team="a")
        before = await _counted(daemon)
        assert any(row["rewards"] for _, row in before)
    async with open_workbench(make_settings(database_url)) as bench:
        for _ in range(2):
            assert (await refold(bench, write=True)).written
    async with open_daemon() as daemon:
        after = await _counted(daemon)
    assert [key for key, _ in after] == [key for key, _ in before]
    for (_, row), (_, other) in zip(after, before, strict=True):
        assert row == pytest.approx(other)


async def _counted(daemon: Daemon) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """(what a row is of, its numbers)."""
    reader = daemon.storage.tags
    schema = await reader.newest_schema("default")
    assert schema is not None
    rows = await reader.totals("default", "task", None, None, None)
    rows += await reader.totals("default", "team", "a", 0, None)
    rows += await reader.contexts("default", schema, "task", "sql")
    names = ("value", "cluster", "arm")
    return [
        (tuple(row.get(name) for name in names), {name: row[name] for name in row if name not in names})
        for row in rows
    ]
