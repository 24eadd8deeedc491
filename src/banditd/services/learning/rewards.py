"""Taking rewards, usage reports and activations: validate, store once, wake the learner.

The database guarantees exactly-once (a unique identity, and one transaction with the learner's queue); this service
supplies each reward's identity and the rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from banditd.core.errors import BanditdError, NotFoundError
from banditd.core.references import Reference
from banditd.core.request_keys import RequestKey
from banditd.core.rewards import RewardReceipt, RewardSubmission, TaskReceipt, UsageReport, source_identity
from banditd.core.types import Arm
from banditd.core.usage import Settled, news_of
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, DecisionLog, RewardLog
from banditd.services.breakers import Breakers
from banditd.services.learning.reward_rules import (
    DEFAULT_IDENTITY,
    is_unknown_reference,
    judge_reward,
    unknown_reference,
)
from banditd.services.policy import PolicyRuntime, RewardRules, SourceRule
from banditd.services.walks import RewardInput, UsageReceipt


class RewardService:
    """Takes rewards, usage reports and activations; what is acknowledged is durable.

    reference_waits_s : pauses before an unknown reference is looked up again: the answer that it names may have ended
    a moment ago on another replica, which is about to store it.
    """

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        breakers: Mapping[str, Breakers],
        rewards: RewardLog,
        decisions: DecisionLog,
        clock: Clock,
        metrics: Metrics,
        wake_learner: Callable[[], None],
        reference_waits_s: Sequence[float] = (),
    ) -> None:
        self._runtimes = runtimes
        self._breakers = breakers
        self._rewards = rewards
        self._decisions = decisions
        self._clock = clock
        self._metrics = metrics
        self._wake_learner = wake_learner
        self._reference_waits_s = reference_waits_s

    @property
    def rules(self) -> dict[str, RewardRules]:
        return {name: runtime.config.rewards for name, runtime in self._runtimes.items()}

    async def submit(self, rewards: Sequence[RewardInput]) -> list[RewardReceipt | BanditdError]:
        """Store rewards, in order, in one transaction. Returns one outcome per reward.

        Rewards whose reference is not known yet are stored in a later transaction.
        """
        now_us = self._clock.now_us()
        submissions = [_submission(reward, now_us) for reward in rewards]
        judge = partial(judge_reward, rules_by_policy=self.rules)
        outcomes = await self._rewards.record(submissions, judge)
        for wait_s in self._reference_waits_s:
            unknown = [i for i, outcome in enumerate(outcomes) if is_unknown_reference(outcome)]
            if not unknown:
                break
            await asyncio.sleep(wait_s)
            later = await self._rewards.record([submissions[i] for i in unknown], judge)
            for i, outcome in zip(unknown, later, strict=True):
                outcomes[i] = outcome
        self._after(outcomes)
        return outcomes

    async def submit_task(self, reward: RewardInput) -> TaskReceipt:
        """Distribute a reward over the decisions of its task that have none of their own, in one transaction.

        Raises
        ------
        NotFoundError : a task without decisions. ConflictError : another request under the key. Any error of a single
        reward.
        """
        if reward.task is None:
            raise ValueError("a reward of a task names it")
        key = None
        if reward.idempotency_key is not None:
            key = RequestKey(
                key=reward.idempotency_key,
                key_name=reward.key_name or "",
                operation="task_reward",
                request_hash=reward.body_hash,
            )
        submission = _submission(replace(reward, idempotency_key=None), self._clock.now_us())
        judge = partial(judge_reward, rules_by_policy=self.rules)
        try:
            receipt = await self._rewards.reward_task(reward.task, submission, judge, key)
        except BanditdError:
            self._metrics.count(self._metrics.rewards, "refused")
            raise
        self._metrics.count(self._metrics.rewards, "duplicate" if receipt.duplicate else "task")
        if not receipt.duplicate:
            self._wake_learner()
        return receipt

    async def decision_of(self, reference: Reference) -> str:
        """The id of the newest decision with this reference. Raises NotFoundError."""
        found = await self._decisions.find_reference(reference)
        for wait_s in self._reference_waits_s:
            if found is not None:
                return found
            await asyncio.sleep(wait_s)
            found = await self._decisions.find_reference(reference)
        if found is None:
            raise unknown_reference(reference)
        return found

    async def retract(self, reward_id: str, owner: str | None = None) -> RewardReceipt:
        """Retract the reward with this id (of any of its revisions).

        Raises
        ------
        NotFoundError : no such reward.
        """
        stored = await self._rewards.find(reward_id)
        if stored is None:
            raise NotFoundError(f"no reward {reward_id}", code="REWARD_NOT_FOUND", field="/reward_id")
        identity = str(stored["identity"])
        submission = RewardSubmission(
            decision_id=str(stored["decision_id"]),
            identity=identity,
            keyed=identity.startswith("key:"),
            body_hash=f"retract:{identity}",
            metric=str(stored["metric"]),
            source=str(stored["source"]),
            value=None,
            retract=True,
            metadata={},
            received_at_us=self._clock.now_us(),
            owner=owner,
            of_judge=True,  # a verdict that is named by its id may be retracted
        )
        [outcome] = await self._rewards.record([submission], partial(judge_reward, rules_by_policy=self.rules))
        if isinstance(outcome, BanditdError):
            raise outcome
        self._after([outcome])
        return outcome

    async def report_usage(self, report: UsageReport, *, breakers_informed: bool = False) -> UsageReceipt:
        """Merge a report into what is known of its decision, and settle the difference in cost exactly once.

        breakers_informed : the breakers have already counted each call when it ended.

        ``core.usage`` decides what is news. Clients and the gateway report in the same way.

        Raises
        ------
        NotFoundError : no such decision or arm.
        """
        report = report._replace(received_at_us=self._clock.now_us())
        settled = await self._rewards.report_usage(report, cost_of)
        outcome = "duplicate" if settled.duplicate else "revised" if settled.revision else "recorded"
        self._metrics.count(self._metrics.usage_reports, outcome)
        if not settled.duplicate:
            self._settled(settled, breakers_informed=breakers_informed)
        return UsageReceipt(
            decision_id=report.decision_id,
            duplicate=settled.duplicate,
            revision=settled.revision,
            cost_usd=settled.cost_usd,
        )

    async def activate(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """Activate a deferred decision and release its held rewards.

        Returns (False if it was active before, whether an earlier request under ``key`` had this answer).
        """
        changed, duplicate = await self._decisions.activate(decision_id, self._clock.now_us(), key, owner)
        if changed and not duplicate:
            self._wake_learner()
        return changed, duplicate

    async def abandon(
        self, decision_id: str, key: RequestKey | None = None, owner: str | None = None
    ) -> tuple[bool, bool]:
        """Record that a decision was never served: it costs nothing and teaches nothing.

        Returns (False if it was abandoned before, whether an earlier request under ``key`` had this answer).

        Raises
        ------
        NotFoundError : no such decision. ConflictError : it has a reward. ForbiddenError : ``owner`` did not make it.
        """
        return await self._rewards.abandon(decision_id, self._clock.now_us(), key, owner)

    async def default(self, policy: str, decision_ids: Sequence[str], value: float) -> int:
        """Give the policy's default reward to decisions whose window closed without one. Returns how many."""
        now_us = self._clock.now_us()
        submissions = [
            RewardSubmission(
                decision_id=decision_id,
                identity=f"{DEFAULT_IDENTITY}{decision_id}",
                keyed=True,
                body_hash="default",
                metric="default",
                source="default",
                value=value,
                retract=False,
                metadata={},
                received_at_us=now_us,
            )
            for decision_id in decision_ids
        ]
        # A default reward is never late, and no noise is known for it.
        rule = RewardRules(late_policy="learn", sources={"default": SourceRule()})
        outcomes = await self._rewards.record(submissions, partial(judge_reward, rules_by_policy={policy: rule}))
        self._after(outcomes)
        return sum(isinstance(o, RewardReceipt) and not o.duplicate for o in outcomes)

    def _settled(self, settled: Settled, *, breakers_informed: bool) -> None:
        """A report said something new: update metrics, breakers and the learner."""
        news = news_of(settled.before, settled.after, settled.chosen_arm)
        self._metrics.settled(settled, news)
        breakers = self._breakers.get(settled.policy)
        if breakers is not None and not breakers_informed:
            now_us = self._clock.now_us()
            for one in news:
                breakers.count(one.arm, one.error, now_us=now_us, retry_after_s=one.retry_after_s)
        if settled.after.served_arm is not None or (settled.before and settled.before.served_arm is not None):
            self._wake_learner()

    def _after(self, outcomes: Sequence[RewardReceipt | BanditdError]) -> None:
        recorded = False
        for outcome in outcomes:
            if isinstance(outcome, BanditdError):
                label = "refused"
            elif outcome.duplicate:
                label = "duplicate"
            else:
                label = outcome.status if outcome.arm is None else "other_arm"
                recorded |= outcome.status == "recorded"
            self._metrics.count(self._metrics.rewards, label)
        if recorded:
            self._wake_learner()


