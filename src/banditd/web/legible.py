"""Text that JSON in UTF-8 or a database cannot hold becomes legible: a query is never refused for its characters.

Each such character becomes U+FFFD: half a surrogate pair, a byte that is no UTF-8, a control character where it may
not stand. What is wrong with the form of a body stays wrong.
"""

from __future__ import annotations

import json
import re
from typing import Final

from pydantic import JsonValue

REPLACEMENT: Final = "\ufffd"
# In the text of a JSON document: a pair of escapes, half of one, any other escape.
_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_INNER: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_RAW_CONTROL: Final = re.compile(r"[\x00-\x1f]")
_RAW_ESCAPES: Final = dict.fromkeys(range(32), "\\ufffd") | {9: "\\t", 10: "\\n", 13: "\\r"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def legible_label(text: str) -> str:
    """A short text on one line: control characters replaced, and bytes of a header that are no UTF-8."""
    return text if text.isprintable() else _CONTROL.sub(REPLACEMENT, text)


def legible_value(value: JsonValue) -> JsonValue:
    """A JSON value without NUL, which PostgreSQL cannot store, in its names and texts."""
    if isinstance(value, str):
        return value.replace("\0", REPLACEMENT)
    if isinstance(value, list):
        return [legible_value(item) for item in value]
    if isinstance(value, dict):
        return {name.replace("\0", REPLACEMENT): legible_value(item) for name, item in value.items()}
    return value


def legible_json(body: bytes) -> bytes | None:
    """The body with its strings made legible, or None where that changes nothing.

    A byte order mark is dropped, UTF-16 and UTF-32 are read as such.
    """
    if not body:
        return None
    made = legible_strings(body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff"))
    return None if made == body else made


def legible_strings(text: str) -> bytes:
    """JSON, or a piece of it in whole strings, with its strings made legible."""
    if "\\u" in text:
        text = _ESCAPE.sub(_mend_escape, text)
    if _RAW_CONTROL.search(text):
        text = _STRING.sub(_mend_string, text)
    return text.encode("utf-8", "replace")


def _mend_escape(found: re.Match[str]) -> str:
    return "\\ufffd" if found[1] is not None else found[0]


def _mend_string(found: re.Match[str]) -> str:
    return found[0].translate(_RAW_ESCAPES)


def text_piece(body: bytes, at: int, most_bytes: int) -> tuple[int, bool]:
    """(where it stopped, whether that is the closing quote) of a look at the next bytes of a text of JSON.

    at : within the text, between two characters or escapes. It stops at the end of the body where nothing closes it.
    """
    found = _INNER.match(body, at, at + most_bytes)
    end = at if found is None else found.end()
    if end < min(len(body), at + most_bytes) and body[end] == 0x22:
        return end, True
    return (len(body) if end == at else end), False  # a backslash that is the last byte
