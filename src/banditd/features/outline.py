"""The outline of a request: the part of its system prompt and tools that comes from the application. Pure.

Requests made from one prompt template have the same outline, and so the same value of the context tag
``prompt_template``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

PROMPT_TEMPLATE: Final = "prompt_template"  # the context tag whose value is derived if the caller gives none
# Applications put what changes (a user's name, documents) after what stays the same, as prompt caches require.
OPENING_CHARS: Final = 256
MAX_TOOLS: Final = 64
MAX_TOOL_CHARS: Final = 128
_DIGITS: Final = re.compile("[0-9]+")


def outline(instructions: Iterable[str], tools: Iterable[str]) -> str | None:
    """A text that is the same for the same template, whatever dates, numbers or white space it contains.

    Parameters
    ----------
    instructions : texts of the system prompt, in order; read until there is enough. Only the first 256 characters
    count, with every run of digits as one.
    tools : names of what the model may call, in any order; the first 64 count.

    Returns
    -------
    str or None
        About 8,500 characters at most. It must not be stored, since it quotes the prompt. None if there are neither
        instructions nor tools.
    """
    opening = ""
    for text in instructions:
        opening += text[: 2 * OPENING_CHARS] + " "
        if len(opening) >= 2 * OPENING_CHARS:
            break
    opening = _DIGITS.sub("0", " ".join(opening.split()))[:OPENING_CHARS].rstrip()
    names = sorted({name[:MAX_TOOL_CHARS] for name in islice(tools, MAX_TOOLS)})
    return "\0".join([opening, *names]) if opening or names else None
