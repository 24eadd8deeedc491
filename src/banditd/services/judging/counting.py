"""Turns verdicts into rewards, by the usual path, and retracts them if their judge is refused.

A verdict is stored before it becomes a reward, and its reward's identity consists of the decision and the judge: a
resubmission after a crash gets the first answer again. A judge may be refused while another replica is submitting its
verdict; that verdict is still marked as counted, and retracted at the next look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from banditd.core.errors import BanditdError
from banditd.core.judging import METRIC, SOURCE_PREFIX, RewardState, StoredJudgement
from banditd.ports.judging import JudgingStore
from banditd.services.walks import RewardInput, Rewards

BATCH: Final = 200


class VerdictRewards:
    """Submits verdicts as rewards, and retracts those of refused judges."""

    def __init__(self, store: JudgingStore, rewards: Rewards) -> None:
        self._store = store
        self._rewards = rewards

    async def settle(self, judge: str) -> int:
        """Process a batch of each kind of a judge's verdicts. Returns how many were looked at."""
        refused = {version for name, version in await self._store.refusals() if name == judge}
        pending = await self._store.with_reward(judge, "pending", BATCH)
        withheld = [one for one in pending if one.version in refused]
        if withheld:
            await self._store.mark(withheld, "withheld")
        counting = [one for one in pending if one.version not in refused]
        if counting:
            await self._submit(counting, retract=False)
        done = len(pending)
        for version in sorted(refused):
            counted = await self._store.counted_of(judge, version, BATCH)
            if counted:
                await self._submit(counted, retract=True)
            done += len(counted)
        return done

    async def _submit(self, judgements: Sequence[StoredJudgement], *, retract: bool) -> None:
        outcomes = await self._rewards.submit([_reward(one, retract=retract) for one in judgements])
        marked: dict[RewardState, list[StoredJudgement]] = {}
        for one, outcome in zip(judgements, outcomes, strict=True):
            state: RewardState = "withdrawn" if retract else "counted"
            if isinstance(outcome, BanditdError) and not retract:
                state = "refused"
            marked.setdefault(state, []).append(one)
        for state, some in marked.items():
            await self._store.mark(some, state)


def _reward(one: StoredJudgement, *, retract: bool) -> RewardInput:
    return RewardInput(
        decision_id=one.decision_id,
        value=None if retract else one.score,
        metric=METRIC,
        source=SOURCE_PREFIX + one.judge,
        retract=retract,
        of_judge=True,
        arm=one.probed_arm,
        metadata={"judge_version": one.version, "probability": one.probability},
        body_hash=f"judge:{one.version}:{'retract' if retract else repr(one.score)}",
    )
