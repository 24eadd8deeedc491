"""Regular expressions in a time that grows with the text alone, whatever the text; other threads run meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any


def finder(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of the patterns is found in a text.

    Raises
    ------
    ValueError : one is no regular expression of RE2, or RE2 is not installed.
    """
    single = [compiled(pattern, "patterns", "re2") for pattern in patterns]
    if not any(r"\Q" in pattern for pattern in patterns):  # which may leave a quotation open, over all that follow
        with suppress(ValueError):  # together they may be too large
            single = [compiled("|".join(f"(?:{pattern})" for pattern in patterns), "patterns", "re2")]

    def found(text: str) -> bool:
        encoded = utf8(text)
        return any(one.search(encoded) is not None for one in single)

    return found


def compiled(pattern: str, what: str, extra: str) -> Any:
    """The pattern, for bytes of UTF-8. what, extra : for the message where RE2 is not installed.

    Raises
    ------
    ValueError : it is no regular expression of RE2, or RE2 is not installed.
    """
    try:
        import re2  # noqa: PLC0415 - an extra
    except ImportError:
        raise ValueError(f"{what} need RE2: pip install 'banditd[{extra}]'") from None
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        raise ValueError(f"{pattern!r} is no regular expression of RE2: {error.args[0].decode()}") from None


def utf8(text: str) -> bytes:
    """A text as patterns search it; it may have half a character, which no UTF-8 has."""
    return text.encode("utf-8", "replace")
