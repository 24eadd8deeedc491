"""A headless Chromium over a real daemon. Skipped, with the reason, where there is no Chromium or no Playwright."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from banditd.cli.process import start_daemon, stop_daemon, wait_until_serving

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "out" / "dashboard"
QUICK = {"BANDITD_LEARNER__LEASE_S": "1", "BANDITD_LEARNER__POLL_S": "0.1", "BANDITD_LEARNER__PAUSE_MS": "1"}
# Without a screen, without a profile, and without looking for anybody in the network.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
QUERIES = {
    "code-specialist": "def f{n}(items):\n    return sorted(items)\nExplain this Python function, number {n}.",
    "large-reasoner": "Prove by induction that the sum of the first {n} odd numbers is a square.",
    "medium-general": "Translate into French, keep the tone: good morning, here are {n} apples.",
}


PATIENCE_MS = 60_000  # for what never happens; a busy machine is no reason to fail


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


@dataclass
class Daemon:
    """A real one, in a process of its own, that can be stopped and started again at the same address."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    url: str = ""
    key: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = 0) -> None:
        self.process = start_daemon(
            database=f"sqlite:///{self.folder}/banditd.db",
            config=ROOT / "config.yaml",
            port=port,
            log=self.folder / "log",
            environment={**QUICK, "BANDITD_PRIVACY__STORE_INPUT": "true", **self.environment},
        )
        self.url = wait_until_serving(self.process)

    def stop(self) -> None:
        if self.process is not None:
            stop_daemon(self.process)
            self.process = None

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"x-api-key": self.key} if self.key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def teach(self, count: int) -> list[dict[str, Any]]:
        """Route queries of three kinds; the arm that each is named after earns most. Returns the decisions."""
        kinds = list(QUERIES.items())
        queries = [{"input": kinds[n % 3][1].format(n=n), "tags": {"best": kinds[n % 3][0]}} for n in range(count)]
        answer = self.call("POST", "/v1/route/batch", {"queries": queries})
        decisions = [result["decision"] for result in answer["results"]]
        rewards = [
            {
                "decision_id": made["decision_id"],
                "source": "judge",
                "value": 0.9 if made["arm"] == kinds[n % 3][0] else 0.5,
            }
            for n, made in enumerate(decisions)
        ]
        self.call("POST", "/v1/rewards", rewards)
        for made in decisions[::4]:
            usage = {"input_tokens": 60, "output_tokens": 120, "latency_ms": 700.0, "finish_reason": "stop"}
            self.call("POST", f"/v1/decisions/{made['decision_id']}/usage", usage)
        return decisions

    def rest(self) -> None:
        """Wait until the learner has nothing left to do: then two answers to one question are the same."""
        seen, since = -1, 0
        while since < 5:
            version = self.call("GET", "/health/readiness")["policies"]["default"]["version"]
            seen, since = version, since + 1 if version == seen else 0
            time.sleep(0.1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium. Of a module: while Playwright is open its event loop runs, and no other can in this process."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium here: install the package chromium, or name one with CHROMIUM=/path/to/it")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install '.[dev]'")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def expect(browser: Any) -> Any:
    """Playwright's ``expect``: it looks again until the page shows what is wanted."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)
    return expect


def _daemon(folder: Path, template: Path, **environment: str) -> Iterator[Daemon]:
    shutil.copyfile(template, folder / "banditd.db")
    daemon = Daemon(folder, environment)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def taught(browser: Any, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Daemon]:
    """A daemon with some 300 decisions that learned from them. Tests that share it only add to it."""
    for daemon in _daemon(tmp_path_factory.mktemp("taught"), sqlite_template):
        # A promise gives other arms than its baseline few rewards at first, and tables few rows that say something.
        daemon.call("PATCH", "/v1/policies/default", {"promise": None})
        for _ in range(3):
            daemon.teach(75)
        daemon.call("PATCH", "/v1/policies/default", {"promise": {"keep": 0.95}})
        daemon.teach(75)
        yield daemon


@pytest.fixture
def fresh(browser: Any, tmp_path: Path, sqlite_template: Path) -> Iterator[Daemon]:
    """A daemon that nobody has asked anything."""
    yield from _daemon(tmp_path, sqlite_template)


@dataclass
class Keys:
    """Two keys, as ``banditd keys create`` makes them."""

    admin: str
    reader: str


@pytest.fixture
def locked(browser: Any, tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Daemon, Keys]]:
    """A daemon with API keys."""
    from hashlib import sha256

    keys = Keys(admin="admin-key-of-the-test", reader="reader-key-of-the-test")
    listed = [
        {"name": name, "sha256": sha256(key.encode()).hexdigest(), "scopes": scopes}
        for name, key, scopes in (("admin", keys.admin, ["admin"]), ("reader", keys.reader, ["read"]))
    ]
    for daemon in _daemon(tmp_path, sqlite_template, BANDITD_SERVER__API_KEYS=json.dumps(listed)):
        daemon.key = keys.admin
        yield daemon, keys


@dataclass
class Watched:
    """What a page said and asked while a test used it."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    ended: int = 0
    """How many of the requests have an answer, or will never have one."""

    def answered(self, _request: Any) -> None:
        self.ended += 1


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages; at the end none of them may have written an error to its console or asked another host.

    ``calm=False`` is for tests of bad states: there the browser itself reports what the daemon refused.
    """
    opened: list[tuple[Any, Watched, str, bool]] = []

    def start(
        daemon: Daemon, where: str = "overview", *, calm: bool = True, theme: str = "light", **more: Any
    ) -> Any:
        context = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme=theme, **more)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        watched = Watched()
        page.on("pageerror", lambda error: watched.errors.append(f"uncaught: {error}"))
        page.on("console", lambda message: _note(watched, message))
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("requestfinished", watched.answered)
        page.on("requestfailed", watched.answered)
        page.watched = watched
        opened.append((context, watched, daemon.url, calm))
        page.goto(f"{daemon.url}/#/{where}")
        return page

    yield start
    for context, watched, url, calm in opened:
        context.close()
        if calm:
            assert watched.errors == []
        assert {one for one in watched.requests if not one.startswith((url, "data:", "blob:"))} == set()


def _note(watched: Watched, message: Any) -> None:
    if message.type in {"error", "warning"}:
        watched.errors.append(message.text)


@pytest.fixture
def shot() -> Callable[[Any, str], None]:
    """Keeps a picture of a page under out/, which git ignores."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
