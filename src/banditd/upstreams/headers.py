"""Which headers cross the daemon: a list of what may pass, each way. Whatever is not on it stays on its side.

So credentials, cookies, hop-by-hop headers and the daemon's own never leave it, and an upstream sets no cookies and
no framing of the client's answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_UP: Final = frozenset({"accept-language", "openai-beta", "traceparent", "tracestate"})
_DOWN: Final = frozenset(
    {"retry-after", "retry-after-ms", "request-id", "openai-processing-ms", "openai-version", "openai-model"}
)
_DOWN_PREFIXES: Final = ("x-ratelimit-", "anthropic-ratelimit-")


def upward(client: Mapping[str, str], more: frozenset[str]) -> dict[str, str]:
    """Of the client's headers (names in lower case), those that the upstream gets."""
    return {name: value for name, value in client.items() if name in _UP or name in more}


def downward(upstream: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of the upstream's headers, those that the client gets; names in lower case.

    Its ``x-request-id`` becomes ``x-upstream-request-id``: the daemon's answers carry an id of their own.
    """
    passed: dict[str, str] = {}
    for name, value in upstream:
        lower = name.lower()
        if lower in _DOWN or lower.startswith(_DOWN_PREFIXES):
            passed[lower] = value
        elif lower == "x-request-id":
            passed["x-upstream-request-id"] = value
    return passed
