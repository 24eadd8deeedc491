"""Candidates are written once: of two under one name the first stays, whoever writes it."""

from __future__ import annotations

import asyncio

from tests.contract.conftest import OpenStorage

from banditd.core.candidate import Candidate
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
