"""Cheap scalars of a prompt that need no model: lengths, digits, code, maths, options, tools.

They describe form, not words of any language. The facts are counts and shares that a ``rules`` policy can read;
:func:`lexical_scalars` puts them on comparable scales for the context vector. They are standardised in
``features/maps.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from banditd.core.types import FloatArray
from banditd.features.window import prompt_window

LEXICAL_VERSION: Final = 1

# Counts (and the mean word length in characters), on a logarithmic scale in the context vector.
COUNT_NAMES: Final = (
    "chars",
    "words",
    "lines",
    "numbers",
    "questions",
    "options",
    "calls",
    "code",
    "maths",
    "json",
    "blanks",
    "quotes",
    "turns",
    "tools",
    "word_length",
)
# Shares of characters in [0, 1].
SHARE_NAMES: Final = ("digit_share", "upper_share", "punctuation_share", "non_ascii_share")
LEXICAL_NAMES: Final = COUNT_NAMES + SHARE_NAMES

_N_COUNTS: Final = len(COUNT_NAMES)
_DIGITS: Final = b"0123456789"
_UPPER: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PUNCTUATION: Final = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_OPERATORS: Final = b"=+*^<>\\$%/|~"
_HIGH: Final = bytes(range(128, 256))
# Everything but digits, points and commas becomes a blank, so that splitting yields the numbers.
_TO_NUMBERS: Final = bytes(b if 48 <= b <= 57 else (0x2E if b in b".," else 32) for b in range(256))
_BLANK_OR_NOT: Final = bytes(32 if b < 128 and chr(b).isspace() else ord("x") for b in range(256))
_OPTION_LINE: Final = re.compile(r"^[ \t]*\(?(?:[A-Ja-j]|[1-9])[).:\]][ \t]", re.MULTILINE)
_OPTION_INLINE: Final = re.compile(r"\([A-Ja-j]\)")
_CALL_OPENS: Final = re.compile(r"[A-Za-z0-9_]\(")
_CALL_CHARS: Final = 200  # between its brackets, on one line
_MATHS_SIGNS: Final = re.compile("[\u00b1\u00b2\u00b3\u00d7\u00f7\u03b1-\u03c9\u2070-\u209f\u2190-\u22ff]")
# Signs of code, by a character that each holds: most prompts have few of these characters.
_CODE_HINTS: Final = b"{}();=<>`#"
_CODE_SIGNS: Final = (
    ("=", ("==", "!=", "=>")),
    (">", ("->",)),
    ("<", ("</",)),
    (";", ("();", "};", ";\n")),
    ("{", ("{\n",)),
    ("`", ("```",)),
    ("#", ("#include",)),
    (":", ("::",)),
    ("/", ("//",)),
    (" ", ("def ", "import ", "class ", "SELECT ", "    ")),
    ("r", ("return",)),
    (".", ("self.",)),
)
_JSON_SIGNS: Final = ('":', '"type"', '"parameters"', '{"', "},")


def lexical_facts(text: str, *, turns: int = 1, tools: int = 0) -> list[float]:
    """Count what is cheap to count.

    Parameters
    ----------
    text : the prompt; beyond 3,072 characters only its head and tail are counted (but ``chars`` is whole).
    turns : messages of the conversation, >= 0.
    tools : tools or functions offered with the request, >= 0.

    Returns
    -------
    list of float, in the order of ``LEXICAL_NAMES``
        Counts >= 0, shares in [0, 1], word length in characters (at most 3,073). Always finite.
    """
    part = prompt_window(text)
    # A lone surrogate is not an error here: it counts as three non-ASCII bytes.
    raw = part.encode("utf-8", "surrogatepass")
    n_bytes = len(raw)
    n_chars = len(part)
    digits = n_bytes - len(raw.translate(None, _DIGITS))
    non_ascii = 0 if n_bytes == n_chars else n_chars - len(raw.translate(None, _HIGH))
    words = _words(raw) if n_bytes == n_chars else len(part.split())
    maths = n_bytes - len(raw.translate(None, _OPERATORS))
    if non_ascii:
        maths += len(_MATHS_SIGNS.findall(part))
    count = part.count
    size = n_chars or 1
    numbers = (
        len(text),
        words,
        count("\n") + 1 if n_chars else 0,
        len(raw.translate(_TO_NUMBERS).split()) if digits else 0,
        count("?") + count("？"),
        _options(part),
        _calls(part) if "(" in part else 0,
        _code(part) if n_bytes > len(raw.translate(None, _CODE_HINTS)) else 0,
        maths,
        sum(map(count, _JSON_SIGNS)) if '"' in part else 0,
        count("__"),
        count('"') + count("“"),
        max(turns, 0),
        max(tools, 0) + count('"parameters"'),
        n_chars / words if words else 0,
        digits / size,
        (n_bytes - len(raw.translate(None, _UPPER))) / size,
        (n_bytes - len(raw.translate(None, _PUNCTUATION))) / size,
        non_ascii / size,
    )
    return list(map(float, numbers))


def _words(raw: bytes) -> int:
    """Number of words in an ASCII text, as ``str.split`` would give, without creating them."""
    marked = raw.translate(_BLANK_OR_NOT)
    return marked.count(b" x") + marked.startswith(b"x")


def _code(part: str) -> int:
    """Signs of code; prose without a character of ``_CODE_HINTS`` holds none worth counting."""
    return sum([sum(map(part.count, signs)) for character, signs in _CODE_SIGNS if character in part])


def _options(part: str) -> int:
    """Number of answer options: from lines like "B) ..." or marks like "(B)", whichever gives more."""
    inline = len(_OPTION_INLINE.findall(part)) if "(" in part else 0
    lines = len(_OPTION_LINE.findall(part)) if "\n" in part else int(_OPTION_LINE.match(part) is not None)
    return max(inline, lines)


def _calls(part: str) -> int:
    """Number of calls such as ``f(x)``: at most one per closing bracket. Takes linear time on any text."""
    count = 0
    for line in part.split("\n"):
        for piece in line.split(")")[:-1]:
            # The opening bracket is among the last 201 characters, what it follows right before.
            count += "(" in piece and _CALL_OPENS.search(piece[-_CALL_CHARS - 2 :]) is not None
    return count


def lexical_scalars(facts: FloatArray | Sequence[float]) -> FloatArray:
    """Bring facts to comparable scales: log(1 + count), square root of shares.

    Parameters
    ----------
    facts : what :func:`lexical_facts` returned, or rows of it: shape (..., n_lexical).

    Returns
    -------
    float64, the same shape
        Finite, >= 0; not yet standardised.
    """
    scalars = np.array(facts, dtype=np.float64)
    counts = scalars[..., :_N_COUNTS]
    np.log1p(counts, out=counts)
    shares = scalars[..., _N_COUNTS:]
    np.sqrt(shares, out=shares)
    return scalars
