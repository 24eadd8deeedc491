"""The hash of a query's text: it finds the same text again, and tells nobody without the database's key more.

A plain hash of a short prompt can be guessed. Rows from before the key hold 64 hexadecimal digits without
``PREFIX``; their text is known to nobody, so they stay as they are until retention deletes them.
"""

from __future__ import annotations

import hmac
from typing import Final

from banditd.ports import Secrets

PREFIX: Final = "hmac-sha256:"


class InputHash:
    """A text to ``hmac-sha256:`` and 64 hexadecimal digits."""

    def __init__(self, secrets: Secrets) -> None:
        self._key = secrets.key("input_hash")

    def __call__(self, text: str) -> str:
        # A lone surrogate is a character like any other here.
        return PREFIX + hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()
