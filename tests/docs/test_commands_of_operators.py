"""Commands of the documents that need more than a daemon: a second database, a collector, a provider, an agent.

They are read from the pages as they stand; only addresses are replaced, and free ports added.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from mcp import Client, StdioServerParameters

from banditd.cli.process import own_daemon, stop_daemon, wait_until_serving
from banditd.client import Client as Banditd
from banditd.storage import dialect
from banditd.storage.partitions.layout import is_partitioned

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
_BLOCK = re.compile(r"^(<!-- [^\n]* -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_REPLAY = re.compile(r"^ {4}banditd ((?:replay|fit-prior) (?:[^\n]|(?<=\\)\n)*)", re.MULTILINE)
DATA = Path(os.environ.get("BANDITD_DATA", ROOT.parent / "shared" / "data"))
OTHERS = {
    "make test": "CI is that",
    "docker compose -f deploy/compose.sqlite.yaml up --build": "needs a container engine; tests/deploy reads it",
    "POSTGRES_PASSWORD=... docker compose -f deploy/compose.postgres.yaml up --build": "the same",
}
KEY = "sk-nobody-has-this-one"


def shown() -> list[str]:
    """The lines of blocks that no mark hands to another test."""
    lines: list[str] = []
    for page in PAGES:
        for mark, language, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
            if (
                not mark
                and language in {"", "bash", "sh"}
                and re.search(r"^(\S+=\S+ )*(banditd|make|docker|claude) ", block, re.MULTILINE)
            ):
                lines += [re.sub(r" +#.*", "", line) for line in block.splitlines() if line.strip()]
    return list(dict.fromkeys(lines))


def line(begins: str) -> str:
    [found] = [one for one in shown() if one.startswith(begins)]
    return found


def banditd(words: Sequence[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "banditd", *words],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answered_and_rewarded(database: str) -> str:
    with own_daemon(database=database, config=ROOT / "config.yaml") as url, Banditd(url) as client:
        decision = client.route("Why is the sky blue?")
        client.reward(decision.decision_id, value=0.5, source="judge")
    return decision.decision_id


def has_its_reward(database: str, decision_id: str) -> bool:
    with (
        own_daemon(database=database, config=ROOT / "config.yaml") as url,
        urlopen(f"{url}/v1/decisions/{decision_id}") as answer,
    ):
        return [one["value"] for one in json.load(answer)["rewards"]] == [0.5]


class Web(ThreadingHTTPServer):
    """A provider whose every model says hello, and a collector of traces. ``seen`` : (path, body) of every POST."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.seen: list[tuple[str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Web

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, body))
        answer = b""
        if self.path.endswith("/chat/completions"):
            message = {"role": "assistant", "content": "hello"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            whole = {"id": "c", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}
            answer = json.dumps(whole | {"model": json.loads(body)["model"]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def internet() -> Iterator[Web]:
    with Web() as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@contextmanager
def serving(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "banditd", *words, "--port", "0"],
        cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield wait_until_serving(process)
    finally:
        stop_daemon(process)


def made_of(target: str) -> list[str]:
    """What ``make`` runs in the end, without the program's name."""
    command = ["make", "--dry-run", "--no-print-directory", "-C", str(ROOT), *shlex.split(target)[1:]]
    last = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    words = shlex.split(last)
    assert words[:2] == ["exec", ".venv/bin/banditd"]
    return words[2:]


def test_a_copy_on_another_database_is_whole(tmp_path: Path, empty_postgres_url: str) -> None:
    source = f"sqlite:///{tmp_path}/source.db"
    decision_id = answered_and_rewarded(source)
    words = shlex.split(line("banditd copy").replace("postgresql://banditd@db/banditd", empty_postgres_url))[1:]
    assert words[-1] == empty_postgres_url
    banditd(words, tmp_path, BANDITD_DATABASE__URL=source)
    banditd(["rebuild", "--check"], tmp_path, BANDITD_DATABASE__URL=empty_postgres_url)  # as the page goes on
    assert has_its_reward(empty_postgres_url, decision_id)


def test_a_log_is_moved_into_partitions(tmp_path: Path, whole_url: str) -> None:
    decision_id = answered_and_rewarded(whole_url)
    banditd(shlex.split(line("banditd migrate"))[1:], tmp_path, BANDITD_DATABASE__URL=whole_url)
    engine = dialect.make_engine(dialect.normalise_url(whole_url), pool_size=1, busy_timeout_s=60)
    with dialect.reading(engine).begin() as connection:
        assert is_partitioned(connection)
    engine.dispose()
    assert has_its_reward(whole_url, decision_id)


def test_traces_go_to_a_collector(tmp_path: Path, internet: Web) -> None:
    words = shlex.split(line("OTEL_EXPORTER_OTLP_ENDPOINT").replace("http://collector:4318", internet.url))
    environment = dict(word.split("=", 1) for word in words if "=" in word)
    assert words[len(environment) :] == ["banditd", "serve"]
    environment["BANDITD_DATABASE__URL"] = f"sqlite:///{tmp_path}/traced.db"
    with serving(["serve"], tmp_path, environment) as url, Banditd(url) as client:
        client.route("Why is the sky blue?")
    traces = [body for path, body in internet.seen if path == "/v1/traces"]  # the last ones are sent at the end
    assert any(b"banditd.route" in body and b"service.name" in body for body in traces)


def test_a_configuration_is_made_and_served_from_a_clone(tmp_path: Path, internet: Web) -> None:
    environment = {"OPENAI_API_KEY": KEY}
    words = [*shlex.split(line("banditd init"))[1:], "--no-local", "--base-url", f"openai={internet.url}/v1"]
    said = banditd(words, tmp_path, **environment)
    assert "it answers" in said
    with serving(made_of(line("make run CONFIG")), tmp_path, environment) as url:
        body = json.dumps({"model": "banditd/auto", "messages": [{"role": "user", "content": "hello"}]}).encode()
        request = Request(f"{url}/v1/chat/completions", body, {"Content-Type": "application/json"})
        with urlopen(request) as answer:
            assert json.load(answer)["choices"][0]["message"]["content"] == "hello"
    assert (tmp_path / "var" / "mine.db").exists()


def test_what_a_clone_serves_first(tmp_path: Path) -> None:
    words = made_of("make run")
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    with serving(words, tmp_path, {}) as url, Banditd(url) as client:
        assert client.route("Why is the sky blue?").arm


async def test_an_agent_starts_the_tools(tmp_path: Path) -> None:
    with own_daemon(database=f"sqlite:///{tmp_path}/agent.db", config=ROOT / "config.yaml") as url:
        _, _, command = line("claude mcp add").replace("http://127.0.0.1:8484", url).partition(" -- banditd ")
        started = StdioServerParameters(
            command=sys.executable, args=["-m", "banditd", *shlex.split(command)], env={**os.environ}
        )
        async with Client(started) as client:
            answer = await client.call_tool("route", {"input": "hello"})
            assert answer.structured_content["decision_id"]


def _own_evaluation(folder: Path) -> None:
    """Three arms on forty questions, as one file and as a folder with answers."""
    right = [{"small": i % 3 > 0, "other": i % 4 > 0, "large": True} for i in range(40)]
    prompts = [f"How much is {i} and {i}?" for i in range(40)]
    scores = [f"{prompt},{int(one['small'])},1\n" for prompt, one in zip(prompts, right, strict=True)]
    (folder / "scores.csv").write_text("".join(["prompt,weak,strong\n", *scores]))
    (folder / "FOLDER").mkdir()
    (folder / "FOLDER" / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    arms = ("small", "other", "large")
    rows = [",".join([*arms, *(f"{arm}|{what}" for what in ("cost_usd", "answer") for arm in arms)])]
    for i, one in enumerate(right):
        answers = (f"It is {2 * i if one[arm] else 1000 + place}" for place, arm in enumerate(arms))
        rows.append(",".join([*(str(int(one[arm])) for arm in arms), "0.01", "0.02", "1", *answers]))
    (folder / "FOLDER" / "outcomes.csv").write_text("\n".join(rows) + "\n")


def test_what_is_replayed_on_the_pages_can_be(tmp_path: Path) -> None:
    """On a few rows. The figures beside them are of whole runs."""
    if not DATA.is_dir():
        pytest.skip(f"no folder {DATA}; set BANDITD_DATA to the folder of replay data")
    _own_evaluation(tmp_path)
    commands = [one for page in PAGES for one in _REPLAY.findall(page.read_text(encoding="utf-8"))]
    assert len(commands) >= 9
    for command in commands:
        words = shlex.split(command.replace("\\\n", " ").replace("../shared/data", str(DATA)))
        banditd([*words, "--limit", "300", *(["--seeds", "1"] if words[0] == "replay" else [])], tmp_path)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_no_command_is_left_out() -> None:
    here = ("banditd copy", "banditd migrate", "OTEL_EXPORTER", "banditd init", "make run", "claude mcp add")
    assert {one for one in shown() if not one.startswith(here)} == set(OTHERS)
