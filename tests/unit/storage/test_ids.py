from __future__ import annotations

import threading
import uuid

import pytest

from banditd.core import ids as module
from banditd.core.ids import lowest_id, new_id

AT_US = 1_750_000_000_123_456


@pytest.fixture(autouse=True)
def _nothing_handed_out_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids grow over the life of a process, and other tests have made some."""
    monkeypatch.setattr(module, "_sequence", module._Sequence())


def test_an_id_is_a_uuid_of_version_7_that_carries_its_millisecond():
    made = uuid.UUID(new_id(AT_US))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == AT_US // 1000
    assert str(made) == str(made).lower()


def test_ids_of_one_process_grow_even_within_a_millisecond():
    ids = [new_id(AT_US + i // 500) for i in range(20_000)]
    assert ids == sorted(set(ids))


def test_a_clock_that_steps_back_a_little_does_not_turn_the_order():
    start = AT_US + 3_600_000_000
    ids = [new_id(start - 1_000_000 * (i % 3)) for i in range(100)]
    assert ids == sorted(set(ids))


def test_a_time_long_past_keeps_its_own_millisecond():
    new_id(AT_US + 10_000_000_000)
    assert uuid.UUID(new_id(AT_US)).int >> 80 == AT_US // 1000


def test_ids_of_many_threads_are_distinct():
    ids: list[str] = []

    def make():
        ids.extend(new_id(AT_US) for _ in range(2000))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 8000


def test_the_lowest_id_bounds_every_id_of_its_millisecond():
    later = AT_US + 7_200_000_000
    made = new_id(later)
    assert lowest_id(later) <= made < lowest_id(later + 1000)
    assert lowest_id(-5) == "00000000-0000-7000-8000-000000000000"
