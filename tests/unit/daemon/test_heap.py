"""The heap is walked rarely, and what was set aside does not stay for ever. In processes of their own."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import Final

import pytest

BEFORE: Final = """
import asyncio, gc, weakref
from banditd.daemon.heap import Heap

class Node:
    alive = 0
    def __init__(self):
        Node.alive += 1
        self.me = self
    def __del__(self):
        Node.alive -= 1

def passes():
    return gc.get_stats()[2]["collections"]

def work():
    kept = []
    for _ in range(200_000):
        kept.append([])
    return kept

"""


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", BEFORE + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_work_begins_no_pass_over_the_whole_heap_while_it_is_tended() -> None:
    run("""
alone = passes()
work()
assert passes() > alone  # the collector left to itself

async def main():
    tending = asyncio.create_task(Heap().tend())
    await asyncio.sleep(0)
    before = passes()
    work()
    assert passes() == before
    tending.cancel()

asyncio.run(main())
""")


def test_a_look_frees_dropped_cycles_and_sets_aside_only_what_is_much() -> None:
    run("""
heap = Heap(survivors=1000)
heap.settle()
aside = gc.get_freeze_count()
few = [Node() for _ in range(10)]
few.clear()
heap.look()
assert Node.alive == 0
assert gc.get_freeze_count() <= aside
many = [[] for _ in range(2000)]
heap.look()
assert gc.get_freeze_count() >= aside + 2000
assert len(gc.get_objects(generation=2)) < 1000  # the next look walks none of them
""")


def test_cycles_that_are_dropped_after_they_were_set_aside_do_not_pile_up() -> None:
    run("""
heap = Heap(survivors=1000)
heap.settle()
most = gc.get_freeze_count()
seen = []
for _ in range(60):
    nodes = [Node() for _ in range(2000)]
    heap.look()
    nodes.clear()
    seen.append(Node.alive)
assert max(seen) > 2000  # they do stay for a while
assert max(seen) <= most + 3 * 2000
assert min(seen[30:]) < 2 * 2000
""")


def test_what_is_loaded_is_not_walked_while_it_loads_and_the_collector_goes_on_after_it() -> None:
    run("""
from banditd.daemon.heap import loading
before = passes()
with loading():
    loaded = work()
    assert passes() == before
assert gc.isenabled()
assert gc.get_freeze_count() > len(loaded)
try:
    with loading():
        raise ImportError
except ImportError:
    assert gc.isenabled()
""")


ARENAS: Final = """
import ctypes, threading
from banditd.daemon.heap import one_arena

{first}
together = threading.Barrier(4)

def work():
    kept = [bytes(600) for _ in range(1000)]
    together.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="the C library is not glibc")
@pytest.mark.parametrize(("first", "one"), [("one_arena()", True), ("", False)])
def test_threads_allocate_from_one_arena(first: str, one: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ARENAS.format(first=first)], capture_output=True, text=True, check=True
    )
    assert "Arena 0:" in done.stderr
    assert ("Arena 1:" not in done.stderr) is one
