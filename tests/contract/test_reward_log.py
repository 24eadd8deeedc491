from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from banditd.core.errors import ConflictError, NotFoundError
from banditd.core.rewards import UsageReport


async def _one_decision(storage, make, **changes):
    made = make.decision(**changes)
    await storage.decisions.append([made])
    return made


async def test_a_reward_is_stored_once_and_its_retry_is_told_so(storage, make):
    made = await _one_decision(storage, make)
    reward = make.reward(made.decision_id, 0.75, metadata={"judge": "a", "n": 2})
    [first] = await storage.rewards.record([reward], make.judge)
    [again] = await storage.rewards.record([reward], make.judge)
    assert (first.duplicate, first.status, first.revision, first.reward) == (False, "recorded", 0, 0.75)
    assert again == replace(first, duplicate=True)
    event = await storage.rewards.find(first.reward_id)
    assert (event["decision_id"], event["policy"], event["value"]) == (made.decision_id, "default", 0.75)
    assert event["metadata"] == {"judge": "a", "n": 2}
    assert await storage.learning.queue_depth() == 1
    assert (await storage.reports.totals())["reward_event"] == 1


async def test_each_submission_of_a_batch_sees_the_ones_before_it(storage, make):
    made = await _one_decision(storage, make)
    batch = [
        make.reward(made.decision_id, 1.0),
        make.reward(made.decision_id, 1.0),
        make.reward(made.decision_id, 0.0),
        make.reward("no-such-decision", 0.0),
    ]
    first, duplicate, corrected, unknown = await storage.rewards.record(batch, make.judge)
    assert (duplicate.duplicate, duplicate.reward_id) == (True, first.reward_id)
    assert (corrected.duplicate, corrected.revision) == (False, 1)
    assert isinstance(unknown, NotFoundError)
    assert len((await storage.decisions.get(made.decision_id))["rewards"]) == 2
    # One decision to fold, however many of its rewards came together.
    [item] = await storage.learning.claim("default", 10)
    assert [event.reward for event in item.events] == [0.0]


async def test_an_unknown_reward_is_none(storage):
    assert await storage.rewards.find("no-such-reward") is None


async def test_the_judge_error_stores_nothing(storage, make):
    made = await _one_decision(storage, make)
    keyed = make.reward(made.decision_id, 1.0, identity="key:a", keyed=True)
    await storage.rewards.record([keyed], make.judge)
    [answer] = await storage.rewards.record([replace(keyed, value=0.0, body_hash="other")], make.judge)
    assert isinstance(answer, ConflictError)
    assert len((await storage.decisions.get(made.decision_id))["rewards"]) == 1


async def test_a_judge_that_breaks_fails_only_its_own_call(storage, make):
    made = await _one_decision(storage, make)

    def broken(*_):
        raise ZeroDivisionError

    good = [make.reward(made.decision_id, 1.0, identity=f"key:{i}", keyed=True) for i in range(10)]
    answers = await asyncio.gather(
        *(storage.rewards.record([reward], make.judge) for reward in good),
        storage.rewards.record([make.reward(made.decision_id)], broken),
        return_exceptions=True,
    )
    assert isinstance(answers[-1], ZeroDivisionError)
    assert len((await storage.decisions.get(made.decision_id))["rewards"]) == 10


async def test_many_tasks_and_two_replicas_recording_one_identity_make_one_event(storage, open_replica, make):
    made = await _one_decision(storage, make)
    reward = make.reward(made.decision_id, 1.0)
    async with open_replica() as other:
        answers = await asyncio.gather(
            *(store.rewards.record([reward], make.judge) for _ in range(30) for store in (storage, other))
        )
    receipts = [receipt for [receipt] in answers]
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert len({receipt.reward_id for receipt in receipts}) == 1
    assert len((await storage.decisions.get(made.decision_id))["rewards"]) == 1
    assert (await storage.reports.totals())["reward_event"] == 1


