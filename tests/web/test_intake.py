"""Bodies: refused before they are read, inflated within their limit, and bounded in what they cost to check."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import zlib
from collections import Counter
from typing import Any

import pytest
from tests.web.conftest import somebody_else
from tests.web.test_walls import ID, QUERY, key

from banditd.core.pace import Pace
from banditd.web import body as web_body
from banditd.web import intake
from banditd.web.idempotency import pieces_of
from banditd.web.problems import InvalidFieldsError
from banditd.web.schemas.routing import RouteRequest

JSON = {"Content-Type": "application/json"}


def bomb(megabytes: int) -> bytes:
    """A text of so many megabytes, as gzip."""
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [engine.compress(b'{"input":"')]
    pieces += [engine.compress(b"a" * 1_000_000) for _ in range(megabytes)]
    return b"".join([*pieces, engine.compress(b'"}'), engine.flush()])


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": ""}], ids=str)
async def test_a_body_needs_its_type_on_every_route(client: Any, headers: dict[str, str]) -> None:
    asked = [
        ("POST", "/v1/route"),
        ("POST", "/v1/arms"),
        ("POST", f"/v1/decisions/{ID}/activate"),
        ("GET", "/v1/arms"),
    ]
    for method, path in asked:
        answer = await client.request(method, path, data=b"{}", headers=headers, skip_auto_headers=["Content-Type"])
        assert (answer.status, answer.headers["Connection"]) == (415, "close"), path
    assert (await client.post(f"/v1/decisions/{ID}/activate")).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP", "raw"])
async def test_an_honest_compressed_body_is_read(client: Any, encoding: str) -> None:
    plain = json.dumps(QUERY).encode()
    raw = zlib.compressobj(wbits=-15)
    body = {"gzip": gzip.compress, "deflate": zlib.compress, "GZIP": gzip.compress}.get(
        encoding, lambda data: raw.compress(data) + raw.flush()
    )(plain)
    headers = {**JSON, "Content-Encoding": "deflate" if encoding == "raw" else encoding}
    assert (await client.post("/v1/route", data=body, headers=headers)).status == 200


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"no gzip", "gzip", 400), (gzip.compress(b"{}")[:-9], "gzip", 400), (gzip.compress(b"{}") * 2, "gzip", 400),
        (b"", "gzip", 400), (b"{}", "br", 415), (b"{}", "zstd", 415), (b"{}", "gzip, gzip", 415),
        (b"{}", "nonsense", 415), (bomb(5), "gzip", 413), (zlib.compress(b"a" * 5_000_000), "deflate", 413),
    ],
    ids=[
        "no gzip", "cut off", "twice", "empty", "br", "zstd", "two", "nonsense", "bomb", "deflate bomb",
    ],
)  # fmt: skip
async def test_other_encodings_and_broken_ones_are_the_clients_fault(
    client: Any, body: bytes, encoding: str, status: int
) -> None:
    answer = await client.post("/v1/route", data=body, headers={**JSON, "Content-Encoding": encoding})
    assert answer.status == status


async def test_a_bomb_is_never_inflated_beyond_the_limit_and_not_at_all_for_strangers(
    serve: Any, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflated = 0

    class Counting:
        def __init__(self, bits: int) -> None:
            self._engine = zlib.decompressobj(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal inflated
            piece = self._engine.decompress(data, most)
            inflated += len(piece)
            return piece

        def __getattr__(self, name: str) -> Any:
            return getattr(self._engine, name)

    class Zlib:
        MAX_WBITS, error = zlib.MAX_WBITS, zlib.error
        decompressobj = Counting

    monkeypatch.setattr(intake, "zlib", Zlib)
    client = await serve(daemon, api_keys=(key("route", "route"),))
    sent = {**JSON, "Content-Encoding": "gzip"}
    body = bomb(200)
    for method, path, known, status in (
        ("POST", "/v1/route", {}, 401), ("POST", "/nowhere", {}, 404), ("PUT", "/v1/route", {}, 405),
        ("POST", "/v1/arms", {"x-api-key": "secret-route"}, 403), ("GET", "/health/liveness", {}, 200),
        ("POST", "/v1/route", {"Host": "localhost", "Origin": "http://evil.example"}, 403),
    ):  # fmt: skip
        answer = await client.request(method, path, data=body, headers={**sent, **known})
        assert (answer.status, inflated) == (status, 0), path
    answer = await client.post("/v1/route", data=body, headers={**sent, "x-api-key": "secret-route"})
    assert answer.status == 413
    assert 0 < inflated <= 2_097_153


async def test_a_body_that_is_refused_is_not_read_and_closes_its_connection(client: Any) -> None:
    for head in (b"Content-Length: 3000000", b"Content-Length: 20\r\nContent-Encoding: br"):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + head)
        writer.write(b"\r\nExpect: 100-continue\r\n\r\n")
        answer = await reader.read()  # ends although not one byte of the body was sent
        assert answer.split()[1] in {b"413", b"415"}
        assert b"Connection: close" in answer
        writer.close()


async def test_a_client_that_waits_is_told_to_go_on_once_it_is_let_in(client: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    body = json.dumps(QUERY).encode()
    writer.write(b"POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    writer.write(b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()


async def test_half_a_body_is_given_up(serve: Any, daemon: Any) -> None:
    client = await serve(daemon, body_timeout_s=0.05)
    for length in (b"Content-Length: 100", b"Transfer-Encoding: chunked"):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /v1/route HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + length)
        writer.write(b"\r\n\r\n1\r\n{\r\n")
        answer = await reader.read()
        assert answer.split()[1] == b"408"
        assert b"BODY_TIMEOUT" in answer
        writer.close()


MANY = 150_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"input":"x",%s}' % b",".join(b'"f%d":1' % n for n in range(MANY)),
        b'{"input":"x",%s}' % b",".join(b'"%d\\\\" :1' % n for n in range(MANY)),
        b'{"input":"x","tags":{%s}}' % b",".join(b'"f%d":1' % n for n in range(MANY)),
        b'{"messages":[{"role":"user","content":"x",%s}]}' % b",".join(b'"f%d":[]' % n for n in range(MANY)),
        b'{"input":"x","tools":[%s]}' % b",".join([b"1"] * 900_000),
        b'{"queries":[%s]}' % b",".join([b"{}"] * 600_000),
    ],
    ids=["unknown fields", "with escapes", "tags", "message fields", "list", "empty queries"],
)
async def test_more_values_than_a_model_may_cost_to_check_are_refused_unchecked(
    client: Any, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    from banditd.web.schemas.routing import RouteRequest

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(RouteRequest, "model_validate_json", never)
    with somebody_else() as turns:
        answer = await client.post("/v1/route", data=io.BytesIO(body), headers=JSON)
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "INVALID_INPUT")
    assert f"{intake.MAX_MEMBERS} fields" in problem["detail"]
    assert turns.taken > 5


@pytest.mark.parametrize("text", ['{"a": [1, 2]}, ' * 60_000, '\\":,' * 200_000, ":" * 500_000, "[{" * 300_000])
async def test_a_long_text_that_looks_like_code_is_routed(client: Any, text: str) -> None:
    answer = await client.post("/v1/route", data=io.BytesIO(json.dumps({"input": text}).encode()), headers=JSON)
    assert answer.status == 200, await answer.text()


@pytest.mark.parametrize("tail", [b'"' * 900_001, b'"' + b'\\"' * 700_000, b'"' + b"\\" * 900_001, b'":,' * 300_000])
async def test_counting_takes_one_short_look_at_every_byte(monkeypatch: pytest.MonkeyPatch, tail: bytes) -> None:
    looks: list[int] = []

    def piece(body: bytes, at: int, most_bytes: int) -> tuple[int, bool]:
        end, closed = look(body, at, most_bytes)
        looks.append(end - at)
        return end, closed

    look = intake.text_piece
    monkeypatch.setattr(intake, "text_piece", piece)
    body = b":" * (intake.MAX_MEMBERS - 1) + b'"' + b":" * 100 + b'"' + tail
    with contextlib.suppress(InvalidFieldsError):
        await intake.check_values(body, 40_000)
    assert sum(looks) <= len(body)
    assert 0 < max(looks) <= 131_072


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/v1/route", {"input": "x", "embedding": [0.5] * 30_000}, "/embedding"),
        ("/v1/route", {"input": "x", "embedding": ["a"] * 30_000}, "/embedding"),
        ("/v1/route", {"input": "x", "candidates": ["small"] * 30_000}, "/candidates"),
        ("/v1/route", {"input": "x", "excluded_arms": ["small"] * 30_000}, "/excluded_arms"),
        ("/v1/route", {"input": "x", "tags": {f"t{n}": "v" for n in range(20_000)}}, "/tags"),
        ("/v1/route", {"input": "x", "tools": [{}] * 30_000}, "/tools"),
        ("/v1/route", {"input": "x", "embedding": [0.5] * 160_000}, ""),
        ("/v1/route/batch", {"queries": [{"input": "x"}, {"input": "x", "embedding": [0.5] * 200_000}]},
         "/queries/1/embedding"),
        ("/v1/route/batch", {"queries": [{"input": "x"}, {"input": "x", "tools": [[1] * 200_000]}]}, "/queries/1"),
        ("/v1/route/batch", {"queries": [{"input": "x"}] * 20_000}, "/queries"),
        ("/v1/rewards", [1] * 30_000, ""),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
async def test_what_is_too_long_is_refused_before_a_model_sees_it(
    client: Any, monkeypatch: pytest.MonkeyPatch, path: str, body: Any, where: str
) -> None:
    seen = []
    listed = web_body.invalid
    monkeypatch.setattr(web_body, "invalid", lambda *given: (seen.append(given), listed(*given))[1])
    answer = await client.post(path, data=io.BytesIO(json.dumps(body).encode()), headers=JSON)
    problem = await answer.json()
    assert (answer.status, seen) == (422, [])
    assert [one["pointer"] for one in problem["errors"]] == [where]


def test_every_list_of_a_query_has_a_length_that_is_asked_first() -> None:
    assert web_body.most_elements(RouteRequest) == {
        "messages": 1000, "embedding": 8192, "candidates": 1000, "excluded_arms": 1000, "capabilities": 64,
        "tags": 32, "features": 256, "tools": 1000,
    }  # fmt: skip


async def test_a_batch_of_whole_embeddings_is_no_large_body(client: Any) -> None:
    query = {"input": "x", "embedding": [0.5] * 1000}
    answer = await client.post(
        "/v1/route/batch", data=io.BytesIO(json.dumps({"queries": [query] * 250}).encode()), headers=JSON
    )
    assert answer.status in {200, 207}
    assert len((await answer.json())["results"]) == 250


async def test_a_list_of_errors_is_bounded(client: Any) -> None:
    few: dict[str, object] = {"input": "x", **{f"f{n}": 1 for n in range(100)}}
    assert len((await (await client.post("/v1/route", json=few)).json())["errors"]) == 20
    many: dict[str, object] = {"input": "x", **{f"f{n}": 1 for n in range(20_000)}}
    problem = await (await client.post("/v1/route", json=many)).json()
    assert problem["detail"].startswith("20001 fields are more")
    assert len(problem["errors"]) == 1


async def test_a_whole_batch_of_conversations_with_tools_is_no_large_body(client: Any) -> None:
    properties = {f"p{n}": {"type": "string", "description": "of it"} for n in range(4)}
    parameters = {"type": "object", "properties": properties, "required": ["p0"]}
    tools = [{"type": "function", "function": {"name": f"t{n}", "parameters": parameters}} for n in range(4)]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    one = {"messages": messages, "tools": tools, "tags": {"team": "a"}, "session_id": "s"}
    answer = await client.post("/v1/route/batch", json={"queries": [one] * 256})
    assert answer.status == 200, (await answer.text())[:300]
    assert [item["index"] for item in (await answer.json())["results"]] == list(range(256))


async def test_the_queries_of_a_batch_are_checked_one_by_one(client: Any) -> None:
    good, strange = {"input": "x"}, {"input": "x", "polcy": "default", "tools": -1}
    answer = await client.post("/v1/route/batch", json={"queries": [good, strange, good, {}, 7]})
    assert answer.status == 422
    errors = {one["pointer"]: one["message"] for one in (await answer.json())["errors"]}
    assert errors["/queries/1/polcy"].endswith("did you mean 'policy'?")
    assert {where.rpartition("/")[0] or where for where in errors} >= {"/queries/1", "/queries"}
    assert {"/queries/3", "/queries/4"} <= set(errors)
    queries = [{"input": "x", **{f"f{n}": 1 for n in range(80)}} for _ in range(256)]
    problem = await (await client.post("/v1/route/batch", json={"queries": queries})).json()
    assert len(problem["errors"]) == 20
    assert {one["pointer"].split("/")[2] for one in problem["errors"]} == {"0"}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often long work has offered others a turn, under ``pace``."""
    taken: Counter[str] = Counter()
    before = Pace.step

    async def step(pace: Pace) -> None:
        taken["pace"] += 1
        await before(pace)

    monkeypatch.setattr(Pace, "step", step)
    return taken


