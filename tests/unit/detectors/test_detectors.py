"""What is detected by name: found where it is, in several languages, and not in what only looks like it."""

from __future__ import annotations

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.detectors import secrets
from banditd.detectors.detector import detector
from banditd.detectors.personal import ENTITIES, MOST_CANDIDATES

SUM = """def total(prices):
    result = 0
    for price in prices:
        result += price
    return result
"""
LETTERS = "aB3dE5gH1jK2mN4pQ6rS7tU8vW9xY0zA"  # of a made-up key


@pytest.mark.parametrize(
    ("name", "texts"),
    {
        "secrets": [
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r",
            "Why is AKIA" + "Z7Q2" * 4 + " refused?",
            "Mein Schlüssel ist ghp_" + LETTERS + "aB3d, geht aber nicht.",
            "密钥是 sk-ant-api03-" + LETTERS,
            "OPENAI_API_KEY=sk-" + LETTERS + LETTERS,
            "postgresql://me:hunter2@db.internal/prod",
            'curl -H "Authorization: Bearer ' + LETTERS + '"',
            'config = {"password": "correct-horse"}',
            "PORT=80\nDB_PASSWORD=correct-horse\nDEBUG=1",
            "eyJ" + LETTERS + ".eyJ" + LETTERS + "." + LETTERS,
            "x" * 100_000 + " glpat-" + LETTERS,
        ],
        "code": [
            SUM,
            "Warum geht das nicht?\n```js\nconst f = (x) => x;\n```",
            "#include <stdio.h>\nint main() {\n  return 0;\n}",
            "为什么？\nimport os\nclass A:\n    def f(self): return self.x",
        ],
        "language:en": ["What is the capital of France?", "Review this contract for odd clauses."],
        "language:de": ["Prüfe diesen Vertrag.", "Was ist die Hauptstadt von Frankreich?"],
        "language:zh": ["法国的首都是哪里？", "检查这份合同"],
        "language:ja": ["この契約書を確認してください"],
        "language:!en": ["Quelle est la capitale de la France ?", "Какая столица Франции?"],
        "pii:CREDIT_CARD": [
            "Why was 4111 1111 1111 1111 charged?",
            "卡号4111111111111111",
            "order 4711 4111-1111-1111-1111",
            "amex 378282246310005",
        ],
        "pii:IBAN_CODE": [
            "Überweise an DE89 3704 0044 0532 0130 00 bitte",
            "IBAN AT61 1904 3002 3457 3201 AUCH HEUTE",
            "GB29NWBK60161331926819",
        ],
        "pii:EMAIL_ADDRESS": ["mail jo.doe+x@example.co.uk", "an jörg@müller.de", "邮箱zhang@example.cn。"],
        "pii:PHONE_NUMBER": [
            "call +49 30 901820",
            "Ruf +49 (0)30 901 820 an",
            "(212) 555-0143",
            "電話は+81-3-1234-5678",
        ],
        "pii:IP_ADDRESS": ["who is 8.8.8.8?", "2001:4860:4860::8888"],
        "pii:US_SSN": ["my ssn is 536-90-4399"],
        "pii:UK_NINO": ["NI number AB 12 34 56 C"],
        "pii:DE_TAX_ID": ["Steuer-ID 36 574 261 809"],
        "pii:FR_NIR": ["numéro 2 95 10 99 126 111 93"],
        "pii:IT_FISCAL_CODE": ["codice fiscale RCCMNL83S18D969H"],
        "pii:ES_NIF": ["DNI 54362315K"],
        "pii:ES_NIE": ["NIE X-2482300-W"],
        "pii:PL_PESEL": ["PESEL 44051401359"],
        "pii:IN_AADHAAR": ["आधार 2341 2341 2346"],
        "pii:KR_RRN": ["주민등록번호 971013-9019902"],
        "pii:CN_RIC": ["身份证360426199101010071"],
        "pii:BR_CPF": ["CPF 390.533.447-05"],
    }.items(),
)
def test_what_is_there_is_found(name: str, texts: list[str]) -> None:
    found = detector([name])
    assert [text for text in texts if not found(text)] == []
    if name.startswith("pii"):
        assert all(map(detector(["pii"]), texts))


PROSE = [
    "",
    "What is the capital of France?",
    "Wie viel ist 12345678 mal 3,5? Rechne bis 2.000.000 vor.",
    "The first class of the import tax: 3 items; see sections 4.1.2 and 10.4.",
    "写一首关于海的诗。",
    "Order 4711 4111 1111 1111 1112 is late, invoice 2024-11-30, version 3.14.159, server 192.168.1.1.",
]


