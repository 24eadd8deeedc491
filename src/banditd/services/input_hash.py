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
        self._keyed = hmac.new(secrets.key("input_hash"), digestmod="sha256")

    def __call__(self, text: str) -> str:
        found = self._keyed.copy()  # the key is taken in once
        found.update(text.encode("utf-8", "surrogatepass"))  # a lone surrogate is a character like any other here
        return PREFIX + found.hexdigest()
