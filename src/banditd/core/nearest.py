"""The names that come near to one that is unknown: what somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

# Looking for what a text resembles takes time in its length, and no name is longer.
_LONGEST: Final = 128


def nearest_names(unknown: str, known: Sequence[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """At most ``most`` of the known names, the nearest first.

    cutoff : in [0, 1], how much of both must agree (``difflib.SequenceMatcher.ratio``).
    """
    return difflib.get_close_matches(unknown, known, n=most, cutoff=cutoff) if len(unknown) <= _LONGEST else []


def names_beside(loc: Sequence[int | str], model: Any) -> list[str]:
    """The fields of the pydantic model that the last step of ``loc`` was looked for in; ``model``: the outermost."""
    fields: Mapping[str, Any] = model.model_fields
    for step in loc[:-1]:
        if isinstance(step, str) and step in fields:
            inner = _inner_model(fields[step].annotation)
            if inner is None:
                return []
            fields = inner.model_fields
    return [field.alias or name for name, field in fields.items()]


def _inner_model(annotation: Any) -> Any:
    """The model in a field's type: itself, or that of a list, a mapping or an alternative."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
