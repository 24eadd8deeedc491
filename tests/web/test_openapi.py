"""The description is true: a machine that believes it word by word finds no contradiction in the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from banditd.daemon.open import open_services
from banditd.settings import Settings
from banditd.web.app import WebSettings, create_app
from banditd.web.openapi import describe
from banditd.web.routes import ROUTES

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "12"))


class RunningDaemon:
    """A whole daemon over SQLite in a thread with its own loop, for clients that block."""

    def __init__(self, folder: Path) -> None:
        self._settings = Settings(
            database={"url": f"sqlite:///{folder / 'log.db'}"}, policies={"default": {"arms": ARMS}}
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.url = ""

    async def _start(self) -> None:
        app = create_app(lambda: open_services(self._settings), WebSettings(access_log=False))
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    def __enter__(self) -> RunningDaemon:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(60)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One client for all requests: making one, and asking the environment for proxies, costs more than a request."""
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


# What a body means beyond its shape (an embedding of the encoder's length, arms that exist, a text that is
# not empty in all its parts) no schema can say: such requests fit the description and are refused with 422.
_CONFIG: dict[str, Any] = {
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", 404, 409, 410, 413, 422]},
        "negative_data_rejection": {"expected-statuses": [400, 404, 405, 413, 415, 422]},
    },
    "generation": {"max-examples": EXAMPLES},
}


DESCRIPTION: dict[str, Any] = json.loads(describe(ROUTES, version="0"))


@pytest.fixture(scope="module")
def described() -> Any:
    return schemathesis.openapi.from_dict(DESCRIPTION, config=SchemathesisConfig.from_dict(_CONFIG))


@pytest.fixture(autouse=True)
def _node_id(request: pytest.FixtureRequest) -> None:
    """What schemathesis looks for, and pytest 9.2 does not have any more."""
    request.node._nodeid = request.node.nodeid


# By a fixture, not from the schema itself: its thousands of cases are made when a test runs, and not by every
# process that collects.
schema = schemathesis.pytest.from_fixture("described")


def _kept(method: str, path: str) -> Callable[..., None]:
    """The test of one operation."""

    # The daemon shares this process: when it uses the random module, hypothesis takes that for its strategies'.
    @pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
    @schema.include(method=method, path=path).parametrize()
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    def keeps_to_its_description(case: Any, running: RunningDaemon, session: requests.Session) -> None:
        case.call_and_validate(base_url=running.url, session=session)

    return keeps_to_its_description


# A function for every operation: those of one function would share its id, and not all of them be run.
for _path, _methods in DESCRIPTION["paths"].items():
    for _method in _methods:
        _name = re.sub(r"\W+", "_", f"test_{_method}_{_path}").strip("_").lower()
        globals()[_name] = _kept(_method.upper(), _path)


def test_every_operation_is_tried() -> None:
    assert sum(len(methods) for methods in DESCRIPTION["paths"].values()) == sum(
        name.startswith(("test_get", "test_post", "test_put", "test_patch", "test_delete")) for name in globals()
    )
