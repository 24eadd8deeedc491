"""The small pages for people: API reference, problems. Self-contained: no script, no other host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any, Final

from banditd.web.problems import Kind

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.55 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #8884;padding-bottom:.2rem}
h3{font-size:1rem;margin:1.4rem 0 .3rem}code,pre{font-family:ui-monospace,monospace;font-size:.9em}
table{border-collapse:collapse;width:100%;margin:.4rem 0}td,th{text-align:left;vertical-align:top;
padding:.25rem .7rem .25rem 0;border-bottom:1px solid #8883}th{font-weight:600}
.method{display:inline-block;min-width:4.2rem;font-weight:700}summary{cursor:pointer}.muted{opacity:.7}
"""


def page(title: str, body: str) -> str:
    """A whole page around trusted ``body``; ``title`` is escaped."""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def problem(kind: Kind) -> str:
    """What a problem's ``type`` points at."""
    return page(
        kind.title,
        f"<h1>{escape(kind.title)}</h1><p class=muted>HTTP {kind.status} · {escape(kind.slug)}</p>"
        f"<p>{escape(kind.explanation)}</p><p><a href='/docs'>API reference</a></p>",
    )


def docs(openapi: bytes) -> str:
    """The OpenAPI description, readable."""
    description: dict[str, Any] = json.loads(openapi)
    schemas: Mapping[str, Any] = description["components"]["schemas"]
    parts = [f"<h1>{escape(description['info']['title'])} {escape(description['info']['version'])}</h1>"]
    parts.append(f"<p>{escape(description['info']['description'])}</p>")
    by_tag: dict[str, list[str]] = {}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    for tag, operations in by_tag.items():
        parts.append(f"<h2>{escape(tag)}</h2>" + "".join(operations))
    parts.append("<h2>schemas</h2>")
    parts.extend(_schema(name, schema) for name, schema in schemas.items())
    return page("banditd: API reference", "".join(parts))


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
        f"<td>{escape(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", ())
    )
    table = f"<table>{rows}</table>" if rows else ""
    body = ""
    if "requestBody" in operation:
        body = f"<p>Body: {_type(operation['requestBody']['content']['application/json']['schema'])}</p>"
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>{_content(answer)}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<details><summary><span class=method>{method.upper()}</span> <code>{escape(path)}</code> "
        f"{escape(operation['summary'])}</summary>{table}{body}<table>{answers}</table></details>"
    )


def _content(answer: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{escape(media)} {_type(content.get('schema', {}))}" for media, content in answer.get("content", {}).items()
    )


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{'' if field in required else ' ?'}</td>"
        f"<td>{_type(value)}</td><td>{escape(value.get('description', ''))}</td></tr>"
        for field, value in schema.get("properties", {}).items()
    )
    table = f"<table>{rows}</table>" if rows else f"<p>{_type(schema)}</p>"
    return f"<h3 id='{escape(name)}'>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>{table}"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"<a href='#{escape(name)}'>{escape(name)}</a>"
    for joint in ("anyOf", "oneOf"):
        if joint in schema and "properties" not in schema:
            return " or ".join(_type(one) for one in schema[joint])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(one))}</code>" for one in schema["enum"])
    kind = str(schema.get("type", schema.get("const", "any")))
    if kind == "array":
        return "list of " + _type(schema.get("items", {}))
    limits = ", ".join(
        f"{text} {schema[key]:g}"
        for key, text in (
            ("minimum", "≥"),
            ("maximum", "≤"),
            ("exclusiveMinimum", ">"),
            ("maxLength", "at most"),
        )
        if key in schema
    )
    return escape(kind) + (f" <span class=muted>{escape(limits)}</span>" if limits else "")
