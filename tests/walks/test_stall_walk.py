"""No single request holds the event loop: others get their turns while many texts are encoded and decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core import pace
from banditd.core.types import Decision, Query
from banditd.encoders.static import load_static_encoder
from banditd.services.decider import MOST_QUERIES

TEXTS = [f"the {index}th question of many, 的一是不了 {index * 7919}" for index in range(64)]


class Turns:
    """Counts the turns that somebody else gets."""

    count = 0


@asynccontextmanager
async def somebody_else() -> AsyncIterator[Turns]:
    turns = Turns()

    async def run() -> None:
        while True:
            turns.count += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    turns.count = 0
    yield turns
    task.cancel()


async def test_texts_that_come_together_are_encoded_over_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_static_encoder()
    alone = [encoder.encode_now(text) for text in TEXTS]
    monkeypatch.setattr(pace, "HOLD_S", 0.0)  # every step uses its turn up
    async with somebody_else() as turns:
        together = await asyncio.gather(*(encoder.encode(text) for text in TEXTS))
        assert turns.count >= len(TEXTS) - 1
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


async def test_one_text_waits_for_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_static_encoder()
    monkeypatch.setattr(pace, "HOLD_S", 0.0)
    async with somebody_else() as turns:
        await encoder.encode(TEXTS[0])
        assert turns.count == 0


async def test_a_pace_that_a_closed_loop_left_does_not_stop_the_next() -> None:
    shared = pace.SharedPace()

    async def once() -> None:
        await shared.turn()
        shared.spent(1.0)

    def elsewhere() -> None:
        asyncio.run(asyncio.wait_for(once(), 5.0))

    await asyncio.to_thread(elsewhere)
    await asyncio.to_thread(elsewhere)
    await asyncio.wait_for(once(), 5.0)
    await asyncio.wait_for(once(), 5.0)


async def test_a_batch_leaves_turns_to_others_and_decides_all(
    open_daemon: OpenDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_daemon() as daemon:
        monkeypatch.setattr(pace, "HOLD_S", 0.0)
        async with somebody_else() as turns:
            made = await daemon.services.routing.route_batch(
                [Query(text=text, dry_run=True, session_id=None) for text in TEXTS]
            )
            # Encoding each is a step of its own, and so is deciding for each part of the batch.
            assert turns.count >= len(TEXTS) - 1 + len(TEXTS) // MOST_QUERIES
        assert all(isinstance(one, Decision) and one.degraded is None for one in made)
