"""The framer changes nothing, finds every event whatever ends its lines, and does not grow without bound."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banditd.upstreams.sse import EventTooLargeError, Frame, Framer

TEXT = 'data: {"a": "wörld 🌍"}\n\n: comment\n\nevent: ping\ndata: x\ndata: y\n\ndata:[DONE]\n\n'


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


def _frames(parts: list[bytes], most: int = 1_000_000) -> list[Frame]:
    framer = Framer(max_event_bytes=most)
    frames = [frame for part in parts for frame in framer.feed(part)]
    rest = framer.rest()
    return frames if rest is None else [*frames, rest]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@given(places=st.lists(st.integers(0, 10_000), max_size=12))
def test_however_it_is_cut_the_events_are_the_same(end: str, places: list[int]) -> None:
    data = TEXT.replace("\n", end).encode()
    frames = _frames(_cut(data, places))
    assert b"".join(frame.raw for frame in frames) == data
    assert [(f.name, f.data) for f in frames if f.data is not None] == [
        (None, '{"a": "wörld 🌍"}'.encode()), (b"ping", b"x\ny"), (None, b"[DONE]")
    ]  # fmt: skip


@given(data=st.binary(max_size=200), places=st.lists(st.integers(0, 1000), max_size=6))
def test_no_byte_is_lost_or_made(data: bytes, places: list[int]) -> None:
    assert b"".join(frame.raw for frame in _frames(_cut(data, places))) == data


def test_comments_and_empty_data_have_no_data() -> None:
    assert [frame.data for frame in _frames([b": one\n\nid: 4\n\ndata:\n\ndata\n\n"])] == [None, None, b"", b""]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert _frames([b"\xef\xbb\xbfdata: a\n\n"])[0].data == b"a"


@pytest.mark.parametrize("data", [b"data: " + b"x" * 101, b"data: " + b"x" * 101 + b"\n\n"])
def test_an_event_without_end_is_refused(data: bytes) -> None:
    with pytest.raises(EventTooLargeError):
        _frames([data], most=100)


def test_many_small_events_in_one_read_are_no_large_event() -> None:
    assert len(_frames([b"data: x\n\n" * 1000], most=100)) == 1000
