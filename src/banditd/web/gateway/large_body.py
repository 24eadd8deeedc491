"""Reads the JSON object of a large body in pieces: long texts are set aside, the rest is limited and parsed at once.

For use in a thread. No call into C code takes long, so the event loop keeps running whatever a body contains.
"""

from __future__ import annotations

import codecs
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic_core import from_json

from banditd.web.legible import legible_strings, text_piece
from banditd.web.problems import InvalidFieldsError

MAX_MEMBERS: Final = 50_000
MAX_CONTAINERS: Final = 50_000
MAX_ELEMENTS: Final = 300_000
MAX_SHORT_BYTES: Final = 4_194_304
"""Most bytes of all but the texts longer than ``LONG_BYTES``."""
LONG_BYTES: Final = 1024
PIECE: Final = 16_384
# From so many on, every text with an escape is set aside: each takes as long as many plain characters.
_MANY_ESCAPES: Final = 50_000
# Whole characters and whole escapes: a pair of surrogates is not cut in two.
_WHOLE: Final = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?=.{6}))"
    rb"|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\[^u])*+",
    re.DOTALL,
)


def read_large(body: bytes) -> Any:
    """The value of a body. Raises ValueError for what is not JSON, InvalidFieldsError for too many values."""
    encoding = json.detect_encoding(body)
    if encoding == "utf-8-sig":
        body = body[3:]
    elif encoding != "utf-8":
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        pieces = [decoder.decode(body[at : at + PIECE]) for at in range(0, len(body), PIECE)]
        pieces.append(decoder.decode(b"", final=True))
        body = "".join(pieces).removeprefix("\ufeff").encode("utf-8", "replace")
    cut = _Cut(body)
    cut.read()
    value = _parse(b"".join(cut.kept))
    return cut.restored(value) if cut.texts else value


@dataclass(slots=True)
class _Cut:
    """A body on its way into what is kept, and the long texts: where each begins and ends."""

    body: bytes
    kept: list[bytes] = field(default_factory=list)
    texts: list[tuple[int, int]] = field(default_factory=list)
    mark: str = field(default_factory=lambda: f"{secrets.token_hex(12)}:")
    short_bytes: int = 0
    escapes: int = 0
    members: int = 0
    containers: int = 0
    elements: int = 0

    def read(self) -> None:
        """All of the body, once. Raises InvalidFieldsError for more than it may hold."""
        body, at, kept = self.body, 0, 0
        while at < len(body):
            begins = body.find(b'"', at)
            self._count(at, len(body) if begins < 0 else begins)
            if begins < 0:
                break
            ends = self._end(begins + 1)
            escapes = body.count(b"\\", begins, min(ends, begins + LONG_BYTES))
            self.escapes += escapes
            if ends - begins > LONG_BYTES or (escapes and self.escapes > _MANY_ESCAPES):
                self.kept += (body[kept:begins], b'"%s%d"' % (self.mark.encode(), len(self.texts)))
                self.texts.append((begins + 1, ends))
                kept = ends + 1
            else:
                self.short_bytes += ends - begins
            at = ends + 1
        self.kept.append(body[kept:])

    def _end(self, at: int) -> int:
        """Where the text that begins at ``at`` ends; the end of the body for one that never does."""
        closed = False
        while not closed and at < len(self.body):
            at, closed = text_piece(self.body, at, PIECE)
        return at

    def _count(self, at: int, until: int) -> None:
        body = self.body
        for begins in range(at, until, PIECE):
            ends = min(until, begins + PIECE)
            self.members += body.count(b":", begins, ends)
            self.elements += body.count(b",", begins, ends)
            self.containers += body.count(b"{", begins, ends) + body.count(b"[", begins, ends)
            self.short_bytes += ends - begins
            self._check()

    def _check(self) -> None:
        if (
            self.members > MAX_MEMBERS
            or self.containers > MAX_CONTAINERS
            or self.elements > MAX_ELEMENTS
            or self.short_bytes > MAX_SHORT_BYTES
        ):
            message = (
                f"a body may hold {MAX_MEMBERS} fields, {MAX_CONTAINERS} objects and lists, {MAX_ELEMENTS} list "
                f"elements, and {MAX_SHORT_BYTES} bytes beside its long texts; send less at once"
            )
            raise InvalidFieldsError(message, errors=[("", message)])

    def restored(self, value: Any) -> Any:
        """The value with its long texts back in their places."""
        if isinstance(value, str):
            return self._text(value) if value.startswith(self.mark) else value
        if isinstance(value, dict):
            return {self.restored(name): self.restored(one) for name, one in value.items()}
        return [self.restored(one) for one in value] if isinstance(value, list) else value

    def _text(self, mark: str) -> str:
        at, ends = self.texts[int(mark.removeprefix(self.mark))]
        body, pieces = self.body, []
        while at < ends:
            until = min(ends, at + PIECE)
            if until < ends:
                found = _WHOLE.match(body, at, until)
                until = until if found is None or found.end() == at else found.end()
                until -= _within(body, until)
            pieces.append(_parse(b'"%s"' % body[at:until]))
            at = until
        return "".join(pieces)


def _within(body: bytes, at: int) -> int:
    """How many bytes before ``at`` the character begins that ``at`` is within; 0 where it is within none."""
    if body[at] & 0xC0 == 0x80:
        for back in (1, 2, 3):
            if body[at - back] >= 0xC0:
                return back
            if body[at - back] < 0x80:
                break
    return 0


def _parse(piece: bytes) -> Any:
    try:
        return from_json(piece, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        # Its first bytes are not the body's: nothing can be told of its encoding from them.
        return from_json(legible_strings(piece.decode("utf-8", "replace")), allow_inf_nan=False, cache_strings="keys")
