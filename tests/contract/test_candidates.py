"""Candidates are written once; an evaluation is one replica's at a time, and found once."""

from __future__ import annotations

import asyncio

from tests.contract.conftest import OpenStorage

from banditd.core.candidate import Candidate
from banditd.core.evaluation import Evaluation, Finding, Question
from banditd.core.ids import new_id
from banditd.storage import Storage

NOW_US = 1_750_000_000_000_000


def candidate(weight: float, *, policy: str = "default", name: str = "thriftier") -> Candidate:
    return Candidate(
        candidate_id=new_id(NOW_US), policy=policy, name=name, settings={"cost_weight": weight, "promise": None},
        arms={"läge/1.0": {"enabled": False, "params": {"a": [1, None, "\0"]}}}, created_at_us=NOW_US, key_name="ops",
    )  # fmt: skip


async def test_a_candidate_comes_back_as_it_was_and_never_changes(
    storage: Storage, open_replica: OpenStorage
) -> None:
    first, other = candidate(0.2), candidate(0.3)
    async with open_replica() as replica:
        kept = await asyncio.gather(storage.candidates.add(first), replica.candidates.add(other))
        assert kept[0] == kept[1]
        assert kept[0] in (first, other)
        assert await replica.candidates.get("default", "thriftier") == kept[0]
        elsewhere = await storage.candidates.add(candidate(0.2, policy="drafts"))
        assert await storage.candidates.list("default") == [kept[0]]
        assert await storage.candidates.list("drafts") == [elsewhere]
        assert await storage.candidates.delete(kept[0].candidate_id)
        assert not await replica.candidates.delete(kept[0].candidate_id)
        assert await storage.candidates.get("default", "thriftier") is None
        again = candidate(0.4)
        assert await replica.candidates.add(again) == again


def evaluation(policy: str = "default") -> Evaluation:
    question = Question(candidate=candidate(0.2, policy=policy), against="large", since_us=5, margin=0.02)
    return Evaluation(evaluation_id=new_id(NOW_US), question=question, created_at_us=NOW_US, key_name="ci")


async def test_an_evaluation_is_one_replicas_at_a_time(storage: Storage, open_replica: OpenStorage) -> None:
    store, asked = storage.evaluations, evaluation()
    assert await store.add(asked, most_running=1, most_kept=2)
    assert not await store.add(evaluation(), most_running=1, most_kept=2)
    assert await store.add(evaluation("drafts"), most_running=1, most_kept=2)
    one = asked.evaluation_id
    assert await store.get(one) == asked
    async with open_replica() as replica:
        claims = await asyncio.gather(
            store.claim("a", now_us=10, until_us=20), replica.evaluations.claim("b", now_us=10, until_us=20)
        )
        assert sorted(claim.question.candidate.policy for claim in claims if claim is not None) == [
            "default",
            "drafts",
        ]
        mine, other = ("a", "b") if claims[0] is not None and claims[0].evaluation_id == one else ("b", "a")
        assert await store.claim("c", now_us=19, until_us=40) is None
        assert await store.progress(one, mine, done=3, total=9, until_us=30)
        assert not await store.progress(one, other, done=4, total=9, until_us=90)
        again = await replica.evaluations.claim("c", now_us=20, until_us=90)
        assert again is not None
        assert again.question.candidate.policy == "drafts"
        again = await replica.evaluations.claim("c", now_us=30, until_us=90)
        assert again is not None
        assert (again.evaluation_id, again.attempts, again.done) == (one, 2, 3)
        # Who had it before keeps nothing of it.
        found = Finding(phase="passed", reason="it is", figures={"interval": [-0.5, 0.25], "arms": []})
        assert not await store.finish(one, mine, found, at_us=50)
        await replica.evaluations.release(one, "c")
        last = await store.claim("d", now_us=31, until_us=90)
        assert last is not None
        assert (last.evaluation_id, last.attempts) == (one, 2)
        assert await store.finish(one, "d", found, at_us=50)
        assert not await store.finish(one, "d", found, at_us=51)
        kept = await replica.evaluations.get(one)
        assert kept is not None
        assert (kept.finding, kept.finished_at_us, kept.phase) == (found, 50, "passed")
        # What is finished makes room, and the oldest of it goes.
        newer = [evaluation(), evaluation()]
        for each in newer:
            assert await store.add(each, most_running=9, most_kept=2)
        assert await store.get(one) is None
        assert [each.evaluation_id for each in await store.list("default", "thriftier", 9)] == [
            newer[1].evaluation_id, newer[0].evaluation_id,
        ]  # fmt: skip
        assert len(await store.list(None, None, 9)) == 3
