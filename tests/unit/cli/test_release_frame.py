"""What ``banditd release status --watch`` draws, and how it goes on until the release has ended."""

from __future__ import annotations

import asyncio
import io
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from banditd.cli import commands, release_watch
from banditd.cli.release_frame import WAY_WIDTH, way_lines
from banditd.cli.release_watch import frame_of, watch_release
from banditd.client import RefusedError, TroubleError
from banditd.core.errors import UnavailableError

MEASURE: dict[str, Any] = {
    "metric": None, "worse_by": 0.02, "alpha": 0.01, "evidence": 10.0, "needed": 100.0, "difference": -0.1,
    "interval": [-0.2, 0.05], "units": {"candidate": 40, "incumbent": 360},
}  # fmt: skip


def look(phase: str = "running", share: float = 0.05) -> dict[str, Any]:
    return {
        "release_id": "r1", "candidate": "cheap", "phase": phase, "words": f"cheap is {phase}.", "share": share,
        "step": 2, "steps": [0.01, 0.05, 1.0], "metrics": [MEASURE],
        "guardrails": [{**MEASURE, "measure": "error", "needed": 10_000.0, "interval": None, "difference": None}],
    }  # fmt: skip


def points(evidence: list[float]) -> list[dict[str, Any]]:
    return [{"share": 0.01, "measures": {"reward": {"evidence": one}}} for one in evidence]


def drawn(evidence: list[float]) -> str:
    [line] = [line for line in way_lines(look(), points(evidence)) if line.strip().startswith("reward")]
    return re.sub(r"[^▁▂▃▄▅▆▇█]", "", line)


def test_evidence_is_drawn_by_its_logarithm_and_fills_a_character_where_it_takes_the_candidate_back() -> None:
    assert drawn([1e-300, 0.0, 0.01]) == "▁▁▁"
    assert drawn([100.0, 1e9]) == "██"
    assert drawn([1.0]) == "▅"  # half way from 1/100 to 100
    rising = drawn([0.05, 0.5, 5.0, 50.0])
    assert list(rising) == sorted(rising)
    long = drawn([1.0] * 500 + [100.0])
    assert (len(long), long[-1]) == (WAY_WIDTH, "█")


def test_a_frame_has_the_words_the_interval_the_share_and_what_is_wrong() -> None:
    text = frame_of({**look(), "points": points([1.0, 10.0]), "events": []}, "it stood so")
    assert text.splitlines()[0] == "it stood so"
    assert "cheap is running." in text
    assert re.search(r"worse \[ +-+o-+\+-+ +\] better +evidence against it 10.0% of an alarm", text)
    assert "steps 0.01 [0.05] 1" in text
    assert "evidence 10 of 100" in text
    assert "evidence against it none: nothing is known yet" in text
    assert "evidence 10 of 10,000" in text  # the guardrail, of which nothing is compared yet


class Daemon:
    """Gives what a test has prepared, one look after the other; an exception is raised."""

    def __init__(self, *looks: Any) -> None:
        self.looks = list(looks)

    async def call(self, _method: str, path: str, **_more: Any) -> dict[str, Any]:
        if path.endswith("/points"):
            return {"points": points([1.0])}
        if path.endswith("/events"):
            return {"events": []}
        found = self.looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return dict(found)


def trouble() -> TroubleError:
    return TroubleError(status=503, problem={"detail": "locked"})


def test_it_looks_again_until_the_release_has_ended_and_waits_for_a_daemon(capsys: Any) -> None:
    daemon = Daemon(look(), UnavailableError("gone"), trouble(), look("paused"), look("rolled_back", 0.0))
    asyncio.run(watch_release(daemon, "r1", 0.0, as_json=True))  # type: ignore[arg-type]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["phase"] for one in lines] == ["running"] * 3 + ["paused", "rolled_back"]
    assert [one["trouble"] is None for one in lines] == [True, False, False, True, True]
    assert daemon.looks == []


def test_in_a_pipe_looks_stand_below_each_other(capsys: Any) -> None:
    daemon = Daemon(look(), look("promoted", 1.0))
    asyncio.run(watch_release(daemon, "r1", 0.0, as_json=False))  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    assert shown.index("cheap is running.") < shown.index("cheap is promoted.")


def test_on_a_terminal_it_is_drawn_in_place_and_the_last_look_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120, height=40)
    monkeypatch.setattr(release_watch, "console", lambda: terminal)
    daemon = Daemon(look(), look("aborted", 0.0))
    asyncio.run(watch_release(daemon, "r1", 0.0, as_json=False))  # type: ignore[arg-type]
    drawn_in_place, _, after = screen.getvalue().rpartition("\x1b[?1049l")
    assert drawn_in_place.startswith("\x1b[?1049h")
    assert "cheap is running." in drawn_in_place
    assert "cheap is aborted." in after
    assert "cheap is running." not in after


def test_what_is_wrong_from_the_first_is_no_release_to_wait_for() -> None:
    for error in (UnavailableError("gone"), trouble()):
        with pytest.raises((UnavailableError, RefusedError)):
            asyncio.run(watch_release(Daemon(error), "r1", 0.0, as_json=True))  # type: ignore[arg-type]
    ran = CliRunner().invoke(commands, ["release", "status", "--watch", "--interval-s", "0"])
    assert (ran.exit_code, "--interval-s" in ran.output) == (2, True)
