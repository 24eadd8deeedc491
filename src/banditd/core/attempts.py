"""Attempts: the upstream calls that one decision took, and the classes of error they can end with."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, get_args

ErrorClass = Literal[
    "transport", "timeout", "overload", "server", "auth", "request", "context", "policy", "client_gone"
]
ERROR_CLASSES: Final[frozenset[str]] = frozenset(get_args(ErrorClass))
MAX_ATTEMPTS: Final = 16

_OF_STATUS: Final[dict[int, ErrorClass]] = {
    401: "auth", 402: "auth", 403: "auth", 407: "auth", 408: "timeout", 413: "context", 429: "overload",
    499: "client_gone", 503: "overload", 504: "timeout", 529: "overload",
}  # fmt: skip
_STATUS: Final = re.compile(r"(?<![0-9])([45][0-9]{2})(?![0-9])")
# The first match wins: "context deadline exceeded" is a timeout, "connection refused" is not a refusal to answer.
_WORDS: Final[dict[ErrorClass, str]] = {
    "client_gone": r"cancel|client.?(gone|clos|disconnect|abort)",
    "timeout": r"time.?out|timed.?out|deadline",
    "transport": r"connect|transport|network|socket|dns|resolv|tls|ssl|broken.?pipe|\breset|unreachable|eof",
    "auth": r"auth|api.?key|permission|forbidden|credential|billing|payment|insufficient.?(quota|credit)",
    "overload": r"rate.?limit|overload|too.?many|quota|throttl|capacity|exhausted|unavailable|busy",
    "context": r"context.?(length|window|size|limit|exceed)|prompt.?too.?long|too.?long|max.?tokens",
    "policy": r"content.?(filter|polic)|policy|safety|moderation|refus|guardrail",
    "request": r"bad.?request|invalid|unprocessable|not.?found|unsupported|validation",
}
_PATTERNS: Final = {kind: re.compile(words, re.IGNORECASE) for kind, words in _WORDS.items()}


class Attempt(NamedTuple):
    """One call of an arm's upstream. ``error`` is None if it answered.

    latency_ms : from sending the request to the last token, or to the failure.
    first_token_ms : from sending the request to the first token of a stream.
    input_tokens, output_tokens, cached_input_tokens, cost_usd : of this call alone; a failed call may have used some.
    retry_after_s : how long an overloaded upstream asked us to wait.
    recipe : the recipe that this call was part of; None if the arm was called for itself.
    """

    arm: str
    error: ErrorClass | None = None
    latency_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None
    retry_after_s: float | None = None
    first_token_ms: float | None = None
    recipe: str | None = None

    @property
    def served_as(self) -> str:
        """The arm that counts as having served if this call's answer is the one used."""
        return self.recipe or self.arm

    @property
    def has_figures(self) -> bool:
        """Whether its tokens or its cost were reported."""
        return not (self.input_tokens is None and self.output_tokens is None and self.cost_usd is None)


def error_class_of(text: str) -> ErrorClass:
    """Classify an error that a client describes in its own words; ``server`` if nothing matches.

    It understands the class names themselves, HTTP status codes and common exception names.
    """
    if text in ERROR_CLASSES:
        return text  # type: ignore[return-value]  # one of the literals
    status = _STATUS.search(text)
    if status is not None:
        code = int(status[1])
        return _OF_STATUS.get(code, "request" if code < 500 else "server")
    return next((kind for kind, words in _PATTERNS.items() if words.search(text)), "server")


def attempts_of(
    attempts: tuple[Attempt, ...], *, chosen_arm: str, served_arm: str | None, error: str | None
) -> tuple[Attempt, ...]:
    """The calls that a usage report describes, in order; never empty.

    A report without ``attempts`` that names a different ``served_arm`` means: the chosen arm failed (with ``error``,
    or ``server`` if none is given) and ``served_arm`` answered.
    """
    if attempts:
        return attempts
    failure = None if error is None else error_class_of(error)
    if served_arm is None or served_arm == chosen_arm:
        return (Attempt(arm=chosen_arm, error=failure),)
    return Attempt(arm=chosen_arm, error=failure or "server"), Attempt(arm=served_arm)