async def test_many_messages_and_many_rewards_are_looked_at_one_by_one(client: Any, steps: Counter[str]) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "some words"}] * 10}
    body = json.dumps({"messages": [message] * 200, "tags": {"a": "b"}})
    first = await client.post("/v1/route", data=body, headers=JSON | {"Idempotency-Key": "one"})
    assert (first.status, steps["pace"] >= 400) == (200, True)  # the messages, and their part in the key
    wrong = json.dumps({"messages": [message] * 150 + [{"role": "nobody"}], "tags": {"a": "b"}})
    refused = await client.post("/v1/route", data=wrong, headers=JSON)
    assert [one["pointer"] for one in (await refused.json())["errors"]] == ["/messages/150/role"]
    steps.clear()
    reward = {"decision_id": (await first.json())["decision_id"], "value": 1, "metadata": {"a": [1] * 60}}
    many = json.dumps([{**reward, "metric": f"m{n}"} for n in range(100)])
    answer = await client.post("/v1/rewards", data=many, headers=JSON)
    assert (answer.status, steps["pace"] >= 200) == (200, True)
    assert all("receipt" in one for one in (await answer.json())["results"])


def test_the_key_of_a_body_is_that_of_its_json() -> None:
    """As it was made in one go: keys of an older release go on."""
    body = RouteRequest.model_validate(
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "é", "z": 1, "a": 2}]}],
            "tags": {"b": "1", "a": "2"},
            "tools": [{"b": 1, "a": 2}],
            "explain": True,
        }
    )
    stated = body.model_dump(mode="json", exclude_unset=True)
    assert "".join(pieces_of(body)) == json.dumps(stated, sort_keys=True)


async def test_the_key_of_a_large_batch_is_made_in_pieces(client: Any, steps: Counter[str]) -> None:
    async def taken(headers: dict[str, str]) -> int:
        steps.clear()
        body = json.dumps({"queries": [{"input": f"query {n}"} for n in range(64)]})
        answer = await client.post("/v1/route/batch", data=body, headers=JSON | headers)
        assert answer.status == 200
        return steps["pace"]

    assert await taken({"Idempotency-Key": "k"}) == await taken({}) + 64