async def test_corrections_that_race_on_two_replicas_get_different_revisions(storage, open_replica, make):
    made = await _one_decision(storage, make)
    async with open_replica() as other:
        await asyncio.gather(
            *(
                store.rewards.record([make.reward(made.decision_id, i / 10)], make.judge)
                for i in range(10)
                for store in (storage, other)
            )
        )
    rewards = (await storage.decisions.get(made.decision_id))["rewards"]
    revisions = sorted(event["revision"] for event in rewards)
    assert revisions == list(range(len(rewards)))
    assert len(rewards) >= 10


async def test_a_retraction_leaves_nothing_to_learn_and_a_logged_reward_changes_nothing(storage, make):
    made = await _one_decision(storage, make)
    await storage.rewards.record([make.reward(made.decision_id, 1.0)], make.judge)
    logged = make.reward(made.decision_id, 0.0, metric="late")
    [receipt] = await storage.rewards.record([logged], make.judge)
    assert (receipt.status, receipt.late) == ("logged", True)
    [item] = await storage.learning.claim("default", 10)
    assert [event.reward for event in item.events] == [1.0]
    retraction = make.reward(made.decision_id, None, retract=True, body_hash="retract")
    await storage.rewards.record([retraction], make.judge)
    [item] = await storage.learning.claim("default", 10)
    assert item.events == ()
    assert len(item.queue_ids) == 2


async def test_unrewarded_finds_active_decisions_whose_window_closed(storage, make):
    silent = make.decision(make.now_us)
    rewarded = make.decision(make.now_us + 1)
    waiting = make.decision(make.now_us + 2, deferred=True)
    activated = make.decision(make.now_us + 3, deferred=True)
    elsewhere = make.decision(make.now_us + 4, policy="other")
    await storage.decisions.append([silent, rewarded, waiting, activated, elsewhere])
    await storage.decisions.activate(activated.decision_id, make.now_us + 9)
    await storage.rewards.record([make.reward(rewarded.decision_id)], make.judge)
    closed = silent.expires_at_us
    found = await storage.rewards.unrewarded("default", closed - 1, closed + 10, 10)
    assert [facts.decision_id for facts in found] == [silent.decision_id, activated.decision_id]
    assert [facts.activated for facts in found] == [False, True]
    assert await storage.rewards.unrewarded("default", closed + 3, closed + 10, 10) == []
    assert len(await storage.rewards.unrewarded("default", closed - 1, closed + 10, 1)) == 1


async def test_a_window_that_had_closed_is_looked_at_when_its_decision_is_activated(storage, make):
    late, rewarded, waiting, elsewhere = (
        make.decision(make.now_us + i, deferred=True, policy="other" if i == 3 else "default") for i in range(4)
    )
    await storage.decisions.append([late, rewarded, waiting, elsewhere])
    await storage.rewards.record([make.reward(rewarded.decision_id)], make.judge)
    at_us = make.now_us + 50 * 3_600_000_000
    for one in (late, rewarded, elsewhere):
        await storage.decisions.activate(one.decision_id, at_us)

    async def found(from_us, to_us):
        return [one.decision_id for one in await storage.rewards.unrewarded("default", from_us, to_us, 10)]

    assert await found(at_us - 2, at_us - 1) == []
    assert await found(at_us - 1, at_us) == [late.decision_id]
    assert await found(at_us, at_us + 1) == []
    # Once, though both its window and its activation lie in the stretch.
    assert await found(make.now_us, at_us) == [late.decision_id]