@pytest.mark.parametrize(
    ("name", "texts"),
    {
        "secrets": [
            *PROSE,
            SUM,
            "How do I choose a good password?",
            "password = input()",
            'api_key = "YOUR_API_KEY_HERE"',
            "export OPENAI_API_KEY=<your key>",
            "TOKEN=${TOKEN}",
            "see https://example.com:8080/a@b",
            "the class sk-button-primary-large-outline",
        ],
        "code": PROSE,
        "language:en": ["ok", "2+2=?", "😀😀", "Was ist die Hauptstadt von Frankreich?", ""],
        "language:!en": ["ok", "hi", "2+2=?", "", "SELECT * FROM t WHERE id = 3;", *PROSE[1:2]],
        "pii": [*PROSE, SUM, "1.2.3.4.5", "978-3-16-148410-0", "std::vector<int>", "a@b", "2+12345678", "12:30:45"],
    }.items(),
)
def test_what_only_looks_like_it_is_not_found(name: str, texts: list[str]) -> None:
    found = detector([name])
    assert [text for text in texts if found(text)] == []


def test_one_of_the_named_things_is_enough() -> None:
    found = detector(["code", "language:zh", "pii:US_SSN", "pii:IBAN_CODE"])
    assert [found(text) for text in (SUM, "检查这份合同", "536-90-4399", "Hello there, how are you?")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("secret", "nothing that can be detected"),
        ("code:python", "nothing that can be detected"),
        ("language", "language: is no language"),
        ("language:", "nothing that can be detected"),
        ("language:english", "no language that can be detected: .*de, .*en"),
        ("pii:PERSON", "no personal data that can be detected: CREDIT_CARD"),
    ],
)
def test_an_unknown_name_is_refused(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        detector([name])


@pytest.mark.parametrize(
    ("module", "name"),
    [("re2", "secrets"), ("re2", "pii"), ("stdnum.luhn", "pii"), ("py3langid.langid", "language:de")],
)
def test_what_is_not_installed_is_named_with_the_command(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from banditd.detectors import languages

    languages._model.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"pip install 'banditd\[detectors\]'"):
        detector([name])


def test_too_much_that_looks_like_it_counts_as_it() -> None:
    card, secret = detector(["pii:CREDIT_CARD"]), detector(["secrets"])
    near = "4111111111111112,"
    assert not card(near * (MOST_CANDIDATES - 1))
    assert card(near * MOST_CANDIDATES)
    placeholder = "PASSWORD=xxxxxxxx\n"
    assert not secret(placeholder * (secrets.MOST_PLACEHOLDERS - 1))
    assert secret(placeholder * secrets.MOST_PLACEHOLDERS)


EVERYTHING = detector(["secrets", "code", "language:de", "pii"])


@given(st.text(st.characters(), max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    EVERYTHING(text)


@pytest.mark.parametrize("between", ["\u00a0", "\u202f", "\u2009", "\u2011", "\u2013", "\u2212"])
def test_blanks_and_dashes_of_pages_and_documents_hide_no_number(between: str) -> None:
    card, iban, ssn = (detector([f"pii:{name}"]) for name in ("CREDIT_CARD", "IBAN_CODE", "US_SSN"))
    assert card(between.join(["4111", "1111", "1111", "1111"]))
    assert iban(between.join(["DE89", "3704", "0044", "0532", "0130", "00"]))
    assert ssn(between.join(["536", "90", "4399"])) is (between in "\u2011\u2013\u2212")


def test_full_width_input_hides_no_number() -> None:
    found = detector(["pii:CREDIT_CARD", "pii:EMAIL_ADDRESS"])
    assert found("卡号４１１１　１１１１　１１１１　１１１１。")
    assert found("邮箱 ada＠example．com")
    assert not found("４１１１ １１１１ １１１１ １１１２")  # its check digit is another


@pytest.mark.parametrize(
    "long", ["a" + "\u0301" * 5000 + "\u0316" * 5000, "\ufdfa" * 5000, "aé" * 5000], ids=["marks", "signs", "words"]
)
def test_no_more_marks_than_a_few_are_put_in_order_at_once(long: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, real = [0], unicodedata.normalize

    def normalize(form: Any, text: str) -> str:
        lengths.append(len(text))
        return real(form, text[:100])

    found = detector(["pii"])
    monkeypatch.setattr(unicodedata, "normalize", normalize)
    assert not found(long)
    assert max(lengths) <= 65  # Python's time for it grows with the square of this
    assert found(f"{long} ４１１１　１１１１　１１１１　１１１１")
    assert found(f"{long} jose\u0301@example.com")


@given(st.sampled_from(sorted(ENTITIES)), st.text(max_size=50), st.text(max_size=50))
def test_what_stands_around_it_does_not_hide_a_card(name: str, before: str, after: str) -> None:
    assert detector([f"pii:{name}", "pii:CREDIT_CARD"])(f"{before} 4111 1111 1111 1111\n{after}")
