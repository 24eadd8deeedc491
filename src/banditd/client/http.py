"""The blocking transport: ``http.client`` with kept connections. Nothing but the standard library."""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from banditd.client.calls import authorized, encode_body, query_string, with_key
from banditd.client.daemon import no_answer
from banditd.client.errors import read_answer
from banditd.client.retries import Retries
from banditd.core.errors import BanditdError

Json = Any
# Shorter than any daemon or proxy keeps an idle connection: a kept one is then hardly ever a dead one.
IDLE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class _Kept:
    """An idle connection; another process (after a fork) must not use it."""

    connection: http.client.HTTPConnection
    process: int
    idle_since_s: float


class BlockingTransport:
    """Safe to share between threads: each call takes an idle connection, or opens one, and gives it back.

    Parameters
    ----------
    url : address of the daemon, with a path where a proxy puts it below one.
    api_key : sent as ``Authorization: Bearer``.
    timeout_s : seconds that one try may take to connect, and then between two pieces of the answer.
    retries : when to ask again.
    """

    def __init__(self, url: str, *, api_key: str | None, timeout_s: float, retries: Retries) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a daemon: give one such as http://127.0.0.1:8484")
        self._parts = parts
        self._headers = authorized(api_key)
        self._timeout_s = timeout_s
        self._retries = retries
        self._rng = random.Random()
        self._lock = threading.Lock()
        self._idle: list[_Kept] = []

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Json = None,
        query: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """As ``DaemonClient.call``, blocking."""
        sent = {"Accept": "application/json", **self._headers, **with_key(method, path, headers)}
        data = None
        if body is not None:
            data = encode_body(body)
            sent["Content-Type"] = "application/json"
        tried = 0
        while True:
            try:
                return self._try(method, self._parts.path + path + query_string(query), data, sent)
            except BanditdError as error:
                tried += 1
                pause_s = self._retries.pause_s(error, tried, self._rng)
                if pause_s is None:
                    raise
            time.sleep(pause_s)

    def close(self) -> None:
        """Close the idle connections. A later call opens a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for kept in idle:
            kept.connection.close()

    def _try(self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> Json:
        connection = self._take()
        try:
            connection.request(method, target, body=data, headers=dict(headers))
            answer = connection.getresponse()
            content = answer.read()
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            raise no_answer(self.url, error) from error
        except BaseException:
            connection.close()  # stopped in the middle: what is left in it belongs to nobody
            raise
        self._give(connection)
        return read_answer(answer.status, content, answer.headers.get("Retry-After"))

    def _take(self) -> http.client.HTTPConnection:
        now_s, process = time.monotonic(), os.getpid()
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                break
            if kept.process == process and now_s - kept.idle_since_s < IDLE_S:
                return kept.connection
            kept.connection.close()  # after a fork this closes the child's copy only
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout_s)

    def _give(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append(_Kept(connection, os.getpid(), time.monotonic()))
