"""Where a query's text is searched: what may take long takes nobody's turn."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.web.conftest import somebody_else

from banditd.core import pace
from banditd.core.constraint import ArmConstraint
from banditd.deciding.constraints import Conditions, Constraint
from banditd.services.constraints import AT_ONCE_CHARS, holding


@pytest.mark.parametrize(("length", "apart"), [(AT_ONCE_CHARS, False), (AT_ONCE_CHARS + 1, True)])
async def test_long_texts_are_searched_apart_from_the_event_loop(length: int, apart: bool) -> None:
    searched_in: list[threading.Thread] = []

    def found(text: str) -> bool:
        searched_in.append(threading.current_thread())
        return text.endswith("x")

    constraints = [
        Constraint(arms=ArmConstraint(name, "forbid", frozenset({"large"})), when=when)
        for name, when in {
            "text": Conditions(found=found),
            "tagged": Conditions(found=found, tags={"job": "nightly"}),
            "tags": Conditions(tags={"team": "legal"}),
        }.items()
    ]
    held = await holding(constraints, "x" * length, {"team": "legal"}, None)
    assert [one.name for one in held] == ["text", "tags"]
    assert [thread is not threading.main_thread() for thread in searched_in] == [apart]


async def test_short_texts_that_come_together_are_searched_over_several_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "HOLD_S", 0.0)  # every search uses its turn up
    when = Conditions(found=lambda text: "x" in text)
    constraint = Constraint(arms=ArmConstraint("x", "forbid", frozenset({"large"})), when=when)
    with somebody_else() as turns:
        await asyncio.gather(*(holding([constraint], "x", {}, None) for _ in range(20)))
    assert turns.taken >= 19
