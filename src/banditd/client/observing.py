"""What a model's answer says of its tokens, in the shapes of OpenAI and Anthropic, whole or streamed.

Chat completions, Responses and Messages; objects of their libraries, the parsed JSON, or lines of server-sent events.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from banditd.core.tokens import MAX_TOKENS, with_thoughts

Json = Any
logger = logging.getLogger(__name__)
Finished = Callable[["Tally"], None]
MAX_ID: Final = 256
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Tally:
    """Adds up what the pieces of one answer say. A whole answer is one piece."""

    def __init__(self) -> None:
        self.fields: dict[str, Json] = {}
        self._anthropic: dict[str, int] = {}

    def add(self, piece: Any) -> bool:
        """Note a piece; whether it brought something of the answer itself (a token)."""
        piece = _parsed(piece)
        kind = get(piece, "type")
        if not isinstance(kind, str):
            self._whole(piece)
        elif kind in _ENDS:
            self._whole(get(piece, "response"))
        elif kind == "message_start":
            self._usage(get(get(piece, "message"), "usage"))
            self._named(get(piece, "message"))
        elif kind == "message_delta":
            self._usage(get(piece, "usage"))
            self._finish(get(get(piece, "delta"), "stop_reason"))
        else:
            self._whole(piece)
        return _has_token(piece, kind)

    @property
    def counted(self) -> bool:
        """Whether any tokens are known."""
        return "input_tokens" in self.fields or "output_tokens" in self.fields

    def _whole(self, answer: Any) -> None:
        self._usage(get(answer, "usage"))
        self._named(answer)
        choices = get(answer, "choices")
        if isinstance(choices, list | tuple):
            self._finish(get(choices[0], "finish_reason") if choices else None)
            self._declined(any(get(get(one, name), "refusal") for one in choices for name in ("message", "delta")))
        elif get(answer, "stop_reason") is not None:
            self._finish(get(answer, "stop_reason"))
        elif get(answer, "object") == "response":
            self._finish(get(get(answer, "incomplete_details"), "reason") or get(answer, "status"))
            parts = [part for item in get(answer, "output") or () for part in get(item, "content") or ()]
            self._declined(any(get(part, "type") == "refusal" for part in parts))

    def _named(self, answer: Any) -> None:
        """The answer's id: rewards take it as a reference."""
        given = get(answer, "id")
        if isinstance(given, str) and 0 < len(given) <= MAX_ID:
            self.fields["response_id"] = given

    def _finish(self, reason: Any) -> None:
        if isinstance(reason, str):
            self.fields["finish_reason"] = reason

    def _declined(self, seen: bool) -> None:
        """Anthropic says it as the reason to stop."""
        if seen:
            self.fields["refusal"] = True

    def _usage(self, usage: Any) -> None:
        """The shapes differ in their names, and in whether cached tokens are among those of the input."""
        if usage is None:
            return
        if get(usage, "prompt_tokens") is not None:
            details = get(usage, "prompt_tokens_details")
            taken = get(usage, "prompt_tokens")
            given = with_thoughts(taken, get(usage, "completion_tokens"), get(usage, "total_tokens"))
            self._note(taken, given, get(details, "cached_tokens"))
        elif get(usage, "cache_read_input_tokens") is None and get(usage, "cache_creation_input_tokens") is None:
            cached = get(get(usage, "input_tokens_details"), "cached_tokens")
            self._note(get(usage, "input_tokens"), get(usage, "output_tokens"), cached)
        else:
            self._cached_apart(usage)

    def _cached_apart(self, usage: Any) -> None:
        """Anthropic counts what is read from and written to its cache beside ``input_tokens``."""
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            if isinstance(get(usage, name), int):
                self._anthropic[name] = get(usage, name)
        given = sum(self._anthropic.values()) if "input_tokens" in self._anthropic else None
        self._note(given, get(usage, "output_tokens"), self._anthropic.get("cache_read_input_tokens"))

    def _note(self, given: Any, made: Any, cached: Any) -> None:
        named = {"input_tokens": given, "output_tokens": made, "cached_input_tokens": cached}
        # A figure that cannot be is left out, and the rest of the report stands.
        self.fields |= {
            name: value for name, value in named.items() if type(value) is int and 0 <= value <= MAX_TOKENS
        }


