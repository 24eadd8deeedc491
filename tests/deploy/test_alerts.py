"""Every alert rule of deploy/ fires where what it is about has happened, and is silent a little short of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.test_deploy import SCRAPE_LABELS, SERIES

promql = pytest.importorskip("tests.deploy.promql", reason="promql-parser has no wheel for this platform")
import promql_parser  # noqa: E402 - it is there now

ROOT = Path(__file__).resolve().parents[2]
ALERTS = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))
RULES = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
UNIT = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}
LATER = 1500  # minutes: longer than any rule looks back
Story = Mapping[str, float | tuple[float, float]]


def a(policy: str, **labels: str) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in ({"policy": policy} | labels).items()) + "}"


def per_minute(number: float) -> tuple[float, float]:
    return (0.0, number)


P = a("p")
SELECTED = f"banditd_arm_selections_total{a('p', arm='m')}"
REQUESTS = "banditd_http_requests_total"
GATEWAY = "banditd_gateway_requests_total"
JOBS = "banditd_job_runs_total"
GOLDEN = "banditd_golden_calls_total"


def http(failed: float) -> Story:
    route = 'method="POST", route="/v1/route"'
    return {
        f'{REQUESTS}{{{route}, status="500"}}': per_minute(failed),
        f'{REQUESTS}{{{route}, status="200"}}': per_minute(100 - failed),
    }


def overhead(slow: float) -> Story:
    of = "banditd_route_overhead_seconds_bucket"
    return {f'{of}{{le="0.1"}}': per_minute(100 - slow), f'{of}{{le="0.25"}}': per_minute(100),
            f'{of}{{le="+Inf"}}': per_minute(100)}  # fmt: skip


def degraded(number: float) -> Story:
    of = "banditd_degraded_total"
    return {
        f"{of}{a('p', reason='timeout')}": per_minute(number),
        f"{of}{a('p', reason='no_text')}": per_minute(50),
        SELECTED: per_minute(100),
    }


def gateway(failed: float) -> Story:
    def of(outcome: str) -> str:
        return f'{GATEWAY}{{surface="chat", outcome="{outcome}"}}'

    return {of("ok"): per_minute(90), of("client_gone"): per_minute(10), of("upstream_failed"): per_minute(failed)}


def exploring(entropy: float, arms: int) -> Story:
    enabled: Story = {f"banditd_arm_enabled{a('p', arm=f'm{i}')}": float(i < arms) for i in range(3)}
    return {f"banditd_selection_entropy{P}": entropy, **enabled}


def golden(failed: float) -> Story:
    of = {name: f"{GOLDEN}{a('p', outcome=name)}" for name in ("judged", "answered", "failed")}
    return {of["judged"]: per_minute(1), of["answered"]: per_minute(1), of["failed"]: per_minute(failed)}


# Of every alert: what has happened, then what is no reason for it.
STORIES: dict[str, tuple[Story, Story]] = {
    "BanditdDown": ({'up{job="banditd", instance="one"}': 0}, {'up{job="banditd", instance="one"}': 1}),
    "BanditdNotReady": ({"banditd_ready": 0}, {"banditd_ready": 1}),
    "BanditdServerErrors": (http(2.0), http(0.9)),
    "BanditdSlow": (overhead(2.0), overhead(0.9)),
    "BanditdDegraded": (degraded(2.0), degraded(0.9)),
    "BanditdNoLearner": (
        {'banditd_learner_leader{instance="one"}': 0, 'banditd_learner_leader{instance="two"}': 0},
        {'banditd_learner_leader{instance="one"}': 0, 'banditd_learner_leader{instance="two"}': 1},
    ),
    "BanditdLearnerBehind": ({"banditd_pending_decisions": 1200}, {"banditd_pending_decisions": 900}),
    "BanditdJobFails": (
        {f'{JOBS}{{task="rollup", outcome="failed"}}': per_minute(0.1)},
        {f'{JOBS}{{task="rollup", outcome="failed"}}': per_minute(0.03),
         f'{JOBS}{{task="refit", outcome="done"}}': per_minute(1)},
    ),
    "BanditdIntegrity": (
        {f'{JOBS}{{task="integrity", outcome="failed"}}': per_minute(0.01)},
        {f'{JOBS}{{task="integrity", outcome="failed"}}': 3, f'{JOBS}{{task="rollup", outcome="failed"}}': (0, 1)},
    ),
    "BanditdNoRewards": (
        {SELECTED: per_minute(5), f"banditd_folds_total{P}": 7},
        {SELECTED: per_minute(5), f"banditd_folds_total{P}": per_minute(0.01)},
    ),
    "BanditdArmChanged": ({f"banditd_arm_changed{a('p', arm='m')}": 1}, {f"banditd_arm_changed{a('p', arm='m')}": 0}),
    "BanditdUpstreamFails": (
        {f"banditd_upstream_errors_total{a('p', arm='m')}": per_minute(2), SELECTED: per_minute(10)},
        {f"banditd_upstream_errors_total{a('p', arm='m')}": per_minute(0.9), SELECTED: per_minute(10)},
    ),
    "BanditdGatewayFails": (gateway(10.0), gateway(4.0)),
    "BanditdPromiseBroken": (
        {f"banditd_promise_held{P}": 0},
        {f"banditd_promise_held{P}": 1},
    ),
    "BanditdReleaseWorse": (
        {f"banditd_release_evidence{a('p', measure='error')}": 0.6},
        {f"banditd_release_evidence{a('p', measure='error')}": 0.4},
    ),
    "BanditdOverBudget": (
        {f"banditd_budget_spend_ratio{a('p', budget='day')}": 1.2},
        {f"banditd_budget_spend_ratio{a('p', budget='day')}": 1.05},
    ),
    "BanditdStoppedExploring": (exploring(0.01, 2), exploring(0.01, 1)),
    "BanditdBudgetUsedUp": (
        {f"banditd_budget_stops_total{a('p', budget='day', action='reject')}": per_minute(1)},
        {f"banditd_budget_stops_total{a('p', budget='day', action='reject')}": 40},
    ),
    "BanditdBelowBaseline": ({f"banditd_baseline_gap{P}": -0.02}, {f"banditd_baseline_gap{P}": -0.005}),
    "BanditdJudgeRefused": ({'banditd_judge_trusted{judge="j"}': 0}, {'banditd_judge_trusted{judge="j"}': 1}),
    "BanditdJudgeBehind": (
        {'banditd_judge_tasks{judge="j"}': 5, 'banditd_judge_answers_total{judge="j", outcome="judged"}': 9},
        {'banditd_judge_tasks{judge="j"}': 5, 'banditd_judge_answers_total{judge="j", outcome="judged"}': (9, 0.1)},
    ),
    "BanditdDrift": (
        {f"banditd_drift_evidence{a('p', cause='golden', arm='m')}": 1.0},
        {f"banditd_drift_evidence{a('p', cause='golden', arm='m')}": 0.9},
    ),
    "BanditdGoldenSetFails": (golden(2.0), golden(0.5)),
}  # fmt: skip


def fires(rule: Mapping[str, Any], story: Story) -> bool:
    """Whether its condition has held for as long as it waits."""
    waits = rule.get("for", "0m")
    expression, series = promql_parser.parse(rule["expr"]), promql.lines(story)
    held = int(waits[:-1]) * UNIT[waits[-1]]
    return all(promql.evaluate(expression, series, minute) for minute in (LATER - held, LATER))


@pytest.mark.parametrize("name", RULES)
def test_it_fires_where_it_should_and_not_a_little_short_of_it(name: str) -> None:
    trouble, calm = STORIES[name]
    for line in promql.lines({**trouble, **calm}):
        assert {label for label, _ in line.labels} <= SERIES[line.name] | SCRAPE_LABELS, line
    assert fires(RULES[name], trouble)
    assert not fires(RULES[name], calm)


def test_there_is_a_story_of_every_alert_and_no_other() -> None:
    assert list(STORIES) == list(RULES)
    assert not fires(RULES["BanditdStoppedExploring"], exploring(0.05, 3))


def test_what_holds_for_less_than_its_time_is_no_alert() -> None:
    """A queue that has just grown; the condition holds at the end alone."""
    growing = {"banditd_pending_decisions": (-13_940.0, 10.0)}
    assert promql.lines(growing)[0].at(LATER) > 1000
    assert not fires(RULES["BanditdLearnerBehind"], growing)
