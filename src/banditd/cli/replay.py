"""``banditd replay``: recorded outcomes through the policy, from a cold start. Its options are a contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from banditd.cli.options import Daemon, two_prices
from banditd.cli.show import console, progress_bar

if TYPE_CHECKING:
    from banditd.core.types import Price
    from banditd.replay.options import ReplayOptions
    from banditd.replay.report import ReplayReport


def _drawable(_context: click.Context, _option: click.Parameter, plot: Path | None) -> Path | None:
    """Check before the replay, which may take long."""
    if plot is not None:
        from banditd.replay.plot import check_plots

        check_plots()
    return plot


@click.command()
@click.argument("directory", metavar="DIR|FILE.csv", type=click.Path(path_type=Path))
@click.option("--pool", help="Named pool of meta.json, or arms as a,b,c; default: all arms.")
@click.option("--split", help="Only rows with this label 'split'.")
@click.option("--warmup-split", help="Play the rows of this split first, without scoring them.")
@click.option("--policy", default="thompson", show_default=True, help="Kind of policy.")
@click.option(
    "--cost-weight", type=click.FloatRange(min=0), help="Utility = score - L * mean cost / dearest mean cost."
)
@click.option("--budget", type=click.FloatRange(min=0, min_open=True), help="Mean dollars per query to keep to.")
@click.option(
    "--keep", type=click.FloatRange(min=0.5, max=1.0), metavar="K",
    help="Keep this share of the baseline's quality at the least cost; excludes --cost-weight and --budget.",
)  # fmt: skip
@click.option(
    "--baseline", default="dearest", show_default=True, metavar="ARM|dearest|best|cheapest",
    help="The baseline of --keep: the model that would answer without a router.",
)  # fmt: skip
@click.option(
    "--price", multiple=True, metavar="ARM=IN,OUT",
    help="List price in dollars per million tokens, known in advance; repeatable.",
)  # fmt: skip
@click.option(
    "--max-share", multiple=True, metavar="ARM=S",
    help="Cap on the arm's share of the decisions; repeatable.",
)  # fmt: skip
@click.option(
    "--context-tags", default="", metavar="LABEL,...",
    help="Labels of the prompts (in a CSV file: columns, also of numbers) that the policy sees as the caller's tags.",
)  # fmt: skip
@click.option(
    "--step", metavar="LABEL", help="The label that names the step of a task: the same as --context-tags LABEL."
)
@click.option(
    "--recipes", metavar="R,...|auto:N",
    help="Further arms, made of the pool's: a+b>c asks a and b, and c if they differ; a+b+c gives the majority's "
    "answer; a|b asks b if a gives no answer. auto:N proposes N from what the models cost.",
)  # fmt: skip
@click.option(
    "--answers", metavar="KIND",
    help="How a recipe compares the texts of ARM|answer: text, choice, number, json, tool_calls, code, or prose:T "
    "with the similarity T that is enough. Default: the classes of ARM|signal_answer_id.",
)  # fmt: skip
@click.option(
    "--cascade", is_flag=True,
    help="Look at each answer's signals (ARM|signal_NAME), and keep it or call another arm.",
)  # fmt: skip
@click.option(
    "--max-calls", type=click.IntRange(min=2, max=8), metavar="N", help="Most calls of a --cascade; default: 3.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), help="Use only this many rows, drawn once with seed 0.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Seeds 0..S-1.")
@click.option(
    "--order", type=click.Choice(("shuffle", "source")), default="shuffle", show_default=True,
    help="Shuffle the rows by seed, or keep the order of the file.",
)  # fmt: skip
@click.option(
    "--reward-delay", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Rewards arrive N queries later.",
)  # fmt: skip
@click.option(
    "--reward-rate", type=click.FloatRange(min=0, max=1, min_open=True), default=1.0, show_default=True, metavar="P",
    help="Probability that a decision is rewarded at all.",
)  # fmt: skip
@click.option(
    "--feedback", multiple=True, metavar="SOURCE",
    help="Simulated source instead of the score; repeatable. judge:rate=0.3,sd=0.1,bias=0.06 (arm=NAME: biased on "
    "that arm only), thumb:rate=0.03, metric:rate=0.1; noise=V is the variance that the learner assumes.",
)  # fmt: skip
@click.option(
    "--probes", type=click.FloatRange(min=0, max=1), default=0.0, show_default=True, metavar="P",
    help="On this share of the rows, report every arm's score together with the served one's; their calls are free.",
)  # fmt: skip
@click.option(
    "--warmup-rows", type=click.FloatRange(min=0, max=1, max_open=True), default=0.0, show_default=True, metavar="F",
    help="Play the first share F of each seed's rows without scoring them.",
)  # fmt: skip
@click.option(
    "--warmup-policy", type=click.Choice(("uniform", "same")), default="uniform", show_default=True,
    help="Who plays --warmup-rows: arms drawn at random, or the policy itself.",
)  # fmt: skip
@click.option(
    "--prior", type=click.Path(dir_okay=False, path_type=Path),
    help="Start from this prior file instead of cold.",
)  # fmt: skip
@click.option(
    "--prior-worth", type=click.FloatRange(min=0, min_open=True), metavar="N",
    help="Count it as N rewards over all arms; default: as many as it was made from, at most 1164.",
)  # fmt: skip
@click.option(
    "--tier-table", metavar="FILE",
    help="Guess the arms' quality by name from this table (as_of, models: [{model, tier}]), or from the shipped one.",
)  # fmt: skip
@click.option(
    "--save-prior", type=click.Path(dir_okay=False, path_type=Path),
    help="Write what seed 0 has learned in the end as a prior file.",
)  # fmt: skip
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write the report; - prints it.",
)
@click.option(
    "--off-policy", is_flag=True,
    help="Show off-policy estimates for every fixed arm and for uniform play, with the truth (also in the JSON).",
)  # fmt: skip
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), callback=_drawable,
    help="Write the learning curves as PNG.",
)  # fmt: skip
@click.option("--url", help="Replay against this live daemon instead of in process.")
@click.option(
    "--api-key",
    envvar="BANDITD_API_KEY",
    show_envvar=True,
    help="Key of that daemon (scopes route, reward, admin).",
)
@click.option(
    "--live-policy",
    default="default",
    show_default=True,
    help="With --url: the daemon's policy to which the arms are added.",
)
def replay(
    json_file: str | None,
    plot: Path | None,
    url: str | None,
    api_key: str | None,
    live_policy: str,
    save_prior: Path | None,
    off_policy: bool,
    **given: Any,
) -> None:
    """Replay recorded outcomes (prompts.jsonl.gz, outcomes.csv.gz) through the code that the daemon runs.

    Or from one CSV file: a column prompt, a column of scores in [0, 1] for every model, labels such as category.

    \b
    Examples:
      banditd replay scores.csv --keep 0.95 --baseline gpt-5.2 --seeds 3
      banditd replay ../shared/data/ulab_nim9 --seeds 4
      banditd replay ../shared/data/paretobandit4 --cost-weight 0.3 --json report.json --plot curves.png
      banditd replay ../shared/data/rational9 --keep 0.98 --baseline dearest
      banditd replay ../shared/data/zeroeval_signals --pool ladder4 --cost-weight 0.1 --recipes auto:2
      banditd replay ../shared/data/rational9 --pool mixed4 --cost-weight 0.1 --cascade
      banditd replay ../shared/data/bfcl2408 --pool api12 --budget 0.001 --context-tags category
      banditd replay ../shared/data/routellm2 --max-share gpt-4-1106-preview=0.3
      banditd replay ../shared/data/ulab_nim9 --reward-delay 100 --feedback judge:rate=0.3,sd=0.1
      banditd replay ../shared/data/ulab_nim9 --warmup-rows 0.1 --save-prior prior.json
      banditd replay ../shared/data/ulab_nim9 --policy uniform --off-policy
    """
    _check(url, save_prior, given)
    _require_folders(None if json_file in {None, "-"} else Path(str(json_file)), plot, save_prior)
    from banditd.replay.table import closing_words, off_policy_table, recipe_table, report_table

    options = _options(keep_prior=save_prior is not None, **given)
    with progress_bar() as bar:
        task = bar.add_task("replaying", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        report = _in_process(options, show) if url is None else _live(options, show, url, api_key, live_policy)
    if plot is not None:
        from banditd.replay.plot import plot_curve

        plot_curve(report, plot)
    if save_prior is not None and report.prior is not None:
        from banditd.daemon.prior_file import write_prior

        write_prior(report.prior, save_prior)
    if json_file == "-":
        click.echo(report.to_json(), nl=False)
        return
    if json_file is not None:
        report.write_json(Path(json_file))
    console().print(report_table(report))
    if (words := closing_words(report)) is not None:
        click.echo(words)
    if (recipes := recipe_table(report)) is not None:
        console().print(recipes)
    if off_policy:
        console().print(off_policy_table(report))


def _check(url: str | None, save_prior: Path | None, given: Mapping[str, Any]) -> None:
    """Refuse options that do not go together."""
    if given["cost_weight"] is not None and given["budget"] is not None:
        raise click.UsageError("give --cost-weight or --budget, not both: they are two objectives")
    if given["keep"] is not None and (given["cost_weight"] is not None or given["budget"] is not None):
        raise click.UsageError("--keep replaces --cost-weight and --budget: give only one of them")
    if url is not None and given["max_share"]:
        raise click.UsageError("--max-share caps arms in process; a daemon at --url has max_share of its own arms")
    if url is not None and given["recipes"]:
        raise click.UsageError("--recipes are played in process only: leave out --url")
    if url is not None and given["cascade"]:
        raise click.UsageError("--cascade is played in process; a daemon at --url sees no signals of a data set")
    if given["max_calls"] is not None and not given["cascade"]:
        raise click.UsageError("--max-calls needs --cascade")
    if url is not None and given["tier_table"]:
        raise click.UsageError("a daemon at --url uses its own tier table (policies.NAME.tier_table)")
    if url is not None and given["feedback"]:
        raise click.UsageError("--feedback simulates sources in process; a daemon at --url has its own")
    if url is not None and (given["prior"] or save_prior):
        raise click.UsageError(
            "a daemon at --url has its own prior (policies.NAME.prior_file) and gives one by 'banditd export --prior'"
        )
    if given["prior_worth"] is not None and given["prior"] is None:
        raise click.UsageError("--prior-worth needs --prior")


def _require_folders(*files: Path | None) -> None:
    """Check before the replay, which may take long."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise click.UsageError(f"{file} cannot be written: there is no folder {file.parent}")


