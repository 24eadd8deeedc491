"""The ``banditd`` command. Thin: each subcommand parses its options and calls the part that does the work.

Modules here import nothing heavy at the top, so ``banditd --help`` answers at once; numpy and its BLAS are
imported after ``main`` has limited their threads.
"""

from __future__ import annotations

import errno
import os
import sys

import click

from banditd import __version__
from banditd.cli.apply import apply
from banditd.cli.archive import backup, copy_database, restore
from banditd.cli.arena import arena
from banditd.cli.arms import arms
from banditd.cli.candidates import candidate
from banditd.cli.completion import completion
from banditd.cli.configuration import check_config, keys
from banditd.cli.correct_budget import correct_budget
from banditd.cli.database import export, migrate, rebuild
from banditd.cli.drift import anchor, drift
from banditd.cli.encoder import encoder
from banditd.cli.evaluate import evaluate
from banditd.cli.fit_prior import fit_prior
from banditd.cli.import_scores import import_scores
from banditd.cli.known_models import models
from banditd.cli.look import decision, decisions, stats
from banditd.cli.mcp import mcp
from banditd.cli.own_models import init
from banditd.cli.release import release
from banditd.cli.replay import replay
from banditd.cli.serve import serve
from banditd.cli.simulate import simulate
from banditd.cli.top import top
from banditd.cli.traffic import abandon, reward, route
from banditd.core.errors import BanditdError, ConfigurationError, InvalidInputError

# One thread each: our matrices are small, and spinning threads would take the cores from the event loop.
SINGLE_THREADED = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
EXIT_FAILED = 1
EXIT_USAGE = 2
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with 'banditd serve', then 'banditd route \"Prove that ...\"' in another terminal.",
)
@click.version_option(__version__, prog_name="banditd")
def commands() -> None:
    """Learn, from live traffic, which large language model should answer which query."""


for command in (
    init, models, serve, migrate, check_config, route, reward, abandon, decision, decisions, arms, stats, top,
    simulate, replay, fit_prior, encoder, rebuild, apply, candidate, evaluate, correct_budget, backup, restore,
    copy_database, export, import_scores, keys, mcp, completion, release, drift, anchor, arena,
):  # fmt: skip
    commands.add_command(command)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage or configuration."""
    _fill_standard_streams()
    for name in SINGLE_THREADED:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        commands(prog_name="banditd")
    except (ConfigurationError, InvalidInputError) as error:
        _say(error)
        sys.exit(EXIT_USAGE)
    except BanditdError as error:
        _say(error)
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # The reader of our output has gone (`banditd export | head`): no traceback for that.
        _leave_output()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _leave_output()
        click.echo(f"banditd: the output is incomplete: {error.strerror}", err=True)
        sys.exit(EXIT_FAILED)


def _leave_output() -> None:
    """Discard the remaining output, so that the interpreter does not try to write it again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fill_standard_streams() -> None:
    """Open standard streams that were closed; otherwise a socket could get such a number and be taken for one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free: this one.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w" if number else "r", encoding="utf-8"))


def _say(error: BanditdError) -> None:
    place = f" ({error.field})" if error.field else ""
    click.echo(f"banditd: {error.message}{place}", err=True)
