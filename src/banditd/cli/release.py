"""``banditd release``: give a candidate a growing part of the traffic, watch it, and take it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from banditd.cli.options import daemon_options, json_option, policy_option, with_daemon
from banditd.cli.show import echo_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from banditd.client import DaemonClient

WIDTH = 41  # of the drawn intervals, in characters; odd, so that one of them is in the middle
REACH = 0.5  # of the axis to both sides


@click.group()
def release() -> None:
    """Release a candidate step by step, under a test that takes it back when it is worse.

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
@click.option("--auto", is_flag=True, help="Take each step that is due, without being asked.")
@click.option("--windowed", is_flag=True, help="Also end it after two bad windows of 15 minutes in a row.")
@click.option("--again", is_flag=True, help="Although it was taken back within the last hour.")
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
    url: str,
    api_key: str | None,
    as_json: bool,
) -> None:
    """Begin at the first step.

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
    _show(with_daemon(url, api_key, lambda client: client.call("POST", "/v1/releases", body=body)), as_json)


def _guardrail(text: str) -> dict[str, object]:
    measure, _, limit = text.partition("=")
    try:
        return {"measure": measure} | ({"limit": float(limit)} if limit else {})
    except ValueError:
        raise click.UsageError(f"--guardrail {text}: {limit} is no number") from None


@release.command()
@click.argument("release_id", required=False)
@policy_option
@daemon_options
@json_option
def status(release_id: str | None, policy: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Show how a release stands, in words first; without an id the newest of the policy.

    \b
    Example:
      banditd release status
    """

    async def ask(client: DaemonClient) -> dict[str, Any]:
        found = await _find(client, release_id, policy)
        events: dict[str, Any] = await client.call("GET", f"/v1/releases/{found['release_id']}/events")
        return found | events

    _show(with_daemon(url, api_key, ask), as_json)


def _verb(name: str, words: str) -> Callable[..., None]:
    @click.argument("release_id", required=False)
    @click.option("--reason", help="For the history.")
    @policy_option
    @daemon_options
    @json_option
    def run(
        release_id: str | None, reason: str | None, policy: str, url: str, api_key: str | None, as_json: bool,
        force: bool = False,
    ) -> None:  # fmt: skip
        body: dict[str, object] = ({} if reason is None else {"reason": reason}) | ({"force": True} if force else {})

        async def ask(client: DaemonClient) -> dict[str, Any]:
            found = await _find(client, release_id, policy)
            answer: dict[str, Any] = await client.call(
                "POST", f"/v1/releases/{found['release_id']}/{name}", body=body
            )
            return answer

        _show(with_daemon(url, api_key, ask), as_json)

    if name == "promote":
        run = click.option("--force", is_flag=True, help="Although the step is not over.")(run)
    return release.command(name, help=f"{words}\n\n\b\nExample:\n  banditd release {name} --reason 'looked at'")(run)


promote = _verb("promote", "Take the next step; after the last one the candidate becomes the incumbent.")
pause = _verb("pause", "Stay at the step; the tests go on.")
resume = _verb("resume", "Go on after a pause.")
abort = _verb("abort", "End it: all traffic is the incumbent's again.")


@release.command()
@click.option("--reason", help="For the history.")
@policy_option
@daemon_options
@json_option
def rollback(reason: str | None, policy: str, url: str, api_key: str | None, as_json: bool) -> None:
    """Abort the open release of a policy, else take its newest promotion back.

    \b
    Example:
      banditd release rollback --reason complaints
    """
    body = {} if reason is None else {"reason": reason}
    path = f"/v1/policies/{quote(policy, safe='')}/rollback"
    answer = with_daemon(url, api_key, lambda client: client.call("POST", path, body=body))
    if as_json:
        echo_json(answer)
    else:
        click.echo(answer["words"])


async def _find(client: DaemonClient, release_id: str | None, policy: str) -> dict[str, Any]:
    """The release of that id, else the newest of the policy."""
    if release_id is not None:
        found: dict[str, Any] = await client.call("GET", f"/v1/releases/{quote(release_id, safe='')}")
        return found
    newest = await client.call("GET", "/v1/releases", query={"policy": policy, "limit": 1})
    if not newest["releases"]:
        raise click.ClickException(f"policy {policy} has had no release; start one with banditd release start")
    one: dict[str, Any] = newest["releases"][0]
    return one


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(answer)
        return
    click.echo(f"release {answer['release_id']} of {answer['candidate']} ({answer['phase']})")
    click.echo(answer["words"])
    for one in answer["metrics"]:
        click.echo(_drawn(f"reward:{one['metric']}" if one["metric"] else "reward", one))
    for one in answer["guardrails"]:
        click.echo(_drawn(one["measure"], one))
    for event in answer.get("events", []):
        by = f" by {event['key_name']}" if event["key_name"] else ""
        why = f": {event['reason']}" if event["reason"] else ""
        click.echo(f"  {event['at']}  {event['event']}{by} at {event['share']:.3g}{why}")


def _drawn(name: str, one: dict[str, Any]) -> str:
    """A line: the interval of candidate less incumbent round 0, and how much of an alarm there is."""
    axis = [" "] * WIDTH
    interval = one["interval"]
    if interval is not None:
        low, high = (_place(bound) for bound in interval)
        axis[low : high + 1] = "-" * (high - low + 1)
        axis[_place(one["difference"])] = "o"
    middle = WIDTH // 2
    axis[middle] = "|" if axis[middle] == " " else "+"
    share = min(one["evidence"] / one["needed"], 1.0)
    return f"  {name:<12} worse [{''.join(axis)}] better   evidence against it {share:.1%} of an alarm"


def _place(value: float) -> int:
    return round((max(-REACH, min(REACH, value)) / REACH + 1.0) / 2.0 * (WIDTH - 1))
