"""The hash of a query's text: equal texts can be found, but the text cannot be guessed without the database's key.

A plain hash of a short prompt could be guessed. Rows from before there was a key hold 64 hexadecimal digits without
``PREFIX``; their texts are unknown, so they stay as they are until retention deletes them.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Final

from banditd.ports import Secrets

PREFIX: Final = "hmac-sha256:"
LONGEST_KEPT: Final = 1_000_000  # characters; the log keeps only the beginning of a longer text
LONGEST_IN_PASSING: Final = 10_000  # characters; longer texts are not hashed on the event loop
_BLOCK_BYTES: Final = 64  # of SHA-256; the key has 32


def is_long(text: str) -> bool:
    """Whether the text should be hashed in a thread rather than on the event loop."""
    return len(text) > LONGEST_IN_PASSING


class InputHash:
    """Maps a text to ``hmac-sha256:`` and 64 hexadecimal digits."""

    def __init__(self, secrets: Secrets) -> None:
        # HMAC (RFC 2104) with the key processed once: copying the library's HMAC objects costs more than the hash.
        key = secrets.key("input_hash").ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in key))

    def __call__(self, text: str) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode("utf-8", "surrogatepass"))  # a lone surrogate is a character like any other here
        outer.update(inner.digest())
        return PREFIX + outer.hexdigest()


class InputRecord:
    """What the log stores of a query's text: its hash and, if ``store_text``, the text."""

    def __init__(self, hash_input: InputHash, *, store_text: bool) -> None:
        self._hash_input = hash_input
        self._store_text = store_text

    async def hashed(self, text: str) -> str:
        """The hash of a long text, computed in a thread."""
        return await asyncio.to_thread(self._hash_input, text)

    def of(self, text: str | None, hashed: str | None = None) -> tuple[str | None, str | None]:
        """(hash, text to store); each may be None. hashed : result of ``hashed``, for a long text."""
        if text is None:
            return None, None
        return hashed or self._hash_input(text), text[:LONGEST_KEPT] if self._store_text else None
