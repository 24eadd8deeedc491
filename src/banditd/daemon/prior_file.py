"""Prior files on disk: read at start and by ``replay``, written by ``replay`` and ``export``. Their meaning is
``bandit.posterior.prior``'s.
"""

from __future__ import annotations

from pathlib import Path

from banditd.bandit.posterior.prior import Prior
from banditd.core.errors import ConfigurationError


def read_prior(path: Path) -> Prior:
    """Read and check a prior file.

    Raises
    ------
    ConfigurationError : it cannot be read, or is damaged or no prior file; names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the prior file {path} cannot be read: {error}") from error
    try:
        return Prior.from_json(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}") from error


def write_prior(prior: Prior, path: Path) -> None:
    """Write a prior file.

    Raises
    ------
    ConfigurationError : it cannot be written.
    """
    try:
        path.write_text(prior.to_json(), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the prior file {path} cannot be written: {error}") from error
