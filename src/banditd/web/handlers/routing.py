"""``POST /v1/route`` and ``/v1/route/batch``. This is the hot path: every query pays for every microsecond here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, Final

import numpy as np
from aiohttp import web

from banditd.core.errors import BanditdError
from banditd.core.origins import STEP
from banditd.core.pace import Pace
from banditd.core.types import Decision, Query
from banditd.web.answers import decision_answer
from banditd.web.api import Api
from banditd.web.body import read_body, read_items, read_with_items
from banditd.web.idempotency import batch_key, duplicate_header, request_key
from banditd.web.json import JSON_TYPE, Answer, encode, raw_answer
from banditd.web.keys import KEY_NAME
from banditd.web.origins import origin_of
from banditd.web.outlines import outline_of_messages
from banditd.web.problems import InvalidFieldsError, item_error, kind_of
from banditd.web.schemas.routing import ContentPart, Message, RouteBatchItems, RouteRequest


async def create(api: Api, request: web.Request) -> web.Response:
    """Route one query."""
    started = perf_counter()
    try:
        requested = await read_with_items(await read_body(request), RouteRequest, "messages", Message)
        query = to_query(requested, api.config.max_input_chars, key_name=request.get(KEY_NAME))
        query.origin = origin_of(request, requested, trace_as_task=api.config.trace_as_task)
        if "Idempotency-Key" in request.headers:
            query = replace(query, request_key=await request_key(request, "route", requested))
        decision = await api.services.routing.route(query)
    except BanditdError as error:
        api.metrics.count(api.metrics.route_errors, error.code)
        raise
    elapsed_s = perf_counter() - started
    api.metrics.route_overhead.observe(elapsed_s)
    answer = _answer(api, requested, decision)
    headers = [
        ("Content-Type", JSON_TYPE),
        ("x-banditd-decision-id", "" if requested.dry_run else decision.decision_id),
        ("x-banditd-arm", decision.arm),
        ("x-banditd-policy-version", str(decision.snapshot_version)),
        ("x-banditd-propensity", repr(float(decision.propensity))),
        ("x-banditd-explored", "true" if decision.explored else "false"),
        ("x-banditd-overhead-ms", f"{elapsed_s * 1e3:.3f}"),
    ]
    if decision.duplicate:
        headers += duplicate_header(duplicate=True).items()
    return Answer(body=encode(answer), headers=headers)


async def create_batch(api: Api, request: web.Request) -> web.Response:
    """Route several queries; their decisions share one commit."""
    requested = await read_items(await read_body(request), RouteBatchItems, "queries", RouteRequest)
    if len(requested) > api.config.max_batch:
        message = f"at most {api.config.max_batch} queries at once"
        raise InvalidFieldsError(message, errors=[("/queries", message)])
    limit = api.config.max_input_chars
    key_name = request.get(KEY_NAME)
    pace = Pace()
    queries = []
    for index, one in enumerate(requested):
        query = to_query(one, limit, f"/queries/{index}", key_name)
        query.origin = origin_of(request, one, trace_as_task=api.config.trace_as_task)
        queries.append(query)
        await pace.step()
    key = await batch_key(request, "route_batch", requested)
    if key is not None:
        queries = [replace(query, request_key=replace(key, item=index)) for index, query in enumerate(queries)]
    outcomes = await api.services.routing.route_batch(queries)
    results = []
    for index, (one, outcome) in enumerate(zip(requested, outcomes, strict=True)):
        results.append(encode(_batch_item(api, index, one, outcome)))
        await pace.step()
    failures = [outcome for outcome in outcomes if isinstance(outcome, BanditdError)]
    for failure in failures:
        api.metrics.count(api.metrics.route_errors, failure.code)
    return raw_answer(b'{"results":[' + b",".join(results) + b"]}", status=207 if failures else 200)


def _answer(api: Api, requested: RouteRequest, decision: Decision) -> dict[str, object]:
    recipes = api.services.routing.recipes_of(decision)
    return decision_answer(decision, dry_run=requested.dry_run, explain=requested.explain, recipes=recipes)


def _batch_item(api: Api, index: int, requested: RouteRequest, outcome: Decision | BanditdError) -> dict[str, object]:
    if isinstance(outcome, BanditdError):
        return {"index": index, "status_code": kind_of(outcome).status, "error": item_error(outcome)}
    return {"index": index, "status_code": 200, "decision": _answer(api, requested, outcome)}


def to_query(requested: RouteRequest, max_input_chars: int, pointer: str = "", key_name: str | None = None) -> Query:
    """The query in the form that the services take. Raises InvalidFieldsError for a text beyond the limit."""
    text, turns = requested.input, 1
    if requested.messages is not None:
        text, turns = join_messages(requested.messages)
    if not text:
        text = None
    else:
        if len(text) > max_input_chars:
            message = f"the text has {len(text)} characters; at most {max_input_chars} are taken"
            where = "/input" if requested.input is not None else "/messages"
            raise InvalidFieldsError(message, errors=[(pointer + where, message)])
        if "\0" in text:  # PostgreSQL stores no NUL, and no tokenizer reads one
            text = text.replace("\0", "\ufffd")
    stated = {}
    for name in requested.model_fields_set & _OF_QUERY.keys():
        value = getattr(requested, name)
        if value is not None:
            as_in_query = _OF_QUERY[name]
            stated[name] = value if as_in_query is None else as_in_query(value)
    if requested.step:
        stated["tags"] = with_step(stated.get("tags", {}), requested.step, f"{pointer}/step")
    tools = requested.tools
    template = partial(outline_of_messages, requested.messages, tools)
    return Query(text=text, turns=turns, key_name=key_name, template=template, **stated)


def stated_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags without empty ones: an unset variable of a client is not a value."""
    return tags if all(tags.values()) else {name: value for name, value in tags.items() if value}


