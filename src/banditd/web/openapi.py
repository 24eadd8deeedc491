"""The OpenAPI 3.1 description, made from the route table and the models. Nothing is written twice."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from banditd.web.api import Route
from banditd.web.field_docs import DescribedJsonSchema
from banditd.web.json import encode
from banditd.web.problems import (
    CROSS_ORIGIN,
    FORBIDDEN,
    INTERNAL,
    INVALID,
    MISDIRECTED,
    PROBLEM_TYPE,
    RATE,
    TIMEOUT,
    UNAUTHENTICATED,
    Kind,
    problem_answer,
)
from banditd.web.schemas.problem import Problem

Json = dict[str, Any]
_REF: Final = "#/components/schemas/{model}"
_ROUTE_HEADERS: Final = {
    "x-banditd-decision-id": "The decision's id.",
    "x-banditd-arm": "The chosen arm.",
    "x-banditd-policy-version": "Snapshot version.",
    "x-banditd-propensity": "Probability of the arm.",
    "x-banditd-explored": "true or false.",
    "x-banditd-overhead-ms": "Time that the decision took, in milliseconds.",
}


def describe(routes: Sequence[Route], *, version: str) -> bytes:
    """The whole description as JSON bytes."""
    models = {Problem} | {m for r in routes for m in (r.body, r.error_model, *r.answers.values()) if m is not None}
    pairs = [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)]
    _, definitions = models_json_schema(
        pairs,  # type: ignore[arg-type]  # the mode is a literal
        ref_template=_REF,
        schema_generator=DescribedJsonSchema,
    )
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "banditd",
                "version": version,
                "description": ("Learns, from live traffic, which large language model should answer which query."),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "paths": paths,
            "components": {
                "schemas": definitions["$defs"],
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                },
            },
        }
    )


def _operation(route: Route) -> Json:
    operation: Json = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.body is not None:
        schema = {"$ref": _ref(route.body)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.scope is not None:
        # {} says that a daemon without configured keys needs none.
        operation["security"] = [{"bearer": []}, {"apiKey": []}, {}]
        operation["description"] = f"Needs the scope `{route.scope}` where API keys are configured."
    return operation


def _parameters(route: Route) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": schema, "description": text}
        for name, (schema, text) in route.path_parameters.items()
    ]
    if route.parameters is not None:
        for name, schema in (
            route.parameters.model_json_schema(schema_generator=DescribedJsonSchema).get("properties", {}).items()
        ):
            plain = _without_null(schema)
            text = plain.pop("description", "")
            found.append({"name": name, "in": "query", "schema": plain, "description": text})
    if route.idempotency_key:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]+$", "minLength": 1, "maxLength": 255},
                "description": "Makes a retry safe: same key and same body is answered from what is there.",
            }
        )
    return found


def _without_null(schema: Json) -> Json:
    """A parameter that may be left out, but cannot be null: a query string has no null."""
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "title"}}
    if len(options) == 1:
        rest |= options[0]
    if rest.get("default", 0) is None:
        del rest["default"]
    return rest


def _responses(route: Route) -> Json:
    answers: Json = {}
    for status, model in route.answers.items():
        answer: Json = {
            "description": HTTPStatus(status).phrase,
            "headers": {"x-request-id": _header("Its id.")},
        }
        if model is not None:
            answer["content"] = {"application/json": {"schema": {"$ref": _ref(model)}}}
        elif status != HTTPStatus.NO_CONTENT:
            answer["content"] = {route.media: {"schema": {"type": "string"}}}
        if route.operation == "route":
            answer["headers"] |= {name: _header(text) for name, text in _ROUTE_HEADERS.items()}
        answers[str(status)] = answer
    for kind in (*route.problems, *_common(route)):
        _add_problem(answers, kind, route)
    return dict(sorted(answers.items()))


def _common(route: Route) -> tuple[Kind, ...]:
    guarded = (UNAUTHENTICATED, FORBIDDEN) if route.scope is not None else ()
    limited = (RATE,) if route.tag != "operations" else ()
    checked = (INVALID,) if route.parameters is not None else ()
    named = () if route.by_any_name else (MISDIRECTED,)
    timed = (TIMEOUT,) if route.body is not None else ()
    return (*guarded, *limited, *checked, CROSS_ORIGIN, *named, *timed, INTERNAL)


def _add_problem(answers: Json, kind: Kind, route: Route) -> None:
    if route.error_model is not None:
        content = {"application/json": {"schema": {"$ref": _ref(route.error_model)}}}
    else:
        content = {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
        if route.media == "text/html" and route.failed is not problem_answer:  # a page for people says it, too
            content |= {"text/html": {"schema": {"type": "string"}}}
    answer = answers.setdefault(str(kind.status), {"description": kind.title, "content": {}})
    if kind.title not in answer["description"]:
        answer["description"] += f"; or: {kind.title}"
    answer["content"] |= content
    if kind.status in {429, 503}:
        answer.setdefault("headers", {})["Retry-After"] = _header("Seconds to wait.")
    if kind.status == 405:
        answer.setdefault("headers", {})["Allow"] = _header("The methods that the path has.")


def _header(text: str) -> Json:
    return {"description": text, "schema": {"type": "string"}}


def _ref(model: type[BaseModel]) -> str:
    return _REF.format(model=model.__name__)