def _prices(texts: tuple[str, ...]) -> dict[str, Price]:
    from banditd.core.types import Price

    prices = {}
    for text in texts:
        arm, _, pair = text.rpartition("=")
        two = two_prices(pair)
        if not arm or two is None:
            raise click.UsageError(f"--price is ARM=IN,OUT with two prices that are not negative, got {text!r}")
        prices[arm] = Price(usd_per_mtok_in=two[0], usd_per_mtok_out=two[1])
    return prices


def _shares(texts: tuple[str, ...]) -> dict[str, float]:
    shares = {}
    for text in texts:
        arm, _, value = text.rpartition("=")
        try:
            shares[arm] = float(value)
        except ValueError:
            arm = ""
        if not arm:
            raise click.UsageError(f"--max-share is ARM=S with a share in (0, 1], got {text!r}")
    return shares


def _options(
    *,
    budget: float | None,
    price: tuple[str, ...],
    max_share: tuple[str, ...],
    feedback: tuple[str, ...],
    prior: Path | None,
    context_tags: str,
    step: str | None,
    answers: str | None,
    tier_table: str | None,
    max_calls: int | None,
    **given: Any,
) -> ReplayOptions:
    from banditd.daemon.prior_file import read_prior
    from banditd.daemon.tier_table import read_tier_table
    from banditd.replay.feedback import FeedbackSource
    from banditd.replay.options import ReplayOptions
    from banditd.replay.signals import AnswerKind

    sources = tuple(FeedbackSource.parse(text) for text in feedback)
    start = None if prior is None else read_prior(prior)
    labels = tuple(label.strip() for label in context_tags.split(",")) if context_tags else ()
    if step is not None and step not in labels:
        labels = (*labels, step)
    if max_calls is not None:
        given["max_calls"] = max_calls
    return ReplayOptions(
        budget_usd=budget,
        prices=_prices(price),
        max_shares=_shares(max_share),
        feedback=sources,
        prior=start,
        tiers=None if tier_table is None else read_tier_table(tier_table),
        context_tags=labels,
        answers=None if answers is None else AnswerKind.parse(answers),
        **given,
    )


def _in_process(options: ReplayOptions, show: Callable[[int, int], None]) -> ReplayReport:
    from banditd.replay.engine import run

    return run(options, show)


def _live(
    options: ReplayOptions, show: Callable[[int, int], None], url: str, api_key: str | None, policy: str
) -> ReplayReport:
    from banditd.cli.live_replay import LiveDecider
    from banditd.replay.engine import run_with
    from banditd.replay.plan import make_plan

    plan = make_plan(options)
    if options.keep is not None:
        click.echo(
            f"note: the daemon keeps the promise of its configuration (policies.{policy}.promise); the report "
            f"compares with {options.keep} of {options.baseline}",
            err=True,
        )
    if options.budget_usd is not None:
        click.echo(
            f"note: the daemon holds the budget of its configuration (policies.{policy}.budget_usd_per_decision); "
            f"the report compares with {options.budget_usd}",
            err=True,
        )
    return Daemon(url, api_key).run(
        lambda client: run_with(plan, lambda _seed: LiveDecider(client, plan, policy=policy), show)
    )
