"""Scores of Langfuse, by its scores API (``GET /api/public/v3/scores``, self-hosted 3.179 or newer, or its cloud)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

import aiohttp

from banditd.core.errors import InvalidInputError, UnavailableError
from banditd.scores.posting import Score, as_metric, finite, parse_json

_PAGE: Final = 100
_TIMEOUT_S: Final = 30.0
_SOURCES: Final = {"ANNOTATION": "human", "EVAL": "judge", "API": "metric"}


async def read_langfuse(
    url: str, public_key: str, secret_key: str, *, since: dt.datetime, names: Iterable[str] = ()
) -> list[Score]:
    """Numeric and boolean scores of traces and observations since a time, the newest of each only.

    References are trace ids, metrics the scores' names, sources ``human`` (annotations), ``judge`` (evaluators) and
    ``metric`` (sent by programs). A score that was changed is read with its new value, and corrects the reward.

    Raises InvalidInputError : the keys or the address are wrong, or pages come again. UnavailableError : no answer.
    """
    if ":" in public_key:
        raise InvalidInputError("a public key of Langfuse has no colon: it looks like pk-lf-...")
    newest: dict[tuple[str, str, str], tuple[str, Score]] = {}
    headers = {"Authorization": aiohttp.encode_basic_auth(public_key, secret_key)}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        async for row in _rows(session, url, since, ",".join(names)):
            if not isinstance(row, Mapping) or (reward := reward_of(row)) is None:
                continue
            identity = (reward["reference"], reward["metric"], reward["source"])
            at = str(row.get("updatedAt") or row.get("timestamp") or "")
            if identity not in newest or newest[identity][0] <= at:
                newest[identity] = (at, Score(f"score {row.get('id')}", reward))
    return [score for _, score in newest.values()]


def reward_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The reward that a score stands for; None where it says nothing about one answer's worth."""
    subject, stated = row.get("subject"), row.get("value")
    value = None if isinstance(stated, str) else finite(stated)
    if not isinstance(subject, dict) or value is None:
        return None
    trace = {"trace": subject.get("id"), "observation": subject.get("traceId")}.get(str(subject.get("kind")))
    if not isinstance(trace, str) or not trace:
        return None
    return {
        "reference": trace,
        "value": value,
        "metric": as_metric(str(row.get("name"))),
        "source": _SOURCES.get(str(row.get("source")), "metric"),
        "metadata": {"langfuse_score": str(row.get("id"))},
    }


async def _rows(session: aiohttp.ClientSession, url: str, since: dt.datetime, names: str) -> AsyncIterator[object]:
    parameters = {"limit": str(_PAGE), "fields": "subject", "fromTimestamp": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
    if names:
        parameters["name"] = names
    address = f"{url.rstrip('/')}/api/public/v3/scores"
    seen: set[str] = set()
    former: list[object] = []
    while True:
        page = await _page(session, address, parameters)
        rows = page["data"]
        for row in rows:
            yield row
        meta = page.get("meta")
        cursor = meta.get("cursor") if isinstance(meta, dict) else None
        if not cursor:
            return
        cursor = str(cursor)
        if cursor in seen or (rows and rows == former):
            raise InvalidInputError(
                f"{address} does not get on: after {len(seen) + 1} pages cursor {cursor[:80]!r} leads to what it has "
                "answered before, so nothing was imported; is a proxy between that ignores the query?"
            )
        seen.add(cursor)
        former, parameters["cursor"] = rows, cursor


async def _page(session: aiohttp.ClientSession, address: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    try:
        async with session.get(address, params=parameters) as answer:
            if answer.status >= 500 or answer.status == 429:
                raise UnavailableError(f"Langfuse answers {answer.status}: later again")
            if answer.status != 200:
                raise InvalidInputError(f"Langfuse answers {answer.status} at {address}: are address and keys right?")
            page = await answer.json(content_type=None, loads=parse_json)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"what {address} answers is no JSON: is that Langfuse's address?") from error
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        # aiohttp names an SSL context with every address, of plain HTTP too.
        why = error.strerror if isinstance(error, aiohttp.ClientConnectorError) else error
        raise UnavailableError(f"no answer from Langfuse at {address}: {why or 'not in time'}") from error
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise InvalidInputError(f"what {address} answers is no page of scores")
    return page
