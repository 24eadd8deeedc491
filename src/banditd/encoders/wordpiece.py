"""Words of a prompt to token ids, exactly as the tokenizer file says, but faster. Not a tokeniser of its own.

BERT's tokeniser cuts at white space first and never looks across it, so the ids of a text are the ids of its
chunks in a row. Chunks are looked up in a dictionary. One that is not in there is cut into words and punctuation,
its words into pieces, and remembered. What becomes of a character beyond ASCII (its letters without accents, a
blank on both sides of an ideograph, nothing) is asked of ``tokenizers`` once and then looked up, so that a text
without blanks costs as little as one with them. Where that is not known to be exact (another kind of tokenizer,
marks whose order matters) ``tokenizers`` does it all. A property test compares the ids on arbitrary text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from banditd.core.types import IntArray

MAX_REMEMBERED: Final = 32_768  # chunks: a few megabytes
MAX_CHUNK_CHARS: Final = 40  # longer chunks hardly come again

_WORD: Final = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
# The normaliser drops control characters (and so joins what they separate), except tab, CR and LF.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85]")
# The control characters at which str.split would cut. Seven searches cost less than one regular expression.
_FALSE_BLANKS: Final = ("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85")
# Stands for a character whose effect depends on its neighbours; no text keeps a NUL, so it cannot be taken for one.
_UNKNOWN_EFFECT: Final = "\x00"
_STARTS: Final = 3  # letters by which the longest possible piece is known
_SEPARATOR: Final = "0"  # no other character is normalised to it
_LETTERS: Final = frozenset({"Ll", "Lu", "Lt", "Lo", "Lm", "Nd", "Nl", "No"})  # never cut off as punctuation


class WordPieces:
    """Token ids of a text, with a bounded memory of chunks.

    Safe to use from several threads: the memories are only ever added to or replaced whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        # In the order of the rows the common words lie beside each other, and what traffic brings is remembered apart
        # from the whole vocabulary: so little stays in the processor's cache, where most of the time would be lost.
        rows = sorted(vocabulary.items(), key=itemgetter(1))
        self._words = {word: (row,) for word, row in rows if _WORD.fullmatch(word)}
        self._memory: dict[str, bytes] = {}  # of each chunk its ids, packed
        self._greedy = _Greedy.of(tokenizer, vocabulary)
        self._effects = _Effects(tokenizer)

    def ids(self, text: str) -> IntArray:
        """Token ids of `text` without special tokens: intp, shape (n_tokens,)."""
        for blank in _FALSE_BLANKS:
            if blank in text:
                text = _CONTROL.sub("", text)
                break
        if text.isascii():  # beyond ASCII lower-casing is left to the tokeniser, which knows its own rules
            text = text.lower()
        chunks = text.split()
        try:
            packed = b"".join(map(self._memory.__getitem__, chunks))
        except KeyError:
            # Nearly always all are known, so looking twice costs nothing.
            packed = b"".join([self._memory.get(chunk) or self._learn(chunk) for chunk in chunks])
        return np.frombuffer(packed, dtype=np.intp)

    def _learn(self, chunk: str) -> bytes:
        pieces = np.array(self._cut_ascii(chunk) if chunk.isascii() else self._cut(chunk), dtype=np.intp).tobytes()
        if len(chunk) <= MAX_CHUNK_CHARS:
            if len(self._memory) >= MAX_REMEMBERED:
                self._memory = {}
            self._memory[chunk] = pieces
        return pieces

    def _cut_ascii(self, chunk: str) -> list[int]:
        pieces: list[int] = []
        for word in _WORD.findall(_CONTROL.sub("", chunk).lower()):
            pieces += self._words.get(word) or self._pieces(word)
        return pieces

    def _cut(self, chunk: str) -> list[int]:
        if self._greedy is None:
            return self._tokenise(chunk)
        plain = self._effects.of(chunk)
        if _UNKNOWN_EFFECT in plain:
            return self._tokenise(chunk)
        pieces: list[int] = []
        for word in plain.split():
            pieces += self._greedy.pieces(word)
        return pieces

    def _pieces(self, word: str) -> Sequence[int]:
        return self._tokenise(word) if self._greedy is None else self._greedy.pieces(word)

    def _tokenise(self, chunk: str) -> list[int]:
        # A lone surrogate cannot be written as UTF-8; it becomes a question mark.
        clean = chunk.encode("utf-8", "replace").decode("utf-8")
        return list(self._tokenizer.encode(clean, add_special_tokens=False).ids)


class _Plain(dict[str, bool]):
    """Whether a character is a letter, digit or blank: nothing that is cut off, put into order or unknown."""

    def __missing__(self, character: str) -> bool:
        self[character] = plain = character == " " or (
            unicodedata.category(character) in _LETTERS and not unicodedata.combining(character)
        )
        return plain


