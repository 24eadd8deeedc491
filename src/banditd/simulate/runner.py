"""Drives a daemon over HTTP with generated queries, their usage reports and their rewards.

It is a client like any other: it knows the daemon's answers and the simulated truth, never the policy.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from banditd.client import DaemonClient, RefusedError
from banditd.core.errors import ConfigurationError
from banditd.simulate import feedback, world
from banditd.simulate.families import Prompt, draw
from banditd.simulate.feedback import Post
from banditd.simulate.tally import Tally

FAMILY_TAG = "family"
OVERLOAD_PAUSE_S = 0.2
OVERLOAD_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationOptions:
    """What to simulate.

    rate_per_s : queries per second; 0 goes as fast as the daemon answers.
    invent_arms : also drive arms that are not of the example configuration, with invented qualities.
    """

    policy: str = "default"
    requests: int = 2000
    rate_per_s: float = 0.0
    seed: int = 0
    concurrency: int = 8
    invent_arms: bool = False


class Simulation:
    """One run against one daemon. ``tally`` grows while it runs."""

    def __init__(self, client: DaemonClient, options: SimulationOptions) -> None:
        self._client = client
        self._options = options
        self._arms: dict[str, world.SimulatedArm] = {}
        self._waiting: list[tuple[int, int, Post]] = []
        self._order = itertools.count()
        self._indices = iter(range(options.requests))
        self._started_s = 0.0
        self.tally = Tally(arms=())

    async def prepare(self) -> None:
        """Look at the daemon's arms; an empty policy is given those of the example configuration.

        Raises
        ------
        ConfigurationError : the policy has arms that look like somebody's real ones.
        """
        views = await self._client.arms(self._options.policy)
        if not views:
            for arm in world.EXAMPLE_ARMS:
                await self._client.add_arm(self._options.policy, arm)
            views = await self._client.arms(self._options.policy)
        views = [view for view in views if view.get("enabled", True)]
        unknown = world.strangers([str(view["arm"]) for view in views])
        if unknown and not self._options.invent_arms:
            raise ConfigurationError(
                f"policy '{self._options.policy}' has arms that the simulator does not know: "
                f"{', '.join(unknown)}. Simulated rewards would mix with real ones. Name another policy with "
                "--policy, or add --invent-arms if these arms are for playing"
            )
        self._arms = {arm.name: arm for arm in world.simulated_arms(views)}
        self.tally = Tally(arms=tuple(self._arms))

    async def run(self, progress: Callable[[Tally], None]) -> Tally:
        """Send every query, then the feedback that is still due. ``progress`` is called after each query."""
        self._started_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._options.concurrency):
                group.create_task(self._worker(progress))
        await self._post_due(None)
        return self.tally

    async def _worker(self, progress: Callable[[Tally], None]) -> None:
        for index in self._indices:
            await self._keep_pace(index)
            await self._post_due(index)
            await self._query(index)
            progress(self.tally)

    async def _keep_pace(self, index: int) -> None:
        if self._options.rate_per_s:
            due_s = self._started_s + index / self._options.rate_per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _query(self, index: int) -> None:
        options = self._options
        prompt = draw(random.Random(f"{options.seed}/{index}/prompt"))
        started_s = time.perf_counter()
        answer = await self._route(prompt)
        if answer is None:
            return
        latency_ms = (time.perf_counter() - started_s) * 1e3
        outcomes = {
            name: world.outcome(arm, prompt, seed=options.seed, index=index) for name, arm in self._arms.items()
        }
        self.tally.decision(prompt=prompt, answer=answer, outcomes=outcomes, latency_ms=latency_ms)
        decision_id, chosen = str(answer["decision_id"]), outcomes[answer["arm"]]
        report = feedback.usage_report(outcome=chosen, index=index, seed=options.seed)
        if report is not None:
            await self._client.usage(decision_id, report)
            self.tally.feedback["usage"] += 1
        post = feedback.plan(decision_id=decision_id, outcome=chosen, index=index, seed=options.seed)
        if post is None:
            self.tally.feedback["missing"] += 1
        else:
            self._wait(post)

    async def _route(self, prompt: Prompt) -> dict[str, Any] | None:
        body: dict[str, object] = {
            "policy": self._options.policy,
            "tags": {FAMILY_TAG: prompt.family, "simulated": "yes"},
        }
        if prompt.turns > 1:
            body["messages"] = _conversation(prompt)
        else:
            body["input"] = prompt.text
        if prompt.tools:
            body["tools"] = prompt.tools
        for _ in range(OVERLOAD_TRIES):
            try:
                return await self._client.route(body)
            except RefusedError as error:
                self.tally.failures[f"{error.status} {error.code}"] += 1
                if error.status not in {429, 503}:
                    raise
                await asyncio.sleep(OVERLOAD_PAUSE_S)
        return None

    def _wait(self, post: Post) -> None:
        heapq.heappush(self._waiting, (post.due, next(self._order), post))

    async def _post_due(self, index: int | None) -> None:
        """Post what is due at query ``index``; None posts everything that waits."""
        while self._waiting and (index is None or self._waiting[0][0] <= index):
            post = heapq.heappop(self._waiting)[2]
            receipt = await self._client.reward(post.body, idempotency_key=post.idempotency_key)
            self.tally.feedback[post.kind] += 1
            if receipt.get("duplicate"):
                self.tally.feedback["told_duplicate"] += 1
            elif receipt.get("revision"):
                self.tally.feedback["told_correction"] += 1
            if post.follow_up is not None:
                self._wait(post.follow_up)


def _conversation(prompt: Prompt) -> list[dict[str, str]]:
    """The prompt as the last turn of a chat."""
    turns: list[dict[str, str]] = []
    for turn in range(prompt.turns - 1):
        turns += [
            {"role": "user", "content": f"(earlier question {turn + 1})"},
            {"role": "assistant", "content": f"(earlier answer {turn + 1})"},
        ]
    return [*turns, {"role": "user", "content": prompt.text}]
