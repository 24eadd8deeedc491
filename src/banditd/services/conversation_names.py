"""Names for conversations that nobody has named: the same for the same beginning, and telling nothing of it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from banditd.ports import Secrets

PREFIX: Final = "conversation-"


class ConversationNames:
    """A keyed hash of what does not change from turn to turn."""

    def __init__(self, secrets: Secrets) -> None:
        # Copied for each name: the library sets a new one up from its key far more slowly.
        self._keyed = hmac.new(secrets.key("conversation"), digestmod=hashlib.sha256)

    def name(self, key_name: str | None, reported: str, setting: bytes, opening: bytes) -> str:
        """``conversation-`` and 32 hexadecimal digits.

        key_name : of the API key. reported : what the client calls it, or perhaps many. setting, opening : how it
        began.
        """
        parts = ((key_name or "").encode(), reported.encode("utf-8", "surrogatepass"), setting, opening)
        stated = b"".join(piece for part in parts for piece in (len(part).to_bytes(8, "big"), part))
        hashed = self._keyed.copy()
        hashed.update(stated)
        return PREFIX + hashed.hexdigest()[:32]
