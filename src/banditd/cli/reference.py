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

Made from the settings models by `make docs` (`banditd check-config --reference`); do not edit it by hand. A commented
file with every setting is [config.yaml](../config.yaml).

* **Order**: command line, then environment, then file, then the defaults below. Read once, at start.
* **File**: `--config FILE` or `BANDITD_CONFIG`; `config.yaml` in the working directory when neither is given.
* **Environment**: every setting of a table that names a variable; a list or a mapping is written as JSON.
* **Mistakes** stop the start with a sentence and exit code 2: unknown keys or `BANDITD_*` variables, a missing file.
* `banditd check-config` prints what holds, secrets hidden.
"""
# Type and limits of pydantic's annotated-types metadata, as people write them.
LIMITS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


def reference() -> str:
    """The whole document as Markdown."""
    from banditd.settings import ENVIRONMENT_PREFIX, Settings

    parts = [INTRODUCTION]
    for title, model, path in sections(Settings):
        intro = (model.__doc__ or "").strip().splitlines()[0]
        parts.append(f"\n## {title}\n\n{intro}\n\n{_table(model, path, ENVIRONMENT_PREFIX)}")
    return "".join(parts)


def sections(root: Model) -> Iterator[tuple[str, Model, str | None]]:
    """(heading, model, path in the environment or None) of every part of the tree, parents first.

    What lies in a list or under a name of the operator's has no variable of its own.
    """
    waiting: list[tuple[str, Model, str | None]] = [("", root, "")]
    while waiting:
        title, model, path = waiting.pop(0)
        if title:
            yield title, model, path
        below = []
        for name, field in model.model_fields.items():
            for inner, mark in _models(field.annotation):
                alone = mark == "" and path is not None
                below.append((f"{title}.{name}{mark}".lstrip("."), inner, f"{path}{name}__" if alone else None))
        waiting[:0] = below


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


def _table(model: Model, path: str | None, prefix: str) -> str:
    rows = []
    for name, field in model.model_fields.items():
        if any(mark == "" for _, mark in _models(field.annotation)):
            continue  # a section of its own
        variable = "" if path is None else f"`{prefix}{(path + name).upper()}`"
        written, meant = f"`{field.alias or name}`", _cell(field.description or "")
        rows.append((written, _type(field), _default(field), meant, variable))
    if not rows:
        return ""
    heads = ["setting", "type", "default", "what it does"] + ([] if path is None else ["variable"])
    lines = [heads, ["---"] * len(heads), *[list(row[: len(heads)]) for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _type(field: Field) -> str:
    limits = [
        f"{sign}{getattr(rule, name):.12g}"
        for rule in field.metadata
        for name, sign in LIMITS
        if getattr(rule, name, None) is not None
    ]
    return _cell(" ".join([_name(field.annotation), *limits]))


def _name(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _name(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_name(one) for one in arguments if one is not types.NoneType) + (
            " or null" if types.NoneType in arguments else ""
        )
    if origin in {tuple, list}:
        return f"list of {_name(arguments[0])}"
    if origin in {dict, Mapping}:
        return f"mapping of {_name(arguments[1])}"
    plain = {"str": "text", "bool": "boolean", "int": "integer", "float": "number", "Path": "path"}
    named = {"SecretStr": "text (secret)", "Any": "anything"}
    name = getattr(annotation, "__name__", str(annotation))
    return plain.get(name) or named.get(name) or "sections (below)"


def _default(field: Field) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, Mapping):
        return _cell(f"`{{{', '.join(map(str, value))}}}`")
    return _cell(f"`{json.dumps(list(value) if isinstance(value, tuple) else value, default=str)}`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
