"""Queries that are ready together are decided and committed together, and share nothing but that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from banditd.core.errors import InvalidInputError, StorageUnavailableError
from banditd.ports import Committed
from banditd.services.decider import MOST_CELLS, MOST_QUERIES
from banditd.services.turns import Turns


class FakeDecision(SimpleNamespace):
    """Stands for a decision: the turn only asks what it is."""


@pytest.fixture(autouse=True)
def _decisions_are_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banditd.services.turns.Decision", FakeDecision)


class Desk:
    """Decides and commits; ``turns`` and ``commits`` remember what came together."""

    def __init__(self, n_arms: int = 5) -> None:
        self.turns: list[list[str]] = []
        self.commits: list[list[str]] = []
        self.odd: set[str] = set()
        self.failure: Exception | None = None
        self.decided: list[list[str]] = []
        self.disk, self.pen = asyncio.Event(), asyncio.Event()
        self.disk.set()
        self.pen.set()
        self._runtime = SimpleNamespace(view=SimpleNamespace(arms=range(n_arms)))
        self.walk = Turns(self.decide, self.commit)

    def ask(self, name: str, early: asyncio.Future[Any] | None = None) -> asyncio.Future[Any]:
        return self.walk.join(SimpleNamespace(name=name, runtime=self._runtime), early)  # type: ignore[arg-type]

    async def decide(self, prepared: Sequence[Any]) -> Any:
        names = [one.name for one in prepared]
        self.turns.append(names)
        await self.pen.wait()
        self.decided.append(names)
        if self.odd & set(names):
            raise KeyError("odd")
        return [InvalidInputError("refused") if n == "refused" else FakeDecision(decision_id=n) for n in names]

    async def commit(self, decisions: Sequence[Any], committing: Callable[[], None] | None = None) -> Committed:
        self.commits.append([one.decision_id for one in decisions])
        if committing is not None:
            committing()
        await self.disk.wait()
        if self.failure is not None:
            raise self.failure
        return Committed()


async def test_a_query_alone_waits_for_nobody_and_those_at_hand_share_a_turn() -> None:
    desk = Desk()
    assert (await desk.ask("alone"))[0].decision_id == "alone"
    made = await asyncio.gather(*(desk.ask(f"q{i}") for i in range(7)))
    assert [one.decision_id for one, _ in made] == [f"q{i}" for i in range(7)]
    assert desk.turns == [["alone"], [f"q{i}" for i in range(7)]]
    assert desk.commits == desk.turns


async def test_who_comes_while_the_turn_is_gathered_joins_it() -> None:
    desk = Desk()
    first = desk.ask("first")

    async def later() -> Any:
        await asyncio.sleep(0)
        return await desk.ask("later")

    await asyncio.gather(first, later(), later())
    assert sorted(map(len, desk.turns)) in ([3], [1, 2])
    assert sum(map(len, desk.turns)) == 3


async def test_an_error_of_one_query_is_its_own() -> None:
    desk = Desk()
    desk.odd = {"odd"}
    names = ["a", "odd", "refused", "b"]
    found = await asyncio.gather(*(desk.ask(name) for name in names), return_exceptions=True)
    assert isinstance(found[1], KeyError)
    assert isinstance(found[2], InvalidInputError)
    assert [found[0][0].decision_id, found[3][0].decision_id] == ["a", "b"]  # type: ignore[index]
    assert desk.commits == [["a", "b"]]


async def test_a_commit_that_fails_refuses_its_turn_and_not_the_next() -> None:
    desk = Desk()
    desk.failure = StorageUnavailableError("gone")
    found = await asyncio.gather(desk.ask("a"), desk.ask("refused"), desk.ask("b"), return_exceptions=True)
    assert [type(one) for one in found] == [StorageUnavailableError, InvalidInputError, StorageUnavailableError]
    desk.failure = None
    assert (await desk.ask("c"))[0].decision_id == "c"


async def test_who_has_gone_away_is_not_decided_for_and_hurts_nobody() -> None:
    desk = Desk()
    gone, stays = desk.ask("gone"), desk.ask("stays")
    gone.cancel()
    assert (await stays)[0].decision_id == "stays"
    assert desk.turns == [["stays"]]


@pytest.mark.parametrize("n_arms", [2, 50])
async def test_a_turn_has_an_end(n_arms: int) -> None:
    desk = Desk(n_arms)
    await asyncio.gather(*(desk.ask(f"q{i}") for i in range(200)))
    assert max(map(len, desk.turns)) == min(MOST_QUERIES, MOST_CELLS // n_arms)
    assert sum(map(len, desk.turns)) == 200


async def test_one_turn_is_on_its_way_and_the_next_is_larger_for_it() -> None:
    desk = Desk()
    desk.disk.clear()
    waiting = []
    for i in range(20):
        waiting.append(desk.ask(f"q{i}"))
        for _ in range(5):
            await asyncio.sleep(0)
    assert len(desk.turns) == 1
    desk.disk.set()
    await asyncio.gather(*waiting)
    assert [len(turn) for turn in desk.turns] == [1, 19]


async def test_one_turn_is_decided_at_a_time_in_the_order_of_arrival() -> None:
    desk = Desk()
    desk.pen.clear()
    waiting = []
    for i in range(20):
        waiting.append(desk.ask(f"q{i}"))
        for _ in range(5):
            await asyncio.sleep(0)
    assert desk.turns == [["q0"]]
    assert desk.decided == desk.commits == []
    desk.pen.set()
    await asyncio.gather(*waiting)
    assert desk.decided == desk.turns == [["q0"], [f"q{i}" for i in range(1, 20)]]


async def test_a_turn_that_ends_while_it_is_decided_tells_those_in_it_and_not_the_next() -> None:
    desk = Desk()
    desk.pen.clear()
    ended, others = desk.ask("a"), []
    for _ in range(5):
        await asyncio.sleep(0)
    others.append(desk.ask("b"))
    assert desk.walk._under_way is not None
    desk.walk._under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended
    desk.pen.set()
    assert (await others[0])[0].decision_id == "b"


async def test_what_was_decided_is_told_while_its_commit_is_under_way() -> None:
    desk = Desk()
    desk.disk.clear()
    early = asyncio.get_running_loop().create_future()
    answer = desk.ask("early", early)
    assert (await early).decision_id == "early"
    assert not answer.done()
    desk.disk.set()
    assert (await answer)[0].decision_id == "early"


async def test_of_many_nobody_is_told_before_the_answer() -> None:
    desk = Desk()
    early = asyncio.get_running_loop().create_future()
    answer, other = desk.ask("early", early), desk.ask("other")
    assert await early is None
    assert answer.done()
    assert [(await one)[0].decision_id for one in (answer, other)] == ["early", "other"]


@pytest.mark.parametrize("name", ["refused", "odd"])
async def test_who_is_not_decided_for_is_told_nothing_early(name: str) -> None:
    desk = Desk()
    desk.odd = {"odd"}
    early = asyncio.get_running_loop().create_future()
    answer = desk.ask(name, early)
    assert await early is None
    with pytest.raises((InvalidInputError, KeyError)):
        await answer
