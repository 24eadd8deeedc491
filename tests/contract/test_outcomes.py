"""The newest outcomes, as the models of amounts and the guards read them."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.core.ids import new_id
from banditd.core.types import Blend, Contribution, UsageReport


async def test_reported_usage_comes_back_oldest_first_and_bounded(storage, make):
    made = [make.decision(make.now_us + 1000 * i, decision_id=new_id(make.now_us + 1000 * i)) for i in range(5)]
    await storage.decisions.append(made)
    for i, one in enumerate(made[:4]):
        error = "timeout" if i == 1 else None
        report = UsageReport(
            decision_id=one.decision_id, output_tokens=100 + i, latency_ms=5.0, error=error, body_hash="a"
        )
        await storage.rewards.report_usage(report, lambda _arm, _report: None)
    await storage.rewards.charge_estimate([made[4].decision_id], make.now_us)
    found = await storage.recent.usage("default", "schema", 10)
    assert [one.output_tokens for one in found] == [100, 102, 103]  # neither failures nor estimates
    assert found[0].x.tolist() == [1.0, 0.5, -0.25]
    assert [one.output_tokens for one in await storage.recent.usage("default", "schema", 2)] == [102, 103]
    assert await storage.recent.usage("default", "another", 10) == []


async def test_guarded_decisions_come_back_with_their_blend(storage, make):
    blend = Blend(0.25, np.array([0.0, 0.75, 0.25]))
    guarded, plain, rerouted = make.decision(mixture=blend), make.decision(), make.decision(mixture=blend)
    await storage.decisions.append([guarded, plain, rerouted])
    await storage.leases.acquire("learner", "me", ttl_s=10, now_us=make.now_us)
    put = {one.decision_id: Contribution("cheap", 2, 1.0, 0.5) for one in (guarded, plain)}
    put[rerouted.decision_id] = Contribution("dear", 2, 1.0, 0.5)
    await storage.learning.commit(make.fold(contributions=put), holder="me")
    [found] = await storage.recent.guarded("default", 10)
    assert (found.index, found.reward, found.blend.share) == (0, 0.5, 0.25)
    assert found.blend.fixed.tolist() == blend.fixed.tolist()
    assert found.mean == pytest.approx([0.9, 0.5, 0.1])
    whole = await storage.decisions.get(guarded.decision_id)
    assert whole["mixture"] == {"share": 0.25, "fixed": [0.0, 0.75, 0.25]}
    assert (await storage.decisions.get(plain.decision_id))["mixture"] is None