class _Effects:
    """What the normaliser and the cutter make of a character, asked once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._plain = _Plain()
        self._table: dict[int, str] = dict.fromkeys(range(55296, 57344), " ? ")
        self._known = set(map(chr, self._table))

    def of(self, chunk: str) -> str:
        """The chunk normalised, with blanks between its words; `_UNKNOWN_EFFECT` where that cannot be said."""
        new = set(chunk).difference(self._known)
        if new:
            self._learn(new)
        return chunk.translate(self._table)

    def _learn(self, new: set[str]) -> None:
        unseen = []
        for character in new:
            # The two large scripts, of which one text may bring thousands of new characters, follow a rule.
            if "\u4e00" <= character <= "\u9fa5":
                self._remember(character, f" {character} ")
            elif "\uac00" <= character <= "\ud7a3":
                self._remember(character, unicodedata.normalize("NFD", character))
            else:
                unseen.append(character)
        if unseen:
            self._ask(unseen)

    def _remember(self, character: str, effect: str) -> None:
        self._table[ord(character)] = effect
        self._known.add(character)

    def _ask(self, characters: list[str]) -> None:
        # One call for all: the effect of a character is its own but for the order of combining marks.
        normaliser = self._tokenizer.normalizer
        answers = normaliser.normalize_str(f"0{_SEPARATOR.join(characters)}0")[1:-1].split(_SEPARATOR)
        if len(answers) != len(characters):  # the separator was among them
            answers = [normaliser.normalize_str(character) for character in characters]
        for character, normalised in zip(characters, answers, strict=True):
            self._remember(character, self._cut(normalised))

    def _cut(self, normalised: str) -> str:
        if all(map(self._plain.__getitem__, normalised)):
            return normalised
        # Combining marks that stay are put into an order, which a character alone cannot show; of characters that
        # this Python does not know, nobody can say whether they are such marks.
        if any(unicodedata.combining(c) or unicodedata.category(c) == "Cn" for c in normalised):
            return _UNKNOWN_EFFECT
        cut = [part for part, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(f"a{normalised}a")]
        if "".join(cut) != f"a{normalised.replace(' ', '')}a" or any(c.isspace() for part in cut for c in part):
            return _UNKNOWN_EFFECT
        return " ".join(cut)[1:-1]


class _Greedy:
    """The longest piece first, as WordPiece cuts a word."""

    def __init__(self, vocabulary: Mapping[str, int], prefix: str, unknown: int, most_chars: int) -> None:
        self._first = vocabulary
        self._rest = {
            token.removeprefix(prefix): row
            for token, row in vocabulary.items()
            if token.startswith(prefix) and token != prefix
        }
        self._first_reach, self._rest_reach = _reach(self._first), _reach(self._rest)
        self._unknown = (unknown,)
        self._most_chars = most_chars
        self._memory: dict[str, tuple[int, ...]] = {}

    @classmethod
    def of(cls, tokenizer: Tokenizer, vocabulary: Mapping[str, int]) -> _Greedy | None:
        """None where the tokenizer is not BERT's, or where special tokens may be read out of a text."""
        model, normaliser = tokenizer.model, tokenizer.normalizer
        usual = (
            isinstance(model, WordPiece)
            and isinstance(normaliser, BertNormalizer)
            and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
            and normaliser.clean_text
            and normaliser.handle_chinese_chars
            and normaliser.lowercase
            and normaliser.strip_accents is not False
            and not tokenizer.get_added_tokens_decoder()
            and model.unk_token in vocabulary
        )
        if not usual:
            return None
        prefix, unknown = model.continuing_subword_prefix, vocabulary[model.unk_token]
        return cls(vocabulary, prefix, unknown, model.max_input_chars_per_word)

    def pieces(self, word: str) -> tuple[int, ...]:
        """Rows of the pieces of a normalised word, or of the unknown token."""
        found = self._memory.get(word)
        if found is None:
            found = self._cut(word)
            if len(word) <= MAX_CHUNK_CHARS:
                if len(self._memory) >= MAX_REMEMBERED:
                    self._memory = {}
                self._memory[word] = found
        return found

    def _cut(self, word: str) -> tuple[int, ...]:
        size = len(word)
        if size > self._most_chars:
            return self._unknown
        rows: list[int] = []
        start, known, reach = 0, self._first, self._first_reach
        while start < size:
            end = min(size, start + reach.get(word[start : start + _STARTS], _STARTS - 1))
            while end > start and (row := known.get(word[start:end])) is None:
                end -= 1
            if end == start:
                return self._unknown
            rows.append(row)  # type: ignore[arg-type]  # found, or the loop would have ended at start
            start, known, reach = end, self._rest, self._rest_reach
        return tuple(rows)


def _reach(tokens: Mapping[str, int]) -> dict[str, int]:
    """First letters to the length of the longest token that begins with them."""
    longest: dict[str, int] = {}
    for token in tokens:
        if len(token) > longest.get(token[:_STARTS], 0):
            longest[token[:_STARTS]] = len(token)
    return longest
