"""Columns of the values of context tags, on both databases."""

from __future__ import annotations

from banditd.features.tags import PLACES
from banditd.storage import Storage


async def test_places_are_given_once_in_order_and_never_beyond_the_last(storage: Storage) -> None:
    store = storage.context_values
    wanted = [("task", f"t{i}") for i in range(20)]
    assert await store.places("default", wanted, at_most=PLACES) == sorted(
        (("task", f"t{i}", i) for i in range(PLACES)), key=lambda row: row[2]
    )
    assert len(await store.places("default", [("team", "a"), ("task", "x"), ("team", "a")], at_most=PLACES)) == 16
    assert await store.places("other") == []
