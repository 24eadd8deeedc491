"""Names for unnamed prompt templates: the same for the same outline, without revealing anything about it."""

from __future__ import annotations

import hmac
from typing import Final

from banditd.ports import Secrets

PREFIX: Final = "template-"


class TemplateNames:
    """A keyed hash of an outline (``features/outline.py``), the same in every replica."""

    def __init__(self, secrets: Secrets) -> None:
        self._key = secrets.key("prompt_template")

    def name(self, outline: str) -> str:
        """``template-`` and 16 hexadecimal digits."""
        return PREFIX + hmac.digest(self._key, outline.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]
