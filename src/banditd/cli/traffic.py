"""``banditd route`` and ``banditd reward``: one decision and one reward by hand."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from banditd.cli.options import Daemon, daemon_options, json_option, pair_of, path_of, policy_option
from banditd.cli.show import echo_json, print_pairs, print_table, tell
from banditd.cli.tables import promise_in_words


@click.command()
@click.argument("text")
@daemon_options
@policy_option
@click.option("--candidate", "candidates", multiple=True, help="Only this arm may be chosen; may be repeated.")
@click.option("--exclude", "excluded", multiple=True, help="This arm may not be chosen; may be repeated.")
@click.option("--capability", "capabilities", multiple=True, help="The arm must have this tag; may be repeated.")
@click.option("--max-cost-usd", type=float, help="Exclude arms whose predicted cost is higher.")
@click.option("--max-latency-ms", type=float, help="Exclude arms whose expected latency is higher.")
@click.option("--quality-floor", type=float, help="The least cost whose predicted reward is at least this.")
@click.option("--quality-confidence", type=float, help="... with this confidence.")
@click.option("--profile", help="A named objective of the policy, such as economy.")
@click.option("--cost-weight", type=float, help="Price of money instead of the policy's own.")
@click.option("--keep", type=float, help="Keep this share of the baseline's quality instead of the policy's.")
@click.option("--expected-output-tokens", type=float, help="How long an answer you expect.")
@click.option("--session", "session_id", help="Requests of one session keep their arm.")
@click.option("--reference", help="What you will call the decision by when you reward it.")
@click.option("--regenerated-from", help="The decision whose answer is asked for again.")
@click.option("--escalated-from", help="The decision whose answer was not good enough.")
@click.option("--task-id", help="What an agent calls the run that the query is a part of.")
@click.option("--parent-decision-id", help="The decision of the step that led to this one.")
@click.option("--step", help="Which step of the task it is: the same as --tag step=...")
@click.option("--no-recipes", "recipes", flag_value=False, default=None, help="Choose among models alone.")
@click.option("--new-session-arm", is_flag=True, help="Draw the session's arm afresh.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A label of yours; may be repeated.")
@click.option(
    "--feature", "features", multiple=True, metavar="NAME=NUMBER", help="A caller feature; may be repeated."
)
@click.option("--tools", type=int, help="How many tools the model may call.")
@click.option("--defer-activation", is_flag=True, help="Hold rewards until the decision is activated.")
@click.option("--key", "idempotency_key", help="Idempotency key: the same query under it is decided once.")
@click.option("--dry-run", is_flag=True, help="Choose, but record nothing.")
@click.option("--explain", is_flag=True, help="Show every arm's prediction and probability.")
@json_option
def route(
    text: str,
    daemon: Daemon,
    policy: str,
    excluded: tuple[str, ...],
    tags: tuple[str, ...],
    features: tuple[str, ...],
    idempotency_key: str | None,
    dry_run: bool,
    explain: bool,
    as_json: bool,
    **stated: Any,
) -> None:
    """Ask the daemon which arm should answer TEXT ('-' reads standard input).

    \b
    Examples:
      banditd route "Prove that the square root of two is irrational." --explain
      cat question.txt | banditd route - --max-cost-usd 0.01 --json
      banditd route "Translate 'cat'." --tag team=search --quality-floor 0.8
    """
    optional: dict[str, Any] = {n: list(value) if isinstance(value, tuple) else value for n, value in stated.items()}
    optional["tags"] = dict(pair_of(one, "--tag") for one in tags)
    optional["features"] = {
        name: _number(text, name) for name, text in (pair_of(one, "--feature") for one in features)
    }
    body: dict[str, Any] = {
        "input": sys.stdin.read() if text == "-" else text,
        "policy": policy,
        "excluded_arms": list(excluded),
        "dry_run": dry_run,
        "explain": explain,
        **{name: value for name, value in optional.items() if _is_stated(value)},
    }
    body |= {"recipes": False} if stated["recipes"] is False else {}  # the only field that is true from the start
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
    answer = daemon.call("POST", "/v1/route", body=body, headers=headers)
    if as_json:
        echo_json(answer)
        return
    shown = ("decision_id", "arm", "upstream_model", "propensity", "predicted_reward", "predicted_cost_usd",
             "explored", "reason", "degraded", "fallbacks", "policy_version", "expires_at")  # fmt: skip
    facts = [(name, answer.get(name)) for name in shown]
    print_table(None, ("", ""), [*facts, ("promise", promise_in_words(answer.get("promise")))])
    if explain:
        columns = ("arm", "mean", "deviation", "cost_usd", "penalty", "utility", "probability")
        print_table("arms", columns, [[arm.get(name) for name in columns] for arm in answer.get("arms") or ()])
        if answer.get("exclusions"):
            print_table("excluded", ("arm", "why"), sorted(answer["exclusions"].items()))


@click.command()
@click.argument("decision_id")
@click.argument("value", required=False)
@click.option("--reference", is_flag=True, help="DECISION_ID is what the query was called by, or its answer's id.")
@click.option("--task", is_flag=True, help="DECISION_ID is a task: its decisions share the reward.")
@daemon_options
@click.option("--source", default="human", show_default=True, help="Who says so: human, judge, metric, implicit.")
@click.option("--metric", default="quality", show_default=True, help="What was measured.")
@click.option("--arm", help="Whose answer it is about, where not of the one that served.")
@click.option("--key", "idempotency_key", help="Idempotency key: makes a repeated post count once.")
@click.option("--retract", is_flag=True, help="Take back what this source said of this metric.")
@json_option
def reward(
    decision_id: str,
    value: str | None,
    reference: bool,
    task: bool,
    daemon: Daemon,
    source: str,
    metric: str,
    arm: str | None,
    idempotency_key: str | None,
    retract: bool,
    as_json: bool,
) -> None:
    """Reward a decision with VALUE: a number on the source's scale, 'up' or 'down'.

    \b
    Examples:
      banditd reward 0198c2f0-... 0.8 --source judge
      banditd reward 0198c2f0-... up
      banditd reward 0198c2f0-... 0.6 --source judge --arm small
      banditd reward 0198c2f0-... --retract
      banditd reward --reference ticket-4711 down
      banditd reward --task run-42 1 --source metric
    """
    if reference and task:
        raise click.UsageError("give --reference or --task, not both")
    body: dict[str, Any] = {
        "task_id" if task else "reference" if reference else "decision_id": decision_id,
        "source": source,
        "metric": metric,
    } | ({} if arm is None else {"arm": arm})
    if retract == (value is not None):
        raise click.UsageError("give either a VALUE (a number, up or down) or --retract")
    body |= {"retract": True} if value is None else _value(value)
    receipt = daemon.run(lambda client: client.reward(body, idempotency_key=idempotency_key))
    tell(receipt, as_json, print_pairs)


@click.command()
@click.argument("decision_id")
@daemon_options
@json_option
def abandon(decision_id: str, daemon: Daemon, as_json: bool) -> None:
    """Say that a decision was never served: its estimate is released, nothing is learned of it.

    \b
    Example:
      banditd abandon 0198c2f0-...
    """

    def show(answer: Mapping[str, Any]) -> None:
        click.echo(f"decision {decision_id} {'abandoned' if answer['abandoned'] else 'was abandoned already'}")

    tell(daemon.call("POST", path_of("decisions", decision_id, "abandon")), as_json, show)


def _is_stated(value: object) -> bool:
    """Whether an option was given: a 0 was, an empty list was not."""
    return value is not None and value is not False and value not in ([], {})


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no number; {name} needs one", param_hint="--feature") from None


def _value(text: str) -> dict[str, Any]:
    if text in {"up", "down"}:
        return {"thumb": text}
    try:
        return {"value": float(text)}
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no reward: give a number such as 0.8, or up, or down", param_hint="VALUE"
        ) from None
