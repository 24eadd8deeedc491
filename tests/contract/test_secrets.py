"""The database's secret: made once, shared by replicas, carried by copies; and what it does for hashes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import insert, select
from tests.patience import PATIENT

from banditd.core.errors import InvariantError
from banditd.daemon.open import open_services
from banditd.services.input_hash import LONGEST_KEPT, PREFIX, InputHash, InputRecord
from banditd.settings import Settings
from banditd.storage import load_secrets, open_storage
from banditd.storage.schema import secret
from banditd.storage.secrets import DatabaseSecrets
from banditd.web.app import WebSettings, create_app

PROMPT = "What is 17 times 23?"


def stored(storage):
    return storage.database.read(lambda connection: connection.execute(select(secret)).all())


async def test_replicas_that_start_together_agree_on_one_secret(database_url, storage, open_replica, make):
    async with open_replica() as other, open_replica() as third:
        opened = await asyncio.gather(
            *(load_secrets(one.database, make.now_us) for one in (storage, other, third) for _ in range(5))
        )
    assert len({one.key("input_hash") for one in opened}) == 1
    [row] = await stored(storage)
    assert len(row.value) == 32 and row.created_at_us == make.now_us


async def test_a_restart_keeps_the_secret_and_other_databases_have_another(
    database_url, storage, tmp_path, sqlite_template, make
):
    first = await load_secrets(storage.database, make.now_us)
    again = await load_secrets(storage.database, make.now_us + 1)
    assert first.key("a") == again.key("a")
    elsewhere = tmp_path / "elsewhere.db"
    elsewhere.write_bytes(sqlite_template.read_bytes())
    async with open_storage(f"sqlite:///{elsewhere}", writer_name="w") as other:
        # A copy of the rows carries the secret; a database of its own has its own.
        rows = [row._asdict() for row in await stored(storage)]
        await other.database.write(lambda connection: connection.execute(insert(secret), rows) and None)
        assert (await load_secrets(other.database, 0)).key("a") == first.key("a")
    fresh = tmp_path / "fresh.db"
    fresh.write_bytes(sqlite_template.read_bytes())
    async with open_storage(f"sqlite:///{fresh}", writer_name="w") as other:
        assert (await load_secrets(other.database, 0)).key("a") != first.key("a")


def test_the_log_keeps_the_beginning_of_a_text_that_only_the_gateway_takes():
    record = InputRecord(InputHash(DatabaseSecrets(bytes(32))), store_text=True)
    text = "a" * LONGEST_KEPT + "b"
    hashed, kept = record.of(text)
    assert (hashed, kept) == (record.of(text)[0], text[:-1]) and hashed != record.of(text[:-1])[0]


def test_a_purpose_has_a_key_of_its_own_and_the_root_shows_nowhere():
    root = bytes(range(32))
    one = DatabaseSecrets(root)
    keys = {purpose: one.key(purpose) for purpose in ("input_hash", "feedback_link", "session")}
    assert len(set(keys.values()) | {root}) == 4
    assert {len(key) for key in keys.values()} == {32}
    assert DatabaseSecrets(root).key("session") == keys["session"]
    assert root.hex() not in repr(one) and repr(root) not in repr(one)
    with pytest.raises(InvariantError, match="purpose"):
        one.key("")
    with pytest.raises(InvariantError, match="32"):
        DatabaseSecrets(b"short")


@pytest.mark.parametrize("text", [PROMPT, "", "na\u00efve \ud83d", "\x00"])
def test_a_hash_is_the_same_for_the_same_text_and_key_only(text):
    here, there = InputHash(DatabaseSecrets(b"a" * 32)), InputHash(DatabaseSecrets(b"b" * 32))
    plain = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    assert here(text) == here(text) != there(text)
    assert here(text) != here(text + " ")
    assert re.fullmatch(r"hmac-sha256:[0-9a-f]{64}", here(text))
    assert plain not in here(text)


async def get_all(client):
    """What every GET route without a name in its path answers."""
    description = await (await client.get("/openapi.json")).json()
    paths = [path for path, item in description["paths"].items() if "get" in item and "{" not in path]
    assert "/v1/decisions" in paths and "/metrics" in paths
    return {path: await (await client.get(path)).text() for path in paths}


async def test_the_log_of_decisions_cannot_be_guessed_and_nothing_tells_the_secret(database_url, caplog, make):
    caplog.set_level(logging.DEBUG)
    settings = Settings(
        database={"url": database_url, **PATIENT},
        policies={"default": {"arms": [{"arm": "a", "price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 1.0}}]}},
    )
    app = create_app(lambda: open_services(settings, start_jobs=False), WebSettings(access_log=True))
    async with TestClient(TestServer(app)) as client:
        for _ in range(2):
            assert (await client.post("/v1/route", json={"input": PROMPT})).status == 200
        said = await get_all(client)
        decisions = (await (await client.get("/v1/decisions")).json())["decisions"]
    assert len(decisions) == 2 and len({one["input_hash"] for one in decisions}) == 1
    assert decisions[0]["input_hash"].startswith(PREFIX)
    assert hashlib.sha256(PROMPT.encode()).hexdigest() not in "".join(said.values())
    async with open_storage(database_url, writer_name="w") as storage:
        [row] = await stored(storage)
        exported = [one async for one in storage.whole_log.stream(None)]
    forms = (row.value.hex(), repr(bytes(row.value)), row.value.decode("latin-1"))
    for source, text in {**said, "export": repr(exported), "log": caplog.text}.items():
        assert not any(form in text for form in forms), source


async def test_rows_from_before_the_key_keep_their_hash_and_are_told_apart(storage, make):
    old = make.decision(input_hash=hashlib.sha256(PROMPT.encode()).hexdigest())
    new = make.decision(input_hash=InputHash(await load_secrets(storage.database, 0))(PROMPT))
    await storage.decisions.append([old, new])
    found = [(await storage.decisions.get(one.decision_id))["input_hash"] for one in (old, new)]
    assert found == [old.input_hash, new.input_hash]
    assert [hash_.startswith(PREFIX) for hash_ in found] == [False, True]
