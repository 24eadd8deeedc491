"""``banditd init`` and ``banditd models``."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from banditd.cli.options import DEFAULT_CONFIG, DEFAULT_URL, json_option, pair_of
from banditd.cli.show import echo_json, print_table
from banditd.core.errors import InvalidInputError

if TYPE_CHECKING:
    from banditd.setup.finding import Found
    from banditd.setup.known_models import KnownModels
    from banditd.setup.trial import Trial
    from banditd.setup.writing import ChosenArm


@click.command("models")
@click.option("--max-age-days", type=click.IntRange(1), help="End with 1 where the table is older than this.")
@json_option
def models(max_age_days: int | None, as_json: bool) -> None:
    """Show the dated table of models that `banditd init` knows, with their list prices.

    \b
    Examples:
      banditd models
      banditd models --max-age-days 90   # for a release: is it old?
    """
    from banditd.setup.known_models import read_known_models

    table = read_known_models()
    today = dt.datetime.now(dt.UTC).date()
    age_days = table.age_days(today)
    if as_json:
        rows = [{**asdict(model), "retires": model.retires and str(model.retires)} for model in table.models]
        echo_json({"as_of": str(table.as_of), "age_days": age_days, "source": table.source, "models": rows})
    else:
        columns = ("model", "provider", "$/Mtok in", "$/Mtok out", "cached", "context", "tier", "retires")
        print_table(
            f"known models, as of {table.as_of} ({age_days} days ago)",
            columns,
            [
                (m.model, m.provider, m.usd_per_mtok_in, m.usd_per_mtok_out, m.usd_per_mtok_cached_in,
                 m.context_window_tokens, m.quality_tier, m.retires and str(m.retires))
                for m in table.models
            ],
        )  # fmt: skip
        click.echo(f"source: {table.source}")
    if max_age_days is not None and age_days > max_age_days:
        click.echo(f"banditd: the table is {age_days} days old, more than {max_age_days}", err=True)
        sys.exit(1)


@click.command("init")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=DEFAULT_CONFIG, show_default=True,
    help="The file to write.",
)  # fmt: skip
@click.option("--arm", "arms", multiple=True, help="A model to route to: MODEL or UPSTREAM/MODEL; may be repeated.")
@click.option("--baseline", help="The model that you use today; default: the dearest of the arms.")
@click.option(
    "--keep", type=click.FloatRange(0, 1, min_open=True), help="Share of its quality to keep; default: 0.95."
)
@click.option("--server", "servers", multiple=True, metavar="NAME=URL", help="An endpoint in OpenAI's form.")
@click.option("--base-url", "base_urls", multiple=True, metavar="NAME=URL", help="Another address of a provider.")
@click.option("--no-local", is_flag=True, help="Do not look for Ollama, vLLM and LiteLLM on this machine.")
@click.option("--no-call", is_flag=True, help="Do not try the upstreams with a call each.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take what is proposed.")
@json_option
def init(
    output: Path, arms: tuple[str, ...], baseline: str | None, keep: float | None, servers: tuple[str, ...],
    base_urls: tuple[str, ...], no_local: bool, no_call: bool, force: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write a configuration for your own models, and try each upstream with one call.

    Looks for OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY and MISTRAL_API_KEY in the environment, and for
    Ollama, vLLM and LiteLLM on this machine. Keys are not written: the file names their variables.

    \b
    Examples:
      banditd init
      banditd init --yes --arm gpt-5.2 --arm gpt-6-luna --baseline gpt-5.2 --keep 0.98
      banditd init --server gpu=http://127.0.0.1:9000/v1 --no-call -o mine.yaml
    """
    from banditd.setup.known_models import read_known_models
    from banditd.setup.writing import choose, compose

    if output.exists() and not force:
        raise InvalidInputError(
            f"{output} is there already: name another with --output, or write over it with --force"
        )
    table = read_known_models()
    asking = not yes and not as_json and _is_terminal()
    found = _found(table, dict(pair_of(one, "--server") for one in servers), base_urls, local=not no_local)
    if not as_json:
        _print_offers(found)
    chosen = choose(found, arms or _chosen_names(choose(found), asking))
    baseline = _baseline(chosen, baseline, asking)
    if keep is None:
        keep = 0.95
        if asking:
            keep = click.prompt("Share of its quality to keep", keep, type=click.FloatRange(0, 1, min_open=True))
    today = dt.datetime.now(dt.UTC).date()
    output.write_text(compose(chosen, baseline=baseline, keep=keep, table=table, today=today), encoding="utf-8")
    trials = [] if no_call else _try(output, chosen)
    _report(output, chosen, baseline, keep, trials, as_json=as_json)
    if any(trial.error is not None for trial in trials):
        sys.exit(1)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _found(table: KnownModels, servers: Mapping[str, str], base_urls: Sequence[str], *, local: bool) -> list[Found]:
    from banditd.setup.finding import LOCAL_SERVERS, find_providers, find_servers

    addresses = dict(pair_of(one, "--base-url") for one in base_urls)
    if unknown := sorted(addresses.keys() - table.providers.keys()):
        raise InvalidInputError(f"no provider {unknown[0]!r}: there are {', '.join(table.providers)}")
    urls = {**(LOCAL_SERVERS if local else {}), **servers}
    answering = asyncio.run(find_servers(table, os.environ, urls))
    silent = servers.keys() - {one.name for one in answering}
    if silent:
        raise InvalidInputError(f"no models are listed at {servers[min(silent)]}/models: is the server running?")
    found = find_providers(table, os.environ, addresses) + answering
    if not found:
        keys = ", ".join(provider.api_key_env for provider in table.providers.values())
        raise InvalidInputError(
            f"there is nothing to route to: set one of {keys}, start Ollama, vLLM or LiteLLM, "
            "or name a server by --server NAME=URL"
        )
    return found


