"""``banditd import``: scores of files and other systems become rewards."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from banditd.cli.options import Daemon, daemon_options, json_option
from banditd.cli.show import echo_json, progress_bar

if TYPE_CHECKING:
    from banditd.client import DaemonClient
    from banditd.scores.posting import Outcome, Score

SHOWN = 20


@click.group("import")
def import_scores() -> None:
    """Import scores from elsewhere as rewards. A score that is imported again counts only once.

    \b
    Examples:
      banditd import csv scores.csv --source judge
      banditd import open-webui feedback-history-export.json
      banditd import otlp evaluations.jsonl
      banditd import langfuse --days 7 --every 60
    """


@import_scores.command("csv")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", default="metric", show_default=True, help="For rows without one: human, judge, ...")
@daemon_options
@json_option
def import_csv(file: Path, source: str, daemon: Daemon, as_json: bool) -> None:
    """Scores of a CSV file, one per row.

    The first line names the columns: decision_id or reference; value or thumb (up, down); and optionally metric,
    source, arm, idempotency_key. Other columns become the reward's metadata.

    \b
    Example:
      banditd import csv scores.csv --source judge
    """
    from banditd.scores.reading import read_csv

    _import_once(daemon, read_csv(file, source=source), as_json=as_json, all_ours=True)


@import_scores.command("open-webui")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@daemon_options
@json_option
def import_open_webui(file: Path, daemon: Daemon, as_json: bool) -> None:
    """Thumbs of Open WebUI's export of feedback; its connection sends message ids as x-banditd-reference.

    \b
    Example:
      banditd import open-webui feedback-history-export.json
    """
    from banditd.scores.reading import read_open_webui

    _import_once(daemon, read_open_webui(file), as_json=as_json, all_ours=False)


@import_scores.command("otlp")
@click.argument("file", type=click.File(encoding="utf-8-sig", errors="replace"))
@click.option("--source", default="judge", show_default=True, help="Who evaluates: judge, human, ...")
@daemon_options
@json_option
def import_otlp(file: TextIO, source: str, daemon: Daemon, as_json: bool) -> None:
    """OpenTelemetry's events gen_ai.evaluation.result: OTLP logs in JSON, a line each; - reads them from a pipe.

    \b
    Examples:
      banditd import otlp evaluations.jsonl
      zcat logs.jsonl.gz | banditd import otlp -
    """
    from banditd.scores.reading import read_otlp

    _import_once(daemon, read_otlp(file, source=source), as_json=as_json, all_ours=False)


@import_scores.command("langfuse")
@click.option(
    "--langfuse-url", envvar="LANGFUSE_BASE_URL", default="https://cloud.langfuse.com", show_default=True,
    show_envvar=True, help="Address of Langfuse.",
)  # fmt: skip
@click.option("--public-key", envvar="LANGFUSE_PUBLIC_KEY", show_envvar=True, required=True, help="pk-lf-...")
@click.option("--secret-key", envvar="LANGFUSE_SECRET_KEY", show_envvar=True, required=True, help="sk-lf-...")
@click.option("--score", "names", multiple=True, help="Only scores with this name; repeatable.")
@click.option(
    "--days", type=click.FloatRange(0, 3650, min_open=True), default=7.0, show_default=True, help="How far back."
)
@click.option("--every", "every_s", type=click.FloatRange(1), help="Keep running, and look every N seconds.")
@daemon_options
@json_option
def import_langfuse(
    langfuse_url: str, public_key: str, secret_key: str, names: tuple[str, ...], days: float, every_s: float | None,
    **shared: Any,
) -> None:  # fmt: skip
    """Numeric and boolean scores of Langfuse; queries name their trace by reference, or by a traceparent header.

    \b
    Examples:
      banditd import langfuse --score helpfulness --days 1
      banditd import langfuse --every 60
    """
    from banditd.scores.langfuse import read_langfuse

    async def look() -> list[Score]:
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
        return await read_langfuse(langfuse_url, public_key, secret_key, since=since, names=names)

    _keep_importing(look, every_s, **shared)


def _keep_importing(look: Callable[[], Any], every_s: float | None, *, daemon: Daemon, as_json: bool) -> None:
    """Once, or again and again: what is away for a while (either side) is asked again then."""
    from banditd.core.errors import UnavailableError

    while True:
        try:
            whole = _import(daemon, asyncio.run(look()), as_json=as_json, all_ours=False)
            if not whole and every_s is None:
                sys.exit(1)
        except UnavailableError as error:
            if every_s is None:
                raise
            click.echo(f"banditd: {error.message}", err=True)
        if every_s is None:
            return
        asyncio.run(asyncio.sleep(every_s))


def _import_once(daemon: Daemon, scores: Iterable[Score], *, as_json: bool, all_ours: bool) -> None:
    """Ends with 1 where some were refused (or, of ours, are unknown)."""
    if not _import(daemon, scores, as_json=as_json, all_ours=all_ours):
        sys.exit(1)


def _import(daemon: Daemon, scores: Iterable[Score], *, as_json: bool, all_ours: bool) -> bool:
    """Send them and say what became of them. Returns whether none was refused (or, of ours, is unknown)."""
    from banditd.scores.posting import Outcome, newest, post_scores

    given = list(scores)
    found = newest(given)
    outcome = Outcome(replaced=len(given) - len(found))
    failed: list[tuple[str, str]] = []
    try:
        with progress_bar() as bar:
            task = bar.add_task("importing", total=len(found))

            async def send(client: DaemonClient) -> None:
                await post_scores(client, found, outcome, lambda done: bar.update(task, completed=done))

            daemon.run(send)
    finally:
        failed = outcome.refusals + (outcome.unknown if all_ours else [])
        if outcome.counts or not found:
            _show(outcome, failed, as_json=as_json)
    return not failed


def _show(outcome: Outcome, failed: list[tuple[str, str]], *, as_json: bool) -> None:
    counts = {name: outcome.counts[name] for name in ("new", "corrected", "known", "unknown", "refused")}
    if as_json:
        echo_json(
            {
                **counts,
                "replaced": outcome.replaced,
                "failures": [{"origin": origin, "reason": reason} for origin, reason in failed],
            }
        )
        return
    for origin, reason in failed[:SHOWN]:
        click.echo(f"{origin}: {reason}", err=True)
    if len(failed) > SHOWN:
        click.echo(f"... and {len(failed) - SHOWN} more (--json names all)", err=True)
    click.echo(
        f"{counts['new']} new, {counts['corrected']} corrected, {counts['known']} known before, "
        f"{counts['unknown']} of no decision here, {counts['refused']} refused"
        + (f"; {outcome.replaced} not sent, since a later one says the same thing anew" if outcome.replaced else "")
    )
