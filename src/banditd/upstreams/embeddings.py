"""OpenAI's embeddings: passed through as they are, with their usage read. There is no stream."""

from __future__ import annotations

from banditd.core.errors import InvariantError
from banditd.ports.upstreams import UpstreamCall
from banditd.upstreams.chat import OwnForm, parse, text_or_none, usage_of
from banditd.upstreams.dialect import Answer, ErrorEventError, MalformedEventError, StreamReader


class EmbeddingsDialect(OwnForm):
    """``POST /embeddings`` of an endpoint that speaks OpenAI's form."""

    path = "/embeddings"

    def reader(self, _call: UpstreamCall) -> StreamReader:
        """Never asked for."""
        raise InvariantError("embeddings are not streamed")

    def read(self, body: bytes, _call: UpstreamCall) -> Answer:
        """A list of vectors. Raises MalformedEventError, ErrorEventError."""
        answer = parse(body)
        if answer.get("error"):
            raise ErrorEventError(answer["error"])
        if not isinstance(answer.get("data"), list):
            raise MalformedEventError("no_data")
        return Answer(body, None, text_or_none(answer.get("model")), None, usage_of(answer.get("usage")), 0)
