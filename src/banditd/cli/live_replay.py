"""A live daemon as the decider of a replay, over HTTP: the same rows, the daemon's own walks.

Cold start in a running daemon: every seed adds arms under fresh names to one of the daemon's policies, offers
only those as candidates, and deletes them at the end. What the daemon's policies and settings are stays the
daemon's: its kind must be the one asked for, and a budget must be in its configuration.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from banditd.client import DaemonClient
from banditd.core.errors import ConfigurationError
from banditd.replay.decider import Row, Served
from banditd.replay.plan import Plan


@dataclass(frozen=True, slots=True)
class _Token:
    decision_id: str


class LiveDecider:
    """Plays one seed through a daemon. ``choose_us`` and ``update_us`` are whole requests, network included."""

    def __init__(self, client: DaemonClient, plan: Plan, *, policy: str) -> None:
        self.choose_us: list[float] = []
        self.update_us: list[float] = []
        self._client = client
        self._plan = plan
        self._policy = policy
        self._prefix = f"replay-{secrets.token_hex(4)}"
        self._names: list[str] = []
        self._weight = 0.0
        named = plan.options.context_tags
        self._tags = plan.data.tags(named) if named else [{}] * plan.data.n_rows

    async def decide(self, row: Row) -> Served:
        """Route one prompt among this replay's own arms."""
        if not self._names:
            await self._begin()
        body = self._body(row)
        if row.warmup_arm is not None:
            body["candidates"] = [self._names[row.warmup_arm]]
        started = perf_counter()
        answer = await self._client.route(body)
        self.choose_us.append(1e6 * (perf_counter() - started))
        return Served(self._names.index(answer["arm"]), _Token(answer["decision_id"]))

    async def reward(self, served: Served, *, reward: float | None, cost_usd: float, weight: float = 1.0) -> None:
        """Post the reward and, under a budget, what the call cost."""
        assert weight == 1.0  # noqa: S101 - the command refuses simulated sources here
        assert isinstance(served.token, _Token)  # noqa: S101 - made by decide
        decision_id = served.token.decision_id
        if self._plan.options.budget_usd is not None:
            await self._client.usage(decision_id, {"cost_usd": cost_usd})
        if reward is None:
            return
        started = perf_counter()
        await self._client.reward({"decision_id": decision_id, "value": reward, "source": "metric"})
        self.update_us.append(1e6 * (perf_counter() - started))

    async def reward_others(self, served: Served, rewards: Mapping[int, float]) -> None:
        """Post what the other arms would have earned, as one list."""
        assert isinstance(served.token, _Token)  # noqa: S101 - made by decide
        about = {"decision_id": served.token.decision_id, "source": "metric"}
        posted = [about | {"arm": self._names[arm], "value": reward} for arm, reward in rewards.items()]
        answer = await self._client.call("POST", "/v1/rewards", body=posted)
        for result in answer["results"]:
            if "error" in result:
                raise ConfigurationError(f"the daemon refuses a probe's reward: {result['error']['detail']}")

    async def begin_scoring(self) -> None:
        """Nothing to do: the daemon's budget runs on."""

    async def close(self) -> None:
        """Take this replay's arms out of the daemon again."""
        for name in self._names:
            await self._client.call("DELETE", f"/v1/arms/{name}", query={"policy": self._policy})
        self._names = []

    async def _begin(self) -> None:
        data, budget = self._plan.data, self._plan.options.budget_usd
        mean_cost = data.cost_usd[self._plan.scored].mean(axis=0)
        for k, arm in enumerate(data.arms):
            # With a cost weight the mean costs are known in advance; under a budget only list prices are.
            price: dict[str, Any] = {"usd_per_request": float(mean_cost[k])}
            if budget is not None:
                known = data.prices.get(arm)
                price = {"usd_per_request": budget}
                if known is not None:
                    price = {
                        "usd_per_mtok_in": known.usd_per_mtok_in,
                        "usd_per_mtok_out": known.usd_per_mtok_out,
                        "usd_per_request": known.usd_per_request,
                    }
            name = f"{self._prefix}-{k}"
            await self._client.add_arm(
                self._policy, {"arm": name, "upstream_model": arm, "price": price, "onboarding_decisions": 0}
            )
            self._names.append(name)
        await self._agree()

    async def _agree(self) -> None:
        """Check the daemon's kind, and find the weight that gives this replay's price of money."""
        probe = {**self._body(Row(0, "probe")), "dry_run": True, "explain": True, "cost_weight": 1.0}
        answer = await self._client.route(probe)
        wanted = self._plan.options.policy
        if answer["policy_kind"] != wanted:
            raise ConfigurationError(
                f"the daemon's policy {self._policy} is of kind {answer['policy_kind']}: replay with "
                f"--policy {answer['policy_kind']}, or configure the daemon with {wanted}"
            )
        dearest = max(answer["arms"], key=lambda arm: arm["cost_usd"] or 0.0)
        if self._plan.price and dearest["penalty"]:
            self._weight = self._plan.price * dearest["cost_usd"] / dearest["penalty"]

    def _body(self, row: Row) -> dict[str, Any]:
        body: dict[str, Any] = {
            "input": row.prompt,
            "policy": self._policy,
            "candidates": self._names,
            "tags": {**self._tags[row.index], "replay": self._prefix},
        }
        if self._plan.options.budget_usd is None:
            body["cost_weight"] = self._weight
        return body