class _Observed:
    """A stream that passes everything on. Whatever else the library's object can, it still can."""

    def __init__(self, inner: Any, first: Callable[[], None], finished: Finished) -> None:
        self._inner = inner
        self._context = inner
        self._first = first
        self._finished = finished
        self._tally = Tally()
        self._begun = self._ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _see(self, piece: Any) -> None:
        if self._tally.add(piece) and not self._begun:
            self._begun = True
            self._first()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._finished(self._tally)


class ObservedStream(_Observed):
    """A stream that is read with ``for``."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            piece = next(self._inner)
        except StopIteration:
            self._end()
            raise
        except Exception:
            self._ended = True  # it broke: not an answer, but the model's failure, which the turn reports
            raise
        self._see(piece)
        return piece

    def __enter__(self) -> Self:
        if hasattr(self._context, "__enter__"):
            entered = self._context.__enter__()
            self._inner = self._inner if entered is None else entered
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if hasattr(self._context, "__exit__"):
            self._context.__exit__(kind, error, trace)
        else:
            self.close()

    def close(self) -> None:
        """Stop reading: what came until now is all there is."""
        self._end()
        if hasattr(self._inner, "close"):
            self._inner.close()


class AsyncObservedStream(_Observed):
    """A stream that is read with ``async for``."""

    def __init__(self, inner: Any, first: Callable[[], None], finished: Finished) -> None:
        super().__init__(inner, first, finished)
        self._iterator: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._iterator is None:
            self._iterator = aiter(self._inner)
        try:
            piece = await anext(self._iterator)
        except StopAsyncIteration:
            self._end()
            raise
        except Exception:
            self._ended = True
            raise
        self._see(piece)
        return piece

    async def __aenter__(self) -> Self:
        if hasattr(self._context, "__aenter__"):
            entered = await self._context.__aenter__()
            self._inner = self._inner if entered is None else entered
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if hasattr(self._context, "__aexit__"):
            await self._context.__aexit__(kind, error, trace)
        else:
            await self.close()

    async def close(self) -> None:
        """Stop reading: what came until now is all there is."""
        self._end()
        for name in ("close", "aclose"):
            if hasattr(self._inner, name):
                closing = getattr(self._inner, name)()
                if hasattr(closing, "__await__"):
                    await closing
                return

    aclose = close


def watch(answer: Any, first: Callable[[], None], finished: Finished) -> Any:
    """The answer as it is, noted now; or, for a stream, one that passes it on and is noted when it has been read.

    first : called when the first token is there. finished : called once, with what is known at the end.

    Raises
    ------
    TypeError : a coroutine, which has no answer yet.
    """
    if hasattr(answer, "__await__"):
        raise TypeError("observe takes the answer, not the coroutine: write turn.observe(await ...)")
    if not isinstance(answer, Mapping):
        if hasattr(answer, "__aiter__") or hasattr(answer, "__aenter__"):
            return AsyncObservedStream(answer, first, finished)
        if hasattr(answer, "__next__") or (hasattr(answer, "__enter__") and get(answer, "usage") is None):
            return ObservedStream(answer, first, finished)
    tally = Tally()
    for piece in answer if isinstance(answer, list | tuple) else [answer]:
        tally.add(piece)
    finished(tally)
    return answer


@functools.cache
def tell_uncounted() -> None:
    """Say, once per process, that a stream told no tokens."""
    logger.warning(
        "a stream told no token counts, so its cost stays an estimate; OpenAI's chat completions tell them with "
        "stream_options={'include_usage': True}"
    )


def get(value: Any, name: str) -> Any:
    """A field of an object or a mapping; None where it has not got it."""
    if isinstance(value, Mapping):
        return value.get(name)
    return getattr(value, name, None)


def _parsed(piece: Any) -> Any:
    """The JSON of a line of server-sent events; anything else as it is."""
    if isinstance(piece, bytes):
        piece = piece.decode("utf-8", "replace")
    if not isinstance(piece, str):
        return piece
    try:
        return json.loads(piece.strip().removeprefix("data:"))
    except (ValueError, RecursionError):
        return None


def _has_token(piece: Any, kind: Any) -> bool:
    if isinstance(kind, str) and kind != "message":
        return kind == "content_block_delta" or (kind.startswith("response.") and kind.endswith(".delta"))
    choices = get(piece, "choices")
    delta = get(choices[0], "delta") if isinstance(choices, list | tuple) and choices else None
    return any(get(delta, name) for name in ("content", "tool_calls", "refusal", "reasoning_content", "reasoning"))
