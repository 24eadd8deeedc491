"""How long one client's request keeps others waiting: ``python -m bench.stalls``.

A daemon as a process, without keys, on SQLite, with its policy once more for each of ``BUDGETS``. One client asks
``/health/liveness`` every few milliseconds while another sends one case again and again. Shown are the median, the
99.9th percentile and the longest wait for liveness.
The first row is the same without the other client: what the machine itself adds.

The gateway answers by an upstream inside the daemon (``kind: echo``).

A case is a line of ``CASES``: a name, the statuses that may come, a path, a maker of the body or bodies, and headers.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, repeat
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import yaml

from banditd.cli.process import own_daemon

ROOT = Path(__file__).resolve().parents[1]
TARGET_MS = 50.0
PAUSE_S = 0.002
QUERIES = 256
CHARS = 7_900
IDEOGRAPHS = "".join(map(chr, range(0x4E00, 0x9FA6)))
SYLLABLES = "".join(map(chr, range(0xAC00, 0xD7A4)))
LETTERS = "abcdefghijklmnopqrstuvwxyz"
GZIP = {"Content-Encoding": "gzip"}
KEY = {"Idempotency-Key": "one-and-the-same"}
# Under each of them all queries change something for each other, or each has an account of its own.
BUDGETS = {
    "a budget of all": {"usd": 100, "per": "day", "of": "all"},
    "a mean": {"usd": 0.002, "per": "decision"},
    "budgets of nine teams": {"usd": 100, "per": "day", "of": "tag:team9"},
    "budgets of 256 teams": {"usd": 100, "per": "day", "of": "tag:team256"},
}
# One batch of rewards of this policy is of all its arms.
MANY_ARMS = "forty-arms"
TAGS = ("task", "team")
ROUTE, BATCH, CHAT = "/v1/route", "/v1/route/batch", "/v1/chat/completions"
GATEWAY = """
upstreams: {echo: {kind: echo}}
policies:
  default:
    arms:
      - {arm: small, upstream: echo, price: {usd_per_mtok_in: 0.1, usd_per_mtok_out: 0.4}}
      - {arm: large, upstream: echo, price: {usd_per_mtok_in: 2.5, usd_per_mtok_out: 10}}
"""


def bomb() -> bytes:
    """1.6 GB of one letter, as 1.5 MB of gzip."""
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    letters = b"a" * 1_000_000
    pieces = [engine.compress(b'{"input":"'), *(engine.compress(letters) for _ in range(1_600))]
    return b"".join([*pieces, engine.compress(b'"}'), engine.flush()])


def fields(count: int) -> bytes:
    return json.dumps({"input": "x", **{f"f{n}": 1 for n in range(count)}}).encode()


def numbers(count: int) -> bytes:
    return b",".join([b"0.123456789"] * count)


def strings(count: int) -> bytes:
    return b",".join(b'"arm%d"' % n for n in range(count))


def text(characters: str, count: int, seed: int = 1) -> str:
    return "".join(np.random.default_rng(seed).choice(list(characters), count))


def query(said: str) -> bytes:
    return json.dumps({"input": said}, ensure_ascii=False).encode()


def batch(make: Callable[[int], str], **more: object) -> bytes:
    queries = [{"input": make(index), **more} for index in range(QUERIES)]
    return json.dumps({"queries": queries}, ensure_ascii=False).encode()


def prose(index: int) -> str:
    return f"The quick brown fox {index}. " * (CHARS // 26)


def parts(messages: int, each: int) -> bytes:
    """One query of so many messages, of so many parts each."""
    message = {"role": "user", "content": [{"type": "text", "text": "some words"}] * each}
    return json.dumps({"messages": [message] * messages}).encode()


def with_parts() -> bytes:
    return b'{"queries":[%s]}' % b",".join([parts(1, 40)] * QUERIES)


def rewards() -> bytes:
    """Of decisions that are not there, with as much beside the value as one may have."""
    one = {"decision_id": "00000000-0000-7000-8000-000000000000", "value": 1, "metadata": {"a": [{"b": 1}] * 90}}
    return json.dumps([one] * QUERIES).encode()


def corrections(url: str) -> Iterator[bytes]:
    """Rewards of as many decisions as a list may have, and then corrections of them all, again and again."""
    queries = [
        {"input": f"query {n} about things", "policy": MANY_ARMS, "tags": {tag: f"{tag}{n % 9}" for tag in TAGS}}
        for n in range(QUERIES)
    ]
    asked = Request(url + BATCH, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"})
    with urlopen(asked, timeout=60) as answer:
        made = [result["decision"]["decision_id"] for result in json.load(answer)["results"]]
    for n in count():
        yield json.dumps([{"decision_id": one, "value": n % 1000 / 1000, "source": "judge"} for one in made]).encode()


def with_tools() -> bytes:
    """As many members as a whole batch of agents' queries has."""
    properties = {f"p{n}": {"type": "string", "description": "of it"} for n in range(4)}
    parameters = {"type": "object", "properties": properties, "required": ["p0"]}
    tools = [{"type": "function", "function": {"name": f"t{n}", "parameters": parameters}} for n in range(4)]
    return batch(lambda index: f"query {index}", tools=tools)