async def test_only_a_reward_that_may_be_learned_keeps_a_decision_from_being_unrewarded(storage, make):
    names = ("silent", "logged", "retracted", "given_again", "failed", "served", "had_default")
    made = {name: make.decision(make.now_us + i) for i, name in enumerate(names)}
    await storage.decisions.append(list(made.values()))

    async def record(name, value=1.0, **changes):
        await storage.rewards.record([make.reward(made[name].decision_id, value, **changes)], make.judge)

    await record("logged", metric="late")
    for name in ("retracted", "given_again"):
        await record(name, 0.5)
        await record(name, 0.75)
        await record(name, None, retract=True, body_hash="retract")
    await record("given_again", 0.25)
    for name, error in (("failed", "timeout"), ("served", None)):
        usage = UsageReport(decision_id=made[name].decision_id, cost_usd=0.5, error=error)
        await storage.rewards.report_usage(usage, lambda *_: None)

    def as_default(*arguments):
        return replace(make.judge(*arguments), kind="default")

    default = make.reward(made["had_default"].decision_id, 0.0, identity="default:x")
    await storage.rewards.record([default], as_default)
    await storage.rewards.record([replace(default, value=None, retract=True, body_hash="r")], make.judge)

    closed = made["silent"].expires_at_us
    found = await storage.rewards.unrewarded("default", closed - 1, closed + 10, 10)
    assert [facts.decision_id for facts in found] == [
        made[name].decision_id for name in ("silent", "logged", "retracted", "served")
    ]


# ---------------------------------------------------------------- usage


def _price(arm, report):
    if report.input_tokens is None or report.output_tokens is None:
        return None
    return arm.price.cost_usd(report.input_tokens, report.output_tokens)


async def test_usage_is_priced_and_stored_once(storage, make):
    await storage.arms.add(make.arm("cheap"))
    made = await _one_decision(storage, make)
    report = UsageReport(
        decision_id=made.decision_id, input_tokens=1_000_000, output_tokens=500_000, latency_ms=80.0,
        body_hash="a", received_at_us=make.now_us,
    )  # fmt: skip
    assert (await storage.rewards.report_usage(report, _price))[:2] == (False, 2.0)
    assert (await storage.rewards.report_usage(report, _price))[:2] == (True, 2.0)
    assert (await storage.rewards.report_usage(report._replace(body_hash="b"), _price))[:3] == (True, 2.0, 0)
    usage = (await storage.arms.usage("default"))["cheap"]
    assert (usage.decisions, usage.usage_reports, usage.input_tokens, usage.output_tokens) == (
        1, 1, 1_000_000, 500_000,
    )  # fmt: skip
    assert (usage.cost_usd, usage.latency_ms_sum, usage.latency_reports, usage.errors) == (2.0, 80.0, 1, 0)
    [context] = await storage.reports.contexts("default")
    assert (context["cluster"], context["arm"], context["spend_usd"]) == (7, "cheap", 2.0)
    assert (await storage.decisions.get(made.decision_id))["usage"]["cost_usd"] == 2.0
    assert (await storage.reports.totals())["usage_report"] == 1


async def test_usage_of_unknown_decisions_and_arms_is_refused(storage, make):
    await storage.arms.add(make.arm("cheap"))
    made = await _one_decision(storage, make)
    with pytest.raises(NotFoundError):
        await storage.rewards.report_usage(UsageReport(decision_id="nothing"), _price)
    report = UsageReport(decision_id=made.decision_id, served_arm="nobody")
    with pytest.raises(NotFoundError):
        await storage.rewards.report_usage(report, _price)
    assert (await storage.reports.totals())["usage_report"] == 0


async def test_usage_belongs_to_the_arm_that_served_and_refolds_its_reward(storage, make):
    for name in ("cheap", "dear"):
        await storage.arms.add(make.arm(name))
    quiet = await _one_decision(storage, make)  # its reward may be on its way through another replica
    rewarded = await _one_decision(storage, make, at_us=make.now_us + 1)
    await storage.rewards.record([make.reward(rewarded.decision_id)], make.judge)
    before = await storage.learning.queue_depth()
    for made in (quiet, rewarded):
        report = UsageReport(decision_id=made.decision_id, served_arm="dear", cost_usd=0.5, error="timeout")
        await storage.rewards.report_usage(report, _price)
    usage = await storage.arms.usage("default")
    assert (usage["cheap"].usage_reports, usage["cheap"].cost_usd) == (0, 0.0)
    assert (usage["dear"].usage_reports, usage["dear"].cost_usd, usage["dear"].errors) == (2, 1.0, 0)
    assert usage["cheap"].errors == 2
    assert await storage.learning.queue_depth() == before + 2
    items = {item.decision_id: item for item in await storage.learning.claim("default", 10)}
    assert {(item.chosen_arm, item.served_arm) for item in items.values()} == {("cheap", "dear")}
    assert items[quiet.decision_id].events == ()


