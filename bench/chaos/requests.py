"""HTTP as clients speak it: one request, its answer or none, and repetitions where they are harmless."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from bench.chaos.history import History, Operation, Outcome, Try

# Longer than any wait that the daemon has by itself: what is cut here was frozen or killed.
TIMEOUT_S = 15.0
REPEATS = 12
PAUSE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One operation to be sent. items : for a batch, (marker, body) of its queries; they are recorded one by one."""

    marker: str
    kind: str
    policy: str
    path: str
    body: Mapping[str, Any]
    method: str = "POST"
    key: str | None = None
    subject: str = ""
    items: Sequence[tuple[str, Mapping[str, Any]]] = ()
    repeatable: bool = True
    """Whether sending it again is harmless: it has a key, or it says the same about the same thing."""


@dataclass(slots=True)
class Endpoint:
    """All replicas, as one client with one API key sees them."""

    urls: Sequence[str]
    api_key: str
    history: History
    session: aiohttp.ClientSession

    async def send(self, request: Request, replica: int) -> list[Try]:
        """Send once. One try, or one per query of a batch; recorded in the history."""
        headers = {"x-api-key": self.api_key}
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        start_s = time.monotonic()
        status, sent, answer = None, True, {}
        try:
            async with self.session.request(
                request.method, self.urls[replica] + request.path, json=request.body, headers=headers
            ) as response:
                answer = await response.json(content_type=None)
                status = response.status
        except aiohttp.ClientConnectorError:
            sent = False
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            pass
        finally:  # also where this client is cancelled: it was sent
            tries = self._record(request, replica, start_s, status=status, answer=answer, sent=sent)
        return tries

    def _record(
        self,
        request: Request,
        replica: int,
        start_s: float,
        *,
        status: int | None,
        answer: Mapping[str, Any],
        sent: bool,
    ) -> list[Try]:
        one = Try(
            marker=request.marker,
            kind=request.kind,
            policy=request.policy,
            replica=replica,
            start_s=start_s,
            end_s=time.monotonic(),
            key=request.key,
            subject=request.subject,
            body=request.body,
            status=status,
            code=answer.get("code") if status is not None and status >= 300 else None,
            answer=answer,
            sent=sent,
        )
        tries = _of_items(request, one) if request.items else [one]
        for each in tries:
            self.history.add(each)
        return tries

    async def perform(self, request: Request, replica: int, rng: random.Random) -> list[Operation]:
        """Send until the outcome is known, as far as that is harmless; now and then once more for nothing."""
        tries = await self.send(request, replica)
        for number in range(REPEATS if request.repeatable else 0):
            known = all(one.outcome is not Outcome.UNKNOWN and one.status != 503 and one.sent for one in tries[-1:])
            if known and not (number == 0 and rng.random() < 0.15):
                break
            await asyncio.sleep(PAUSE_S * (1 + number) if not known else 0.0)
            tries += await self.send(request, rng.randrange(len(self.urls)))
        operations: dict[str, Operation] = {}
        for one in tries:
            operations.setdefault(one.marker, Operation(one.marker)).tries.append(one)
        return list(operations.values())


def _of_items(request: Request, one: Try) -> list[Try]:
    """A batch as tries of its queries: each has an outcome of its own where the batch was answered."""
    results = one.answer.get("results", []) if one.outcome is Outcome.DONE else []
    tries = []
    for number, (marker, body) in enumerate(request.items):
        item = replace(one, marker=marker, kind="route", body=body)
        if results:
            result = results[number]
            error = result.get("error") or {}
            answer = result.get("decision") or error
            item = replace(item, status=result["status_code"], answer=answer, code=error.get("code"))
        tries.append(item)
    return tries
