"""Repeated requests under the same idempotency key: they get the answer of the first one.

They are looked up before anything is decided. So a repeat costs one read and is answered even if nothing could be
decided any more (a budget is used up, the arm is gone). Requests under the same key at the same time are resolved by
the commit (``ports.Committed.repeated``).
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
    """One outcome per query, in order; ``route`` decides those without a key or with a new one.

    Raises ConflictError if a key was used for another request; then nothing is decided.
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
    """The key under which the query's decision is stored; None for a dry run, which stores nothing."""
    return None if query.dry_run else query.request_key


def answered(outcome: Outcome) -> Decision:
    """Return the decision, or raise the error."""
    if isinstance(outcome, BanditdError):
        raise outcome
    return outcome