@pytest.mark.parametrize("settled", [False, True])
async def test_a_report_without_tokens_and_dollars_leaves_the_estimate_standing(storage, make, settled):
    made = await _one_decision(storage, make)
    if settled:
        assert await storage.rewards.charge_estimate([made.decision_id], make.now_us + 20) == 1
    report = UsageReport(decision_id=made.decision_id, latency_ms=80.0, body_hash="a")
    assert (await storage.rewards.report_usage(report, _price))[:2] == (False, None)
    usage = (await storage.arms.usage("default"))["cheap"]
    assert (usage.usage_reports, usage.latency_ms_sum) == (1, 80.0)
    assert usage.cost_usd == pytest.approx(0.001)
    [context] = await storage.reports.contexts("default")
    assert context["spend_usd"] == pytest.approx(0.001)
    assert (await storage.decisions.get(made.decision_id))["usage"]["cost_usd"] is None


async def test_two_replicas_reporting_the_same_usage_count_it_once(storage, open_replica, make):
    made = await _one_decision(storage, make)
    report = UsageReport(decision_id=made.decision_id, cost_usd=0.5, body_hash="a")
    async with open_replica() as other:
        answers = await asyncio.gather(
            *(store.rewards.report_usage(report, _price) for _ in range(10) for store in (storage, other))
        )
    assert sorted(answer[:2] for answer in answers) == [(False, 0.5)] + [(True, 0.5)] * 19
    [totals] = [row for row in await storage.reports.arm_totals("default", None) if row["arm"] == "cheap"]
    assert (totals["usage_reports"], totals["spend_usd"]) == (1, 0.5)


async def test_silence_of_a_deferred_decision_begins_with_its_activation(storage, make):
    made = await _one_decision(storage, make, deferred=True)
    plain = await _one_decision(storage, make, at_us=make.now_us + 1)
    later = make.now_us + 50 * 3_600_000_000
    await storage.decisions.activate(made.decision_id, later)

    async def silent(from_us, to_us, limit=10):
        return [row[0] for row in await storage.rewards.silent_usage("default", from_us, to_us, limit)]

    assert await silent(make.now_us, make.now_us + 10) == [plain.decision_id]
    assert await silent(later, later + 1) == [made.decision_id]
    assert await silent(later + 1, later + 2) == []
    assert await silent(make.now_us, later + 1) == [plain.decision_id, made.decision_id]
    assert len(await silent(make.now_us, later + 1, limit=1)) == 1


async def test_silence_is_charged_at_the_prediction_until_a_report_comes(storage, make):
    made = await _one_decision(storage, make)
    reported = await _one_decision(storage, make, at_us=make.now_us + 1)
    await _one_decision(storage, make, at_us=make.now_us + 2, deferred=True)
    await storage.rewards.report_usage(UsageReport(decision_id=reported.decision_id, cost_usd=0.25), _price)
    silent = await storage.rewards.silent_usage("default", make.now_us, make.now_us + 10, 10)
    assert silent == [(made.decision_id, "cheap", pytest.approx(0.001))]
    assert await storage.rewards.silent_usage("default", make.now_us + 1, make.now_us + 10, 10) == []
    both = [made.decision_id, reported.decision_id]
    assert await storage.rewards.charge_estimate(both, make.now_us + 20) == 1
    assert await storage.rewards.charge_estimate(both, make.now_us + 30) == 0
    usage = (await storage.arms.usage("default"))["cheap"]
    assert (usage.usage_reports, usage.cost_usd) == (1, pytest.approx(0.251))
    late = UsageReport(decision_id=made.decision_id, cost_usd=0.5, body_hash="late")
    assert (await storage.rewards.report_usage(late, _price))[:2] == (False, 0.5)
    usage = (await storage.arms.usage("default"))["cheap"]
    assert (usage.usage_reports, usage.cost_usd) == (2, pytest.approx(0.75))
    assert (await storage.reports.totals())["usage_report"] == 2
