"""``banditd init``."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from banditd.cli.options import DEFAULT_CONFIG, DEFAULT_URL, json_option, pair_of, two_prices
from banditd.cli.show import echo_json, print_table
from banditd.core.errors import InvalidInputError

if TYPE_CHECKING:
    from banditd.settings import Settings
    from banditd.setup.finding import Found
    from banditd.setup.known_models import KnownModels
    from banditd.setup.trial import Trial
    from banditd.setup.writing import ChosenArm, ListPrice


class _Share(click.ParamType[float]):
    """A share between a half and all: 0.95 or 95%."""

    name = "share"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text.rstrip("% ")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not 0.5 <= share <= 1.0:
            self.fail(f"{text!r} is not a share between 0.5 and 1, such as 0.95 or 95%", parameter, context)
        return share


KEEP = _Share()


@click.command("init")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=DEFAULT_CONFIG, show_default=True,
    help="The file to write.",
)  # fmt: skip
@click.option("--arm", "arms", multiple=True, help="A model to route to: MODEL or UPSTREAM/MODEL; may be repeated.")
@click.option("--baseline", help="The model that you use today; default: the most expensive arm.")
@click.option("--keep", type=KEEP, help="Share of its quality to keep; default: 0.95.")
@click.option("--price", "prices", multiple=True, metavar="MODEL=IN,OUT", help="Dollars per million tokens.")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="NAME=URL",
    help="An endpoint in OpenAI's form; its key, if any, in NAME_API_KEY.",
)
@click.option("--base-url", "base_urls", multiple=True, metavar="NAME=URL", help="Another address of a provider.")
@click.option("--no-local", is_flag=True, help="Do not look for Ollama, vLLM and LiteLLM on this machine.")
@click.option("--no-call", is_flag=True, help="Do not test each upstream with a call.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: accept what is proposed.")
@json_option
def init(
    output: Path, arms: tuple[str, ...], baseline: str | None, keep: float | None, prices: tuple[str, ...],
    servers: tuple[str, ...], base_urls: tuple[str, ...], no_local: bool, no_call: bool, force: bool, yes: bool,
    as_json: bool,
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

    if output.exists() and not force:
        raise InvalidInputError(
            f"{output} exists already: choose another with --output, or overwrite it with --force"
        )
    table = read_known_models()
    asking = not yes and not as_json and _is_terminal()
    found = _found(table, dict(pair_of(one, "--server") for one in servers), base_urls, local=not no_local)
    if not as_json and not arms:
        _print_offers(found)
    chosen = _chosen(found, arms, _prices(prices), asking)
    first = _baseline(chosen, baseline, asking)
    kept: float | None = 0.95 if keep is None else keep
    if any(arm.price is not None for arm in chosen):
        _require_price(chosen, first)
        if keep is None and asking:
            kept = click.prompt("Share of its quality to keep", kept, type=KEEP)
    elif keep is not None:
        raise InvalidInputError(f"no price is known, so nothing can be saved: give --price {first}=IN,OUT")
    else:
        kept = None
    settings = _written(output, chosen, first, kept, table)
    trials = [] if no_call else _try(settings, chosen)
    _report(output, chosen, first, kept, trials, as_json=as_json)
    if not as_json:
        _tell_of_database(output, settings.database.url.get_secret_value())
    if any(trial.error is not None for trial in trials):
        sys.exit(1)


def _chosen(
    found: Sequence[Found], names: tuple[str, ...], prices: Mapping[str, ListPrice], asking: bool
) -> list[ChosenArm]:
    """The arms that are named, asked for, or proposed."""
    from banditd.setup.writing import choose

    if names or not asking:
        return choose(found, names, prices)

    def read(answer: str) -> list[ChosenArm]:
        try:
            return choose(found, [name.strip() for name in answer.split(",") if name.strip()], prices)
        except InvalidInputError as error:
            raise click.BadParameter(error.message) from error

    proposed = ", ".join(f"{arm.upstream.name}/{arm.model}" for arm in choose(found))
    arms: list[ChosenArm] = click.prompt("Models to route to, with commas between", proposed, value_proc=read)
    return arms


def _prices(given: Sequence[str]) -> dict[str, ListPrice]:
    from banditd.setup.writing import ListPrice

    prices = {}
    for text in given:
        model, pair = pair_of(text, "--price")
        two = two_prices(pair)
        if two is None:
            raise click.UsageError(f"--price is MODEL=IN,OUT with two prices that are not negative, got {text!r}")
        prices[model] = ListPrice(*two)
    return prices


def _require_price(arms: Sequence[ChosenArm], baseline: str) -> None:
    if any(arm.arm == baseline and arm.price is None for arm in arms):
        raise InvalidInputError(
            f"no price of {baseline} is known, and nothing dearer than the baseline is ever drawn: "
            f"give --price {baseline}=IN,OUT, in dollars per million tokens"
        )


def _written(
    output: Path, arms: Sequence[ChosenArm], baseline: str, keep: float | None, table: KnownModels
) -> Settings:
    """Write the file once it is known that a daemon would start with it."""
    from banditd.settings import load_settings
    from banditd.setup.writing import compose

    today = dt.datetime.now(dt.UTC).date()
    text = compose(arms, baseline=baseline, keep=keep, table=table, today=today)
    with tempfile.TemporaryDirectory(prefix="banditd-init-") as folder:
        trial = Path(folder) / output.name
        trial.write_text(text, encoding="utf-8")
        settings = load_settings(trial)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{output} cannot be written: {error.strerror}") from error
    return settings


def _tell_of_database(output: Path, url: str) -> None:
    """Who makes the file anew has a daemon with the arms of the former one: a start changes none of them."""
    database = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and database.is_file():
        click.echo(
            f"{database} is there already, and its arms stay as they are: once it serves, "
            f"'banditd apply {output} --yes --delete' makes them those of the file."
        )


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _found(table: KnownModels, servers: Mapping[str, str], base_urls: Sequence[str], *, local: bool) -> list[Found]:
    from banditd.setup.finding import LOCAL_SERVERS, find_providers, find_servers, key_variable

    addresses = dict(pair_of(one, "--base-url") for one in base_urls)
    if unknown := sorted(addresses.keys() - table.providers.keys()):
        raise InvalidInputError(f"unknown provider {unknown[0]!r}: there are {', '.join(table.providers)}")
    urls = {**(LOCAL_SERVERS if local else {}), **servers}
    answering, reasons = asyncio.run(find_servers(table, os.environ, urls))
    for name in servers:
        if name in reasons:
            raise InvalidInputError(
                f"no models of {name} at {servers[name]}/models: {reasons[name]}"
                + (f"; a key is read from {key_variable(name)}" if reasons[name].endswith(("401", "403")) else "")
            )
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
    print_table("models to route to", columns, rows)


def _baseline(arms: Sequence[ChosenArm], baseline: str | None, asking: bool) -> str:
    """The arm of that name or model. The dearest is the first."""

    def read(answer: str) -> str:
        for arm in arms:
            if arm.is_called(answer):
                return arm.arm
        raise click.BadParameter(f"{answer!r} is not one of the arms: {', '.join(arm.arm for arm in arms)}")

    if baseline is None and asking:
        named: str = click.prompt("The model that you use today", arms[0].arm, value_proc=read)
        return named
    try:
        return read(baseline or arms[0].arm)
    except click.BadParameter as error:
        raise InvalidInputError(f"the baseline {error.message}") from error


def _try(settings: Settings, arms: Sequence[ChosenArm]) -> list[Trial]:
    from banditd.setup.trial import try_upstreams

    return asyncio.run(try_upstreams(settings, arms))


def _report(
    output: Path, arms: Sequence[ChosenArm], baseline: str, keep: float | None, trials: Sequence[Trial], *,
    as_json: bool,
) -> None:  # fmt: skip
    unpriced = [arm.arm for arm in arms if arm.price is None]
    model = next(arm.model for arm in arms if arm.arm == baseline)
    if as_json:
        calls = [asdict(trial) for trial in trials]
        named = [{"arm": arm.arm, "upstream": arm.upstream.name} for arm in arms]
        echo_json({"file": str(output), "arms": named, "unpriced": unpriced, "baseline": baseline, "keep": keep,
                   "calls": calls})  # fmt: skip
        return
    if trials:
        rows = [(one.upstream, one.arm, round(one.latency_ms), one.error or "it answers") for one in trials]
        print_table("one call per upstream", ("upstream", "arm", "ms", "result"), rows)
        if others := [arm.arm for arm in arms if arm.arm not in {one.arm for one in trials}]:
            click.echo(f"One arm of each was called, the cheapest; not called: {', '.join(others)}.")
    count = f"{len(arms)} arms" if len(arms) > 1 else "one arm, so there is nothing to choose: add others by --arm"
    what = "routes for quality alone" if keep is None else f"keeps {100 * keep:g} % of {baseline}'s quality"
    click.echo(f"{output} {what}, with {count}.")
    if unpriced:
        click.echo(f"  No price is known of {', '.join(unpriced)}: taken for free. Give --price MODEL=IN,OUT.")
    serve = "banditd serve" + ("" if output == DEFAULT_CONFIG else f" -c {output}")
    if failed := [one for one in trials if one.error is not None]:
        for one in failed:
            click.echo(f"To fix: {one.upstream} did not answer for {one.arm}: {one.check}")
        click.echo(f"Then the same command with --force tries again. Until then {serve!r} has arms that fail.")
        return
    click.echo(
        f'Next: {serve}; then, in your application, one line: base_url="{DEFAULT_URL}/v1". '
        f"The model may stay {model!r}, or be 'banditd/auto'."
    )
