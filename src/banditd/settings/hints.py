"""What is said of a setting that cannot be: pydantic's words, and for an unknown name the nearest known one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from banditd.core.nearest import nearest_names


def problem_line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """One line: where, and what to write instead."""
    where = ".".join(map(str, detail["loc"])) or "(top)"
    if detail["type"] != "extra_forbidden":
        return f"  {where}: {detail['msg'].removeprefix('Value error, ')}"
    known = known_names(detail["loc"], model)
    near = nearest_names(str(detail["loc"][-1]), known)
    mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}" if known else "leave it out"
    return f"  {where}: is no setting; {mend}"


def known_names(loc: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """The fields of the section that the last step of ``loc`` was looked for in."""
    fields: Mapping[str, Any] = model.model_fields
    for step in loc[:-1]:
        if isinstance(step, str) and step in fields:
            inner = _inner(fields[step].annotation)
            if inner is None:
                return []
            fields = inner.model_fields
    return [field.alias or name for name, field in fields.items()]


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The section in a field's type: itself, or that of a list, a mapping or an alternative."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner(argument)
        if found is not None:
            return found
    return None