def with_step(tags: Mapping[str, str], step: str, pointer: str) -> dict[str, str]:
    """The tags plus the step. Raises InvalidFieldsError if they already name another one."""
    if tags.get(STEP, step) != step:
        message = f"step is the tag of that name, and the tags say {tags[STEP]!r}: give one of the two"
        raise InvalidFieldsError(message, errors=[(pointer, message)])
    return {**tags, STEP: step}


# Fields of a request that a query has too, and what they become there: nothing else, most of them.
_OF_QUERY: Final[Mapping[str, Callable[[Any], Any] | None]] = {
    "policy": None,
    "embedding": partial(np.array, dtype=np.float64),
    "tools": lambda tools: tools if isinstance(tools, int) else len(tools),
    "features": None,
    "candidates": tuple,
    "excluded_arms": frozenset,
    "capabilities": frozenset,
    "max_cost_usd": None,
    "max_latency_ms": None,
    "quality_floor": None,
    "quality_confidence": None,
    "profile": None,
    "cost_weight": None,
    "keep": None,
    "expected_output_tokens": None,
    "session_id": lambda label: label or None,
    "new_session_arm": None,
    "recipes": None,
    "reference": lambda label: label or None,
    "tags": stated_tags,
    "dry_run": None,
    "explain": None,
    "defer_activation": None,
}


def join_messages(messages: list[Message]) -> tuple[str | None, int]:
    """All text of a conversation, in order, one message per paragraph; and its number of user turns.

    The text is None if there is none at all (for example only images).
    """
    parts: list[str] = []
    turns = 0
    for message in messages:
        content = message.content
        turns += message.role == "user" and not _only_results(content)
        if isinstance(content, str):
            parts.append(content)
        elif content is not None:
            for part in content:
                if part.text is not None:
                    parts.append(part.text)
                if part.model_extra:
                    parts.extend(_nested_texts(part.model_extra.get("content")))
    text = "\n\n".join(part for part in parts if part)
    return text or None, max(1, turns)


def _only_results(content: str | list[ContentPart] | None) -> bool:
    """Whether a message only brings back what tools said: no turn of the user's."""
    return isinstance(content, list) and bool(content) and all(part.type == "tool_result" for part in content)


def _nested_texts(nested: object) -> Iterator[str]:
    """The texts of what a tool said (Anthropic's ``tool_result``)."""
    if isinstance(nested, str):
        yield nested
    elif isinstance(nested, list):
        for inner in nested:
            if isinstance(inner, dict) and isinstance(inner.get("text"), str):
                yield inner["text"]
