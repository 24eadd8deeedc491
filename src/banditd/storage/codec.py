"""Values in the form in which the tables keep them, and back.

Vectors become little-endian blobs (float64; a context float32, which holds it exactly), mappings compact
JSON text. No SQL here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
from pydantic_core import to_json

from banditd.core.money import AccountKey, Charge
from banditd.core.types import Blend, FloatArray

_FLOAT64: Final = np.dtype("<f8")
_FLOAT32: Final = np.dtype("<f4")
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=float).encode
EMPTY_OBJECT: Final = "{}"
NO_CHARGES: Final = "[]"


def pack_vector(vector: FloatArray) -> bytes:
    return np.asarray(vector, dtype=_FLOAT64).tobytes()


def unpack_vector(blob: bytes) -> list[float]:
    return cast("list[float]", np.frombuffer(blob, dtype=_FLOAT64).tolist())


def pack_context(x: FloatArray) -> bytes:
    return np.asarray(x, dtype=_FLOAT32).tobytes()


def unpack_context(blob: bytes) -> FloatArray:
    """float64, shape (n_features,), writable: ``frombuffer`` alone would give a read-only view."""
    return np.frombuffer(blob, dtype=_FLOAT32).astype(np.float64)


def readable_context(blob: bytes) -> FloatArray | None:
    """The same, or None where the blob is no vector of finite numbers."""
    try:
        x = unpack_context(blob)
    except (TypeError, ValueError):
        return None
    return x if np.isfinite(x).all() else None


def pack_mapping(mapping: Mapping[str, Any]) -> str:
    return _encode(dict(mapping)) if mapping else EMPTY_OBJECT


def unpack_mapping(text: str) -> dict[str, Any]:
    return {} if text == EMPTY_OBJECT else cast("dict[str, Any]", json.loads(text))


def readable_tags(text: str) -> tuple[tuple[str, str], ...]:
    """(name, value) of stored tags in the order of the names; nothing where the text is damaged."""
    try:
        return tuple(sorted(unpack_mapping(text).items())) if text != EMPTY_OBJECT else ()
    except (AttributeError, TypeError, ValueError):
        return ()


def readable_release(text: str | None) -> dict[str, Any] | None:
    """What a decision keeps of a release; None without one, or where the text is damaged."""
    try:
        found = None if text is None else unpack_mapping(text)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def pack_facts(facts: Mapping[str, float]) -> str:
    """``pack_mapping`` for numbers alone, which are written faster."""
    return pack_numbers(facts) if facts else EMPTY_OBJECT


def pack_numbers(value: object) -> str:
    """JSON of many numbers. Raises ValueError where one is not finite."""
    found = to_json(value, fallback=float)
    if b"NaN" in found or b"Infinity" in found:  # if not in a name
        return _encode(value)
    return found.decode()


def pack_terms(terms: Mapping[str, float | str]) -> str:
    """``pack_mapping`` for what many decisions have in common, word for word: it is remembered."""
    return _terms_form(tuple(terms.items())) if terms else EMPTY_OBJECT


@lru_cache(maxsize=1024)
def _terms_form(items: tuple[tuple[str, float | str], ...]) -> str:
    return _encode(dict(items))


@lru_cache(maxsize=1024)
def pack_names(names: tuple[str, ...]) -> str:
    """A list of names as JSON. Few distinct lists of eligible arms occur, so they are remembered."""
    return _encode(list(names))


@lru_cache(maxsize=1024)
def unpack_names(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def pack_blend(blend: Blend | None) -> str | None:
    if blend is None:
        return None
    return _encode([blend.share, *blend.fixed.tolist()])


def show_blend(stored: str) -> dict[str, object]:
    """A mixture as readers get it."""
    blend = unpack_blend(stored)
    return {"share": blend.share, "fixed": blend.fixed.tolist()}


def pack_charges(charges: Sequence[Charge]) -> str:
    """The accounts of a decision, as its row keeps them."""
    return _encode([charge.key[1:] for charge in charges]) if charges else NO_CHARGES


def unpack_charges(policy: str, stored: str) -> list[AccountKey]:
    return [] if stored == NO_CHARGES else [AccountKey(policy, *key) for key in json.loads(stored)]


def show_charges(stored: str) -> list[dict[str, str]]:
    """The accounts as readers get them."""
    return [{"budget": key.budget, "account": key.account} for key in unpack_charges("", stored)]


def unpack_blend(text: str) -> Blend:
    share, *fixed = json.loads(text)
    return Blend(share, np.array(fixed))


def clean_text(text: str | None) -> str | None:
    """PostgreSQL's text cannot hold NUL, and no UTF-8 holds a lone surrogate: replace both visibly."""
    if text is None or (text.isascii() and "\x00" not in text):
        return text
    return text.replace("\x00", "�").encode("utf-8", "replace").decode("utf-8")
