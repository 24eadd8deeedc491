"""``banditd arena``: which models a policy chooses for RouterArena's prompts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from banditd.cli.database import database_option
from banditd.cli.options import config_option, json_option, read_settings
from banditd.cli.show import echo_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from banditd.replay.arena import ArenaPrompt
    from banditd.settings import Settings


@click.command("arena")
@click.argument("prompts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
@database_option
@click.option(
    "--policy", default="default", show_default=True, help="It neither learns nor logs; budgets are ignored."
)
@click.option(
    "--choose", type=click.Choice(("best", "draw")), default="best", show_default=True,
    help="best: the model with the largest probability; draw: as the policy draws.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of --choose draw.")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="RouterArena's prediction file."
)
@click.option(
    "--router-config", type=click.Path(dir_okay=False, path_type=Path),
    help="Also write RouterArena's router config: this file's name, and the policy's models.",
)  # fmt: skip
@json_option
def arena(
    prompts: Path, config: Path | None, database: str | None, policy: str, choose: str, seed: int, out: Path,
    router_config: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Choose a model for each of RouterArena's PROMPTS (router_data.json), with what the policy knows now.

    \b
    Examples:
      banditd arena router_data_10.json --out predictions.json
      banditd arena router_data.json --policy default --out banditd.json --router-config config/banditd.json
    """
    from banditd.replay.arena import read_prompts, write_config, write_predictions

    listed = read_prompts(prompts)
    settings = read_settings(config, {"database.url": database})
    models, named = asyncio.run(_named(settings, policy, listed, choose, seed))
    write_predictions(out, listed, named)
    if router_config is not None:
        write_config(router_config, router_config.stem, models)
    counts: dict[str, Any] = {model: named.count(model) for model in models}
    if as_json:
        echo_json({"prompts": len(listed), "policy": policy, "choose": choose, "models": counts, "out": str(out)})
        return
    print_table(None, ("model", "prompts"), [(model, f"{count:,}") for model, count in counts.items()])
    click.echo(f"{len(listed):,} predictions written to {out}")


async def _named(
    settings: Settings, policy: str, prompts: Sequence[ArenaPrompt], choose: str, seed: int
) -> tuple[list[str], list[str]]:
    """(the policy's models, the one for each prompt)."""
    from banditd.daemon.frozen import load_frozen
    from banditd.daemon.workbench import open_workbench

    async with open_workbench(settings) as bench:
        frozen = await load_frozen(bench, policy)
        named = await frozen.models([one.text for one in prompts], seed=seed if choose == "draw" else None)
    return list(dict.fromkeys(arm.upstream_model for arm in frozen.arms)), named
