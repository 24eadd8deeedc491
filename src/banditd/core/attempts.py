"""Attempts: the calls of upstreams that one decision took, and the kinds of failure they end with."""

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
# The first that matches tells: "context deadline exceeded" is a timeout, "connection refused" no refusal to answer.
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
    """One call of an arm's upstream. ``error`` None: it answered.

    latency_ms : from its request to its last token, or to its failure. first_token_ms : to its first, of a stream.
    The tokens and ``cost_usd`` are those of this call alone; a failed one may have used some. retry_after_s : how
    long an overloaded upstream asked to be left alone. recipe : the recipe that made the call of its part; None: the
    arm was called for itself.
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
        """The arm that has served where this call's answer counts."""
        return self.recipe or self.arm

    @property
    def has_figures(self) -> bool:
        """Whether its tokens or its dollars are told."""
        return not (self.input_tokens is None and self.output_tokens is None and self.cost_usd is None)


def error_class_of(text: str) -> ErrorClass:
    """The class of a failure that a client tells in its own words; ``server`` where they say nothing.

    Class names stand for themselves, HTTP status codes and the usual names of exceptions are understood.
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
    """The calls that a usage report tells of, in order, whichever way it tells them; never empty.

    A report without ``attempts`` that names another arm than the chosen one says that the chosen one did not answer
    (``error`` is its failure, ``server`` where nothing is said) and that the other did.
    """
    if attempts:
        return attempts
    failure = None if error is None else error_class_of(error)
    if served_arm is None or served_arm == chosen_arm:
        return (Attempt(arm=chosen_arm, error=failure),)
    return Attempt(arm=chosen_arm, error=failure or "server"), Attempt(arm=served_arm)
