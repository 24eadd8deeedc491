"""The newest outcomes, as the models of amounts and the guards read them."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.core.ids import new_id
from banditd.core.rewards import Contribution, UsageReport
from banditd.core.types import Blend


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
    found = await storage.recent.usage("default", "schema", 10, 5)
    assert [one.cached_input_tokens for one in found] == [None] * 3, "no input was reported"
    assert [one.output_tokens for one in found] == [100, 102, 103]  # neither failures nor estimates
    assert found[0].x.tolist() == [1.0, 0.5, -0.25]
    assert [one.output_tokens for one in await storage.recent.usage("default", "schema", 2, 0)] == [102, 103]
    assert await storage.recent.usage("default", "another", 10, 5) == []


async def test_cached_tokens_come_back_with_the_input_that_they_are_of(storage, make):
    made = [make.decision(make.now_us + 1000 * i, decision_id=new_id(make.now_us + 1000 * i)) for i in range(3)]
    await storage.decisions.append(made)
    for one, cached in zip(made, (None, 0, 7), strict=True):
        await report(storage, one, input_tokens=20, cached_input_tokens=cached, output_tokens=3)
    found = await storage.recent.usage("default", "schema", 10, 5)
    assert [one.cached_input_tokens for one in found] == [0, 0, 7]


async def report(storage, one, **changes) -> None:
    said = UsageReport(decision_id=one.decision_id, latency_ms=5.0, body_hash="a", **changes)
    await storage.rewards.report_usage(said, lambda _arm, _report: None)


@pytest.mark.parametrize("others", [3, 2])
async def test_what_a_rare_arm_took_is_not_forgotten(storage, make, others):
    for name in ("cheap", "dear", "unused"):
        await storage.arms.add(make.arm(name))
    arms = ["dear"] * 4 + ["cheap"] * 4 + ["middle"] + ["cheap"] * others
    at_us = [make.now_us + 1000 * i for i in range(len(arms))]
    made = [make.decision(at, decision_id=new_id(at), arm=arm) for at, arm in zip(at_us, arms, strict=True)]
    await storage.decisions.append(made)
    for i, one in enumerate(made):
        await report(storage, one, output_tokens=100 + i, error="timeout" if i == 2 else None)
    found = await storage.recent.usage("default", "schema", others, 2)
    # Of each present arm (middle is none) two older ones, failures aside, in the order of their decisions.
    older = [("dear", 101), ("dear", 103), ("cheap", 106), ("cheap", 107)]
    newest = [("cheap", 109 + i) for i in range(others)]
    assert [(one.arm, one.output_tokens) for one in found] == older + newest
    assert await storage.recent.usage("default", "another", others, 2) == []
    assert len(await storage.recent.usage("default", "schema", 100, 2)) == len(made) - 1  # none of them twice


async def test_older_reports_are_of_the_same_schema(storage, make):
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    at_us = [make.now_us + 1000 * i for i in range(4)]
    kinds = [{"arm": "dear", "schema_hash": "former"}, {"arm": "dear"}, {"arm": "dear"}, {"arm": "cheap"}]
    made = [make.decision(at, decision_id=new_id(at), **kind) for at, kind in zip(at_us, kinds, strict=True)]
    await storage.decisions.append(made)
    for i, one in enumerate(made):
        await report(storage, one, output_tokens=100 + i)
    found = await storage.recent.usage("default", "schema", 1, 5)
    assert [(one.arm, one.output_tokens) for one in found] == [("dear", 101), ("dear", 102), ("cheap", 103)]


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
