"""``banditd backup``, ``restore`` and ``copy``: the whole database into a file, back, and to another database."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from banditd.cli.database import database_option
from banditd.cli.options import config_option, json_option, read_settings
from banditd.cli.show import echo_json, with_progress

if TYPE_CHECKING:
    from banditd.storage.archive import Moved
    from banditd.storage.archive.files import Progress

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@config_option
@database_option
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists, once the new one is complete.")
@json_option
def backup(file: Path, config: Path | None, database: str | None, overwrite: bool, as_json: bool) -> None:
    """Write the whole database to FILE, while the daemon serves.

    FILE is a single SQLite database, whatever the source: 'restore' can load it into either kind, and any other
    command can read it (--database sqlite:///FILE). It is verified before it gets its name.

    \b
    Examples:
      banditd backup banditd-2026-11-29.db
      banditd backup /backups/latest.db --overwrite --database postgresql://me@db/banditd
    """
    url = _url(config, database)
    from banditd.storage import archive

    moved = _run(lambda progress: archive.backup(url, file, overwrite=overwrite, progress=progress), as_json)
    if moved is not None:
        click.echo(f"{moved.decisions} decisions, {(moved.bytes or 0) / 1e6:,.1f} MB written to {file} and verified")


@click.command()
@click.argument("file", type=_FILE)
@config_option
@database_option
@click.option(
    "--overwrite", is_flag=True,
    help="Replace a database that has rows. A SQLite file is kept under another name, PostgreSQL's rows are deleted.",
)  # fmt: skip
@json_option
def restore(file: Path, config: Path | None, database: str | None, overwrite: bool, as_json: bool) -> None:
    """Replace the database by a backup. Stop every daemon first.

    FILE is verified first; if it is damaged or from a later release, nothing is changed. A backup from an older
    release is migrated.

    \b
    Examples:
      banditd restore banditd-2026-11-29.db --overwrite
      banditd restore banditd-2026-11-29.db --database postgresql://me@db/banditd
    """
    url = _url(config, database)
    from banditd.storage import archive

    moved = _run(lambda progress: archive.restore(file, url, overwrite=overwrite, progress=progress), as_json)
    if moved is not None:
        click.echo(f"{moved.decisions} decisions of {file} restored to {moved.to}, schema {moved.revision}")
        if moved.kept:
            click.echo(f"the former database is kept as {moved.kept}: delete it once all is well")


@click.command("copy")
@click.option("--to", required=True, help="An empty database: postgresql://user@host/name or sqlite:///file.db.")
@config_option
@database_option
@click.option(
    "--while-serving", is_flag=True,
    help="Copy although a daemon is running: what it writes from now on is not copied.",
)  # fmt: skip
@json_option
def copy_database(to: str, config: Path | None, database: str | None, while_serving: bool, as_json: bool) -> None:
    """Copy everything to another database, also of the other kind: the log, what was learned, arms, budgets.

    Either all of it arrives or nothing: an interrupted copy starts again. The source is not changed.

    \b
    Examples:
      banditd copy --to postgresql://me@db/banditd
      banditd copy --database postgresql://me@db/banditd --to sqlite:///banditd.db
    """
    url = _url(config, database)
    from banditd.storage import archive

    moved = _run(
        lambda progress: archive.copy_database(url, to, while_serving=while_serving, progress=progress), as_json
    )
    if moved is not None:
        total = f"{sum(moved.rows.values())} rows, " if moved.rows else ""
        click.echo(f"{total}{moved.decisions} decisions copied to {moved.to}; point database.url there and start")


def _url(config: Path | None, database: str | None) -> str:
    return read_settings(config, {"database.url": database}).database.url.get_secret_value()


def _run(work: Callable[[Progress], Moved], as_json: bool) -> Moved | None:
    """Do it with a bar on standard error. None when the result was printed as JSON."""
    started = time.monotonic()
    moved = with_progress(work)
    if not as_json:
        return moved
    echo_json({**dataclasses.asdict(moved), "seconds": round(time.monotonic() - started, 3)})
    return None
