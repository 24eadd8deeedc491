"""Chunks of a stream that differ in their text alone: told from the bytes, without reading each as JSON.

Nearly every chunk of an answer repeats the one before it but for a few characters. Where the bytes before and behind
the text are those of a chunk that was read, and the text is one that stands for itself in JSON, the chunk says what
that one said. Whatever is not surely so is read. What is compared are whole events, blank line included, so that a
read that is one of these is known for one event before it is cut into events.
"""

from __future__ import annotations

from typing import Final

# A field of OpenAI's that hides how long the text is: its value is of no use to anybody.
_PADDING: Final = b'"obfuscation":"'
_ENDS: Final = (b"\n\n", b"\r\n\r\n")


class Alike:
    """One for each stream."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._end: bytes | None = None  # behind the padding, where there is one

    def learn(self, data: bytes, field: str, text: str) -> None:
        """An event was read: its ``field`` says this text, and nothing else in it is news."""
        self._head = b""
        if not data.endswith(_ENDS):
            return
        mark = b'"%s":"' % field.encode()
        if mark not in data:
            mark = b'"%s": "' % field.encode()  # as Python writes it
        begin = data.find(mark) + len(mark)
        end = data.find(b'"', begin)
        if begin < len(mark) or data.find(mark, begin) >= 0 or plain(data[begin:end]) != text:
            return
        tail = data[end:]
        place = tail.find(_PADDING)
        self._end = None
        if place >= 0:
            place += len(_PADDING)
            stop = tail.find(b'"', place)
            if plain(tail[place:stop]) is None:
                return
            tail, self._end = tail[:place], tail[stop:]
        self._head, self._tail = data[:begin], tail

    def forget(self) -> None:
        """The chunks are of another kind from here on."""
        self._head = b""

    def text(self, data: bytes) -> str | None:
        """The text of an event like the one that was read; None where that is not sure, or it says nothing."""
        head = self._head
        if not head or not data.startswith(head):
            return None
        begin = len(head)
        end = data.find(b'"', begin)
        if not data.startswith(self._tail, end):
            return None
        rest = end + len(self._tail)
        if self._end is None:
            if rest != len(data):
                return None
        else:
            stop = data.find(b'"', rest)
            if data[stop:] != self._end or plain(data[rest:stop]) is None:
                return None
        return plain(data[begin:end]) or None


def plain(literal: bytes) -> str | None:
    """What stands between the quotes of a JSON string, where every character stands for itself; else None."""
    try:
        text = literal.decode()
    except UnicodeDecodeError:
        return None
    return text if "\\" not in text and text.isprintable() else None
