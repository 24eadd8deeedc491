"""Releases on both databases: one open at a time, whole or not at all, counted once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Connection, delete, insert

from banditd.core.candidate import Candidate
from banditd.core.errors import ConflictError
from banditd.core.release import REWARD, ReleaseTerms, UnitOutcome
from banditd.deciding.release_course import Author, Release, aborted, promoted
from banditd.deciding.release_points import LEAST_GAP_US, MOST_POINTS, point_of
from banditd.deciding.release_tests import ReleaseTests
from banditd.ports.releases import ReleaseLook
from banditd.storage import open_storage
from banditd.storage.delays import delay_bin
from banditd.storage.release_points import keep_point
from banditd.storage.schema import delay_count

HOLDER = "this test"
TERMS = ReleaseTerms(steps=(0.5, 1.0), least_units=(2,))
# Ends the release, and is killed after all of it but the history is written.
KILLED = """
import asyncio, os, signal, sys
from functools import partial
from banditd.deciding.release_course import Author, aborted
from banditd.storage import open_storage, release_rows

release_rows.append_events = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

async def main(url, release_id):
    async with open_storage(url, writer_name="killed") as storage:
        await storage.releases.change(release_id, partial(aborted, by=Author(9)))

asyncio.run(main(*sys.argv[1:]))
"""

# Promotes a candidate with another promise, and is killed after all of it but the promotion itself is written.
KILLED_LATE = """
import asyncio, os, signal, sys
from functools import partial
from banditd.deciding.release_course import Author, promoted
from banditd.storage import open_storage, releases

releases.SqlReleaseStore._keep = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

async def main(url, release_id):
    async with open_storage(url, writer_name="killed") as storage:
        work = partial(promoted, by=Author(9), force=True)
        await storage.releases.change(release_id, work, switches={"promise": {"keep": 0.9}})

