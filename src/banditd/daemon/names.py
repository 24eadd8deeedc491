"""Floor 6: what a process is called, and where and how long its database is waited for."""

from __future__ import annotations

import os
import socket
import time

from banditd.core.ids import new_id
from banditd.settings import Settings
from banditd.storage import Deadlines
from banditd.storage.dialect import is_sqlite, normalise_url


def holder_name() -> str:
    """A name for this process that no other has: host, process, a unique id."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_id(time.time_ns() // 1000)[-12:]}"


def writer_name(settings: Settings) -> str:
    """Names this replica's counters; the same after a restart, so that they do not multiply."""
    return f"{socket.gethostname()}:{settings.server.port}"


def database_url(settings: Settings) -> str:
    """The database's URL, its password in it."""
    return settings.database.url.get_secret_value()


def database_shown(settings: Settings) -> str:
    """``the database FILE``, or a server's URL without its password and parameters."""
    url = normalise_url(database_url(settings))
    named = url.database if is_sqlite(url) else url.set(query={}).render_as_string(hide_password=True)
    return f"the database {named}"


def deadlines_of(settings: Settings) -> Deadlines:
    """How long the daemon waits for its database."""
    d = settings.database
    return Deadlines(transaction_s=d.transaction_s, lock_s=d.lock_s, silence_s=d.silence_s, report_s=d.report_s)
