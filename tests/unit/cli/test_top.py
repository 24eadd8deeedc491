"""What a frame of ``banditd top`` shows, and which alarms it raises."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from banditd.cli.frame import Sample, alarms, arm_state, bar, frame, rate_text
from banditd.core.errors import UnavailableError

AWAY = {"reason": "breaker_open", "until": "2026-01-31T09:30:00Z"}


def arm_row(arm: str, decisions: int, **more: Any) -> dict[str, Any]:
    return {
        "arm": arm, "present": True, "decisions": decisions, "share": decisions / 100, "explored": 3,
        "mean_reward": 0.8, "interval": [0.7, 0.9], "spend_usd": 1.5, "mean_latency_ms": 900.0, "errors": 0,
        "change": None, "away": None, "fixed": {"saved_usd": 2.0 if arm == "large" else -1.0}, **more,
    }  # fmt: skip


def stats(window_s: int | None, decisions: int = 100) -> dict[str, Any]:
    return {
        "policy": "default", "window_s": window_s, "decisions": decisions, "exploration_rate": 0.08,
        "selection_entropy": {"realised": 0.5, "policy_mean": 0.1, "maximum": 0.693}, "degraded": 0,
        "mean_reward": 0.81, "interval": [0.79, 0.83], "spend_usd": 3.0,
        "coverage": {"share": 0.75, "delay_p50_s": 2.0, "delay_p90_s": 60.0, "delay_p99_s": 600.0},
        "arms": [arm_row("small", 40), arm_row("large", 60)],
    }  # fmt: skip


def settings(arm: str, *, enabled: bool = True, onboarding: bool = False) -> dict[str, Any]:
    return {"arm": arm, "enabled": enabled, "onboarding": {"active": onboarding}}


@pytest.fixture
def sample() -> Sample:
    readiness = {
        "status": "ready", "database": {"ok": True}, "encoder": {"ok": True}, "draining": False,
        "policies": {"default": {"ready": True, "version": 17}},
        "learner": {"holder": "one", "leader_here": True}, "jobs": [{"job": "rollup", "error": None}],
    }  # fmt: skip
    return Sample(
        at_s=10.0,
        readiness=readiness,
        life=stats(None, 5000),
        recent=stats(3600),
        arms=[settings("small"), settings("large")],
        savings={"headline": "Saved 40 % ($2.00 of $5.00). Quality 98.0 % of large (96.0 to 100.1)."},
    )


def shown(sample: Sample, before: Sample | None = None, trouble: str | None = None) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(frame("http://host", sample, before, trouble))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def changed(sample: Sample, **parts: Any) -> Sample:
    values = {name: copy.deepcopy(getattr(sample, name)) for name in Sample.__slots__}
    return Sample(**(values | parts))


def test_a_frame_shows_arms_exploration_spend_and_the_saving(sample: Sample) -> None:
    text = shown(sample, changed(sample, at_s=5.0, life=stats(None, 4950)))
    for part in ("version 17", "ready", "5,000", "10.0 / s", "8.0 %", "0.810 (0.790 .. 0.830)", "$3.0000",
                 "Saved 40 % ($2.00 of $5.00). Quality 98.0 % of large", "no alarms"):  # fmt: skip
        assert part in text, part
    large, small = text.index("large  "), text.index("small  ")
    assert large < small, "the busiest arm comes first"


def test_an_empty_policy_says_what_to_do_next(sample: Sample) -> None:
    empty = stats(None, 0) | {"exploration_rate": None, "mean_reward": None, "interval": None, "arms": []}
    empty["selection_entropy"] = {"realised": None, "policy_mean": None, "maximum": None}
    empty["coverage"] = {"share": None, "delay_p50_s": None, "delay_p90_s": None, "delay_p99_s": None}
    text = shown(changed(sample, life=empty, recent=empty | {"window_s": 3600}))
    assert "no decisions yet" in text
    assert "banditd route" in text


def test_an_old_sample_says_that_it_is_old(sample: Sample) -> None:
    assert "does not answer" in shown(sample, trouble="does not answer; these are the last figures")


def ready(sample: Sample, **parts: Any) -> dict[str, Any]:
    return {"readiness": {**sample.readiness, **parts}}


def recent(sample: Sample, **parts: Any) -> dict[str, Any]:
    return {"recent": {**sample.recent, **parts}}


def account(**more: Any) -> dict[str, Any]:
    return {
        "name": "month", "limit_usd": 500.0, "per": "month", "account": "all", "charged_usd": 120.0,
        "charged_usd_per_decision": 0.01, "remaining_usd": 380.0, "window_ends_at": "2026-12-01T00:00:00Z",
        "stopped": False, "at_stop": "cheapest", **more,
    }  # fmt: skip


CHANGE = {"direction": "worse", "old_level": 0.9, "new_level": 0.4, "queries_moved": False}
CAUSES = {
    "database fails: locked": lambda s: ready(s, database={"ok": False, "error": "locked"}),
    "encoder fails": lambda s: ready(s, encoder={"ok": False}),
    "no snapshot": lambda s: ready(s, policies={"default": {"ready": False, "version": None}}),
    "stopping": lambda s: ready(s, draining=True),
    "no replica learns": lambda s: ready(s, learner={"holder": None}),
    "integrity failed: off": lambda s: ready(s, jobs=[{"job": "integrity", "error": "off"}]),
    "2.0 % of the decisions were made without a context": lambda s: recent(s, degraded=2),
    "the budget month of all is used up: reject": lambda _: {"budgets": [account(stopped=True, at_stop="reject")]},
    "of large failed": lambda s: recent(s, arms=[arm_row("large", 60, errors=7)]),
    "0.90 before, 0.40 now": lambda s: recent(s, arms=[arm_row("large", 60, change=CHANGE)]),
    "large gets no queries until 2026-01-31T09:30:00Z: its breaker is open after errors": lambda s: recent(
        s, arms=[arm_row("large", 60, away=AWAY)]
    ),
    "and so have the queries": lambda s: recent(
        s, arms=[arm_row("large", 60, change=CHANGE | {"queries_moved": True})]
    ),
}


@pytest.mark.parametrize("said", list(CAUSES))
def test_every_alarm_is_raised_by_its_cause_and_by_nothing_else(sample: Sample, said: str) -> None:
    assert alarms(sample) == []
    troubled = changed(sample, **CAUSES[said](sample))
    [alarm] = alarms(troubled)
    assert said in alarm
    assert alarm in shown(troubled)


def test_budgets_are_shown_as_what_they_hold(sample: Sample) -> None:
    mean = account(name="mean", per="decision", remaining_usd=None, window_ends_at=None, limit_usd=0.02)
    text = shown(changed(sample, budgets=[account(), mean]))
    for part in ("$500.0000 per month", "$120.0000", "$380.0000", "$0.0200 per decision", "$0.0100"):
        assert part in text, part
    assert "budget" not in shown(sample)


def test_calls_that_failed_are_counted_since_a_decision_may_make_several(sample: Sample) -> None:
    found = alarms(changed(sample, recent=sample.recent | {"arms": [arm_row("large", 21, errors=29)]}))
    assert found == ["29 calls of large failed, of 21 decisions for it"]


def test_a_few_errors_of_a_rare_arm_are_no_alarm(sample: Sample) -> None:
    assert alarms(changed(sample, recent=sample.recent | {"arms": [arm_row("large", 10, errors=5)]})) == []


def test_the_state_of_an_arm_is_the_most_urgent_one() -> None:
    row = arm_row("a", 1)
    assert arm_state(settings("a"), row) == "on"
    assert arm_state(settings("a"), row | {"away": AWAY, "change": {"direction": "worse"}}) == "breaker open"
    assert arm_state(settings("a", onboarding=True), row) == "onboarding"
    assert arm_state(settings("a", onboarding=True), row | {"change": {"direction": "worse"}}) == "changed (worse)"
    assert arm_state(settings("a", enabled=False), row | {"change": {"direction": "worse"}}) == "disabled"
    assert arm_state(None, row) == arm_state(settings("a"), row | {"present": False}) == "deleted"


def test_bars_and_rates() -> None:
    assert bar(0.0).count("█") == 0
    assert bar(0.5).count("█") == 8
    assert len({len(bar(share)) for share in (0.0, 0.031, 0.5, 1.0, 1.3)}) == 1


def test_a_restart_does_not_divide_by_nothing(sample: Sample) -> None:
    assert rate_text(sample, None) == rate_text(sample, sample) == ""


async def test_a_request_that_fails_in_the_moment_of_ctrl_c_does_not_hide_it(
    monkeypatch: pytest.MonkeyPatch, sample: Sample
) -> None:
    top = importlib.import_module("banditd.cli.top")  # the package has the command under this name
    taken = []

    async def take_and_fail(*_: object) -> Sample:
        taken.append(1)
        if len(taken) > 1:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            raise UnavailableError("gone")
        return sample

    monkeypatch.setattr(top, "take", take_and_fail)
    monkeypatch.setattr(top, "console", lambda: Console(file=io.StringIO(), force_terminal=True))
    client: Any = SimpleNamespace(url="http://host")
    watching = asyncio.create_task(top._watch(client, "default", 3600, 0.0))
    while len(taken) < 2:  # noqa: ASYNC110 - there is nothing else to wait for
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait([watching])
    assert len(taken) == 2
