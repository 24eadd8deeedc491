"""A small asyncio client of the daemon's HTTP API, for the command line, the simulator and live replays.

Not an SDK: paths and bodies are those of ``docs/http.md``, answers are plain dictionaries. It turns problem
bodies into ``RefusedError`` and a daemon that does not answer into ``UnavailableError`` with the mend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from banditd.core.errors import BanditdError, UnavailableError

Json = Any  # whatever json.loads gives


class RefusedError(BanditdError):
    """The daemon answered with a problem.

    Parameters
    ----------
    status : the HTTP status.
    problem : the RFC 9457 body, or ``{"detail": text}`` when the answer was something else.
    """

    default_code = "REFUSED"

    def __init__(self, *, status: int, problem: Mapping[str, Json]) -> None:
        detail = str(problem.get("detail") or problem.get("title") or "no detail")
        places = [
            f"{item.get('pointer', '')} {item.get('message', '')}".strip()
            for item in problem.get("errors") or ()
            if isinstance(item, Mapping)
        ]
        message = f"the daemon answered {status}: {detail}" + "".join(f"\n  {place}" for place in places)
        super().__init__(message, code=str(problem.get("code") or self.default_code))
        self.status = status
        self.problem = dict(problem)


class DaemonClient:
    """One connection pool to one daemon; use it as an async context manager."""

    def __init__(
        self, url: str, *, api_key: str | None = None, connections: int = 16, timeout_s: float = 30.0
    ) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
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
        """One request. Returns the parsed JSON (None for an empty answer).

        Raises
        ------
        RefusedError : a status of 400 or above.
        UnavailableError : nothing answers at the address.
        """
        if self._session is None:
            raise RuntimeError("DaemonClient must be entered before it is used")
        sent = {**(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body, allow_nan=False).encode()
            sent["Content-Type"] = "application/json"
        params = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        try:
            async with self._session.request(
                method, self.url + path, data=data, params=params, headers=sent
            ) as answer:
                content = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(
                f"no answer from {self.url} ({type(error).__name__}): is the daemon running there? "
                "Start one with 'banditd serve', or name another address with --url"
            ) from error
        return _read(status, content)

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


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _read(status: int, content: bytes) -> Json:
    try:
        parsed = json.loads(content) if content else None
    except ValueError:
        parsed = {"detail": content[:500].decode("utf-8", "replace")}
    if status >= 400:
        problem = parsed if isinstance(parsed, dict) else {"detail": str(parsed)}
        raise RefusedError(status=status, problem=problem)
    return parsed