def cost_of(arm: Arm, usage: UsageReport) -> float | None:
    """Dollars of a usage report: as reported, else its tokens at the arm's price; None if neither is known."""
    if usage.cost_usd is not None:
        return usage.cost_usd
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    input_tokens = usage.input_tokens or 0
    cached = min(usage.cached_input_tokens or 0, input_tokens)  # a correction may have lowered input_tokens
    return arm.price.cost_usd(input_tokens, usage.output_tokens or 0, cached)


def _submission(reward: RewardInput, now_us: int) -> RewardSubmission:
    if reward.idempotency_key is not None:
        identity = f"key:{reward.idempotency_key}"
    else:
        identity = source_identity(reward.decision_id, reward.metric, reward.source, reward.arm)
    return RewardSubmission(
        decision_id=reward.decision_id,
        reference=reward.reference,
        identity=identity,
        keyed=reward.idempotency_key is not None,
        body_hash=reward.body_hash,
        metric=reward.metric,
        source=reward.source,
        value=reward.value,
        thumb=reward.thumb,
        retract=reward.retract,
        metadata=reward.metadata,
        received_at_us=now_us,
        scope=None if reward.idempotency_key is None else reward.key_name or "",
        owner=reward.owner,
        arm=reward.arm,
        of_judge=reward.of_judge,
    )
