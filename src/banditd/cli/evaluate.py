"""``banditd evaluate``: what a candidate would have earned, for people and for CI."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import quoteattr

import click

from banditd.cli.options import Daemon, daemon_options, json_option, policy_option, wrong_usage_exits
from banditd.cli.show import print_table, progress_bar, tell
from banditd.core.errors import BanditdError

if TYPE_CHECKING:
    from banditd.client import DaemonClient

EXITS: Final[Mapping[str, int]] = {"passed": 0, "failed": 1, "inconclusive": 2}
EXIT_ERROR: Final = 3
_POLL_S: Final = 0.2
_RUNNING: Final = "running"


@click.command("evaluate", cls=wrong_usage_exits(EXIT_ERROR))  # 1 and 2 are findings
@click.argument("name")
@daemon_options
@policy_option
@click.option(
    "--against", default="incumbent", show_default=True, metavar="incumbent|ARM",
    help="Compare with the present policy, or with one arm answering everything.",
)  # fmt: skip
@click.option(
    "--margin", type=click.FloatRange(min=0, min_open=True, max=0.5), default=0.01, show_default=True,
    help="How much lower the candidate's mean reward may be.",
)  # fmt: skip
@click.option("--since", metavar="TIME", help="Only decisions since then, such as 2026-11-01T00:00:00Z.")
@click.option("--until", metavar="TIME", help="Decisions before then.")
@click.option(
    "--interval", type=click.Choice(("fixed", "anytime")), default="fixed", show_default=True,
    help="fixed is valid at one look, anytime at all looks together.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(("log", "shadow")), default="log", show_default=True,
    help="log decides the stored decisions again; shadow uses what banditd candidate shadow NAME has counted.",
)  # fmt: skip
@click.option(
    "--cases", type=click.Path(exists=True, path_type=Path), metavar="FILE",
    help="Decide these instead of the log: CSV or a folder as for replay, or JSON lines of input and scores by arm.",
)  # fmt: skip
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write a JUnit file for CI.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=900.0, show_default=True,
    help="Longest wait in seconds.",
)  # fmt: skip
@json_option
def evaluate(
    name: str, daemon: Daemon, policy: str, cases: Path | None, junit: Path | None, timeout: float,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Evaluate the candidate NAME from the daemon's log, or on cases with known scores. Needs the scope admin.

    Exit code 0: passed, 1: failed, 2: inconclusive, 3: an error.

    \b
    Examples:
      banditd evaluate thriftier
      banditd evaluate thriftier --margin 0.02 --junit evaluation.xml
      banditd evaluate small-only --against large --json
      banditd evaluate thriftier --method shadow
      banditd evaluate thriftier --cases scores.csv
    """
    body = {"policy": policy, "candidate": name} | {key: value for key, value in given.items() if value is not None}
    if cases is not None:
        if given["method"] == "shadow":
            raise click.UsageError("--cases are their own method; leave out --method shadow")
        body |= {"method": "cases", "cases": read_cases(cases)}
        del body["interval"]
    try:
        with progress_bar() as bar:
            task = bar.add_task("evaluating", total=None)

            def show(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total or None)

            found = daemon.run(lambda client: _evaluated(client, body, timeout, show))
    except BanditdError as error:
        click.echo(f"banditd: {error.message}", err=True)
        sys.exit(EXIT_ERROR)
    if junit is not None:
        junit.write_text(junit_text(found), encoding="utf-8")
    tell(found, as_json, _print)
    sys.exit(EXITS.get(found["phase"], EXIT_ERROR))


