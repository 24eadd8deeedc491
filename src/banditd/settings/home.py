"""Defaults without a configuration: the shipped configuration file and the user's data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from platformdirs import user_data_path

from banditd.core.errors import ConfigurationError

_SHIPPED: Final = (
    Path(__file__).resolve().parents[1] / "_config.yaml",  # of a wheel
    Path(__file__).resolve().parents[3] / "config.yaml",  # of a source tree
)
_WORKING_DATABASE: Final = Path("var/banditd.db")


def shipped_configuration() -> Path:
    """The complete configuration with its example arms. Raises ConfigurationError if the package lacks it."""
    for path in _SHIPPED:
        if path.is_file():
            return path
    raise ConfigurationError("the shipped configuration is missing: install banditd again, or give --config")


def kept_database_url() -> str:
    """A database in the user's data directory, such as ``~/.local/share/banditd/banditd.db``.

    A database that exists in the working directory, as a configuration file names it, is still used.
    """
    if _WORKING_DATABASE.exists():
        return f"sqlite:///{_WORKING_DATABASE.as_posix()}"
    return f"sqlite:///{(user_data_path('banditd', appauthor=False) / 'banditd.db').as_posix()}"
