"""The asyncio transport: one connection pool to one daemon, paths and bodies in, parsed JSON out.

The command line, the simulator and live replays use it as it is. It turns problem bodies into ``RefusedError``
and a daemon that does not answer into ``UnavailableError`` with the mend, and tries again where it is told to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from banditd.client.calls import authorized, encode_body, query_string, with_key
from banditd.client.errors import RefusedError, read_answer
from banditd.client.retries import NO_RETRIES, Retries
from banditd.core.errors import BanditdError, UnavailableError

Json = Any  # whatever json.loads gives


class DaemonClient:
    """Use it as an async context manager.

    Parameters
    ----------
    url : address of the daemon, with a path where a proxy puts it below one.
    api_key : sent as ``Authorization: Bearer``.
    connections : at most so many at once.
    timeout_s : seconds that one try may take.
    retries : when to ask again; never, unless told.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        connections: int = 16,
        timeout_s: float = 30.0,
        retries: Retries = NO_RETRIES,
    ) -> None:
        self.url = url.rstrip("/")
        self._headers = authorized(api_key)
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._retries = retries
        self._rng = random.Random()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Json = None,
        query: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """One call, tried again as ``retries`` say. Returns the parsed JSON (None for an empty answer).

        Raises
        ------
        RefusedError : a status of 400 or above.
        UnavailableError : nothing answers at the address, or not in time.
        """
        sent = with_key(method, path, headers)
        data = None
        if body is not None:
            data = encode_body(body)
            sent["Content-Type"] = "application/json"
        tried = 0
        while True:
            try:
                return await self._try(method, path + query_string(query), data, sent)
            except BanditdError as error:
                tried += 1
                pause_s = self._retries.pause_s(error, tried, self._rng)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)

    async def _try(self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> Json:
        if self._session is None:
            raise RuntimeError("DaemonClient must be entered before it is used")
        try:
            async with self._session.request(method, self.url + target, data=data, headers=headers) as answer:
                content = await answer.read()
                status, retry_after = answer.status, answer.headers.get("Retry-After")
        except (aiohttp.ClientError, OSError) as error:
            raise no_answer(self.url, error) from error
        return read_answer(status, content, retry_after)

    async def route(self, query: Mapping[str, Json]) -> dict[str, Json]:
        answer: dict[str, Json] = await self.call("POST", "/v1/route", body=query)
        return answer

    async def reward(self, reward: Mapping[str, Json], *, idempotency_key: str | None = None) -> dict[str, Json]:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        answer: dict[str, Json] = await self.call("POST", "/v1/rewards", body=reward, headers=headers)
        return answer

    async def usage(self, decision_id: str, report: Mapping[str, Json]) -> dict[str, Json]:
        answer: dict[str, Json] = await self.call("POST", f"/v1/decisions/{decision_id}/usage", body=report)
        return answer

    async def arms(self, policy: str) -> list[dict[str, Json]]:
        """The arms of a policy; an unknown policy has none."""
        try:
            answer = await self.call("GET", "/v1/arms", query={"policy": policy})
        except RefusedError as error:
            if error.status == 404:
                return []
            raise
        listed: list[dict[str, Json]] = answer["arms"] if isinstance(answer, dict) else answer
        return listed

    async def add_arm(self, policy: str, arm: Mapping[str, Json]) -> dict[str, Json]:
        answer: dict[str, Json] = await self.call("POST", "/v1/arms", query={"policy": policy}, body=arm)
        return answer

    async def alive(self) -> bool:
        """Whether a daemon answers at the address."""
        try:
            await self.call("GET", "/health/liveness")
        except (UnavailableError, RefusedError):
            return False
        return True


def no_answer(url: str, error: Exception) -> UnavailableError:
    """The error for a daemon that does not answer, with the mend."""
    if isinstance(error, TimeoutError):
        return UnavailableError(
            f"{url} did not answer in time: give the client a longer timeout_s, or look at the daemon's load",
            code="TIMEOUT",
        )
    if not url.startswith(("http://", "https://")):
        return UnavailableError(f"{url} is no address: write http://{url}")
    return UnavailableError(
        f"no answer from {url} ({type(error).__name__}): is the daemon running there? "
        "Start one with 'banditd serve', or name another address with --url"
    )
