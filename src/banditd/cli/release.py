"""``banditd release``: give a candidate a growing part of the traffic, watch it, and take it back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from banditd.cli.options import Daemon, daemon_options, json_option, path_of, policy_option
from banditd.cli.show import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from banditd.client import DaemonClient


@click.group()
def release() -> None:
    """Release a candidate step by step, with tests that roll it back if it is worse.

    \b
    Examples:
      banditd release start cheaper
      banditd release status
      banditd release promote
      banditd release abort --reason "complaints"
    """


@release.command()
@click.argument("candidate")
@click.option("--step", "steps", type=float, multiple=True, help="A share of the traffic; repeat, the last one is 1.")
@click.option("--worse-by", type=float, help="How much lower its rewards may be; default .02.")
@click.option("--metric", "metrics", multiple=True, help="Compare rewards of this metric; repeatable; default: all.")
@click.option("--guardrail", "guardrails", multiple=True, metavar="MEASURE[=LIMIT]",
              help="error, refusal, regeneration, escalation, latency=MS, cost=USD, output_length=TOKENS; "
              "repeatable; default: error and refusal.")  # fmt: skip
@click.option("--auto", is_flag=True, help="Take each step automatically when it is due.")
@click.option("--windowed", is_flag=True, help="Also roll back after two bad windows of 15 minutes in a row.")
@click.option("--again", is_flag=True, help="Start even if it was rolled back within the last hour.")
@policy_option
@daemon_options
@json_option
def start(
    candidate: str,
    steps: tuple[float, ...],
    worse_by: float | None,
    metrics: tuple[str, ...],
    guardrails: tuple[str, ...],
    auto: bool,
    windowed: bool,
    again: bool,
    policy: str,
    daemon: Daemon,
    as_json: bool,
) -> None:
    """Start a release at its first step.

    \b
    Examples:
      banditd release start cheaper
      banditd release start cheaper --step 0.05 --step 0.5 --step 1 --guardrail latency=2000 --auto
    """
    body: dict[str, Any] = {"policy": policy, "candidate": candidate}
    if steps:
        body["steps"] = list(steps)
    tolerated = {} if worse_by is None else {"worse_by": worse_by}
    if metrics or tolerated:
        body["metrics"] = [{"metric": name, **tolerated} for name in metrics or (None,)]
    if guardrails:
        body["guardrails"] = [_guardrail(text) for text in guardrails]
    if auto:
        body["promote"] = "auto"
    body |= {name: True for name, given in (("windowed", windowed), ("again", again)) if given}
    tell(daemon.call("POST", "/v1/releases", body=body), as_json, _print)


def _guardrail(text: str) -> dict[str, object]:
    measure, _, limit = text.partition("=")
    try:
        return {"measure": measure} | ({"limit": float(limit)} if limit else {})
    except ValueError:
        raise click.UsageError(f"--guardrail {text}: {limit} is not a number") from None


@release.command()
@click.argument("release_id", required=False)
@click.option("--watch", is_flag=True, help="Keep showing it until it has ended, or until Ctrl-C.")
@click.option(
    "--interval-s", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Between two looks."
)
@policy_option
@daemon_options
@json_option
def status(
    release_id: str | None,
    watch: bool,
    interval_s: float,
    policy: str,
    daemon: Daemon,
    as_json: bool,
) -> None:
    """Show the state of a release, in words first; without an id the policy's newest.

    --watch adds its course: the share, and the evidence of each measure; where that fills a character, the candidate
    is rolled back. With --json it prints a line for each look.

    \b
    Examples:
      banditd release status
      banditd release status --watch
      banditd release status --watch --json | jq .words
    """

    async def ask(client: DaemonClient) -> dict[str, Any]:
        found = await _find(client, release_id, policy)
        events: dict[str, Any] = await client.call("GET", f"/v1/releases/{found['release_id']}/events")
        return found | events

    async def follow(client: DaemonClient) -> None:
        from banditd.cli.release_watch import watch_release

        found = await _find(client, release_id, policy)
        await watch_release(client, found["release_id"], interval_s, as_json=as_json)

    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            daemon.run(follow)
        return
    tell(daemon.run(ask), as_json, _print)


def _verb(name: str, words: str) -> Callable[..., None]:
    @click.argument("release_id", required=False)
    @click.option("--reason", help="For the history.")
    @policy_option
    @daemon_options
    @json_option
    def run(
        release_id: str | None, reason: str | None, policy: str, daemon: Daemon, as_json: bool,
        force: bool = False,
    ) -> None:  # fmt: skip
        body: dict[str, object] = ({} if reason is None else {"reason": reason}) | ({"force": True} if force else {})

        async def ask(client: DaemonClient) -> dict[str, Any]:
            found = await _find(client, release_id, policy)
            answer: dict[str, Any] = await client.call(
                "POST", f"/v1/releases/{found['release_id']}/{name}", body=body
            )
            return answer

        tell(daemon.run(ask), as_json, _print)

    if name == "promote":
        run = click.option("--force", is_flag=True, help="Even if the step is not over.")(run)
    return release.command(name, help=f"{words}\n\n\b\nExample:\n  banditd release {name} --reason 'looked at'")(run)


promote = _verb("promote", "Take the next step; after the last one the candidate becomes the incumbent.")
pause = _verb("pause", "Stay at this step; the tests continue.")
resume = _verb("resume", "Continue after a pause.")
abort = _verb("abort", "End it: all traffic goes to the incumbent again.")


@release.command()
@click.option("--reason", help="For the history.")
@policy_option
@daemon_options
@json_option
def rollback(reason: str | None, policy: str, daemon: Daemon, as_json: bool) -> None:
    """Abort the open release of a policy or, if there is none, undo its newest promotion.

    \b
    Example:
      banditd release rollback --reason complaints
    """
    body = {} if reason is None else {"reason": reason}
    answer = daemon.call("POST", path_of("policies", policy, "rollback"), body=body)
    tell(answer, as_json, lambda found: click.echo(found["words"]))


async def _find(client: DaemonClient, release_id: str | None, policy: str) -> dict[str, Any]:
    """The release of that id, else the newest of the policy."""
    if release_id is not None:
        found: dict[str, Any] = await client.call("GET", path_of("releases", release_id))
        return found
    newest = await client.call("GET", "/v1/releases", query={"policy": policy, "limit": 1})
    if not newest["releases"]:
        raise click.ClickException(f"policy {policy} has never had a release; start one with banditd release start")
    one: dict[str, Any] = newest["releases"][0]
    return one


def _print(answer: dict[str, Any]) -> None:
    from banditd.cli.release_frame import event_lines, lines_of

    for line in (*lines_of(answer), *event_lines(answer.get("events", []))):
        click.echo(line)
