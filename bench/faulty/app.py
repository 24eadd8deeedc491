"""The server of the fault upstream, and its book of what was called."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from bench.faulty.faults import FAULTS, Cut, Fault, Refusal, Step, Wait, fault_of
from bench.faulty.messages import CountShape, MessagesShape
from bench.faulty.responses import EmbeddingsShape, ResponsesShape
from bench.faulty.shapes import TEXT, ChatShape, ParsedRequest, Shape

SHAPES: Mapping[str, Callable[[], Shape]] = {
    "/v1/chat/completions": ChatShape, "/v1/messages": MessagesShape, "/v1/messages/count_tokens": CountShape,
    "/v1/responses": ResponsesShape, "/v1/embeddings": EmbeddingsShape,
}  # fmt: skip
HALF = 0.6  # of a whole answer is sent where a script would break off


@dataclass
class Call:
    """One call as it arrived. ``ending``: ``open``, ``finished``, or ``hung_up`` by the caller."""

    model: str
    stream: bool
    headers: dict[str, str]
    body: dict[str, Any]
    path: str = ""
    ending: str = "open"
    sent: bytearray = field(default_factory=bytearray, repr=False)


class Faulty:
    """The upstream: ``calls`` is its book, in the order of arrival."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.url = ""
        self._seen: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        for path in SHAPES:
            app.router.add_post(path, self._call)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/calls", self._calls)
        return app

    @property
    def open(self) -> int:
        """Calls that are being answered now."""
        return sum(call.ending == "open" for call in self.calls)

    def models_called(self) -> list[str]:
        return [call.model for call in self.calls]

    async def _call(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        options = body.get("stream_options") or {}
        asked = ParsedRequest(
            model=str(body["model"]),
            stream=bool(body.get("stream")),
            n=int(body.get("n") or 1),
            include_usage=bool(options.get("include_usage")),
            body=body,
            headers=dict(request.headers),
        )
        return await self._answer(request, asked, SHAPES[request.path]())

    async def _answer(self, request: web.Request, asked: ParsedRequest, shape: Shape) -> web.StreamResponse:
        call = Call(
            asked.model,
            asked.stream,
            {k.lower(): v for k, v in asked.headers.items()},
            dict(asked.body),
            request.path,
        )
        self.calls.append(call)
        name, once = fault_of(asked.model)
        self._seen[asked.model] += 1
        if once and self._seen[asked.model] > 1:
            name = "ok"
        fault = FAULTS.get(name)
        try:
            if fault is None:
                answer: web.StreamResponse = _json(404, shape.refusal("model"))
            elif fault.refusal is not None:
                answer = _refuse(fault.refusal, shape)
            elif asked.stream:
                answer = await _stream(request, call, name, _steps(fault, shape, asked))
            else:
                answer = await _whole(request, call, name, fault, shape, asked)
        except (asyncio.CancelledError, ConnectionError):
            call.ending = "hung_up"
            raise
        call.ending = "finished"
        return answer

    async def _models(self, _request: web.Request) -> web.Response:
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "faulty", "says": fault.says}
            for name, fault in FAULTS.items()
        ]
        return web.json_response({"object": "list", "data": models})

    async def _calls(self, _request: web.Request) -> web.Response:
        kept = [{k: v for k, v in asdict(call).items() if k != "sent"} for call in self.calls]
        return web.json_response({"calls": kept})


def _steps(fault: Fault, shape: Shape, asked: ParsedRequest) -> Iterator[Step]:
    assert fault.script is not None
    return fault.script(shape, asked)


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")


def _refuse(refusal: Refusal, shape: Shape) -> web.Response:
    body = b"<html>Bad gateway</html>" if refusal.kind is None else json.dumps(shape.refusal(refusal.kind)).encode()
    return web.Response(
        status=refusal.status, body=body, content_type=refusal.content_type, headers=dict(refusal.headers())
    )


async def _stream(request: web.Request, call: Call, name: str, steps: Iterator[Step]) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream", "x-request-id": "faulty-1", "x-ratelimit-remaining-requests": "7",
            "Set-Cookie": "tracking=1", "x-internal": "secret-of-the-upstream",
        }
    )  # fmt: skip
    if name == "ok-gzip":
        response.enable_compression(web.ContentCoding.gzip)
    for step in steps:
        if isinstance(step, Wait):
            await (asyncio.Event().wait() if step.seconds is None else asyncio.sleep(step.seconds))
        elif isinstance(step, Cut):
            _cut(request)
            return response
        else:
            if not response.prepared:
                await response.prepare(request)
            await response.write(step)
            call.sent += step
    if not response.prepared:
        await response.prepare(request)
    await response.write_eof()
    return response


async def _whole(
    request: web.Request, call: Call, name: str, fault: Fault, shape: Shape, asked: ParsedRequest
) -> web.StreamResponse:
    """An answer in one piece: half of it where a stream would break off."""
    body = json.dumps(shape.whole(asked, TEXT), ensure_ascii=False).encode()
    steps: list[Step] = []
    if fault.ending == "answer":
        call.sent += body
        if name == "ok-late":
            await asyncio.sleep(1.0)
        if name == "ok-gzip":
            headers = {"Content-Encoding": "gzip"}
            return web.Response(body=gzip.compress(body), content_type="application/json", headers=headers)
        return web.Response(body=body, content_type="application/json")
    if name == "silent" or fault.ending == "hang":
        await asyncio.Event().wait()
    if name == "reset":
        _cut(request)
        return web.Response()
    if name.startswith("error"):
        kind = {"error-rate": "rate", "error-quota": "quota", "error-context": "context"}.get(name, "server")
        return _json(200, shape.refusal(kind))
    half = body[: int(len(body) * HALF)]
    broken = name.startswith(("malformed", "bad-utf8", "half", "eof", "done", "finish"))
    steps = [half] if broken else [half, Cut() if name.startswith("cut") else Wait()]
    return await _stream_json(request, steps)


async def _stream_json(request: web.Request, steps: list[Step]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for step in steps:
        if isinstance(step, bytes):
            await response.write(step)
        elif isinstance(step, Cut):
            await asyncio.sleep(0.02)
            _cut(request)
            return response
        else:
            await asyncio.Event().wait()
    await response.write_eof()
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


@asynccontextmanager
async def serving(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Faulty]:
    """Serve in this event loop; callers that hang up are noticed at once."""
    faulty = Faulty()
    runner = web.AppRunner(faulty.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        faulty.url = f"http://{bound[0]}:{bound[1]}/v1"
        yield faulty
    finally:
        await runner.cleanup()