def under(budget: str) -> bytes:
    """Tiny queries of the policy with this of ``BUDGETS``."""
    queries = [
        {"input": "hello", "policy": policy_of(budget), "tags": {"team9": f"t{n % 9}", "team256": f"t{n}"}}
        for n in range(QUERIES)
    ]
    return json.dumps({"queries": queries}).encode()


def policy_of(budget: str) -> str:
    return budget.replace(" ", "-")


def with_budgets(folder: Path) -> Path:
    """The configuration of the repository, its policy once more under each budget, and one of forty arms."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    policies = config["policies"]
    for name, rule in BUDGETS.items():
        policies[policy_of(name)] = policies["default"] | {"budgets": [{"name": "stalls", **rule}]}
    arms = [{"arm": f"m{n}", "price": {"usd_per_mtok_in": n + 1, "usd_per_mtok_out": 4 * n + 4}} for n in range(40)]
    policies[MANY_ARMS] = {"context_tags": list(TAGS), "arms": arms}
    written = folder / "stalls.yaml"
    written.write_text(yaml.safe_dump(config), encoding="utf-8")
    return written


def chat(**more: object) -> bytes:
    return json.dumps({"model": "banditd/auto", "messages": [{"role": "user", "content": "hi"}], **more}).encode()


def chat_of(raw: bytes) -> bytes:
    """A chat with one more field, as it is written."""
    return chat()[:-1] + b',"x":' + raw + b"}"


def image(count: int) -> bytes:
    url = {"url": "data:image/png;base64," + "A" * count}
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": url}]
    return chat(messages=[{"role": "user", "content": parts}])


def chat_with_tools(count: int) -> bytes:
    properties = {f"p{n}": {"type": "string", "description": "of it"} for n in range(20)}
    parameters = {"type": "object", "properties": properties}
    tools = [{"type": "function", "function": {"name": f"t{n}", "parameters": parameters}} for n in range(count)]
    return chat(tools=tools)


@dataclass(frozen=True)
class Case:
    name: str
    statuses: tuple[int, ...]
    path: str
    body: Callable[[], bytes] | None
    headers: dict[str, str] = field(default_factory=dict)
    bodies: Callable[[str], Iterator[bytes]] | None = None

    def sent(self, url: str) -> Iterator[bytes]:
        """What is sent to the daemon there, one after the other."""
        if self.bodies is not None:
            return self.bodies(url)
        assert self.body is not None
        return repeat(self.body())


CASES = (
    Case("gzip bomb, a route", (413,), ROUTE, bomb, GZIP),
    Case("gzip bomb, no such path", (404,), "/nowhere", bomb, GZIP),
    Case("gzip bomb, another origin", (403,), ROUTE, bomb, GZIP | {"Origin": "http://evil.example"}),
    Case("gzip of 1 MB of text", (200,), ROUTE, lambda: gzip.compress(query("ab" * 499_000)), GZIP),
    Case("150,000 unknown fields", (422,), ROUTE, lambda: fields(150_000)),
    Case("24,000 unknown fields", (422,), ROUTE, lambda: fields(24_000)),
    Case("600,000 empty queries", (422,), BATCH, lambda: b'{"queries":[%s]}' % b",".join([b"{}"] * 600_000)),
    Case("batch of 256, prose", (200,), BATCH, lambda: batch(prose)),
    Case("batch of 256, prose, one key", (200, 503), BATCH, lambda: batch(prose), KEY),
    Case("batch of 256, explained", (200,), BATCH, lambda: batch(lambda i: f"query {i}", explain=True)),
    Case("batch of 256, four tools each", (200,), BATCH, with_tools),
    Case("batch of 256, xxxx", (200,), BATCH, lambda: batch(lambda _: "x" * CHARS)),
    Case("batch of 256, unknown words", (200,), BATCH, lambda: batch(lambda i: text(LETTERS + " ", CHARS, i))),
    Case("batch of 256, ideographs", (200,), BATCH, lambda: batch(lambda i: text(IDEOGRAPHS, CHARS // 3, i))),
    Case("batch of 256, syllables", (200,), BATCH, lambda: batch(lambda i: text(SYLLABLES, CHARS // 3, i))),
    *(Case(f"batch of 256 under {name}", (200,), BATCH, partial(under, name)) for name in BUDGETS),
    Case("batch of 256, 40 parts each", (200,), BATCH, with_parts),
    Case("1,000 messages of ten parts", (200,), ROUTE, partial(parts, 1000, 10)),
    Case("the same under one key", (200, 503), ROUTE, partial(parts, 1000, 10), KEY),
    Case("256 rewards with details", (207,), "/v1/rewards", rewards),
    Case("256 corrections, 40 arms", (200,), "/v1/rewards", None, bodies=corrections),
    Case("a name of 1,900,000 letters", (422,), ROUTE, lambda: b'{"%s":1}' % (b"x" * 1_900_000)),
    Case("6,000 ideographs", (200,), ROUTE, lambda: query(text(IDEOGRAPHS, 6_000))),
    Case("1,000,000 letters", (200,), ROUTE, lambda: query(text(LETTERS, 10**6))),
    Case("300,000 half characters", (200,), ROUTE, lambda: b'{"input": "' + rb"\ud83d" * 300_000 + b'"}'),
    Case("an embedding of 30,000", (422,), ROUTE, lambda: fields(0)[:-1] + b',"embedding":[%s]}' % numbers(30_000)),
    Case("an embedding of 160,000", (422,), ROUTE, lambda: fields(0)[:-1] + b',"embedding":[%s]}' % numbers(160_000)),
    Case("100,000 candidates", (422,), ROUTE, lambda: fields(0)[:-1] + b',"candidates":[%s]}' % strings(100_000)),
    Case(
        "batch, an embedding of 160,000",
        (422,),
        BATCH,
        lambda: b'{"queries":[{"input":"x","embedding":[%s]}]}' % numbers(160_000),
    ),
    Case("chat, model of 30 MB", (404,), CHAT, lambda: chat(model="b" * 30_000_000)),
    Case("chat, image of 15 MB", (200,), CHAT, lambda: image(15_000_000)),
    Case("chat, 2,000,000 half characters", (200,), CHAT, lambda: chat_of(b'"%s"' % (rb"\ud83d" * 2_000_000))),
    Case("chat, 30 MB that is not JSON", (400,), CHAT, lambda: chat_of(b'"' + rb"A\n" * 10_000_000)[:-1]),
    Case("chat, 5,000,000 empty objects", (400,), CHAT, lambda: chat_of(b"[%s{}]" % (b"{}," * 5_000_000))),
    Case("chat, 200,000 messages", (400,), CHAT, lambda: chat(messages=[{"role": "user", "content": "a"}] * 200_000)),
    Case("chat, 20,000 messages", (200,), CHAT, lambda: chat(messages=[{"role": "user", "content": "a"}] * 20_000)),
    Case("chat, 2,000 tools", (400,), CHAT, lambda: chat_with_tools(2000)),
    Case("chat, 700 tools", (200,), CHAT, lambda: chat_with_tools(700)),
    Case("count of tokens, 700 tools", (200,), "/v1/messages/count_tokens", lambda: chat_with_tools(700)),
    Case(
        "responses, 200,000 items",
        (400,),
        "/v1/responses",
        lambda: chat(input=[{"role": "user", "content": "a"}] * 200_000),
    ),
    Case("1 MB that is not UTF-8", (200,), ROUTE, lambda: b'{"input": "' + b"\xe9 " * 490_000 + b'"}'),
)


def waits_ms(url: str, case: Case | None, seconds: float) -> tuple[np.ndarray, int]:
    """(milliseconds that each question for liveness took while the case was sent, answers to the case)."""
    address = urlsplit(url)
    ended = threading.Event()
    answered: list[int] = []

    def send(bodies: Iterator[bytes], sent: Case) -> None:
        while not ended.is_set():
            body = next(bodies)
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
            try:
                connection.request("POST", sent.path, body, {"Content-Type": "application/json", **sent.headers})
                answer = connection.getresponse()
                answer.read()
                answered.append(answer.status)
            except OSError:
                pass  # refused before all of it was sent
            finally:
                connection.close()

    sender = None if case is None else threading.Thread(target=send, args=(case.sent(url), case))
    if sender is not None:
        sender.start()
    found = []
    asking = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        asking.request("GET", "/health/liveness")
        asking.getresponse().read()
        found.append((time.perf_counter() - started) * 1e3)
        time.sleep(PAUSE_S)
    ended.set()
    if sender is not None:
        sender.join()
    if case is not None and not set(answered) <= set(case.statuses):
        raise SystemExit(f"{case.name}: answered with {sorted(set(answered))} instead of {case.statuses}")
    return np.array(found), len(answered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each case")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    asked = parser.parse_args()
    print(f"| while others send | answered | asked | median ms | p99.9 ms (at most {TARGET_MS:g}) | longest ms |")
    print("|---|---|---|---|---|---|")
    chosen = [case for case in CASES if asked.only in case.name]
    gateway = [case for case in chosen if case.path not in {ROUTE, BATCH, "/nowhere", "/v1/rewards"}]
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{folder}/stalls.db"
        with own_daemon(database=database, config=with_budgets(Path(folder))) as url:
            measure(url, [None, *(case for case in chosen if case not in gateway)], asked.seconds)
        if gateway:
            config = Path(folder, "gateway.yaml")
            config.write_text(GATEWAY)
            with own_daemon(database=f"sqlite:///{folder}/gateway.db", config=config) as url:
                measure(url, gateway, asked.seconds)


def measure(url: str, cases: Sequence[Case | None], seconds: float) -> None:
    """Print a row for each case."""
    for case in cases:
        waits, answers = waits_ms(url, case, seconds)
        median, high = np.quantile(waits, (0.5, 0.999))
        name = "nothing" if case is None else case.name
        print(f"| {name} | {answers} | {waits.size} | {median:.1f} | {high:.1f} | {waits.max():.1f} |", flush=True)


if __name__ == "__main__":
    main()
