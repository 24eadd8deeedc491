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


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_the_quick_way_gives_the_ids_of_the_tokenizer_on_arbitrary_text(text: str) -> None:
    assert PIECES.ids(text).tolist() == expected(text)


@settings(max_examples=500)
@given(st.text(st.sampled_from(ODD), max_size=60))
@example("a\x1cb")
@example("a\x85b c")
@example("x\u2028y")
@example("ΟΔΟΣ İstanbul")
def test_the_quick_way_agrees_on_control_characters_blanks_and_accents(text: str) -> None:
    assert PIECES.ids(text).tolist() == expected(text)


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
    assert WordPieces(TOKENIZER).ids(text).tolist() == expected(text)
    assert PIECES.ids(text).tolist() == PIECES.ids(text).tolist() == expected(text)


def test_a_lone_surrogate_counts_as_a_question_mark() -> None:
    assert PIECES.ids("a \ud800 b").tolist() == expected("a ? b")


def test_memory_stays_bounded_under_endless_new_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordpiece, "MAX_REMEMBERED", 50)
    pieces = WordPieces(TOKENIZER)
    vocabulary_size = len(pieces._memory)
    for index in range(500):
        word = f"zq{index}xv"
        assert pieces.ids(word).tolist() == expected(word)
        assert len(pieces._memory) <= vocabulary_size + 50
    assert pieces.ids("the quick zq3xv").tolist() == expected("the quick zq3xv")


# Scripts without blanks, runs, and what normalisation turns into several characters or none.
SCRIPTS = (
    "的一是不了人我在有他。、「」あいうアイウｱｲﾞ가각힣ㄱ\u1100\u1161\u11a8กขค่ำअआक्षमًب्\u0f71\u0f72\u302e\u302fﷺﬀ㍿①Ⅷ"
)


@settings(max_examples=300)
@given(st.text(st.sampled_from(SCRIPTS + "xX0é\u0301\u0323 "), max_size=200))
@example("x" * 3073)
@example("的" * 3073)
@example("한" * 35)
@example("0的0é0")
@example("a\u302e\u302fb")
def test_scripts_without_blanks_have_the_ids_of_the_tokenizer(text: str) -> None:
    first = PIECES.ids(text).tolist()
    assert first == PIECES.ids(text).tolist() == expected(text)


def test_every_character_has_the_ids_of_the_tokenizer() -> None:
    """Every code point that Unicode may assign to a script or a sign, between letters and beside itself."""
    points = [p for p in range(0x20000) if not 0xD800 <= p <= 0xDFFF]
    pieces = WordPieces(TOKENIZER)
    for start in range(0, len(points), 25):
        text = "".join(f"a{chr(p)}b{chr(p)}{chr(p)}" for p in points[start : start + 25])
        assert pieces.ids(text).tolist() == expected(text), hex(points[start])


class Counting:
    """A tokenizer that counts how many characters it is asked to cut by itself."""

    def __init__(self) -> None:
        self.characters = 0

    def __getattr__(self, name: str) -> object:
        return getattr(TOKENIZER, name)

    def encode(self, text: str, **options: bool) -> object:
        self.characters += len(text)
        return TOKENIZER.encode(text, **options)


@pytest.mark.parametrize(
    "text",
    [
        "的一是不了人我在有他。" * 250,
        "あいうアイウ日本語" * 300,
        "한국어문장입니다 " * 300,
        "ไทยภาษา" * 400,
        "x" * 3000,
        "é" * 3000,
        "😀👩‍💻" * 600,
        "\ud83d" * 3000,
    ],
)
def test_no_script_is_left_to_the_slow_way(text: str) -> None:
    counting = Counting()
    assert WordPieces(counting).ids(text).tolist() == expected(text.replace("\ud83d", "?"))  # type: ignore[arg-type]
    assert counting.characters == 0


def with_special_tokens() -> Tokenizer:
    tokenizer = load_tokenizer()
    tokenizer.add_special_tokens(["的一"])
    return tokenizer


def test_a_tokenizer_of_another_kind_is_asked_itself() -> None:
    tokenizer = with_special_tokens()
    assert WordPieces(tokenizer).ids("的一是不").tolist() == list(
        tokenizer.encode("的一是不", add_special_tokens=False).ids
    )
    assert WordPieces(tokenizer).ids("的一是不").tolist() != expected("的一是不")
