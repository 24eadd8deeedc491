"""Server-sent events as bytes: cuts a stream into its events without changing one of them. No JSON, no I/O.

An event ends with a blank line; lines end with LF, CRLF or CR. The cut works on bytes, so a character that is split
between two reads is no matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
# A blank line that is cut by the end of a read begins at most this many bytes before it.
_OVERLAP: Final = 3
_BOM: Final = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """One event has more bytes than are taken."""


@dataclass(slots=True)
class Frame:
    """One event: ``raw`` is all of it, ``data`` its data lines joined; None where it has none (comments)."""

    raw: bytes
    name: bytes | None
    data: bytes | None


class Framer:
    """Feed it what was read; it gives the events that are complete. ``raw`` of all frames joined is the input."""

    def __init__(self, *, max_event_bytes: int) -> None:
        self._most = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0

    def awaits(self, data: bytes) -> bool:
        """Whether ``data`` begins an event, and is not too large for one."""
        return not self._buffer and len(data) <= self._most

    def feed(self, data: bytes) -> list[Frame]:
        """The events that end in ``data``. Raises EventTooLargeError."""
        buffer = self._buffer
        if not buffer and _is_one(data) and len(data) <= self._most:
            return [Frame(data, None, data[6:-2])]
        if not buffer and data.endswith(b"\n\n") and b"\r" not in data and b"\n\n\n" not in data:
            return self._whole(data)
        buffer += data
        frames: list[Frame] = []
        start = 0
        search = max(0, self._searched - _OVERLAP)
        while (found := _BLANK_LINE.search(buffer, search)) is not None:
            end = search = found.end()
            if end - start > self._most:
                raise EventTooLargeError
            frames.append(parse_frame(bytes(buffer[start:end])))
            start = end
        if start:
            del buffer[:start]
        if len(buffer) > self._most:
            raise EventTooLargeError
        self._searched = len(buffer)
        return frames

    def _whole(self, data: bytes) -> list[Frame]:
        """The events of a read that ends with one, where every line ends in the usual way."""
        frames = [parse_frame(one + b"\n\n") for one in data[:-2].split(b"\n\n")]
        if any(len(frame.raw) > self._most for frame in frames):
            raise EventTooLargeError
        return frames

    def rest(self) -> Frame | None:
        """What stands behind the last blank line when the stream has ended."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return parse_frame(rest) if rest else None


def parse_frame(raw: bytes) -> Frame:
    """The name and the data of one event."""
    if _is_one(raw):
        return Frame(raw, None, raw[6:-2])
    name: bytes | None = None
    lines: list[bytes] = []
    for line in raw.removeprefix(_BOM).splitlines():
        field, colon, value = line.partition(b":")
        if not colon and not field:
            continue
        value = value.removeprefix(b" ")
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
    return Frame(raw, name, b"\n".join(lines) if lines else None)


def _is_one(raw: bytes) -> bool:
    """Whether it is one event of one data line, as nearly all of them are, and nearly every read."""
    return raw.startswith(b"data: ") and raw.endswith(b"\n\n") and raw.count(b"\n") == 2 and b"\r" not in raw


def event(data: bytes, name: str | None = None) -> bytes:
    """One event in the form that everybody reads: ``data`` has no line ends in it."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + data + b"\n\n"