def _print_offers(found: Sequence[Found]) -> None:
    columns = ("upstream", "model", "proposed", "$/Mtok in", "$/Mtok out", "context", "retires")
    rows: list[tuple[object, ...]] = []
    for upstream in found:
        for model in upstream.models:
            known = upstream.known.get(model)
            facts: tuple[object, ...] = (None,) * 4
            if known is not None:
                retires = known.retires and str(known.retires)
                facts = (known.usd_per_mtok_in, known.usd_per_mtok_out, known.context_window_tokens, retires)
            rows.append((upstream.name, model, "yes" if model in upstream.proposed else None, *facts))
    print_table("what is there to route to", columns, rows)


def _chosen_names(proposed: Sequence[ChosenArm], asking: bool) -> tuple[str, ...]:
    names = [f"{arm.upstream.name}/{arm.model}" for arm in proposed]
    if not asking:
        return tuple(names)
    answer = click.prompt("Models to route to, with commas between", ", ".join(names))
    return tuple(name.strip() for name in answer.split(",") if name.strip())


def _baseline(arms: Sequence[ChosenArm], baseline: str | None, asking: bool) -> str:
    """The arm of that name or model. The dearest is the first."""
    if baseline is None:
        baseline = click.prompt("The model that you use today", arms[0].arm) if asking else arms[0].arm
    for arm in arms:
        if baseline in (arm.arm, arm.model, f"{arm.upstream.name}/{arm.model}"):
            return arm.arm
    raise InvalidInputError(f"the baseline {baseline!r} is none of the arms: {', '.join(arm.arm for arm in arms)}")


def _try(config: Path, arms: Sequence[ChosenArm]) -> list[Trial]:
    from banditd.settings import load_settings
    from banditd.setup.trial import try_upstreams

    return asyncio.run(try_upstreams(load_settings(config), arms))


def _report(
    output: Path, arms: Sequence[ChosenArm], baseline: str, keep: float, trials: Sequence[Trial], *, as_json: bool
) -> None:
    if as_json:
        calls = [asdict(trial) for trial in trials]
        named = [{"arm": arm.arm, "upstream": arm.upstream.name} for arm in arms]
        echo_json({"file": str(output), "arms": named, "baseline": baseline, "keep": keep, "calls": calls})
        return
    if trials:
        rows = [
            (t.upstream, t.arm, round(t.latency_ms), "it answers" if t.error is None else t.error) for t in trials
        ]
        print_table("one call per upstream", ("upstream", "arm", "ms", "result"), rows)
    click.echo(f"{output} keeps {keep:.0%} of {baseline}'s quality with {len(arms)} arms.")
    for arm in arms:
        if arm.known is None:
            click.echo(f"  what {arm.arm} costs is not known: its price is 0 until you give one")
    serve = "banditd serve" + ("" if output == DEFAULT_CONFIG else f" -c {output}")
    click.echo(f'Next: {serve}; then, in your application, one line: base_url="{DEFAULT_URL}/v1".')
