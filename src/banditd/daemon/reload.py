"""SIGHUP: what can change while the daemon serves is read again; the rest is named. It never ends the daemon.

Applied are ``logging.level`` and the price files (``policies.*.prices_file``), which are looked at at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from banditd.core.errors import BanditdError, ConfigurationError
from banditd.jobs.scheduler import JobScheduler
from banditd.obs.logs import set_level
from banditd.settings import Settings

logger = logging.getLogger(__name__)
_APPLIED: Final = frozenset({"logging.level"})


class Reloader:
    """Reads the configuration again whenever ``requested`` is set.

    Parameters
    ----------
    settings : what the daemon was started with.
    read : gives them as they are now. Raises ConfigurationError.
    jobs : whose job ``prices`` looks at the price files.
    """

    def __init__(self, settings: Settings, read: Callable[[], Settings], jobs: JobScheduler) -> None:
        self._started = settings
        self._current = settings
        self._read = read
        self._jobs = jobs

    async def run(self, requested: asyncio.Event) -> None:
        """Until it is cancelled."""
        while True:
            await requested.wait()
            requested.clear()
            await self.reload()

    async def reload(self) -> None:
        """Read again, apply what can be applied, say what needs a restart. A broken file changes nothing."""
        try:
            fresh = await asyncio.to_thread(self._read)
        except ConfigurationError as error:
            logger.warning("server.reload_failed", extra={"error": error.message})
            return
        set_level(fresh.logging.level)
        applied = sorted(set(differences(self._current.model_dump(), fresh.model_dump())) & _APPLIED)
        waiting = sorted(set(differences(self._started.model_dump(), fresh.model_dump())) - _APPLIED)
        self._current = fresh
        try:
            await self._jobs.run_now("prices")
        except BanditdError as error:
            logger.warning("server.reload_failed", extra={"error": error.message})
        logger.warning("server.reloaded", extra={"applied": applied, "needs_restart": waiting})


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of what differs, never values."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differences(before, after, f"{prefix}{name}.")
        elif before != after:
            yield f"{prefix}{name}"
