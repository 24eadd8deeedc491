"""What the fields of models mean: the strings below them, read from the sources when somebody asks.

pydantic would read them at every start, which costs a quarter of the time that a daemon needs to begin.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema


class DescribedJsonSchema(GenerateJsonSchema):
    """JSON schemas whose properties carry the strings below the fields, where they have no description yet."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """As pydantic's, and described."""
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        docs = {text_name(model, name): text for name, text in field_docs(model).items()}
        for name, one in made.get("properties", {}).items():
            if name in docs:
                one.setdefault("description", docs[name])
        return made


def text_name(model: type[BaseModel], field: str) -> str:
    """How a field is called in JSON."""
    return model.model_fields[field].alias or field


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field of a model, its own and those that it inherits."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            found |= _of_module(one.__module__).get(one.__qualname__, {})
    return {name: text for name, text in found.items() if name in model.model_fields}


@functools.cache
def _of_module(module: str) -> dict[str, dict[str, str]]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = inspect.cleandoc(below.value.value)
    return found
