"""What providers count apart. Pure."""

from __future__ import annotations

from typing import Final

MAX_TOKENS: Final = 1_000_000_000
"""Of one call: more is no count."""


def with_thoughts(taken: object, given: object, total: object) -> object:
    """Tokens that a chat's answer is billed for.

    OpenAI counts a model's thoughts among the tokens ``given``; Google and xAI bill them as well, but count them only
    in the ``total`` of an answer. What is no count changes nothing.
    """
    counted = 0 if given is None else given  # some leave out what is 0
    if type(taken) is int and type(counted) is int and type(total) is int and 0 <= taken < total <= MAX_TOKENS:
        return max(counted, total - taken)
    return given
