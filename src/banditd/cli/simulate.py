"""``banditd simulate``: generated traffic through a daemon, and what it earned against every fixed arm."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from banditd.cli.options import Daemon, config_option, daemon_options, json_option, policy_option
from banditd.cli.show import echo_json, print_table, progress_bar
from banditd.cli.tables import dollars, percent, print_headline

if TYPE_CHECKING:
    from rich.progress import Progress

    from banditd.client import DaemonClient
    from banditd.simulate.runner import SimulationOptions
    from banditd.simulate.tally import Tally

LINES = 10


@click.command()
@daemon_options
@config_option
@policy_option
@click.option("--requests", type=click.IntRange(min=1), default=2000, show_default=True, help="Queries to send.")
@click.option("--rate", type=click.FloatRange(min=0), default=0.0, help="Queries per second; 0: as fast as possible.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same traffic.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=8, show_default=True, help="Open requests.")
@click.option("--invent-arms", is_flag=True, help="Make up qualities for arms that the simulator does not know.")
@click.option("--start-if-absent", is_flag=True, help="Start a temporary daemon if none answers (see --config).")
@click.option("--report", is_flag=True, help="Afterwards print what the daemon learned.")
@click.option(
    "--gateway", is_flag=True, help="Instead: serve the gateway without a key, and show a first call to it."
)
@json_option
def simulate(
    daemon: Daemon,
    config: Path | None,
    policy: str,
    requests: int,
    rate: float,
    seed: int,
    concurrency: int,
    invent_arms: bool,
    start_if_absent: bool,
    report: bool,
    gateway: bool,
    as_json: bool,
) -> None:
    """Send generated queries of eight task families, with rewards that are late, missing, doubled or corrected.

    The arms' quality and price differ by family. The truth is known, so the table compares what was earned with every
    fixed arm on the same queries. The policy learns from these rewards: do not use this on a daemon in production.

    \b
    Examples:
      banditd simulate --requests 5000
      banditd simulate --url http://127.0.0.1:8484 --rate 50 --seed 7
      banditd simulate --start-if-absent --report
      banditd simulate --gateway
    """
    if gateway:
        from banditd.cli.gateway_demo import serve_gateway

        serve_gateway(daemon.url, config)
        return
    from banditd.simulate.runner import SimulationOptions

    options = SimulationOptions(
        policy=policy,
        requests=requests,
        rate_per_s=rate,
        seed=seed,
        concurrency=concurrency,
        invent_arms=invent_arms,
    )
    with ExitStack() as stack:
        if start_if_absent and not daemon.run(lambda client: client.alive()):
            daemon = Daemon(_own_daemon(stack, config), daemon.api_key)
            click.echo(f"no daemon answered, so one was started on {daemon.url} with a database of its own", err=True)
        result = daemon.run(lambda client: _run(client, options, report, as_json), connections=concurrency + 4)
    if as_json:
        echo_json(result)
        return
    _print_summary(result)
    if report:
        _print_first_day(result)
        _print_learned(result["learned"])


def _own_daemon(stack: ExitStack, config: Path | None) -> str:
    from banditd.cli.process import own_daemon

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="banditd-demo-"))
    return stack.enter_context(own_daemon(database=f"sqlite:///{folder}/banditd.db", config=config))


async def _run(client: DaemonClient, options: SimulationOptions, report: bool, as_json: bool) -> dict[str, Any]:
    from banditd.simulate.runner import Simulation

    simulation = Simulation(client, options)
    await simulation.prepare()
    with progress_bar(stderr=as_json) as bar:
        task = bar.add_task("simulating", total=options.requests)
        lines = None if as_json else _Lines(bar, simulation.tally, options.requests)

        def show(tally: Tally) -> None:
            bar.update(task, completed=tally.n)
            if lines is not None:
                lines.show(tally)

        tally = await simulation.run(show)
    summary = {"policy": options.policy, "seed": options.seed, **tally.summary()}
    if report:
        savings = await client.call("GET", "/v1/savings", query={"policy": options.policy})
        summary["savings"] = savings
        if savings["baseline"] in tally.arms and tally.n:
            summary["first_day"] = tally.against(savings["baseline"])
        summary["learned"] = {
            "stats": await client.call("GET", "/v1/stats", query={"policy": options.policy}),
            "contexts": await client.call("GET", "/v1/stats/contexts", query={"policy": options.policy}),
        }
    return summary


class _Lines:
    """One line per tenth of the run: the policy so far and lately, and every fixed arm on the same queries."""

    def __init__(self, bar: Progress, tally: Tally, requests: int) -> None:
        self._bar = bar
        self._requests = requests
        self._every = max(1, requests // LINES)
        self._shown = 0
        self._widths = [max(8, len(arm)) for arm in tally.arms]
        names = "".join(f"{arm:>{width + 2}}" for arm, width in zip(tally.arms, self._widths, strict=True))
        bar.console.print(
            f"mean reward of the policy, so far and lately, and of every fixed arm on the same queries:\n"
            f"{'queries':>9}{'policy':>10}{'lately':>10}{names}",
            soft_wrap=True,
        )

    def show(self, tally: Tally) -> None:
        if tally.n == self._shown or (tally.n < self._shown + self._every and tally.n < self._requests):
            return
        recent, self._shown = tally.reward(self._shown), tally.n
        fixed = "".join(f"{value:>{width + 2}.3f}" for value, width in zip(tally.fixed(), self._widths, strict=True))
        self._bar.console.print(f"{tally.n:>9}{tally.reward():>10.3f}{recent:>10.3f}{fixed}", soft_wrap=True)


def _print_summary(result: dict[str, Any]) -> None:
    reward = result["reward"]
    rows: list[tuple[object, ...]] = [
        (
            f"policy {result['policy']}", result["requests"], reward["mean"], reward["last_third"],
            result["cost_usd"],
        )
    ]  # fmt: skip
    rows += [
        (
            f"always {arm['arm']}",
            arm["pulls"],
            arm["fixed_reward"],
            arm["fixed_reward_last_third"],
            arm["fixed_cost_usd"],
        )
        for arm in result["arms"]
    ]
    rows.append(("best arm of every query", None, reward["oracle"], reward["oracle_last_third"], None))
    print_table("the truth behind the run", ("choosing", "chosen", "mean reward", "last third", "cost usd"), rows)
    print_table(
        "by family (the policy is not told the family)",
        ("family", "queries", "best arm", "mostly chosen in the last third", "share"),
        [
            (name, f["queries"], f["best_arm"], f["most_chosen_last_third"], f["share_last_third"])
            for name, f in result["families"].items()
        ],
    )
    reported = result["feedback"]
    click.echo(
        f"feedback: {reported.get('first', 0)} rewards, {reported.get('missing', 0)} queries without one, "
        f"{reported.get('duplicate', 0)} posted twice ({reported.get('told_duplicate', 0)} recognised), "
        f"{reported.get('correction', 0)} corrected ({reported.get('told_correction', 0)} applied as corrections), "
        f"{reported.get('usage', 0)} usage reports"
    )
    if result["failures"]:
        click.echo(f"answers that were not 200: {result['failures']}")
    latency = result["latency_ms"]
    click.echo(
        f"route latency: p50 {latency['p50']:.2f} ms, p95 {latency['p95']:.2f} ms, p99 {latency['p99']:.2f} ms"
    )


def _print_first_day(result: dict[str, Any]) -> None:
    """A company's first day: the truth against the model it has, then what the daemon says of it."""
    savings = result["savings"]
    if "first_day" in result:
        print_table(
            f"the first day, had {savings['baseline']} answered everything (the simulator's truth)",
            ("queries", "would have been spent", "was spent", "saved", "quality kept"),
            [
                (
                    row["queries"],
                    dollars(row["would_have_cost_usd"]),
                    dollars(row["spent_usd"]),
                    percent(row["saved_share"]),
                    percent(row["quality_ratio"]),
                )
                for row in result["first_day"]
            ],
        )
    click.echo("What the daemon says of it, from the rewards and costs that it was told (GET /v1/savings):\n")
    print_headline(savings)


def _print_learned(learned: dict[str, Any]) -> None:
    from banditd.cli.tables import print_contexts, print_stats

    click.echo("\nWhat the daemon itself says (GET /v1/stats and /v1/stats/contexts):\n")
    print_stats(learned["stats"])
    print_contexts(learned["contexts"])
