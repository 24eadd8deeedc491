"""The hash of a query's text: it finds the same text again, and tells nobody without the database's key more.

A plain hash of a short prompt can be guessed. Rows from before the key hold 64 hexadecimal digits without
``PREFIX``; their text is known to nobody, so they stay as they are until retention deletes them.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Final

from banditd.ports import Secrets

PREFIX: Final = "hmac-sha256:"
LONGEST_KEPT: Final = 1_000_000  # characters of a text that the log keeps; the gateway passes on longer ones
LONGEST_IN_PASSING: Final = 10_000  # characters; longer texts are not hashed on the event loop
_BLOCK_BYTES: Final = 64  # of SHA-256; the key has 32


def is_long(text: str) -> bool:
    """Whether a text takes too long to be hashed in passing."""
    return len(text) > LONGEST_IN_PASSING


class InputHash:
    """A text to ``hmac-sha256:`` and 64 hexadecimal digits."""

    def __init__(self, secrets: Secrets) -> None:
        # HMAC (RFC 2104) with the key taken in once: the library's own copies cost more than the hash.
        key = secrets.key("input_hash").ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in key))

    def __call__(self, text: str) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode("utf-8", "surrogatepass"))  # a lone surrogate is a character like any other here
        outer.update(inner.digest())
        return PREFIX + outer.hexdigest()


class InputRecord:
    """What the log keeps of a query's text. ``store_text``: the text too, not its hash alone."""

    def __init__(self, hash_input: InputHash, *, store_text: bool) -> None:
        self._hash_input = hash_input
        self._store_text = store_text

    async def hashed(self, text: str) -> str:
        """The hash of a long text, made in a thread."""
        return await asyncio.to_thread(self._hash_input, text)

    def of(self, text: str | None, hashed: str | None = None) -> tuple[str | None, str | None]:
        """(hash, text to store), None each where there is none. hashed : what ``hashed`` gave of a long one."""
        if text is None:
            return None, None
        return hashed or self._hash_input(text), text[:LONGEST_KEPT] if self._store_text else None
