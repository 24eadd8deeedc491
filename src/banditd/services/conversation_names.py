"""Names for unnamed conversations: the same for the same beginning, without revealing anything about it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from banditd.ports import Secrets

PREFIX: Final = "conversation-"


class ConversationNames:
    """A keyed hash of the parts of a conversation that do not change from turn to turn."""

    def __init__(self, secrets: Secrets) -> None:
        # Copied for each name, which is far faster than setting up a new one from the key.
        self._keyed = hmac.new(secrets.key("conversation"), digestmod=hashlib.sha256)

    def name(self, key_name: str | None, reported: str, setting: bytes, opening: bytes) -> str:
        """``conversation-`` and 32 hexadecimal digits.

        key_name : of the API key.
        reported : the client's own name, which several conversations may share.
        setting, opening : how the conversation began.
        """
        parts = ((key_name or "").encode(), reported.encode("utf-8", "surrogatepass"), setting, opening)
        stated = b"".join(piece for part in parts for piece in (len(part).to_bytes(8, "big"), part))
        hashed = self._keyed.copy()
        hashed.update(stated)
        return PREFIX + hashed.hexdigest()[:32]
