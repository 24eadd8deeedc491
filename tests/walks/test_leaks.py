"""Nothing grows for ever: every table has a rule that bounds it, and a closed daemon leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select
from tests.leaks import Leaks
from tests.walks.conftest import OpenDaemon, leads
from tests.walks.test_reward_walk import reward, route

from banditd.core.rewards import UsageReport
from banditd.daemon.open import Daemon
from banditd.storage.schema import metadata

WITH_ITS_DECISION = "retention deletes it with its decision"
RULES = {
    # The log: the job ``retention`` prunes decisions, and all that hangs on them.
    "decision": WITH_ITS_DECISION,
    "activation": WITH_ITS_DECISION,
    "abandonment": WITH_ITS_DECISION,
    "reward_event": WITH_ITS_DECISION,
    "usage_report": WITH_ITS_DECISION,
    "usage_revision": WITH_ITS_DECISION,
    "attempt": WITH_ITS_DECISION,
    "contribution": WITH_ITS_DECISION,
    "fold_queue": WITH_ITS_DECISION,
    "arm_reward": WITH_ITS_DECISION,
    "arm_contribution": WITH_ITS_DECISION,
    "arm_fold_queue": WITH_ITS_DECISION,
    "idempotency_key": "retention deletes it after jobs.idempotency_s, or with its decision",
    "session": "retention deletes it with the decisions of its age",
    "sum_entry": "the job sums adds it up and deletes it",
    "tag_entry": "the job sums adds it up and deletes it",
    "judge_task": "judges.*.max_waiting; judging deletes it, keep_s or retention at the latest",
    "judgement": WITH_ITS_DECISION,
    "probe": WITH_ITS_DECISION,
    "probe_answer": "50, and what is under way; judging deletes it, keep_s or retention at the latest",
    "probe_judgement": WITH_ITS_DECISION,
    "comparison": WITH_ITS_DECISION,
    "shadow_decision": WITH_ITS_DECISION,
    "comparison_task": "as probe_answer: judging deletes it, keep_s or retention at the latest",
    # Bounded by what an operator has made, whatever the traffic.
    "policy": "one a policy",
    "policy_switch": "one a policy whose switches somebody has turned",
    "arm": "one an arm",
    "arm_price": "one a change of a price",
    "lease": "one a name",
    "job_run": "one a job",
    "secret": "one a database",
    "budget_state": "one an account of all decisions",
    "budget_correction": "one a correction by an operator",
    "judge_refusal": "one a judge and version",
    "candidate": "one a difference that somebody has named",
    "evaluation": "one a question about a candidate",
    "archived_part": "one a part of the log that was archived",
    "policy_anchor": "one a policy",
    "anchor_segment": "arms and epochs of each policy, which the next anchor replaces",
    "anchor_event": "one an anchor that was taken, and its alarm",
    "candidate_shadow": "one a candidate that somebody shadows",
    "shadow_sum": "a hundred a shadow",
    "golden_case": "7 days of prompts and arms; the golden set deletes those before",
    "golden_watch": "one an arm that answers a golden set",
    "policy_release": "one a release that somebody has started",
    "release_event": "a few a release, of its steps and verbs",
    "release_point": "200 a release",
    "release_unit": "one a counted unit of an open release, with which they go, and of an anchor in the last week",
    "policy_promotion": "one a policy, with what was promoted",
    "judge_account": "one a judge, policy and hour",
    "probe_account": "one a judge, policy and hour",
    "budget_account": "the job rollup deletes windows of more than 400 days",
    # Bounded by arms, clusters, time and the rules of the learner.
    "segment": "arms and epochs, which the learner merges",
    "learner_state": "one a policy and schema",
    "snapshot": "the learner thins them: 200, then every 64th",
    "rollup": "arms and buckets, which the job rollup makes coarser",
    "arm_total": "one an arm and writer",
    "cluster_stat": "one a cluster, arm and writer",
    "context_value": "15 a context tag",
    "delay_count": "one a policy and bin",
    "row_count": "one a table and writer",
    "settling": "one a policy and stage of its recipes",
    # Bounded by tags and values with places: 16 tags of a policy, 100 values of a tag.
    "tag_value": "one a value that has a place",
    "tag_rollup": "arms, places and buckets, which the job rollup makes coarser and deletes after 400 days",
    "tag_total": "one an arm and place",
    "tag_cluster": "one an arm, cluster and place",
    "cluster_name": "one a cluster that somebody has named",
}
GROWS_WITH_TRAFFIC = {name for name, rule in RULES.items() if "retention" in rule or "the job sums" in rule}
WITH_TIME = {"snapshot", "rollup", "segment", "cluster_stat", "delay_count", "tag_cluster"}
"""By steps, clusters and delays seen."""


async def rows(daemon: Daemon) -> dict[str, int]:
    def work(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }

    return await daemon.storage.database.read(work)


async def traffic(daemon: Daemon, n: int) -> None:
    for i in range(n):
        decision_id = await route(daemon, session_id=f"s{i % 3}")
        await reward(daemon, decision_id, 0.5)
        for tokens in (10, 20):
            report = UsageReport(decision_id=decision_id, input_tokens=tokens, output_tokens=5)
            await daemon.services.rewards.report_usage(report)
    await daemon.learner.drained()
    await daemon.storage.journal.add_up()


def test_every_table_has_a_rule_that_bounds_it() -> None:
    assert RULES.keys() == metadata.tables.keys()


async def test_tables_grow_as_their_rules_say(open_daemon: OpenDaemon) -> None:
    async with open_daemon() as daemon:
        await leads(daemon)
        await traffic(daemon, 6)
        before = await rows(daemon)
        await traffic(daemon, 6)
        after = await rows(daemon)
        grown = {name for name in after if after[name] > before[name]}
        assert grown <= GROWS_WITH_TRAFFIC | WITH_TIME
        assert {"decision", "reward_event", "usage_report", "contribution"} <= grown
        # Everything of the log goes once it is old enough.
        future_us = 10 * 365 * 86_400 * 1_000_000 + daemon.learner._clock.now_us()
        while await daemon.storage.maintenance.prune(before_us=future_us, limit=5):
            pass
        while await daemon.storage.maintenance.forget_keys(before_us=future_us, limit=5):
            pass
        while await daemon.storage.maintenance.forget_sessions(before_us=future_us, limit=2):
            pass
        left = await rows(daemon)
        assert {name: left[name] for name in GROWS_WITH_TRAFFIC if left[name]} == {}


async def test_the_checker_sees_what_is_left(tmp_path: Path) -> None:
    """A control: a task of ours, a thread and a file, each left behind alone."""
    from banditd.core.pace import Pace

    leaks, stop = Leaks(tmp_path), threading.Event()
    before = leaks.now()
    thread = threading.Thread(target=stop.wait, name="forgotten")
    thread.start()
    try:
        assert any("thread forgotten" in one for one in leaks.now() - before)
    finally:
        stop.set()
        thread.join()
    with (tmp_path / "log").open("w"):
        assert any("file" in one for one in leaks.now() - before)
    task = asyncio.create_task(Pace().step())
    assert any("task" in one for one in leaks.now() - before)
    await task
    assert leaks.now() == before


async def test_a_daemon_that_leaves_a_thread_fails_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.leaks._THREADS_END_S", 0.0)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten")
    try:
        with pytest.raises(AssertionError, match="forgotten"), Leaks(tmp_path).around():
            thread.start()
    finally:
        stop.set()
        thread.join()
