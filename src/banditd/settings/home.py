"""Where a daemon keeps house that nobody configured: the shipped configuration and the user's data directory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from platformdirs import user_data_path

from banditd.core.errors import ConfigurationError

_SHIPPED: Final = (
    Path(__file__).resolve().parents[1] / "_config.yaml",  # of a wheel
    Path(__file__).resolve().parents[3] / "config.yaml",  # of a source tree
)
_WORKING_DATABASE: Final = Path("var/banditd.db")
_CONFIGURED_BY: Final = ("BANDITD_DATABASE", "BANDITD_POLICIES")


def is_unconfigured(environ: Iterable[str], database: object) -> bool:
    """Whether nothing names policies or a database, where no configuration file is given or found.

    environ : names of the environment's variables.
    database : the command line's, or None.

    A database that stands where every daemon without a file has kept it goes on being used.
    """
    named = any(name.upper().startswith(_CONFIGURED_BY) for name in environ)
    return database is None and not named and not _WORKING_DATABASE.exists()


def shipped_configuration() -> Path:
    """The complete configuration with its example arms. Raises ConfigurationError where the package is not whole."""
    for path in _SHIPPED:
        if path.is_file():
            return path
    raise ConfigurationError("this banditd has lost its shipped configuration: install it again, or give --config")


def home_database_url() -> str:
    """A database in the user's data directory, such as ``~/.local/share/banditd/banditd.db``."""
    return f"sqlite:///{(user_data_path('banditd', appauthor=False) / 'banditd.db').as_posix()}"