asyncio.run(main(*sys.argv[1:]))
"""


def release(release_id: str, policy: str = "default") -> Release:
    candidate = Candidate(candidate_id="c", policy=policy, name="cheap")
    tests = ReleaseTests.of(TERMS)
    return Release(release_id=release_id, policy=policy, candidate=candidate, terms=TERMS, tests=tests)


def outcome(unit: str, *, candidate: bool, release_id: str = "r1", value: float = 1.0) -> UnitOutcome:
    return UnitOutcome(
        release_id=release_id, decision_id=unit, measure=REWARD, unit=unit, candidate=candidate, share=0.5,
        differ=True, values={REWARD: value},
    )  # fmt: skip


async def test_one_release_of_a_policy_is_open_and_what_is_counted_is_counted_once(database_url):
    async with open_storage(database_url, writer_name="a") as storage:
        store = storage.releases
        await store.start(release("r1"), Author(1, "ops"))
        await store.start(release("other", "drafts"), Author(1))
        with pytest.raises(ConflictError, match="r1"):
            await store.start(release("r2"), Author(2))
        look = ReleaseLook(outcomes=[outcome("u1", candidate=True), outcome("u2", candidate=False)], differs=0.5)
        assert await store.count("r1", look, holder=HOLDER, at_us=3) is None  # nobody's lease
        assert await storage.leases.acquire("learner", HOLDER, ttl_s=60, now_us=1)
        for _ in range(2):
            counted = await store.count("r1", look, holder=HOLDER, at_us=3)
        again = ReleaseLook(outcomes=[outcome("u1", candidate=True, value=0.0)], differs=None)
        counted = await store.count("r1", again, holder=HOLDER, at_us=4)
        assert counted is not None
        assert counted == await store.get("r1")
        assert (counted.tests.splits[REWARD].units, counted.tests.tests[REWARD].comparisons) == (2, 1)
        assert counted.tests.differs == 0.5
        due = ReleaseLook(outcomes=[outcome("u3", candidate=True)], differs=None)
        counted = await store.count("r1", due, holder=HOLDER, at_us=5)
        assert counted is not None
        assert counted.due
        standing = await store.standing(0)
        assert {one.release_id for one in standing.releases.values()} == {"r1", "other"}
        await store.change("r1", lambda one: aborted(one, Author(6, None, "enough")))
        assert await store.count("r1", due, holder=HOLDER, at_us=7) == await store.get("r1")
        standing = await store.standing(0)
        assert ([*standing.releases], [one.release_id for one in standing.ended]) == (["drafts"], ["r1"])
        assert (await store.standing(7)).ended == []
        lines = [(one.event, one.key_name, one.reason) for one in await store.events("r1")]
        assert lines == [("started", "ops", None), ("step_due", None, None), ("aborted", None, "enough")]
        await store.start(release("r2"), Author(8))
        assert [one.release_id for one in await store.page("default", 10)] == ["r2", "r1"]


async def test_the_way_of_a_release_is_kept_with_every_step_and_never_grows_long(database_url):
    async with open_storage(database_url, writer_name="a") as storage:
        store = storage.releases
        await store.start(release("r1"), Author(1))
        assert await storage.leases.acquire("learner", HOLDER, ttl_s=60, now_us=1)
        for i in range(1, 4):  # too soon after one another, but for the last
            look = ReleaseLook(outcomes=[outcome(f"u{i}", candidate=bool(i % 2), value=0.0)], differs=0.5)
            await store.count("r1", look, holder=HOLDER, at_us=i * 1_000_000 if i < 3 else LEAST_GAP_US + 1)
        first, last = await store.points("r1")
        assert (first.at_us, first.share, first.measures[REWARD].units) == (1, 0.5, (0, 0))
        assert (last.measures[REWARD].units, last.differs) == ((2, 1), 0.5)
        assert last.measures[REWARD] == point_of(await store.get("r1"), 0).measures[REWARD]
        standing = await store.get("r1")

        def run_on(connection: Connection) -> None:
            for i in range(3 * MOST_POINTS):  # the clock goes back, too
                keep_point(connection, standing, (i - i % 3 * 2) * LEAST_GAP_US * 3)

        await storage.database.write(run_on)
        kept = await store.points("r1")
        assert MOST_POINTS / 2 <= len(kept) <= MOST_POINTS
        assert [one.at_us for one in kept] == sorted(one.at_us for one in kept)
        await store.change("r1", lambda one: aborted(one, Author(2 * LEAST_GAP_US)))
        assert (await store.points("r1"))[-1].share == 0.0
        assert await store.points("r2") == []


async def test_a_process_that_is_killed_while_it_ends_a_release_leaves_it_whole(database_url):
    async with open_storage(database_url, writer_name="a") as storage:
        begun = await storage.releases.start(release("r1"), Author(1))
        command = [sys.executable, "-c", KILLED, database_url, "r1"]
        killed = await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True)
        assert killed.returncode == -9, killed.stderr.decode()
        assert await storage.releases.get("r1") == begun
        assert (await storage.releases.standing(0)).releases == {"default": begun}
        ended = await storage.releases.change("r1", lambda one: aborted(one, Author(9)))
        assert [one.event for one in await storage.releases.events("r1")] == ["started", "aborted"]
        assert ended.share == 0.0


async def test_a_promotion_turns_the_promise_and_its_rollback_turns_it_back_each_at_once(database_url):
    async with open_storage(database_url, writer_name="a") as storage:
        await storage.switches.change("default", lambda _: {"rollout": 1.0, "promise": {"keep": 0.95}}, 5)
        before = await storage.switches.load()
        candidate = Candidate(candidate_id="c", policy="default", name="less", settings={"promise": {"keep": 0.9}})
        last = replace(release("r1"), candidate=candidate, step=1)
        await storage.releases.start(last, Author(1))
        command = [sys.executable, "-c", KILLED_LATE, database_url, "r1"]
        killed = await asyncio.to_thread(subprocess.run, command, check=False, capture_output=True)
        assert killed.returncode == -9, killed.stderr.decode()
        assert await storage.switches.load() == before
        assert (await storage.releases.standing(0)).promoted.get("default", []) == []
        work = partial(promoted, by=Author(9), force=True)
        await storage.releases.change("r1", work, switches={"promise": {"keep": 0.9}})
        turned = (await storage.switches.load())["default"]
        assert turned.changes == {"rollout": 1.0, "promise": {"keep": 0.9}}
        assert turned.updated_at_us > before["default"].updated_at_us
        undone = await storage.releases.roll_back("default", Author(10, None, "a reason"))
        assert undone.dropped == []
        [(found, why)] = await storage.releases.taken_back("default", 10)
        assert (found.release_id, why) == ("r1", "a reason")
        assert await storage.releases.taken_back("default", 11) == []
        back = (await storage.switches.load())["default"]
        assert back.changes == before["default"].changes
        assert back.updated_at_us > turned.updated_at_us


async def test_outcomes_of_young_decisions_wait_on_both_sides_and_are_counted_once(database_url):
    """A killed leader leaves them to the next one: each is counted in the transaction that ends its waiting."""
    async with open_storage(database_url, writer_name="a") as storage:
        store = storage.releases
        await store.start(release("r1"), Author(1))
        assert await storage.leases.acquire("learner", HOLDER, ttl_s=60, now_us=1)
        late = {"differs": None, "matures_us": 50}
        young = [replace(outcome(f"u{i}", candidate=i % 2 == 0, value=0.0), decided_at_us=i) for i in range(100, 104)]
        counted = await store.count("r1", ReleaseLook(outcomes=young, **late), holder=HOLDER, at_us=110)
        assert counted.tests.splits[REWARD].units == 0
        second = replace(young[0], values={REWARD: 1.0})
        counted = await store.count("r1", ReleaseLook(outcomes=[second], **late), holder=HOLDER, at_us=152)
        assert counted.tests.splits[REWARD].units == 3
        assert (await store.look(counted, 153)).waiting
        for _ in range(2):
            counted = await store.count("r1", ReleaseLook(outcomes=[], **late), holder=HOLDER, at_us=153)
        assert counted.tests.splits[REWARD].units == 4
        assert sum(counted.tests.tests[REWARD].candidate) == 0.0  # the first outcome of a unit counts
        assert counted == await store.get("r1")
        assert not (await store.look(counted, 999)).waiting


async def test_a_judge_or_a_price_that_changes_begins_the_tests_anew(database_url):
    async with open_storage(database_url, writer_name="a") as storage:
        store = storage.releases
        await store.start(release("r1"), Author(1))
        assert await storage.leases.acquire("learner", HOLDER, ttl_s=60, now_us=1)
        look = ReleaseLook(outcomes=[outcome("u1", candidate=True)], differs=None)
        by = {"judge quality": "a", "the price of small": "1"}
        counted = await store.count("r1", look, holder=HOLDER, at_us=3, measured_by=by)
        assert counted.tests.splits[REWARD].units == 1
        more = by | {"the price of new": "2"}  # an arm that came
        counted = await store.count("r1", look, holder=HOLDER, at_us=4, measured_by=more)
        assert (counted.tests.splits[REWARD].units, counted.tests.measured_by) == (1, more)
        changed = more | {"judge quality": "b"}
        counted = await store.count("r1", look, holder=HOLDER, at_us=5, measured_by=changed)
        assert (counted.tests.splits[REWARD].units, counted.tests.measured_by, counted.step_at_us) == (0, changed, 5)
        [_, event] = await store.events("r1")
        assert event.event == "measurement_changed"
        assert event.reason.startswith("judge quality changed")


async def test_nine_of_ten_rewards_say_how_long_the_others_are_waited_for(database_url):
    async with open_storage(database_url, writer_name="a") as storage:
        begun = await storage.releases.start(release("r1"), Author(1))
        for rewards, matures_us in (((95, 5, 0), 0), ((60, 35, 5), 300_000_000), ((60, 0, 40), 3_600_000_000)):
            rows = [
                {"policy": "default", "bin": delay_bin(delay_s), "rewards": n}
                for delay_s, n in zip((1.0, 200.0, 80_000.0), rewards, strict=True)
            ]
            await storage.database.write(lambda c: c.execute(delete(delay_count)) and None)
            await storage.database.write(lambda c, rows=rows: c.execute(insert(delay_count), rows) and None)
            assert (await storage.releases.look(begun, 1)).matures_us == matures_us
