"""Secrets in a text: keys of well-known services, private keys, tokens, passwords in addresses and assignments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from banditd.detectors.patterns import compiled, utf8

# As the services document them; most were given such beginnings so that they can be found.
_KEYS: Final = (
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",  # AWS
    r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{36})",
    r"\bgl(?:pat|dt|ft|soat|rt|cbt|ptt|agent|imt|oas)-[A-Za-z0-9_-]{20}",
    r"\bxox[abeoprs]-[0-9A-Za-z-]{16}|\bxapp-\d-[0-9A-Za-z-]{16}|hooks\.slack\.com/services/T\w+/B\w+/\w+",
    r"\b[rs]k_live_[0-9A-Za-z]{16}|\bwhsec_[0-9A-Za-z]{24}",  # Stripe
    r"\bsk-(?:ant|proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20}|\bsk-[A-Za-z0-9]{32}",  # models
    r"\b(?:gsk|hf|r8)_[A-Za-z0-9]{30}|\b(?:xai|pplx|nvapi)-[A-Za-z0-9_-]{30}",
    r"\bAIza[0-9A-Za-z_-]{35}|\bGOCSPX-[0-9A-Za-z_-]{24}|\bya29\.[0-9A-Za-z_-]{20}",  # Google
    r"\bnpm_[A-Za-z0-9]{36}|\bpypi-AgE[A-Za-z0-9_-]{40}",
    r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}|\bSK[0-9a-f]{32}\b",  # SendGrid, Twilio
    r"\bdo[opr]_v1_[0-9a-f]{64}|\bdapi[0-9a-f]{32}|\bAccountKey=[A-Za-z0-9+/]{80}",
    r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}",  # Telegram
    r"\bbk_[A-Za-z0-9_-]{40}",  # our own
    r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10}",  # JSON web tokens
)
_WORDS: Final = "passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|access[_-]?key|private[_-]?key|token"
_ASSIGNED: Final = (
    r"[a-z][a-z0-9+.-]*://[^\s:/?#@]*:[^\s:/?#@]+@[^\s/]",
    r"""(?i)authorization["']?\s{0,3}[:=]\s{0,3}["']?(?:bearer|basic|token)\s+[a-z0-9._~+/=-]{16,512}""",
    rf"""(?i)(?:{_WORDS})["'\]]{{0,2}}\s{{0,3}}(?::=|=>|[:=])\s{{0,3}}["'][^\s"'<>{{}}]{{8,512}}["']""",
    rf"""(?im)^\s*(?:export\s+)?\w*(?:{_WORDS})\w*[ \t]{{0,3}}=[ \t]{{0,3}}[^\s"'<>{{}}$()]{{8,512}}\s*$""",
)
_PLACEHOLDERS: Final = ("your", "example", "xxx", "***", "...", "placeholder", "changeme", "redacted", "dummy")
MOST_PLACEHOLDERS: Final = 1000
"""A text with more assignments that may be placeholders counts as one with a secret."""


def secrets_detector() -> Callable[[str], bool]:
    """Whether there is a secret in a text. Raises ValueError where RE2 is not installed."""
    key = _any(_KEYS)
    assigned = _any(_ASSIGNED)

    def found(text: str) -> bool:
        encoded = utf8(text)
        return key.search(encoded) is not None or _assigns(assigned, encoded)

    return found


def _any(patterns: tuple[str, ...]) -> Any:
    return compiled("|".join(f"(?:{pattern})" for pattern in patterns), "secrets", "detectors")


def _assigns(assigned: Any, encoded: bytes) -> bool:
    """Whether something else than a placeholder is assigned."""
    at = 0
    for _ in range(MOST_PLACEHOLDERS):
        match = assigned.search(encoded, at)
        if match is None:
            return False
        words = match.group().decode("utf-8", "replace").lower()
        if not any(word in words for word in _PLACEHOLDERS):
            return True
        at = match.end()
    return True
