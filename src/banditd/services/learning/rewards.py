"""The walk of a reward, durable half: validate, insert once, wake the learner. And usage and activation.

Exactly once is the database's doing (a unique identity, one transaction with the learner's queue); this
service gives each reward its identity and the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from banditd.core.attempts import attempts_of
from banditd.core.errors import BanditdError, NotFoundError
from banditd.core.request_keys import RequestKey
from banditd.core.types import Arm, RewardReceipt, RewardSubmission, UsageReport
from banditd.obs.metrics import Metrics
from banditd.ports import Clock, DecisionLog, RewardLog
from banditd.services.breakers import Breakers
from banditd.services.bundle import RewardInput, UsageReceipt
from banditd.services.learning.reward_rules import DEFAULT_IDENTITY, judge_reward
from banditd.services.policy import PolicyRuntime, RewardRules, SourceRule


class RewardService:
    """Takes rewards, usage and activations; acknowledged means durable."""

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
    ) -> None:
        self._runtimes = runtimes
        self._breakers = breakers
        self._rewards = rewards
        self._decisions = decisions
        self._clock = clock
        self._metrics = metrics
        self._wake_learner = wake_learner

    @property
    def rules(self) -> dict[str, RewardRules]:
        return {name: runtime.config.rewards for name, runtime in self._runtimes.items()}

    async def submit(self, rewards: Sequence[RewardInput]) -> list[RewardReceipt | BanditdError]:
        """Record rewards, in order, in one transaction. One outcome per reward."""
        now_us = self._clock.now_us()
        submissions = [_submission(reward, now_us) for reward in rewards]
        outcomes = await self._rewards.record(submissions, partial(judge_reward, rules_by_policy=self.rules))
        self._after(outcomes)
        return outcomes

    async def retract(self, reward_id: str) -> RewardReceipt:
        """Take back the reward with this id (any revision of it).

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
        )
        [outcome] = await self._rewards.record([submission], partial(judge_reward, rules_by_policy=self.rules))
        if isinstance(outcome, BanditdError):
            raise outcome
        self._after([outcome])
        return outcome

    async def report_usage(self, report: UsageReport) -> UsageReceipt:
        """Settle what a decision really cost, once.

        Raises
        ------
        NotFoundError : no such decision or served arm. ConflictError : settled with other figures.
        """
        report = replace(report, received_at_us=self._clock.now_us())
        priced: list[tuple[str, str]] = []

        def price(arm: Arm, usage: UsageReport) -> float | None:
            priced.append((arm.policy, arm.arm))
            return cost_of(arm, usage)

        duplicate, cost_usd = await self._rewards.report_usage(report, price)
        self._metrics.count(self._metrics.usage_reports, "duplicate" if duplicate else "recorded")
        if not duplicate:
            await self._settled(report, cost_usd, priced[-1] if priced else None)
        return UsageReceipt(decision_id=report.decision_id, duplicate=duplicate, cost_usd=cost_usd)

    async def activate(self, decision_id: str, key: RequestKey | None = None) -> tuple[bool, bool]:
        """Activate a deferred decision and release its held rewards.

        Returns (False when it was active already, whether an earlier request under ``key`` was answered so).
        """
        changed, duplicate = await self._decisions.activate(decision_id, self._clock.now_us(), key)
        if changed and not duplicate:
            self._wake_learner()
        return changed, duplicate

    async def default(self, policy: str, decision_ids: Sequence[str], value: float) -> int:
        """Give decisions whose window closed without a reward the policy's default. Returns how many."""
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
        # The default is not late by nature, and it is noiseless only in the sense that nobody measured it.
        rule = RewardRules(late_policy="learn", sources={"default": SourceRule()})
        outcomes = await self._rewards.record(submissions, partial(judge_reward, rules_by_policy={policy: rule}))
        self._after(outcomes)
        return sum(isinstance(o, RewardReceipt) and not o.duplicate for o in outcomes)

    async def _settled(self, report: UsageReport, cost_usd: float | None, served: tuple[str, str] | None) -> None:
        """A report was recorded just now: metrics, breaker and learner hear of it.

        ``served``: policy and arm where its tokens were priced; a report in dollars leaves them to be read.
        """
        chosen = None if served is None or report.served_arm is not None else served[1]
        if served is None or chosen is None:
            decision = await self._decisions.get(report.decision_id)
            if decision is None:  # retention was faster
                return
            chosen = str(decision["arm"])
            served = str(decision["policy"]), report.served_arm or chosen
        policy, arm = served
        self._metrics.settled(policy, arm, report, cost_usd)
        self._tell_breakers(policy, chosen, report)
        if report.served_arm is not None:
            self._wake_learner()

    def _tell_breakers(self, policy: str, chosen_arm: str, report: UsageReport) -> None:
        breakers = self._breakers.get(policy)
        if breakers is None:
            return
        now_us = self._clock.now_us()
        for one in attempts_of(
            report.attempts, chosen_arm=chosen_arm, served_arm=report.served_arm, error=report.error
        ):
            breakers.count(one.arm, one.error, now_us=now_us, retry_after_s=one.retry_after_s)

    def _after(self, outcomes: Sequence[RewardReceipt | BanditdError]) -> None:
        recorded = False
        for outcome in outcomes:
            if isinstance(outcome, BanditdError):
                label = "refused"
            elif outcome.duplicate:
                label = "duplicate"
            else:
                label = outcome.status
                recorded |= outcome.status == "recorded"
            self._metrics.count(self._metrics.rewards, label)
        if recorded:
            self._wake_learner()


def cost_of(arm: Arm, usage: UsageReport) -> float | None:
    """Dollars of a usage report: as reported, else from its tokens at the arm's price; None without either."""
    if usage.cost_usd is not None:
        return usage.cost_usd
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    return arm.price.cost_usd(usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_input_tokens or 0)


def _submission(reward: RewardInput, now_us: int) -> RewardSubmission:
    if reward.idempotency_key is not None:
        identity = f"key:{reward.idempotency_key}"
    else:
        identity = f"src:{reward.decision_id}/{reward.metric}/{reward.source}"
    return RewardSubmission(
        decision_id=reward.decision_id,
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
    )
