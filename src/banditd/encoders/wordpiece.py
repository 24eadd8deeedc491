"""Words of a prompt to token ids, exactly as the tokenizer file says, but faster. Not a tokeniser of its own.

BERT's tokeniser cuts at white space first and never looks across it, so the ids of a text are the ids of its
chunks in a row. Chunks are looked up in a dictionary; one that is not in there is cut into words and
punctuation (ASCII) or handed to ``tokenizers`` (anything else) and remembered. A property test compares the
ids on arbitrary text.
"""

from __future__ import annotations

import re
from typing import Final

from tokenizers import Tokenizer

MAX_REMEMBERED: Final = 32_768  # chunks beyond the vocabulary: a few megabytes
MAX_CHUNK_CHARS: Final = 40  # longer chunks hardly come again

_WORD: Final = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
# The normaliser drops control characters (and so joins what they separate), except tab, CR and LF.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85]")
# The control characters at which str.split would cut. Seven searches cost less than one regular expression.
_FALSE_BLANKS: Final = ("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85")


class WordPieces:
    """Token ids of a text, with a bounded memory of chunks.

    Safe to use from several threads: the memory is only ever added to or replaced whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._words = {word: (row,) for word, row in vocabulary.items() if _WORD.fullmatch(word)}
        self._limit = len(self._words) + MAX_REMEMBERED
        self._memory: dict[str, tuple[int, ...]] = dict(self._words)

    def ids(self, text: str) -> list[int]:
        """Token ids of `text` without special tokens."""
        for blank in _FALSE_BLANKS:
            if blank in text:
                text = _CONTROL.sub("", text)
                break
        if text.isascii():  # beyond ASCII lower-casing is left to the tokeniser, which knows its own rules
            text = text.lower()
        ids: list[int] = []
        memory = self._memory
        for chunk in text.split():
            try:
                ids += memory[chunk]
            except KeyError:
                ids += self._learn(chunk)
        return ids

    def _learn(self, chunk: str) -> list[int]:
        if chunk.isascii():
            pieces: list[int] = []
            for word in _WORD.findall(_CONTROL.sub("", chunk).lower()):
                pieces += self._words.get(word) or self._tokenise(word)
        else:
            pieces = self._tokenise(chunk)
        if len(chunk) <= MAX_CHUNK_CHARS:
            if len(self._memory) >= self._limit:
                self._memory = dict(self._words)
            self._memory[chunk] = tuple(pieces)
        return pieces

    def _tokenise(self, chunk: str) -> list[int]:
        # A lone surrogate cannot be written as UTF-8; it becomes a question mark.
        clean = chunk.encode("utf-8", "replace").decode("utf-8")
        return list(self._tokenizer.encode(clean, add_special_tokens=False).ids)
