"""The part of a prompt that features look at: a bounded head and tail.

A prompt may be megabytes long; its kind shows in its beginning and its end (where the question usually is). Cutting
first bounds the cost of every later step.
"""

from __future__ import annotations

from typing import Final

HEAD_CHARS: Final = 2048
TAIL_CHARS: Final = 1024


def prompt_window(text: str) -> str:
    """Return `text`, or its first 2048 and last 1024 characters joined by a blank when it is longer.

    Parameters
    ----------
    text : a prompt of any length.

    Returns
    -------
    str
        At most 3073 characters. O(1) in the length of the prompt.
    """
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]} {text[-TAIL_CHARS:]}"
