"""What one kind of endpoint speaks on one surface: how a call is written, and how its answer is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from banditd.ports.upstreams import StreamEvent, TokenUsage, UpstreamCall, UpstreamReply
from banditd.upstreams.sse import Frame


class MalformedEventError(ValueError):
    """An event that is not what the dialect says. The message is a short code."""


class ErrorEventError(ValueError):
    """The upstream says in its stream that it has failed; ``error`` is what it says."""

    def __init__(self, error: object) -> None:
        super().__init__("error_event")
        self.error = error


class StreamReader(Protocol):
    """Reads one stream, event by event."""

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""

    @property
    def ended(self) -> bool:
        """Whether the upstream has said that nothing more follows."""

    def known(self, data: bytes) -> StreamEvent | None:
        """What the client gets for bytes that are surely one event with nothing but more text; None: read them."""

    def read(self, frame: Frame) -> StreamEvent:
        """What the client gets for one event; nothing (``raw`` empty) where it waits for more.

        Raises MalformedEventError or ErrorEventError.
        """

    def rest(self) -> Sequence[StreamEvent]:
        """What the client still has to get once the upstream has ended a whole answer. Asked once."""


class Answer(NamedTuple):
    """What is read of a whole answer; ``body`` is what the client gets. refusal : it says that the model declines."""

    body: bytes
    response_id: str | None
    model: str | None
    finish_reason: str | None
    usage: TokenUsage | None
    characters: int
    refusal: bool = False

    def reply(self, *, status: int, headers: Mapping[str, str], content_type: str) -> UpstreamReply:
        """The same with the head that it came with."""
        return UpstreamReply(
            status=status,
            headers=headers,
            content_type=content_type,
            body=self.body,
            response_id=self.response_id,
            model=self.model,
            finish_reason=self.finish_reason,
            usage=self.usage,
            characters=self.characters,
            refusal=self.refusal,
        )


class Dialect(Protocol):
    """How one kind of upstream is spoken to for one surface. Stateless."""

    path: str

    def uncarried(self, body: Mapping[str, object]) -> str | None:
        """What of a request it cannot carry, in a word or two; None: it carries all of it."""

    def write(self, call: UpstreamCall, *, stream: bool) -> bytes:
        """The body of the call."""

    def reader(self, call: UpstreamCall) -> StreamReader:
        """A new reader for one stream."""

    def read(self, body: bytes, call: UpstreamCall) -> Answer:
        """A whole answer. Raises MalformedEventError, or ErrorEventError for an error under a good status."""
