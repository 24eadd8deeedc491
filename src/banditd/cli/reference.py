"""The configuration reference (docs/configuration.md), made from the settings models."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

# A pydantic model class and one of its fields; named by what is read of them, so that help needs no pydantic.
Model: TypeAlias = Any
Field: TypeAlias = Any

INTRODUCTION = """\
# Configuration reference

Printed by `banditd check-config --reference` (`make docs`). [config.yaml](../config.yaml) is a commented example.

* **Order**: command line, environment, file (`--config FILE`, `BANDITD_CONFIG`, else `config.yaml` in the working
  directory, else the shipped one), default.
* **Environment**: `server.port` is `BANDITD_SERVER__PORT`, and so in all sections without NAME or []. Lists and
  mappings are JSON.
* **Mistakes**, such as unknown keys, `BANDITD_*` variables or times beyond 100 years, stop the start: exit code 2.
* `banditd check-config` prints what holds, secrets hidden.
"""
# Type and limits of pydantic's annotated-types metadata, as people write them.
LIMITS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
OBVIOUS = ([">0"], ["≥0"], ["≥1"])


def reference() -> str:
    """The whole document as Markdown."""
    from banditd.settings import Settings

    parts, titles = [INTRODUCTION], dict[Model, str]()
    for title, model in sections(Settings):
        intro = (model.__doc__ or "").strip().splitlines()[0]
        first = titles.setdefault(model, title)
        text = f"{intro}\n\n{_list(model)}" if first == title else f"As [{first}](#{_anchor(first)}).\n"
        parts.append(f"\n## {title}\n\n{text}")
    return "".join(parts)


def _anchor(title: str) -> str:
    return "".join(letter for letter in title.lower() if letter.isalnum() or letter == "_")


def sections(root: Model) -> Iterator[tuple[str, Model]]:
    """(heading, model) of every part of the tree, parents first."""
    waiting: list[tuple[str, Model]] = [("", root)]
    while waiting:
        title, model = waiting.pop(0)
        if title:
            yield title, model
        waiting[:0] = [
            (f"{title}.{name}{mark}".lstrip("."), inner)
            for name, field in model.model_fields.items()
            for inner, mark in _models(field.annotation)
        ]


def _models(annotation: Any) -> Iterator[tuple[Model, str]]:
    """The models in an annotation: plain (""), in a list ("[]") or by name (".NAME")."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation, ""
        return
    origin = typing.get_origin(annotation)
    mark = ".NAME" if origin in {dict, Mapping} else "[]" if origin in {tuple, list} else ""
    for argument in typing.get_args(annotation):
        for model, deeper in _models(argument):
            yield model, mark + deeper


def _list(model: Model) -> str:
    """A line for each setting that is no section of its own."""
    return "".join(
        f"* `{field.alias or name}` ({_values(field)}): {_line(field.description or '')}\n"
        for name, field in model.model_fields.items()
        if all(mark for _, mark in _models(field.annotation))
    )


def _values(field: Field) -> str:
    """The default, with what else is allowed: other words, a type that the default does not show, limits."""
    default = _default(field)
    words = _words(field.annotation)
    if words:
        others = ", ".join(f"`{word}`" for word in words if default != f'`"{word}"`')
        more = f"or {others}" if default.startswith('`"') else f"of {others}"
    elif default in {"required", "`null`", "`[]`", "`{}`"} or default.startswith("`{"):
        more = _name(field.annotation)
    else:
        more = ""
    limits = _limits(field)
    left_out = {"anything", "text", "number"} if limits else {"anything", "text"}
    parts = (default, more if more not in left_out else "", limits)
    return _line(", ".join(part for part in parts if part))


def _limits(field: Field) -> str:
    found = {name: getattr(rule, name) for rule in field.metadata for name, _ in LIMITS if hasattr(rule, name)}
    found = {name: f"{limit:.12g}" for name, limit in found.items() if limit is not None}
    if {"ge", "le"} <= found.keys():
        return f"{found['ge']}–{found['le']}"
    limits = [f"{sign}{found[name]}" for name, sign in LIMITS if name in found]
    return "" if limits in OBVIOUS else " ".join(limits)


def _words(annotation: Any) -> tuple[str, ...]:
    """The words that a setting may be, or (). Of a list those of its items."""
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(map(str, typing.get_args(annotation)))
    return next((found for one in typing.get_args(annotation) if (found := _words(one))), ())


def _name(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _name(arguments[0])
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_name(one) for one in arguments if one is not types.NoneType)
    if origin in {tuple, list}:
        return _name(arguments[0])
    if origin in {dict, Mapping}:
        return _name(arguments[1])
    plain = {"str": "text", "bool": "boolean", "int": "integer", "float": "number", "Path": "path"}
    named = {"SecretStr": "secret", "Any": "anything"}
    name = getattr(annotation, "__name__", str(annotation))
    return plain.get(name) or named.get(name) or "below"


def _default(field: Field) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, Mapping):
        return _line(f"`{{{', '.join(map(str, value))}}}`")
    return _line(f"`{json.dumps(list(value) if isinstance(value, tuple) else value, default=str)}`")


def _line(text: str) -> str:
    return text.replace("\n", " ")
