from __future__ import annotations

import json

import pytest
from rich.console import Console

from banditd.cli import show
from banditd.cli.progress_lines import LINE_EVERY_S, ProgressLines
from banditd.cli.show import cell, console, echo_json, print_document, print_table, progress_bar
from banditd.cli.tables import (
    dollars,
    interval,
    number,
    percent,
    print_arms,
    print_contexts,
    print_stats,
    promise_in_words,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (3, "3"),
        (0.5, "0.5"),
        (0.123456, "0.1235"),
        (0.00001234, "1.234e-05"),
        (0.0, "0"),
        (-0.0, "0"),
        (12345678.9, "1.235e+07"),
        ([1, 0.25], "1, 0.25"),
        ({"keep": 0.98, "baseline": "dearest", "keep_by_tag": {}}, "keep 0.98, baseline dearest, keep_by_tag -"),
        ("text", "text"),
    ],
)
def test_values_are_short_and_never_python(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_json_refuses_what_is_not_json(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({"ä": 1})
    assert json.loads(capsys.readouterr().out) == {"ä": 1}
    with pytest.raises(ValueError):
        echo_json(float("nan"))


def test_text_of_the_daemon_is_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("t", ("name",), [("[red]arm[/red]",)])
    assert "[red]arm[/red]" in capsys.readouterr().out


@pytest.mark.parametrize("width", [30, 60, 80, 100, 120, 140, 160, 200])
def test_ids_are_whole_however_narrow_the_screen_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("banditd.cli.show.PIPE_WIDTH", width)
    one, other = "0198c2f0-1111-7222-8333-1234567890ab", "0199c2f0-1111-7222-8333-1234567890ab"
    columns = ("created_at", "decision_id", "arm", "step", "task_id", "reward", "spend_usd", "parent_decision_id")
    rows = [
        ("2026-01-02T03:04:05.678901Z", one, "a-long-name-of-an-arm", "plan", "run-42", 0.5, 0.001, None),
        ("2026-01-02T03:04:05.678901Z", other, "[red]small[/red]", "plan", "run-42", None, 0.001, one),
    ]
    print_table("decisions", columns, rows)
    shown = capsys.readouterr().out
    assert (shown.count(one), shown.count(other)) == (2, 1)
    if width >= 80:
        print_document("d", {"decision_id": one, "request": {"parent_decision_id": other, "text": "word " * 60}})
        shown = capsys.readouterr().out
        assert (shown.count(one), shown.count(other)) == (1, 1)


def test_a_document_shows_scalars_and_lists_of_objects(capsys: pytest.CaptureFixture[str]) -> None:
    print_document("d", {"a": {"b": 1}, "rows": [{"x": 1, "y": None}, {"x": 2}]})
    shown = capsys.readouterr().out
    assert "a.b" in shown
    assert "rows" in shown
    assert "y" in shown


def _stats() -> dict:
    arm = {
        "arm": "m", "decisions": 2, "share": 1.0, "explored": 0, "mean_reward": None, "interval": None,
        "spend_usd": 0.0, "fixed": {"would_have_cost_usd": None, "on_decisions": 0}, "mean_latency_ms": None,
    }  # fmt: skip
    return {
        "policy": "default", "window_s": None, "decisions": 2, "rewards": 0, "mean_reward": None, "interval": None,
        "coverage": {"share": None, "delay_p50_s": None, "delay_p90_s": None, "delay_p99_s": None},
        "exploration_rate": None, "selection_entropy": {"realised": None, "maximum": None}, "spend_usd": 0.0,
        "degraded": 0, "arms": [arm],
    }  # fmt: skip


def test_names_and_values_stay_beside_each_other_where_an_id_has_no_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns without a name are not named, and no id is folded."""
    facts = {"decision_id": "0198a1b2-1111-7000-8000-000000000001", "arm": "large", "parent": {"id": None}}
    lines = {}
    for width in (38, 80):
        monkeypatch.setattr(show, "console", lambda width=width: Console(width=width))
        print_document("decision", facts)
        lines[width] = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[38] == ["decision", f"decision_id  {facts['decision_id']}", "arm  large", "parent.id  -"]
    assert [line.split() for line in lines[80]] == [line.split() for line in lines[38]]
    monkeypatch.setattr(show, "console", lambda: Console(width=38))
    print_document("ids", {"one": facts["decision_id"], "two": facts["decision_id"]})
    assert capsys.readouterr().out.splitlines() == ["ids", *(f"{n}  {facts['decision_id']}" for n in ("one", "two"))]


def test_statistics_without_data_show_dashes_not_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    print_stats(_stats())
    shown = capsys.readouterr().out
    assert "nan" not in shown.lower()
    assert "None" not in shown
    print_contexts({"policy": "default", "clusters": []})
    assert "no decisions yet" in capsys.readouterr().out


def test_statistics_say_which_arm_gets_nothing_now_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    answer = _stats()
    answer["arms"][0] |= {"away": {"reason": "cooling_down", "until": "2026-01-31T09:30:00Z"}}
    print_stats(answer)
    said = "m gets no queries until 2026-01-31T09:30:00Z: its upstream asked to be left alone for a while"
    assert said in capsys.readouterr().out.splitlines()


def test_contexts_show_each_arm_in_its_column(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = {
        "cluster": 4,
        "words": ["function", "code"],
        "decisions": 7,
        "arms": [{"arm": "b", "mean_reward": 0.75, "rewards": 4}, {"arm": "a", "mean_reward": None, "rewards": 0}],
    }
    print_contexts({"policy": "default", "clusters": [cluster]})
    shown = capsys.readouterr().out
    assert "0.75 (4)" in shown
    assert "function, code" in shown


def test_arms_show_price_use_and_reward(capsys: pytest.CaptureFixture[str]) -> None:
    view = {
        "arm": "m", "enabled": False, "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4},
        "usage": {"decisions": 3, "cost_usd": 0.5},
        "statistics": {"rewards": 2, "mean_reward": 0.5, "interval": [0, 1]},
    }  # fmt: skip
    print_arms({"policy": "p", "arms": [view]})
    shown = capsys.readouterr().out
    assert "0.000 .. 1.000" in shown
    assert "no" in shown


def test_new_arms_show_what_became_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    view = {
        "arm": "m", "enabled": True, "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4},
        "usage": {"decisions": 3, "cost_usd": 0.5}, "statistics": {},
        "onboarding": {
            "active": False, "decisions": 20, "decisions_quota": 20, "cost_usd": 0.5, "cost_usd_quota": 1.0,
            "state": "not_adopted", "rewards": 15, "difference": {"mean": -0.123, "interval": [-0.2, -0.05]},
            "clusters": {"seen": 9, "leads": 0, "contends": 0, "contends_share": 0.0},
            "recommendation": "Disable or delete it.",
        },
    }  # fmt: skip
    print_arms({"policy": "p", "arms": [view]})
    shown = capsys.readouterr().out
    for text in (
        "not adopted",
        "20 / 20",
        "$0.5000 / $1.0000",
        "-0.123",
        "-0.200 .. -0.050",
        "0 / 9",
        "Disable or delete",
    ):
        assert text in shown
    old = {"state": None, "recommendation": None}
    print_arms({"policy": "p", "arms": [view | {"onboarding": old}]})
    assert "new arms" not in capsys.readouterr().out


def test_savings_show_a_verdict_or_why_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    gap = {"mean": -0.012, "interval": [-0.02, -0.004]}
    known = {
        "arm": "dear", "cost_usd_per_decision": 0.01, "saved_usd_per_decision": 0.0075,
        "reward": {"mean": 0.9, "interval": None},
        "reward_difference": gap, "verdict": "worse", "reason": None, "cheaper": True,
        "words": "Always dear: 0.4 to 2.0 points better than routing.",
    }  # fmt: skip
    mixture = {
        "arms": [], "cost_usd_per_decision": None, "reward": None, "reward_difference": None, "verdict": None,
        "reason": "no decision has a reward yet",
    }  # fmt: skip
    print_stats(_stats() | {"savings": {"arms": [known], "mixture": mixture}})
    shown = " ".join(capsys.readouterr().out.split())
    assert "$0.0075" in shown
    assert "-0.012" in shown
    assert "cheaper, worse" in shown
    assert "no decision has a reward yet" in shown
    assert "Always dear: 0.4 to 2.0 points better than routing." in shown


def test_a_sign_stands_before_the_dollars_and_never_before_nothing() -> None:
    assert [dollars(value) for value in (-0.0069, 0.0069, -1e-9, -1234.5)] == [
        "-$0.0069", "$0.0069", "$0.0000", "-$1,234.5000",
    ]  # fmt: skip
    assert (number(-1e-9), percent(-1e-9), interval([-1e-9, 0.5])) == ("0.000", "0.0 %", "0.000 .. 0.500")
    assert number(-0.25) == "-0.250"


@pytest.mark.parametrize(
    ("promise", "words"),
    [
        (None, "none"),
        ({"keep": 0.95, "state": "learning"}, "keep 95 % of dear's quality: learning, too little is known yet"),
        ({"keep": 0.995, "state": "of another release"}, "keep 99.5 % of dear's quality: of another release"),
        ({"side": "baseline", "rollout": 0.05}, "on the baseline side of a rollout of 5 %"),
        (
            {"keep": 0.9, "state": "keeping", "side": "shadow", "rollout": 0.0},
            "keep 90 % of dear's quality: keeping, at the least cost that is expected to keep it; in shadow mode",
        ),
    ],
)
def test_the_promise_of_a_decision_in_words(promise: dict[str, object] | None, words: str) -> None:
    assert promise_in_words(promise and {"baseline": "dear"} | promise) == words


def test_where_standard_error_is_no_terminal_progress_is_a_line_now_and_then(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert isinstance(progress_bar(), ProgressLines)
    now_s = [0.0]
    with ProgressLines(console=console(stderr=True), get_time=lambda: now_s[0]) as bar:
        task = bar.add_task("replaying [a]", total=None)
        for done in range(101):
            now_s[0] = done * LINE_EVERY_S / 40
            bar.update(task, completed=1000 * done, total=100_000)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "replaying [a]: 40000 of 100000 (40%), after 10 s, some 15 s to go",
        "replaying [a]: 80000 of 100000 (80%), after 20 s, some 5 s to go",
    ]
