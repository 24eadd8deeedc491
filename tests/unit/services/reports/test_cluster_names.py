from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from banditd.services.reports.cluster_names import LEAST_DECISIONS, ClusterName, name_of, names_by_tags
from banditd.services.reports.cluster_naming import ClusterNaming


def test_a_cluster_is_named_by_what_is_frequent_in_it_and_not_everywhere() -> None:
    counts = [
        (0, "env", "prod", 100), (1, "env", "prod", 100),
        (0, "task", "sql", 60), (0, "task", "chat", 40), (1, "task", "chat", 90), (1, "task", "sql", 10),
        (0, "team", "data", 80), (1, "team", "web", 100), (0, "team", "web", 20),
    ]  # fmt: skip
    assert names_by_tags(counts) == {0: "data, sql", 1: "web, chat"}


def test_neither_few_decisions_nor_the_rest_of_a_tag_name_a_cluster() -> None:
    few = LEAST_DECISIONS - 1
    assert names_by_tags([(0, "task", "sql", few), (1, "task", "chat", 1000)]) == {}
    assert names_by_tags([(0, "task", "", 500), (1, "task", "chat", 1000)]) == {1: "chat"}
    # With one cluster a value is as frequent there as everywhere.
    assert names_by_tags([(0, "task", "sql", 500)]) == {}


def test_the_first_of_user_tags_and_shipped_names_it() -> None:
    known = {"given": {3: "Mine"}, "by_tags": {3: "sql"}}
    shipped = ("query", "table", "join", "index")
    found = []
    for gone in (None, "given", "by_tags"):
        if gone is not None:
            known[gone] = {}
        name = name_of(3, shipped=shipped, **known)
        found.append((name.name, name.source))
    assert found == [("Mine", "user"), ("sql", "tags"), ("query, table, join", "shipped")]
    assert name_of(9, given={}, by_tags={}, shipped=()).name == "cluster 9"
    assert name_of(-1, given={}, by_tags={}, shipped=()).name == "without text"


class CountedTags:
    """Counts how often the values of clusters were asked for."""

    def __init__(self) -> None:
        self.asked = 0

    async def frequent_values(self, *_: object) -> list[tuple[int, str, str, int]]:
        self.asked += 1
        return [(0, "task", "sql", 500), (1, "task", "chat", 500)]

    async def names(self, *_: object) -> dict[int, str]:
        return {1: f"given {self.asked}"}


@pytest.mark.parametrize(("kept", "asked"), [(1e9, 1), (0.0, 3)])
async def test_names_by_tags_are_kept_for_a_moment_and_given_names_are_not(kept: float, asked: int) -> None:
    builder = SimpleNamespace(maps_hash="maps", schema=SimpleNamespace(hash="schema"))
    tags: Any = CountedTags()
    runtimes: Any = {"p": SimpleNamespace(builder=builder)}
    naming = ClusterNaming(runtimes=runtimes, tags=tags, names=tags, kept=kept)
    for _ in range(3):
        found = await naming.of("p")
        assert found(0, ["shipped"]) == ClusterName("sql", "tags")
    assert tags.asked == asked
    assert found(1, ["shipped"]) == ClusterName(f"given {1 if asked == 1 else 2}", "user")
    assert (await naming.of("elsewhere"))(0, ["shipped"]).source == "shipped"
