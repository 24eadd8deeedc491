from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from banditd.encoders import wordpiece
from banditd.encoders.static import SHIPPED_FOLDER
from banditd.encoders.wordpiece import WordPieces


def load_tokenizer(folder: Path = SHIPPED_FOLDER) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


TOKENIZER = load_tokenizer()
PIECES = WordPieces(TOKENIZER)  # shared between examples on purpose: memory must not change an answer

# Letters that cut or join words in odd places: controls, every kind of blank, accents, joiners, CJK, emoji.
ODD = (
    "aZ09 \t\n\r.,!?_-'\"$^`|~[]{}()#\x00\x01\x0b\x0c\x1c\x1d\x1e\x1f\x7f\x80\x85\xa0\xad"
    "éÉßİıſΣςſﬁ\u0301\u0300\u1680\u180e\u2000\u2009\u200b\u200d\u2028\u2029\u202f\u205f\u3000\ufeff\ufffd"
    "中文日本語한국어ไทย‘’“”—…·½²√∑😀👩‍💻\U000e0041"
)


def expected(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False).ids)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_the_quick_way_gives_the_ids_of_the_tokenizer_on_arbitrary_text(text: str) -> None:
    assert PIECES.ids(text) == expected(text)


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from(ODD), max_size=60))
@example("a\x1cb")
@example("a\x85b c")
@example("x\u2028y")
@example("ΟΔΟΣ İstanbul")
def test_the_quick_way_agrees_on_control_characters_blanks_and_accents(text: str) -> None:
    assert PIECES.ids(text) == expected(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "[MASK] [CLS] [UNK] [PAD] [unused1]",
        "##ing a##b",
        "e.g. don't re-use f(x)=x**2;",
        "a" * 100,
        "a" * 101,
        "b" * 5000,
        "Supercalifragilisticexpialidocious antidisestablishmentarianism",
        "def f(x: int) -> str:\n\treturn f'{x!r}'  # naïve",
    ],
)
def test_known_difficult_texts_give_the_ids_of_the_tokenizer(text: str) -> None:
    assert WordPieces(TOKENIZER).ids(text) == expected(text)
    assert PIECES.ids(text) == PIECES.ids(text) == expected(text)


def test_a_lone_surrogate_counts_as_a_question_mark() -> None:
    assert PIECES.ids("a \ud800 b") == expected("a ? b")


def test_memory_stays_bounded_under_endless_new_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "MAX_REMEMBERED", 50)
    pieces = WordPieces(TOKENIZER)
    vocabulary_size = len(pieces._memory)
    for index in range(500):
        word = f"zq{index}xv"
        assert pieces.ids(word) == expected(word)
        assert len(pieces._memory) <= vocabulary_size + 50
    assert pieces.ids("the quick zq3xv") == expected("the quick zq3xv")
