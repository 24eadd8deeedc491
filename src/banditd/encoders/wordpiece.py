"""Words of a prompt to token ids, exactly as the tokenizer file says, but faster. Not a tokeniser of its own.

BERT's tokeniser cuts at white space and around every punctuation mark and treats the words one by one, so
the ids of a text are the ids of its words in a row. ASCII words are found by one regular expression and
looked up in a dictionary; what is not in there (rare words, other scripts) goes through ``tokenizers`` once
and is remembered. A property test compares the ids on arbitrary text.
"""

from __future__ import annotations

import re
from typing import Final

from tokenizers import Tokenizer

MAX_REMEMBERED: Final = 16_384  # words beyond the vocabulary
MAX_WORD_CHARS: Final = 100  # longer words are unknown to WordPiece, longer chunks are not remembered

_WORD: Final = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
# The normaliser drops control characters (and so joins what they separate), except tab, CR and LF.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# A run without blanks that holds at least one character beyond ASCII; tried only where such a run starts.
_FOREIGN: Final = re.compile(r"(?<![^ \t\n\r])([^ \t\n\r\x80-\U0010ffff]*+[^\x00-\x7f][^ \t\n\r]*+)")


class WordPieces:
    """Token ids of a text, with a bounded memory of words.

    Safe to use from several threads: the memory is only ever added to or replaced whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._vocabulary = {word: (row,) for word, row in vocabulary.items() if _WORD.fullmatch(word)}
        self._limit = len(self._vocabulary) + MAX_REMEMBERED
        self._memory: dict[str, tuple[int, ...]] = dict(self._vocabulary)

    def ids(self, text: str) -> list[int]:
        """Token ids of `text` without special tokens."""
        ids: list[int] = []
        if text.isascii():
            self._add_ascii(text, ids)
            return ids
        for index, part in enumerate(_FOREIGN.split(text)):
            if index % 2:
                ids += self._memory.get(part) or self._learn(part)
            else:
                self._add_ascii(part, ids)
        return ids

    def _add_ascii(self, text: str, ids: list[int]) -> None:
        if _CONTROL.search(text):
            text = _CONTROL.sub("", text)
        memory = self._memory
        for word in _WORD.findall(text.lower()):
            try:
                ids += memory[word]
            except KeyError:
                ids += self._learn(word)

    def _learn(self, chunk: str) -> tuple[int, ...]:
        # A lone surrogate cannot be written as UTF-8; it becomes a question mark.
        clean = chunk.encode("utf-8", "replace").decode("utf-8")
        pieces = tuple(self._tokenizer.encode(clean, add_special_tokens=False).ids)
        if len(chunk) <= MAX_WORD_CHARS:
            if len(self._memory) >= self._limit:
                self._memory = dict(self._vocabulary)
            self._memory[chunk] = pieces
        return pieces
