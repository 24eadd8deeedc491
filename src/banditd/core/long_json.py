"""Read and write large JSON in pieces, so that no single call into C code holds the interpreter lock for long.

The result is byte for byte the same as in one call: text is escaped character by character anyway.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, Final, ParamSpec, TypeVar

LARGE_BYTES: Final = 65_536
"""A body above this size is read and written in a thread, off the event loop."""
PIECE: Final = 65_536
_RUN: Final = 128
_P = ParamSpec("_P")
_T = TypeVar("_T")
# One thread for all: two would keep the event loop waiting twice as long.
_THREAD: Final = ThreadPoolExecutor(1, "large-bodies")


async def apart(large: bool, work: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
    """Call ``work``: in the thread for large bodies if ``large``, else at once."""
    if not large:
        return work(*given, **named)
    return await asyncio.get_running_loop().run_in_executor(_THREAD, partial(work, *given, **named))


def encode_pieces(value: object, encode: Callable[[Any], bytes]) -> bytes:
    """Encode a JSON value, calling ``encode`` only on parts whose texts have at most ``PIECE`` characters.

    encode : writes compact JSON; also called for object keys.
    """
    pieces: list[bytes] = []
    _put(value, encode, pieces)
    return b"".join(pieces)


def _put(value: object, encode: Callable[[Any], bytes], pieces: list[bytes]) -> None:
    if isinstance(value, str) and len(value) > PIECE:
        pieces.append(b'"')
        pieces.extend(encode(value[at : at + PIECE])[1:-1] for at in range(0, len(value), PIECE))
        pieces.append(b'"')
    elif isinstance(value, dict) and value and not _is_short(value):
        for number, (name, one) in enumerate(value.items()):
            pieces.append(b"," if number else b"{")
            _put(name, encode, pieces)
            pieces.append(b":")
            _put(one, encode, pieces)
        pieces.append(b"}")
    elif isinstance(value, list) and value:
        _put_list(value, encode, pieces)
    else:
        pieces.append(encode(value))


def _put_list(value: list[Any], encode: Callable[[Any], bytes], pieces: list[bytes]) -> None:
    rest = iter(value)
    first = True
    while run := list(islice(rest, _RUN)):
        pieces.append(b"[" if first else b",")
        first = False
        if all(map(_is_plain, run)):
            pieces.append(encode(run)[1:-1])
            continue
        for number, one in enumerate(run):
            if number:
                pieces.append(b",")
            _put(one, encode, pieces)
    pieces.append(b"]")


def _is_short(value: dict[Any, Any]) -> bool:
    return len(value) <= _RUN and all(map(_is_plain, value.values())) and all(map(_is_plain, value))


def _is_plain(value: object) -> bool:
    """Whether it is a short text or a scalar, rather than a container."""
    return len(value) <= PIECE // _RUN if isinstance(value, str) else not isinstance(value, dict | list)


def compact(value: object) -> bytes:
    """Compact JSON in UTF-8.

    If there are lone surrogates, which UTF-8 cannot encode, everything non-ASCII is escaped.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
