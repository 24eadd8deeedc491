"""``banditd migrate``, ``rebuild`` and ``export``: commands that work on the database without a daemon."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from banditd.cli.options import config_option, json_option, read_settings
from banditd.cli.show import echo_json, print_table, progress_bar, with_progress
from banditd.core.errors import NotFoundError

if TYPE_CHECKING:
    from banditd.daemon.workbench import Workbench
    from banditd.services.learning.rebuild import RebuildReport
    from banditd.services.policy import PolicyRuntime
    from banditd.settings import Settings

database_option = click.option(
    "--database",
    help="sqlite:///file.db or postgresql://user:password@host/name; default: the configuration's.",
)


@click.command()
@config_option
@database_option
@click.option(
    "--partition", is_flag=True,
    help="Move an unpartitioned log on PostgreSQL into partitions. Stop every daemon first.",
)  # fmt: skip
def migrate(config: Path | None, database: str | None, partition: bool) -> None:
    """Bring the database to the newest schema. 'serve' does this itself at start.

    --partition may be interrupted at any time and continues when it is run again. Until it is done the log takes
    twice its space. Views, indexes, privileges and comments are moved too; what cannot be moved is refused first.

    \b
    Examples:
      banditd migrate --database postgresql://me@db/banditd
      banditd migrate --partition
    """
    settings = read_settings(config, {"database.url": database})
    from banditd.daemon.names import database_url

    url = database_url(settings)
    if partition:
        _partition(url)
        return
    from banditd.storage import migrate as bring_up

    click.echo(f"the database is at schema {bring_up(url)}")


def _partition(url: str) -> None:
    from banditd.storage.archive import partition_log

    found = with_progress(lambda progress: partition_log(url, progress=progress))
    if found.already:
        click.echo(f"the log already has {found.partitions} partitions: nothing was moved")
        return
    before = found.decisions - found.moved_now
    earlier = f" ({before} of them by a run before)" if before else ""
    click.echo(
        f"{found.decisions} decisions{earlier} moved into {found.partitions} partitions in {found.seconds:.1f} s"
    )
    for line in [*(f"carried over: {one}" for one in found.carried), *found.notes]:
        click.echo(line)


@click.command()
@config_option
@database_option
@click.option("--policy", help="Only this policy; default: all of the configuration.")
@click.option("--check/--write", "check", default=True, help="Compare only (default), or replace the state.")
@json_option
def rebuild(config: Path | None, database: str | None, policy: str | None, check: bool, as_json: bool) -> None:
    """Learn the whole log again and compare the result with the stored state; exit code 1 if they differ.

    --write replaces the stored state, including damaged rows; stop the daemon first. Every damaged row is listed,
    with whether it can be restored from the log.

    \b
    Examples:
      banditd rebuild --check
      banditd rebuild --write --policy default
    """
    settings = read_settings(config, {"database.url": database})
    reports = asyncio.run(_rebuild(settings, policy, write=not check))
    if as_json:
        echo_json([{**dataclasses.asdict(report), "agrees": report.agrees} for report in reports])
    else:
        columns = (
            "policy",
            "rewarded decisions",
            "other schema",
            "queued",
            "segments",
            "largest difference",
            "wrong marks",
            "agrees",
        )
        rows = [
            (
                r.policy,
                r.decisions,
                r.skipped,
                r.queued,
                r.segments,
                r.largest_difference,
                r.contributions_differ,
                r.agrees,
            )
            for r in reports
        ]
        print_table("rebuilt" if not check else "compared", columns, rows)
        for report in reports:
            _tell(report)
    if check and any(report.damages or (report.complete_log and not report.agrees) for report in reports):
        sys.exit(1)


def _tell(report: RebuildReport) -> None:
    """List each damaged row and what became of it, which the table leaves out."""
    if not report.complete_log:
        click.echo(f"policy {report.policy}: retention has pruned the log, so the sums cannot agree", err=True)
    for damage in report.damages:
        if damage.from_log:
            then = "made again from the log" if report.written else "--write makes it again from the log"
        else:
            then = "the log does not have it"
        place = f"policy {report.policy}: damaged {damage.table} ({damage.row})"
        click.echo(f"{place}: {damage.reason}; {then}", err=True)


async def _rebuild(settings: Settings, policy: str | None, *, write: bool) -> list[RebuildReport]:
    from banditd.daemon.candidates import make_shadowing
    from banditd.daemon.workbench import open_workbench
    from banditd.services.learning.rebuild import rebuild as refold

    reports = []
    async with open_workbench(settings) as bench:
        if policy is not None:
            _runtime(bench, policy)
        with progress_bar() as bar:
            for name, runtime in bench.runtimes.items():
                if policy not in {None, name}:
                    continue
                task = bar.add_task(f"refolding {name}", total=None)
                reports.append(
                    await refold(
                        runtime,
                        store=bench.learning,
                        leases=bench.storage.leases,
                        jobs=bench.storage.jobs,
                        clock=bench.clock,
                        holder=bench.holder,
                        write=write,
                        lease_s=settings.learner.lease_s,
                        progress=lambda done, task=task: bar.update(task, completed=done),  # type: ignore[misc]
                        shadows=make_shadowing(bench).corrected,
                    )
                )
    return reports


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@config_option
@database_option
@click.option("--policy", help="Only this policy; default: all for FILE, 'default' for --prior.")
@click.option(
    "--prior", type=click.Path(dir_okay=False, path_type=Path),
    help="Write what the policy has learned as a prior file, for policies.NAME.prior_file of another daemon.",
)  # fmt: skip
@json_option
def export(
    file: Path | None,
    config: Path | None,
    database: str | None,
    policy: str | None,
    prior: Path | None,
    as_json: bool,
) -> None:
    """Write the decision log with rewards and usage to FILE (.jsonl or .parquet), oldest first.

    \b
    Examples:
      banditd export log.jsonl
      banditd export log.parquet --policy default
      banditd export --prior prior.json --policy default
    """
    if file is None and prior is None:
        raise click.UsageError("name what to write: FILE for the log, --prior FILE for what was learned, or both")
    settings = read_settings(config, {"database.url": database})
    done = asyncio.run(_export(settings, file, policy, prior))
    if as_json:
        echo_json(done)
        return
    if file is not None:
        click.echo(f"{done['decisions']} decisions written to {file}")
    if prior is not None:
        click.echo(f"what was learned from {done['prior_rewards']:.0f} rewards written to {prior}")


async def _export(settings: Settings, file: Path | None, policy: str | None, prior: Path | None) -> dict[str, Any]:
    from banditd.daemon.workbench import open_workbench

    done: dict[str, Any] = {}
    async with open_workbench(settings) as bench:
        if file is not None:
            done |= await _export_log(bench, file, policy)
        if prior is not None:
            done |= {"prior": str(prior), "prior_rewards": await _export_prior(bench, prior, policy or "default")}
    return done


async def _export_log(bench: Workbench, file: Path, policy: str | None) -> dict[str, Any]:
    from banditd.services.upkeep.export import export_log

    totals = await bench.storage.reports.totals()
    damaged: list[str] = []

    def tell(decision_id: str, reason: str) -> None:
        damaged.append(decision_id)
        click.echo(f"decision {decision_id} is damaged and left out: {reason}", err=True)

    with progress_bar() as bar:
        task = bar.add_task("exporting", total=None if policy else totals.get("decision"))
        count = await export_log(
            bench.storage.whole_log,
            file,
            policy=policy,
            progress=lambda n: bar.update(task, completed=n),
            damaged=tell,
        )
    return {"file": str(file), "decisions": count, "damaged": damaged}


async def _export_prior(bench: Workbench, file: Path, policy: str) -> float:
    from banditd.daemon.prior_file import write_prior
    from banditd.services.upkeep.export import export_prior

    runtime = _runtime(bench, policy)
    prior = await export_prior(policy, runtime.builder.schema, runtime.config.settings, bench.learning)
    write_prior(prior, file)
    return prior.rewards


def _runtime(bench: Workbench, policy: str) -> PolicyRuntime:
    if policy not in bench.runtimes:
        raise NotFoundError(f"no policy {policy} in the configuration; it has {', '.join(bench.runtimes)}")
    return bench.runtimes[policy]
