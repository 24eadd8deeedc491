"""``banditd fit-prior``: makes a prior file from an evaluation of the arms, without daemon or database."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from banditd.cli.options import config_option, json_option, policy_option, read_settings
from banditd.cli.show import echo_json, print_table, progress_bar
from banditd.cli.tables import dollars

if TYPE_CHECKING:
    from banditd.bandit.posterior.prior import Prior
    from banditd.replay.dataset import ReplayData
    from banditd.settings import Settings


@click.command("fit-prior")
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@config_option
@policy_option
@click.option("--pool", help="Named pool of meta.json, or arms as a,b,c; default: all arms.")
@click.option("--split", help="Only rows with this label 'split'.")
@click.option("--limit", type=click.IntRange(min=1), help="Use only this many rows, drawn once with seed 0.")
@json_option
def fit_prior(
    directory: Path,
    file: Path,
    config: Path | None,
    policy: str,
    pool: str | None,
    split: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Make a prior file from an evaluation, in which every arm answered the same prompts.

    DIR is what 'banditd replay' reads: prompts.jsonl and outcomes.csv, a column of scores in [0, 1] per arm.
    The arms' names are those of the policy; the prompts are encoded as the configuration says. Set
    policies.NAME.prior_file to FILE and start the daemon.

    \b
    Examples:
      banditd fit-prior my-evaluation prior.json
      banditd fit-prior ../shared/data/paretobandit4 prior.json --split val
    """
    settings = read_settings(config)
    if policy not in settings.policies:
        raise click.UsageError(f"there is no policy {policy!r}; policies: {', '.join(settings.policies)}")
    from banditd.daemon.prior_file import write_prior
    from banditd.replay.evaluation import evaluated_arms
    from banditd.replay.options import ReplayOptions
    from banditd.replay.plan import make_plan

    plan = make_plan(ReplayOptions(directory=directory, pool=pool, split=split, limit=limit))
    data = plan.data.take(plan.scored)
    prior = _fitted(settings, policy, data, _source(data, pool, split))
    write_prior(prior, file)
    section = settings.policies[policy]
    worth = section.prior_worth_rewards or prior.default_worth(section.half_life_decisions)
    unknown = sorted(set(data.arms) - {arm.arm for arm in section.arms})
    if as_json:
        arms = [asdict(one) for one in evaluated_arms(data)]
        reported = {"file": str(file), "source": prior.source, "rewards": prior.rewards, "worth_rewards": worth}
        echo_json({**reported, "arms": arms, "unknown_arms": unknown, "notes": list(data.notes)})
        return
    rows = [
        (one.arm, one.rewards, f"{one.mean_reward:.3f}", dollars(1000 * one.mean_cost_usd))
        for one in evaluated_arms(data)
    ]
    print_table(f"{prior.source}: worth {worth:,.0f} rewards", ("arm", "rewards", "mean", "cost of 1,000"), rows)
    for note in data.notes:
        click.echo(f"note: {note}", err=True)
    if unknown:
        unused = "what the prior says of it is not used there"
        click.echo(f"note: the configuration's policy {policy} has no arm {', '.join(unknown)}: {unused}", err=True)
    click.echo(f"wrote {file}: name it as policies.{policy}.prior_file, or in 'banditd replay --prior'")


def _source(data: ReplayData, pool: str | None, split: str | None) -> str:
    chosen = "".join(f", {key} {value}" for key, value in (("pool", pool), ("split", split)) if value is not None)
    return f"evaluation {data.name}{chosen}, {data.n_rows} rows"


def _fitted(settings: Settings, policy: str, data: ReplayData, source: str) -> Prior:
    """Encode the prompts as the configured daemon would, and fit."""
    from banditd.core.errors import ConfigurationError
    from banditd.daemon.runtimes import configured_maps
    from banditd.encoders.factory import load_encoder
    from banditd.features.context import ContextBuilder
    from banditd.replay.evaluation import evaluation_prior

    if settings.policies[policy].context_tags:
        raise ConfigurationError(
            f"policy {policy} has context_tags, which no prior file can serve: fit one for a policy without them"
        )
    encoder = load_encoder(settings.encoder.model)
    builder = ContextBuilder(
        encoder_id=encoder.encoder_id,
        maps=configured_maps(settings),
        caller_features=settings.policies[policy].caller_features,
    )
    contexts = (
        builder.build(text=prompt, embedding=encoder.encode_now(prompt), caller=features)
        for prompt, features in zip(data.prompts, data.features, strict=True)
    )
    with progress_bar() as bar:
        task = bar.add_task("reading the evaluation", total=data.n_rows)
        return evaluation_prior(
            data,
            builder.schema,
            contexts,
            source=source,
            progress=lambda rows: bar.update(task, completed=rows),
        )
