"""What of a request is the application's and not its user's: an outline of the system prompt and the tools. Pure.

Requests made from one prompt template have one outline, and so one place among the values of the context tag
``prompt_template``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

PROMPT_TEMPLATE: Final = "prompt_template"  # the context tag whose values are found, where the caller gives none
# Applications put what changes (a user's name, documents) behind what stays the same, as prompt caches want it.
OPENING_CHARS: Final = 256
MAX_TOOLS: Final = 64
MAX_TOOL_CHARS: Final = 128
_DIGITS: Final = re.compile("[0-9]+")


def outline(instructions: Iterable[str], tools: Iterable[str]) -> str | None:
    """The same for the same template, whatever the date, a number or the white space in it.

    Parameters
    ----------
    instructions : texts of the system prompt, in order; read until there is enough. Only the first 256 characters
        count, with every run of digits as one.
    tools : names of what the model may call, in any order; the first 64 count.

    Returns
    -------
    str or None
        At most some 8,500 characters, not to be kept: it quotes the prompt. None where there is neither.
    """
    opening = ""
    for text in instructions:
        opening += text[: 2 * OPENING_CHARS] + " "
        if len(opening) >= 2 * OPENING_CHARS:
            break
    opening = _DIGITS.sub("0", " ".join(opening.split()))[:OPENING_CHARS].rstrip()
    names = sorted({name[:MAX_TOOL_CHARS] for name in islice(tools, MAX_TOOLS)})
    return "\0".join([opening, *names]) if opening or names else None
