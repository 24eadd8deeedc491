"""Suggestions for an unknown name: the known names closest to it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

# Matching takes time that grows with the text, and no name is longer than this.
_LONGEST: Final = 128


def nearest_names(unknown: str, known: Sequence[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """At most ``most`` of the known names, closest first.

    cutoff : least similarity, in [0, 1] (``difflib.SequenceMatcher.ratio``).
    """
    return difflib.get_close_matches(unknown, known, n=most, cutoff=cutoff) if len(unknown) <= _LONGEST else []


def names_beside(loc: Sequence[int | str], model: Any) -> list[str]:
    """The field names of the model in which the last step of ``loc`` was looked up.

    loc : path of a pydantic error. model : the outermost pydantic model.
    """
    fields: Mapping[str, Any] = model.model_fields
    for step in loc[:-1]:
        if isinstance(step, str) and step in fields:
            inner = _inner_model(fields[step].annotation)
            if inner is None:
                return []
            fields = inner.model_fields
    return [field.alias or name for name, field in fields.items()]


def _inner_model(annotation: Any) -> Any:
    """The model inside a field's type: the type itself, or the item of a list, mapping or union."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
