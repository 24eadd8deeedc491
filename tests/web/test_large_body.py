"""Large bodies of the gateway: read and written in pieces, with the same result as in one go."""

from __future__ import annotations

import json
import random
import threading
from typing import Any

import pytest
from pydantic_core import from_json, to_json
from tests.web.conftest import somebody_else

from banditd.core import long_json
from banditd.core.long_json import LARGE_BYTES, PIECE, apart, compact, encode_pieces
from banditd.web.gateway import large_body, parsed_request
from banditd.web.gateway.large_body import read_large
from banditd.web.gateway.parsed_request import parse_object, parsed, read_chat
from banditd.web.legible import legible_json
from banditd.web.problems import BadRequestError, InvalidFieldsError

CHARACTERS = (
    *"aéก😀:,{[", r"\n", r"\\", r"\"", r"\u0041", r"\ud83d\ude00", r"\ud83d", r"\ude00", r"\u4e00", r"\/",
)  # fmt: skip
WRONG = ("\\x", '"', "\\u12", "\n", "\0", "\x01")
HEAD = '{"model":"banditd/auto","messages":[{"role":"user","content":"hi"}],"x":'


def body(chance: random.Random) -> bytes:
    """A small object of everything that texts may hold, at times broken."""

    def text() -> str:
        picked = (CHARACTERS if chance.random() > 0.004 else WRONG for _ in range(chance.randrange(60)))
        return '"' + "".join(chance.choice(one) for one in picked) + '"'

    def value(depth: int = 0) -> str:
        kind = chance.random()
        if kind < 0.5 or depth > 2:
            return text()
        if kind < 0.6:
            return chance.choice(("1", "-2.5", "true", "null", "1e5"))
        inner = [value(depth + 1) for _ in range(chance.randrange(4))]
        if kind < 0.8:
            return f"[{', '.join(inner)}]"
        return "{" + ", ".join(f"{text()}{chance.choice((':', ' : '))}{one}" for one in inner) + "}"

    said = "{" + ",".join(f'"k{n}":{value()}' for n in range(3)) + "}"
    made = said.encode(chance.choice(("utf-8",) * 20 + ("utf-16", "utf-16-le", "utf-32", "utf-8-sig")))
    if chance.random() < 0.1:
        made = made[: chance.randrange(len(made))]
    if chance.random() < 0.1:
        at = chance.randrange(len(made) + 1)
        made = made[:at] + bytes([chance.choice((0xFF, 0xE9, 0x80, 0xED))]) + made[at:]
    return made


def in_one_go(raw: bytes) -> Any:
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError:
        legible = legible_json(raw)
        if legible is None:
            raise
        return from_json(legible, allow_inf_nan=False)


def outcome(read: Any, raw: bytes) -> Any:
    try:
        return read(raw)
    except ValueError:
        return "not JSON"


@pytest.mark.parametrize("piece", [16, 17, 18, 19, 23, 31, 64])
def test_in_pieces_is_what_it_is_in_one_go(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(large_body, "PIECE", piece)
    monkeypatch.setattr(large_body, "LONG_BYTES", 5)
    monkeypatch.setattr(large_body, "_MANY_ESCAPES", 3)
    monkeypatch.setattr(long_json, "PIECE", piece - 15)
    monkeypatch.setattr(long_json, "_RUN", 1 + piece % 3)
    chance = random.Random(piece)
    read = 0
    for _ in range(400):
        raw = body(chance)
        value = outcome(in_one_go, raw)
        assert outcome(read_large, raw) == value, raw
        if value != "not JSON":
            read += 1
            assert encode_pieces(value, compact) == compact(value)
            assert encode_pieces(value, to_json) == to_json(value)
    assert read > 200


@pytest.mark.parametrize(
    "raw",
    [
        f'{HEAD}"{"A" * 3_000_000}"}}',
        HEAD + '"' + r"\ud83d" * 300_000 + '"}',
        HEAD + '"' + r"\n\"" * 300_000 + '"}',
        HEAD + '"' + "A\n" * 500_000 + '"}',
        HEAD + '"' + "A\\n" * 500_000,
        HEAD + json.dumps({"k" * 200_000: ["ก" * 400_000]}, ensure_ascii=False) + "}",
        HEAD + json.dumps(["\\" * 900] * 2000) + "}",
    ],
    ids=["image", "half characters", "escapes", "raw newlines", "no end", "long name", "many with escapes"],
)
def test_no_call_sees_more_than_a_piece(monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
    sizes: list[int] = []
    whole = from_json

    def spied(given: bytes, **more: Any) -> Any:
        sizes.append(len(given))
        return whole(given, **more)

    def spied_encode(given: object) -> bytes:
        made = compact(given)
        sizes.append(len(made))
        return made

    monkeypatch.setattr(large_body, "from_json", spied)
    encoded = raw.encode()
    value = outcome(read_large, encoded)
    assert value == outcome(in_one_go, encoded)
    if value != "not JSON":
        assert encode_pieces(value, spied_encode) == compact(value)
    # A control character is written as six bytes; what remains beside the long texts is read at once.
    assert max(sizes) <= max(6 * PIECE, 100_000 * 2)


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + "[" + "{}," * 300_000 + "{}]}",
        HEAD + "[" + "1," * 400_000 + "1]}",
        HEAD + "{" + ",".join(f'"k{n}":1' for n in range(60_000)) + "}}",
        HEAD + "[" * 100_000,
        HEAD + json.dumps(["x" * 900] * 5_000) + "}",
        " " * 5_000_000 + "{}",
        "x" * 5_000_000,
    ],
    ids=["objects", "numbers", "fields", "depth", "short texts", "spaces", "junk"],
)
async def test_too_many_values_are_refused_unread(monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(large_body, "from_json", never)
    monkeypatch.setattr(parsed_request, "from_json", never)
    with pytest.raises(InvalidFieldsError, match="50000 fields"):
        await parsed(read_chat, raw.encode())


def test_numbers_and_texts_that_look_like_structure_are_no_values() -> None:
    tokens = {"input": [list(range(250)) for _ in range(1000)], "code": '{"a": [1, 2]}, ' * 300_000}
    assert read_large(json.dumps(tokens).encode()) == tokens


async def test_only_what_is_large_leaves_the_event_loop() -> None:
    assert await apart(False, threading.current_thread) is threading.main_thread()
    assert await apart(True, threading.current_thread) is not threading.main_thread()
    chat = json.dumps({"model": "banditd/auto", "messages": [{"role": "user", "content": "a" * LARGE_BYTES}]})
    with somebody_else() as turns:
        requested = await parsed(read_chat, chat.encode())
    assert (requested.large, len(requested.text or "")) == (True, LARGE_BYTES)
    assert turns.taken > 0
    assert not (await parsed(read_chat, chat.replace("a" * 100, "").encode())).large


@pytest.mark.parametrize("raw", [b'{"a":"' + b"x" * 100_000, b'"' + b"x" * 100_000 + b'"', b'{"a":1}' * 20_000])
def test_what_is_no_object_is_told_so(raw: bytes) -> None:
    with pytest.raises(BadRequestError) as told:
        parse_object(raw)
    assert told.value.code == "MALFORMED_JSON"
    assert "line" not in told.value.message  # lines and columns would be those of what was left of the body
