"""What a refused request made of its body goes when its answer has gone: nothing waits for the garbage collector.

A large body that waits is freed together with others, in one pass that holds the event loop for as long.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.conftest import UNKNOWN, Client

from banditd.core.errors import BanditdError

WIDE = {"input": "x", "embedding": [0.5] * 70_000}
REFUSED: dict[str, tuple[str, Any, int]] = {
    "a field of too many": ("/v1/route", WIDE, 422),
    "a field of the wrong type": ("/v1/route", {"input": 3}, 422),
    "an item of too many": ("/v1/route/batch", {"queries": [WIDE]}, 422),
    "an item of the wrong type": ("/v1/route/batch", {"queries": [{"input": "x"}] * 99 + [{"input": 3}]}, 422),
    "no JSON": ("/v1/route", b'{"input": "x"', 400),
    "mended text": ("/v1/route", b'{"input": "\xe9"}', 200),
    "an item that is no JSON": ("/v1/route/batch", b'{"queries": [{]}', 400),
    "no such decision": ("/v1/rewards", {"decision_id": UNKNOWN, "value": 1}, 404),
    "no such path": ("/v1/nowhere", {}, 404),
    "a model that is none": ("/v1/chat/completions", {"messages": 3}, 404),
}


def errors_alive() -> int:
    return sum(issubclass(type(one), BanditdError) for one in gc.get_objects())


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_errors_do_not_outlive_their_answers(client: Client, no_collector: None) -> None:
    left = {}
    for name, (path, body, status) in REFUSED.items():
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        before = errors_alive()
        answer = await client.post(path, data=data, headers={"Content-Type": "application/json"})
        await answer.read()
        assert answer.status == status, name
        left[name] = errors_alive() - before
    assert left == dict.fromkeys(REFUSED, 0)
