"""A row of the log that a disk or a hand has damaged is named or left out; no request fails for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, text, update
from tests.over_http import client_of
from tests.patience import PATIENT

from banditd.settings import Settings
from banditd.storage import dialect
from banditd.storage.codec import pack_vector
from banditd.storage.schema import decision

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]
READS = (
    "/v1/decisions", "/v1/decisions?limit=1", "/v1/decisions?explored=false", "/v1/stats", "/v1/stats/map",
    "/v1/stats/choices", "/v1/stats/learning", "/v1/stats/contexts", "/v1/stats/timeseries", "/v1/arms",
    "/v1/stats/abilities", "/v1/budgets", "/v1/policies/default/report",
)  # fmt: skip
DAMAGES: dict[str, dict[str, Any]] = {
    "a cut vector": {"probability": b"\x00\x01\x02"},
    "a vector of another length": {"mean": pack_vector([0.5])},
    "an empty vector": {"penalty": b""},
    "a cut context": {"x": b"\x00"},
    "a context of another length": {"x": b"\x00" * 8},
    "a context of no numbers": {"x": b"\xff" * 8},
    "arms that are no JSON": {"arms": "{}x"},
    "arms that are a number": {"arms": "5"},
    "exclusions that are no JSON": {"exclusions": "{"},
    "tags that are no JSON": {"tags": ""},
    "a mixture of nothing": {"mixture": "[]"},
}


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[tuple[Any, str]]:
    settings = Settings(
        database={"url": database_url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.25},
        policies={"default": {"arms": ARMS, "budgets": [{"name": "cap", "usd": 100, "per": "month"}]}},
    )
    async with client_of(settings) as client:
        yield client, database_url


def change(url: str, work: Any) -> None:
    engine = dialect.make_engine(dialect.normalise_url(url), pool_size=1, busy_timeout_s=5)
    with dialect.writing(engine).begin() as connection:
        work(connection)
    engine.dispose()


def damage(url: str, decision_id: str, values: dict[str, Any], *, checked: bool) -> None:
    def work(connection: Connection) -> None:
        row = update(decision).where(decision.c.decision_id == decision_id)
        connection.execute(row.values(values if checked else values | {"checksum": None}))

    change(url, work)


async def post(client: Any, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    answer = await client.post(path, json=body, headers=headers)
    return answer.status, await answer.json()


@pytest.mark.parametrize("checked", [True, False], ids=["with a checksum", "of an older release"])
async def test_no_request_fails_for_it(live: tuple[Any, str], *, checked: bool) -> None:
    client, url = live
    names = ["whole", *DAMAGES, "whole too"]
    ids = {}
    for name in names:
        _, made = await post(client, "/v1/route", {"input": name}, **{"Idempotency-Key": name.replace(" ", "-")})
        ids[name] = made["decision_id"]
    whole = {ids["whole"], ids["whole too"]}
    for name, values in DAMAGES.items():
        damage(url, ids[name], values, checked=checked)
    for path in READS:
        answer = await client.get(path)
        assert answer.status == 200, (path, await answer.text())
    page = await (await client.get("/v1/decisions")).json()
    good = {row["decision_id"] for row in page["decisions"]}
    bad = {row["decision_id"] for row in page["damaged"]}
    assert sorted([*good, *bad]) == sorted(ids.values())
    assert whole <= good
    assert ids["a cut vector"] in bad
    points = {point["decision_id"] for point in (await (await client.get("/v1/stats/map")).json())["points"]}
    assert whole <= points
    assert not {ids[name] for name in DAMAGES if "context" in name} & points
    walked, before = [], ""
    for _ in ids:  # the cursor passes them by
        part = await (await client.get(f"/v1/decisions?limit=1{before}")).json()
        walked += [row["decision_id"] for row in part["decisions"] + part["damaged"]]
        before = f"&before_id={part['next_before_id']}"
    assert walked == sorted(ids.values(), reverse=True)

    for name, decision_id in ids.items():
        allowed = {(200, None)} if decision_id in whole else {(200, None), (409, "DECISION_DAMAGED")}
        answer = await client.get(f"/v1/decisions/{decision_id}")
        assert (answer.status, (await answer.json()).get("code")) in allowed, name
        status, again = await post(
            client, "/v1/route", {"input": name}, **{"Idempotency-Key": name.replace(" ", "-")}
        )
        assert (status, again.get("code")) in allowed, name
        for path, said in (
            ("/v1/rewards", {"decision_id": decision_id, "value": 0.5}),
            (f"/v1/decisions/{decision_id}/usage", {"input_tokens": 5, "output_tokens": 5, "latency_ms": 10}),
        ):
            status, told = await post(client, path, said)
            assert status == 200, (name, told)
    for path in READS:
        assert (await client.get(path)).status == 200, path


async def test_a_text_where_bytes_should_be_is_damage_too(sqlite_url: str) -> None:
    """SQLite keeps what it is given."""
    settings = Settings(database={"url": sqlite_url, **PATIENT}, policies={"default": {"arms": ARMS}})
    async with client_of(settings) as client:
        _, made = await post(client, "/v1/route", {"input": "hello"})
        for column in ("probability", "x"):
            change(sqlite_url, lambda c, column=column: c.execute(text(f"UPDATE decision SET {column} = 'oh'")))
            for path in READS:
                assert (await client.get(path)).status == 200, (column, path)
            answer = await client.get(f"/v1/decisions/{made['decision_id']}")
            assert (answer.status, (await answer.json())["code"]) == (409, "DECISION_DAMAGED")
