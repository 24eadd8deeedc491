"""Requests that come again under the key of an earlier one: they are answered with what was decided then.

Looked up before anything is decided, so that a repeat costs one read and is answered even where nothing could be
decided any more (a budget is used up, the arm is gone). What two requests do at the same time is the commit's to
settle (``ports.Committed.repeated``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from banditd.core.errors import BanditdError, ConflictError
from banditd.core.request_keys import RequestKey
from banditd.core.types import Decision, Query
from banditd.ports import RoutingLog

Outcome = Decision | BanditdError


async def repeat_or_route(
    decisions: RoutingLog, queries: Sequence[Query], route: Callable[[Sequence[Query]], Awaitable[list[Outcome]]]
) -> list[Outcome]:
    """One outcome per query, in order; ``route`` decides those that have no key, or a new one.

    Raises ConflictError where a key was used for another request: then nothing is decided.
    """
    keyed = [(query.policy, key) for query in queries if (key := key_of(query)) is not None]
    if not keyed:
        return await route(queries)
    before_all = await decisions.repeated(keyed)
    for before in before_all:
        if isinstance(before, ConflictError):
            raise before
    found = iter(before_all)
    known = [None if key_of(query) is None else next(found) for query in queries]
    new = iter(await route([query for query, before in zip(queries, known, strict=True) if before is None]))
    return [next(new) if before is None else before for before in known]


def key_of(query: Query) -> RequestKey | None:
    """The key under which the query's decision is kept: a dry run keeps nothing."""
    return None if query.dry_run else query.request_key


def answered(outcome: Outcome) -> Decision:
    """The decision, or its error raised."""
    if isinstance(outcome, BanditdError):
        raise outcome
    return outcome