async def _evaluated(
    client: DaemonClient, body: Mapping[str, Any], timeout_s: float, show: Callable[[int, int], None]
) -> dict[str, Any]:
    """The finished evaluation."""
    found: dict[str, Any] = await client.call("POST", "/v1/evaluations", body=dict(body))
    try:
        async with asyncio.timeout(timeout_s):
            while found["phase"] == _RUNNING:
                show(found["done"], found["total"])
                await asyncio.sleep(_POLL_S)
                found = await client.call("GET", f"/v1/evaluations/{found['evaluation_id']}")
    except TimeoutError:
        place = f"/v1/evaluations/{found['evaluation_id']}"
        raise BanditdError(
            f"the evaluation still runs after {timeout_s:g} s; read it later with GET {place}"
        ) from None
    return found


def read_cases(path: Path) -> list[dict[str, Any]]:
    """The cases of a file, as POST /v1/evaluations takes them. Raises UsageError, InvalidInputError."""
    if path.suffix != ".jsonl":
        from banditd.replay.dataset import load_dataset

        data = load_dataset(path)
        return [
            {
                "input": prompt,
                "scores": {arm: one for arm, one in zip(data.arms, scores, strict=True) if isfinite(one)},
            }
            for prompt, scores in zip(data.prompts, data.score.tolist(), strict=True)
        ]
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                case = json.loads(line)
                found.append({"input": case.get("input") or case["prompt"], "scores": case["scores"]})
            except (AttributeError, KeyError, TypeError, ValueError):
                raise click.UsageError(
                    f'line {number} of {path} is not a case like {{"input": "...", "scores": {{"small": 0.5, ...}}}}'
                ) from None
    return found


def _print(found: Mapping[str, Any]) -> None:
    """What was found, for people."""
    other = "policy as it stands" if found["against"] == "incumbent" else f"always {found['against']}"
    if found["method"] == "cases":
        rows = [("cases", f"{found['rated']:,}")]
    else:
        rows = [
            ("decisions", f"{found['rated']:,} rated, {_time(found['since'])} to {_time(found['until'])}"),
            ("left out", ", ".join(f"{count:,} {name}" for name, count in found["left_out"].items()) or "none"),
        ]
    if found["estimate"] is not None:
        low, high = found["interval"]
        rows += [
            ("reward", f"{found['reward']:.3f}, {other}: {found['other_reward']:.3f}"),
            ("difference", f"{found['estimate']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"),
            ("cost", f"${found['cost_usd']:.6f} a decision, {other}: ${found['other_cost_usd']:.6f}"),
            ("answers otherwise", f"{found['differs']:.1%} of the decisions"),
            ("smallest drop it shows", f"{found['half_width']:.4f}"),
            ("worth", f"{found['worth']:,.0f} answers of its own"),
        ]
    print_table(None, ("", ""), rows)
    if found["arms"]:
        shares = [(one["arm"], f"{one['share']:.1%}", f"{one['other_share']:.1%}") for one in found["arms"]]
        print_table(None, ("arm", found["candidate"], other), shares)
    click.echo(f"{found['phase'].upper()}: {found['reason']}")
    if found["settles"] is not None:
        click.echo(f"What would settle it: {found['settles']}.")


def _time(text: str | None) -> str:
    return "-" if text is None else text[:16].replace("T", " ")


def junit_text(found: Mapping[str, Any]) -> str:
    """One case of one suite; inconclusive is skipped, with the reason."""
    kinds = {"failed": "failure", "inconclusive": "skipped", "error": "error"}
    kind = kinds.get(found["phase"])
    counts = " ".join(f'{tag}="{int(kind == one)}"' for tag, one in _COUNTED.items())
    name = quoteattr(f"{found['candidate']} against {found['against']}")
    words = f"{found['reason'] or ''}{'; ' + found['settles'] if found['settles'] else ''}"
    inner = "" if kind is None else f"<{kind} message={quoteattr(words)}/>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites><testsuite name="banditd evaluate" tests="1" {counts}>'
        f"<testcase classname={quoteattr('banditd.' + found['policy'])} name={name}>{inner}</testcase>"
        "</testsuite></testsuites>\n"
    )


_COUNTED: Final = {"failures": "failure", "errors": "error", "skipped": "skipped"}
